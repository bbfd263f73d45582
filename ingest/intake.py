"""The intake of a feed: messages are on disk before anybody is told that they arrived.

While one transaction commits, the messages that arrive meanwhile gather for the next: the busier a feed, the more of
them share a commit. When the database is away, or its disk nearly full, messages wait in memory, and what sends them
is made to wait when that is full too.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from ingest.protocols import PROTOCOLS
from layers.arrivals import contact, keep
from layers.feeds import Feed
from twin.database import Database
from twin.disk import need_room
from twin.errors import Transient

__all__ = ["Intake"]

_MOST_MESSAGES, _MOST_BYTES = 5_000, 4_000_000
_FULL_BYTES, _ROOMY_BYTES = 16_000_000, 4_000_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_log = logging.getLogger("twin.ingest")

Kept = Callable[[Sequence[bytes]], None]
"""Hears of messages once they are kept, in the order in which they arrived."""


class Pause(Protocol):
    """Hears that what sends should wait, or may go on."""

    def __call__(self, *, full: bool) -> None: ...


class _Waiting(NamedTuple):
    messages: list[bytes]
    kept: Kept | None


@dataclass
class Intake:
    """Keeps the messages of one feed. `seal`: they name somebody, and are kept sealed with a key of the day."""

    database: Database
    feed: Feed
    home: Path
    seal: bool = False
    _waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._redact = PROTOCOLS[self.feed.protocol].redact
        self._arrived = asyncio.Event()
        self._is_full = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._pausing: list[Pause] = []

    @property
    def is_full(self) -> bool:
        """Whether what sends should wait."""
        return self._is_full

    def on_pause(self, tell: Pause) -> None:
        """Have `tell` called when the intake is full, and when it has room again."""
        self._pausing.append(tell)

    def put(self, messages: list[bytes], kept: Kept | None = None) -> None:
        """Take messages in; `kept` hears of them once they are on disk."""
        messages = [self._redact(message) for message in messages]
        self._waiting.append(_Waiting(messages, kept))
        self._bytes += sum(map(len, messages))
        self._idle.clear()
        self._arrived.set()
        if self._bytes > _FULL_BYTES and not self._is_full:
            self._tell(full=True)

    async def run(self) -> None:
        """Keep what arrives, until cancelled; what was put before that is kept first."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._arrived.wait()
            batch = self._next()
            messages = [message for waiting in batch for message in waiting.messages]
            try:
                await asyncio.to_thread(self._commit, messages)
            except Transient as error:
                _log.warning("%s: %s", self.feed.id, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            self._release(batch, messages)

    async def drain(self) -> None:
        """Wait until everything that was put is on disk."""
        await self._idle.wait()

    def _next(self) -> list[_Waiting]:
        """The first of what waits: at least one, and no more than one commit should hold."""
        count = size = end = 0
        for waiting in self._waiting:
            count += len(waiting.messages)
            size += sum(map(len, waiting.messages))
            if end and (count > _MOST_MESSAGES or size > _MOST_BYTES):
                break
            end += 1
        return self._waiting[:end]

    def keep(self, messages: Sequence[bytes], position: str) -> None:
        """Keep what a source answered, and where to go on asking, at once. Blocks; raises Transient errors."""
        self._commit([self._redact(message) for message in messages], position)

    async def contact(self, fault: str | None) -> None:
        """Note that the source was reached, or why nothing can be received of it."""
        if fault is not None:
            _log.warning("%s: %s", self.feed.id, fault)
        try:
            await asyncio.to_thread(contact, self.database, self.feed.id, fault)
        except Transient as error:
            _log.warning("%s: %s", self.feed.id, error)

    def _commit(self, messages: Sequence[bytes], position: str | None = None) -> None:
        need_room(self.home)
        keep(self.database, self.home, self.feed.id, messages, seal=self.seal, position=position)

    def _release(self, batch: list[_Waiting], messages: list[bytes]) -> None:
        del self._waiting[: len(batch)]
        self._bytes -= sum(map(len, messages))
        if not self._waiting:
            self._arrived.clear()
            self._idle.set()
        if self._bytes < _ROOMY_BYTES and self._is_full:
            self._tell(full=False)
        for waiting in batch:
            if waiting.kept is not None:
                waiting.kept(waiting.messages)

    def _tell(self, *, full: bool) -> None:
        self._is_full = full
        for tell in self._pausing:
            tell(full=full)
