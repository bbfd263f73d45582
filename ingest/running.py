"""Running feeds: one process receives, any number of processes read and write; adding one is a number.

The processes know nothing of each other and meet in the database. Whichever dies is started again, and goes on where
the last commit left off.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

import psycopg
from psycopg import sql

from ingest.intake import Intake
from ingest.sources.mqtt import MqttSession
from ingest.sources.tcp import serve_tcp
from ingest.worker import Worker
from layers.arrivals import ARRIVALS_CHANNEL
from layers.catalog import Catalog, catalog
from layers.dirty import refresh_dirty, waiting_for_refresh
from layers.feeds import FEEDS, Feed, MqttFeed, TcpFeed, read_feeds
from twin.city import city
from twin.database import Database, connect
from twin.disk import has_room
from twin.errors import Transient, TwinError
from twin.settings import settings

__all__ = ["feeds_of", "receive_feeds", "run", "work"]

_REFRESH_EVERY_S = 10.0
_IDLE_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_DRAIN_S = 10.0
_RESTART_S = 1.0
_log = logging.getLogger("twin.ingest")


def feeds_of(home: Path, contracts: Catalog) -> tuple[Feed, ...]:
    """The feeds of a state folder. Raises SetupError that names what is wrong with them."""
    return read_feeds(home / FEEDS, contracts)


async def receive_feeds(
    database: Database, contracts: Catalog, home: Path, feeds: Sequence[Feed], ready: Callable[[], None] | None = None
) -> None:
    """Receive until cancelled; what has arrived by then is kept before this returns.

    Raises SetupError where a feed cannot be listened at, and whatever an intake cannot go on after.
    """
    async with contextlib.AsyncExitStack() as stack:
        intakes: list[Intake] = []
        keeping: list[asyncio.Task[None]] = []
        for feed in feeds:
            seal = any(contracts[dataset].names_somebody for dataset in feed.datasets)
            intake = Intake(database, feed, home, seal)
            running = asyncio.create_task(intake.run())
            stack.callback(running.cancel)
            intakes.append(intake)
            keeping.append(running)
        servers: list[asyncio.Server] = []
        sessions: list[MqttSession] = []
        for feed, intake in zip(feeds, intakes, strict=True):
            if isinstance(feed, TcpFeed):
                servers.append(await serve_tcp(feed, intake))
            elif isinstance(feed, MqttFeed):
                sessions.append(MqttSession(feed, intake, home))
                sessions[-1].start()
        if ready is not None:
            ready()
        try:
            # They never end by themselves: without one of them devices would wait for answers for ever.
            await asyncio.gather(*map(asyncio.shield, keeping)) if keeping else await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await asyncio.gather(*(intake.drain() for intake in intakes))
            for session in sessions:
                session.stop()


def work(worker: Worker, feeds: Sequence[Feed], stop: threading.Event) -> None:
    """Read feeds until `stop` is set; what changed in between is summed up every few seconds.

    While the database is away, or its disk nearly full, it waits and tries again.
    """
    pause_s, refreshed_s = _FIRST_PAUSE_S, 0.0
    with contextlib.closing(_Ear(worker.database)) as ear:
        while not stop.is_set():
            try:
                if not has_room(worker.home):
                    stop.wait(_LONGEST_PAUSE_S)
                    continue
                busy = sum(_stepped(worker, feed) for feed in feeds)
                if time.monotonic() - refreshed_s > _REFRESH_EVERY_S:
                    _refresh(worker)
                    refreshed_s = time.monotonic()
                if not busy:
                    ear.listen(_IDLE_S)
                pause_s = _FIRST_PAUSE_S
            except Transient as error:
                _log.warning("%s", error)
                stop.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        with contextlib.suppress(Transient):  # what waits is worked off by the next one
            _refresh(worker)


def _stepped(worker: Worker, feed: Feed) -> int:
    """One step of a feed; what goes wrong with one holds up no other."""
    try:
        return worker.step(feed)
    except Transient:
        raise
    except Exception:  # noqa: BLE001  (the other feeds go on)
        _log.exception("%s: a step failed and will be tried again", feed.id)
        return 0


def _refresh(worker: Worker) -> None:
    with worker.database.writing() as connection:
        waiting = waiting_for_refresh(connection)
    for dataset in waiting:
        if dataset in worker.catalog.contracts:
            refresh_dirty(worker.database, worker.catalog[dataset], worker.city)


class _Ear:
    """Hears when messages of any feed have been kept."""

    def __init__(self, database: Database) -> None:
        self._address = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.Connection | None = None

    def listen(self, seconds: float) -> None:
        """Return when messages have been kept, or after so many seconds."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._address, autocommit=True, connect_timeout=5)
                self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(ARRIVALS_CHANNEL)))
                return  # what came before it listened
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                return
        except psycopg.OperationalError:
            self.close()
            time.sleep(min(seconds, _FIRST_PAUSE_S))

    def close(self) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def run(workers: int, say: Callable[[str], None]) -> None:
    """Receive and read the feeds of this twin until SIGTERM or Ctrl-C. Raises SetupError where they are wrong."""
    home = settings().home
    feeds = feeds_of(home, catalog())
    connect().migrate()
    context = multiprocessing.get_context("spawn")
    stopping = _told_to_stop()
    jobs: list[tuple[Callable[..., None], tuple[int, ...]]] = [(_receive, ())]
    jobs += [(_work, (number, workers)) for number in range(workers)]
    running = [_started(context, job, arguments) for job, arguments in jobs]
    say(f"receiving {len(feeds)} feeds ({', '.join(feed.id for feed in feeds)}), {workers} workers read them")
    while not stopping.wait(_RESTART_S):
        for place, process in enumerate(running):
            if not process.is_alive():
                _log.warning("%s ended with %s; it is started again", process.name, process.exitcode)
                running[place] = _started(context, *jobs[place])
    for process in running:
        process.terminate()
    for process in running:
        process.join(_DRAIN_S + _LONGEST_PAUSE_S)
        if process.is_alive():
            process.kill()


def _told_to_stop() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()

    def tell(_signal: int, _frame: object) -> None:
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, tell)
    return stop


def _started(context: SpawnContext, job: Callable[..., None], arguments: tuple[int, ...]) -> SpawnProcess:
    name = "-".join((job.__name__.strip("_"), *map(str, arguments[:1])))
    process = context.Process(target=job, args=arguments, name=name)
    process.start()
    return process


def _receive() -> None:
    home = settings().home
    feeds = feeds_of(home, catalog())

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, lambda: task and task.cancel())
        with contextlib.suppress(asyncio.CancelledError):
            await receive_feeds(connect(), catalog(), home, feeds)

    try:
        asyncio.run(main())
    except TwinError as error:
        _log.error("%s", error)
        raise SystemExit(2) from error


def _work(number: int, workers: int) -> None:
    stop, home = _told_to_stop(), settings().home
    mine = [feed for feed in feeds_of(home, catalog()) if zlib.crc32(feed.id.encode()) % workers == number]
    work(Worker(connect(), catalog(), city(), home), mine, stop)
