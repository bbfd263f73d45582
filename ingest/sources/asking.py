"""Sources that are asked: every so often, from where the last asking ended."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ingest.intake import Intake
from layers.arrivals import position_of
from layers.contract import seconds
from layers.feeds import HttpFeed, SqlFeed
from twin.errors import Transient, TwinError

__all__ = ["Answer", "Asker"]

_FIRST_PAUSE_S = 1.0
_log = logging.getLogger("twin.ingest")


class Answer(NamedTuple):
    """Messages that a source answered, and where to go on: the two are kept together."""

    messages: list[bytes]
    position: str


class Asker:
    """Asks one source. `ask(position)` yields what is new since then; it may block."""

    def __init__(self, feed: HttpFeed | SqlFeed, intake: Intake, ask: Callable[[str | None], Iterator[Answer]]) -> None:
        self._every_s = seconds(feed.every)
        self._feed, self._intake, self._ask = feed, intake, ask
        self._running: asyncio.Task[None] | None = None
        # A thread of its own: one that waits long for an answer keeps nobody from being kept.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ask-{feed.id}")

    async def start(self) -> None:
        """Begin to ask."""
        self._running = asyncio.create_task(self._run())

    def close(self) -> None:
        """Ask no more."""
        if self._running is not None:
            self._running.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Nothing is left to end."""

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._ask_once)
                await self._intake.contact(None)
                wait_s, pause_s = float(self._every_s), _FIRST_PAUSE_S
            except Transient as error:
                await self._intake.contact(str(error))
                wait_s = min(pause_s, self._every_s)
                pause_s = 2 * pause_s
            except TwinError as error:  # asked again in turn: somebody may have mended it
                await self._intake.contact(str(error))
                wait_s = float(self._every_s)
            except Exception as error:  # noqa: BLE001  (whatever one answer does, the next is asked for)
                _log.exception("%s: what it answered cannot be taken", self._feed.id)
                await self._intake.contact(f"what it answered cannot be taken: {type(error).__name__}.")
                wait_s = float(self._every_s)
            await asyncio.sleep(wait_s)

    def _ask_once(self) -> None:
        with self._intake.database.writing() as connection:
            position = position_of(connection, self._feed.id)
        for answer in self._ask(position):
            self._intake.keep(answer.messages, answer.position)
