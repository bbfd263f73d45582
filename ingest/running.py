"""Running feeds: one process receives, any number of processes read and write; adding one is a number.

The processes know nothing of each other and meet in the database. Whichever dies is started again, and goes on where
the last commit left off.
"""

import asyncio
import contextlib
import datetime as dt
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

from ingest.incidents import expire_incidents
from ingest.intake import Intake
from ingest.sources import Source
from ingest.sources.asking import Asker
from ingest.sources.mqtt import MqttSession
from ingest.sources.sip import SipServer
from ingest.sources.sql import SqlReader
from ingest.sources.tcp import TcpServer
from ingest.sources.web import WebReader
from ingest.telling import tell_freshness
from ingest.worker import Worker
from layers.arrivals import ARRIVALS_CHANNEL
from layers.catalog import Catalog, catalog
from layers.dirty import refresh_dirty, waiting_for_refresh
from layers.feeds import (
    FEEDS,
    FRESHNESS,
    OWN_FEEDS,
    Feed,
    FolderFeed,
    HttpFeed,
    MqttFeed,
    OwnFeed,
    PushFeed,
    SipFeed,
    SqlFeed,
    TcpFeed,
    read_feeds,
)
from twin.city import city
from twin.database import Database, connect
from twin.disk import has_room
from twin.errors import SetupError, Transient, TwinError
from twin.settings import settings

__all__ = ["feeds_of", "receive_feeds", "run", "work"]

_REFRESH_EVERY_S = 10.0
_JUDGE_EVERY_S = 30.0
_IDLE_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_DRAIN_S = 10.0
_RESTART_S = 1.0
_START_AGAIN_S = 10.0
_log = logging.getLogger("twin.ingest")


def feeds_of(home: Path, contracts: Catalog) -> tuple[Feed, ...]:
    """The feeds of a state folder. Raises SetupError that names what is wrong with them."""
    return read_feeds(home / FEEDS, contracts)


async def receive_feeds(
    database: Database, contracts: Catalog, home: Path, feeds: Sequence[Feed], ready: Callable[[], None] | None = None
) -> None:
    """Receive until cancelled; what has arrived by then is kept before this returns.

    A feed that cannot be received is tried again, and holds up no other. Raises, in a group, whatever an intake cannot
    go on after.
    """
    async with asyncio.TaskGroup() as group:
        tried: list[asyncio.Event] = []
        for feed in feeds:
            if isinstance(feed, PushFeed | FolderFeed):
                continue
            seal = any(contracts[dataset].names_somebody for dataset in feed.datasets)
            tried.append(asyncio.Event())
            group.create_task(_receive_feed(feed, Intake(database, feed, home, seal), tried[-1]))
        for one in tried:
            await one.wait()
        if ready is not None:
            ready()
        await asyncio.Event().wait()


async def _receive_feed(feed: Feed, intake: Intake, tried: asyncio.Event) -> None:
    """Receive one feed until cancelled. `tried` is set when it was started, or has failed to for the first time."""
    keeping = asyncio.create_task(intake.run())
    try:
        while True:
            try:
                source = _source(feed, intake)
                await source.start()
                break
            except SetupError as error:
                await intake.contact(str(error))
                tried.set()
                await asyncio.sleep(_START_AGAIN_S)
        await intake.contact(None)
        tried.set()
        try:
            # It never ends by itself: without it devices would wait for answers for ever.
            await asyncio.shield(keeping)
        finally:
            source.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await intake.drain()
            source.stop()
    finally:
        keeping.cancel()


def _source(feed: Feed, intake: Intake) -> Source:
    """The transport of a feed. Raises SetupError where it lacks a secret."""
    match feed:
        case TcpFeed():
            return TcpServer(feed, intake)
        case SipFeed():
            return SipServer(feed, intake)
        case MqttFeed():
            return MqttSession(feed, intake)
        case HttpFeed():
            return Asker(feed, intake, WebReader(feed, intake.home).ask)
        case SqlFeed():
            return Asker(feed, intake, SqlReader(feed, intake.home).ask)
        case PushFeed() | FolderFeed():
            raise TypeError(f"what comes over {feed.transport} is not received here")


def work(worker: Worker, feeds: Sequence[Feed | OwnFeed], stop: threading.Event) -> None:
    """Read feeds until `stop` is set; what changed in between is summed up every few seconds.

    While the database is away, or its disk nearly full, it waits and tries again.
    """
    pause_s, refreshed_s, judged_s = _FIRST_PAUSE_S, 0.0, 0.0
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
                    if not busy:  # else what has not been heard yet may wait to be read
                        _expire(worker, feeds)
                if FRESHNESS in feeds and time.monotonic() - judged_s > _JUDGE_EVERY_S:
                    _tell_freshness(worker)
                    judged_s = time.monotonic()
                if not busy:
                    ear.listen(_IDLE_S)
                pause_s = _FIRST_PAUSE_S
            except Transient as error:
                _log.warning("%s", error)
                stop.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        with contextlib.suppress(Transient):  # what waits is worked off by the next one
            _refresh(worker)


def _tell_freshness(worker: Worker) -> None:
    """One worker judges for all: the one that reads what is told."""
    try:
        feeds = feeds_of(worker.home, worker.catalog)
    except SetupError as error:
        _log.warning("%s", error)
        return
    with worker.database.writing() as connection:
        tell_freshness(connection, worker.catalog, worker.city, feeds, dt.datetime.now(dt.UTC))


def _expire(worker: Worker, feeds: Sequence[Feed | OwnFeed]) -> None:
    mine = {dataset for feed in feeds for dataset in feed.datasets}
    with worker.database.writing() as connection:
        expire_incidents(connection, worker.catalog, sorted(mine), dt.datetime.now(dt.UTC))


def _stepped(worker: Worker, feed: Feed | OwnFeed) -> int:
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
    if any(isinstance(feed, FolderFeed) for feed in feeds):
        jobs.append((_load, ()))
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


def _load() -> None:
    """Load the files of watched folders. A process of its own, since a large file takes long."""
    # Only here: what reads files needs twice the memory of what reads messages.
    from ingest.pipeline import Loader  # noqa: PLC0415
    from ingest.sources.folder import FolderReader, load_folders  # noqa: PLC0415

    stop, home = _told_to_stop(), settings().home
    reader = FolderReader(Loader(connect(), catalog(), city(), home))
    folders = [feed for feed in feeds_of(home, catalog()) if isinstance(feed, FolderFeed)]
    load_folders(reader, folders, stop)


def _work(number: int, workers: int) -> None:
    stop, home = _told_to_stop(), settings().home
    read = [feed for feed in feeds_of(home, catalog()) if not isinstance(feed, FolderFeed)]
    mine = [feed for feed in (*read, *OWN_FEEDS) if zlib.crc32(feed.id.encode()) % workers == number]
    work(Worker(connect(), catalog(), city(), home), mine, stop)
