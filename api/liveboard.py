"""The live board: what changes in each dataset, read once and written once for all who listen.

A channel is a dataset as one kind of reader sees it. It hears from PostgreSQL that the dataset has changed, reads what
is new, and hands the same text to each of its listeners; who listens to an area gets only what lies there. A listener
that does not keep up is hung up on, and the others do not notice.
"""

import asyncio
import contextlib
import datetime as dt
import logging
from collections import deque
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from api.frames import Frame, Table
from layers.contract import Contract
from layers.grants import is_limited
from layers.live import Change, LiveFeature, changes_since, columns_since
from layers.query import Box
from layers.versions import CHANNEL
from twin.access import PUBLIC, Audience
from twin.city import City
from twin.database import Database
from twin.errors import LimitExceeded, TwinError
from twin.view import View

__all__ = ["Listener", "LiveBoard", "Watcher"]

_MOST_WAITING = 16
_MOST_FRAMES = 4
_MOST_LISTENERS = 5_000
_TIMEOUT_S = 20.0
_RETRY_S = 1.0
_LEAST_GAP_S = 0.2
_log = logging.getLogger("twin.live")


@dataclass(eq=False)
class Listener:
    """Somebody who listens to channels, to an area or to all of the city."""

    box: Box | None
    waiting: asyncio.Queue[tuple[str, Change]] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))
    is_slow: bool = False

    def hear(self, dataset: str, change: Change) -> None:
        """Take a change, or fall behind for good."""
        try:
            self.waiting.put_nowait((dataset, change))
        except asyncio.QueueFull:
            self.is_slow = True

    def wants(self, feature: LiveFeature) -> bool:
        """Whether a feature lies where it listens."""
        if self.box is None:
            return True
        if feature.box is None:
            return False
        west, south, east, north = feature.box
        return west <= self.box.east and east >= self.box.west and south <= self.box.north and north >= self.box.south


@dataclass(eq=False)
class Watcher:
    """Somebody who is sent frames. Of one that does not keep up, what waits is dropped for a key frame."""

    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    waiting: deque[tuple[str, Frame]] = field(default_factory=deque[tuple[str, Frame]])
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_slow: bool = False

    def hear(self, dataset: str, frame: Frame) -> None:
        """Take a frame; when too many wait, the newest state instead of all of them."""
        if sum(name == dataset for name, _ in self.waiting) >= _MOST_FRAMES:
            self.restart(dataset)
        else:
            self.waiting.append((dataset, frame))
        self.ready.set()

    def restart(self, dataset: str) -> None:
        """Begin a dataset again with all there is."""
        self.waiting = deque(one for one in self.waiting if one[0] != dataset)
        self.waiting.append((dataset, self.tables[dataset].key()))
        self.ready.set()

    async def next(self, seconds: float) -> tuple[str, Frame] | None:
        """The next frame, as soon as there is one; None when `ready` was set without one, or so long nothing came."""
        if not self.waiting:
            self.ready.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ready.wait()
        return self.waiting.popleft() if self.waiting else None


@dataclass(eq=False)
class _Channel:
    """A dataset as its readers see it, and who listens. `users` also counts those who are about to.

    `table` is what watchers are sent frames of; None for listeners.
    """

    contract: Contract
    view: View
    table: Table | None = None
    users: int = 0
    listeners: set[Listener] = field(default_factory=set[Listener])
    watchers: set[Watcher] = field(default_factory=set[Watcher])
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    at: dt.datetime | None = None
    was_read: bool = False


class LiveBoard:
    """The channels of one process. `run` listens to PostgreSQL until it is cancelled."""

    def __init__(self, database: Database, city: City) -> None:
        self._database, self._city = database, city
        self._channels: dict[tuple[object, ...], _Channel] = {}
        self._tasks: dict[tuple[object, ...], asyncio.Task[None]] = {}
        self._listeners = 0

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return self._listeners

    async def run(self) -> None:
        """Hear which datasets change, and wake their channels; after a pause in hearing, all of them."""
        address = self._database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    self._wake(None)
                    async for notice in connection.notifies():
                        self._wake(notice.payload)
            except psycopg.Error as error:
                _log.warning("the database cannot be listened to: %s", str(error).splitlines()[:1])
                await asyncio.sleep(_RETRY_S)

    def close(self) -> None:
        """End all channels."""
        for task in self._tasks.values():
            task.cancel()

    @contextlib.asynccontextmanager
    async def listening(
        self, contracts: list[Contract], audience: Audience, box: Box | None, since: dict[str, dt.datetime]
    ) -> AsyncGenerator[Listener]:
        """A listener that first hears what there is, or what changed `since`, and then what changes.

        Raises LimitExceeded when too many listen already.
        """
        listener = Listener(box)
        with self._joining(contracts, audience, framed=False) as channels:
            for contract, channel in zip(contracts, channels, strict=True):
                first = await self._read(channel, since.get(contract.id))
                if first is not None:
                    listener.hear(contract.id, first)
                channel.listeners.add(listener)
                # What came between reading and joining; it may be heard twice, and is the same then.
                between = await self._read(channel, first.moment if first is not None else since.get(contract.id))
                if between is not None:
                    listener.hear(contract.id, between)
            try:
                yield listener
            finally:
                for channel in channels:
                    channel.listeners.discard(listener)

    @contextlib.asynccontextmanager
    async def watching(self, contracts: list[Contract], audience: Audience) -> AsyncGenerator[Watcher]:
        """A watcher that is first sent all there is, and then what changes. Raises as `listening` does."""
        watcher = Watcher()
        with self._joining(contracts, audience, framed=True) as channels:
            for contract, channel in zip(contracts, channels, strict=True):
                if channel.table is None:
                    raise TypeError("this channel has no table")
                async with channel.reading:
                    if not channel.was_read:
                        await self._draw(channel, channel.table)
                watcher.tables[contract.id] = channel.table
                channel.watchers.add(watcher)
                watcher.restart(contract.id)
            try:
                yield watcher
            finally:
                for channel in channels:
                    channel.watchers.discard(watcher)

    @contextlib.contextmanager
    def _joining(self, contracts: list[Contract], audience: Audience, *, framed: bool) -> Generator[list[_Channel]]:
        """The channels that somebody is about to join, and leaves in the end."""
        if self._listeners >= _MOST_LISTENERS:
            raise LimitExceeded("too many listen already.", remedy="Try again later.")
        channels = [self._channel(contract, audience, framed=framed) for contract in contracts]
        self._listeners += 1
        for channel in channels:
            channel.users += 1
        try:
            yield channels
        finally:
            self._listeners -= 1
            for channel in channels:
                channel.users -= 1

    def _channel(self, contract: Contract, audience: Audience, *, framed: bool) -> _Channel:
        # What limits a reader to areas is its own; else all who see the same fields of a dataset share a channel.
        own = audience if is_limited(contract, audience) else None
        key = (contract.id, tuple(contract.fields), own, framed)
        if key not in self._channels:
            is_open = contract.data_class == "open" and all(one.data_class is None for one in contract.fields.values())
            view = View(audience=PUBLIC if is_open and audience == PUBLIC else audience)
            self._channels[key] = _Channel(contract, view, Table(contract) if framed else None)
            self._tasks[key] = asyncio.create_task(self._follow(key, self._channels[key]))
        return self._channels[key]

    async def _follow(self, key: tuple[object, ...], channel: _Channel) -> None:
        """Hand on what changes, while anybody listens."""
        try:
            while True:
                await channel.changed.wait()
                channel.changed.clear()
                if not channel.users:
                    return
                if not channel.was_read:
                    continue  # its first listener is about to
                try:
                    await self._hand_on(channel)
                except TwinError as error:
                    _log.warning("%s: %s", channel.contract.id, error)
                    await asyncio.sleep(_RETRY_S)
                    channel.changed.set()
                    continue
                except Exception:  # noqa: BLE001  (whatever it is, nobody waits for what never comes)
                    _log.exception("%s can no longer be followed", channel.contract.id)
                    for listener in (*channel.listeners, *channel.watchers):
                        listener.is_slow = True  # it is hung up on, and may begin again
                    return
                await asyncio.sleep(_LEAST_GAP_S)
        finally:
            self._channels.pop(key, None)
            self._tasks.pop(key, None)

    async def _read(self, channel: _Channel, since: dt.datetime | None) -> Change | None:
        """What changed, for listeners."""
        async with self._database.reading(channel.view.audience, timeout_s=_TIMEOUT_S) as connection:
            change = await changes_since(connection, channel.contract, channel.view, self._city, since)
        if channel.at is None and change is not None:
            channel.at = change.moment
        channel.was_read = True
        return change

    async def _draw(self, channel: _Channel, table: Table) -> Frame | None:
        """What changed, for watchers: it is in their table then."""
        async with self._database.reading(channel.view.audience, timeout_s=_TIMEOUT_S) as connection:
            moved = await columns_since(connection, channel.contract, channel.view, self._city, channel.at)
        channel.was_read = True
        if moved is None:
            return None
        channel.at = moved.moment
        return table.apply(moved)

    async def _hand_on(self, channel: _Channel) -> None:
        """Give what changed to all who listen."""
        if channel.table is not None:
            async with channel.reading:
                frame = await self._draw(channel, channel.table)
            if frame is not None:
                for watcher in list(channel.watchers):
                    watcher.hear(channel.contract.id, frame)
            return
        change = await self._read(channel, channel.at)
        if change is not None:
            channel.at = change.moment
            for listener in list(channel.listeners) if change.features or change.removed else ():
                listener.hear(channel.contract.id, change)

    def _wake(self, dataset: str | None) -> None:
        for channel in self._channels.values():
            if dataset is None or channel.contract.id == dataset:
                channel.changed.set()
