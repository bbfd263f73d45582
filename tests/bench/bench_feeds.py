"""Feeds: messages decoded, kept, and placed, one process each.

No peer reads these protocols into PostGIS; the targets stand beside the figures. Messages are of 400 vehicles and of
one air station; devices are 50 connections of this machine that send as fast as they are read.
"""

import asyncio
import datetime as dt
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ingest.codecs import hj212, jt808
from ingest.running import receive_feeds
from ingest.worker import Worker
from layers import arrivals
from layers.catalog import catalog
from layers.feeds import TcpFeed
from layers.store import apply
from tests.bench.harness import Case, Figure, Measured, measure
from twin.city import load_city
from twin.cluster import Cluster
from twin.database import Database, private_database

__all__ = ["run"]

_VEHICLES = "transport.vehicles"
_CODEC, _STREAM, _CONNECTIONS, _ROUNDS = 20_000, 60_000, 50, 5
_BEIJING = dt.timezone(dt.timedelta(hours=8))
_PACKAGES = ("polars", "psycopg", "sqlalchemy", "numba")


def _positions(count: int, start: dt.datetime) -> list[bytes]:
    found: list[bytes] = []
    for number in range(count):
        vehicle, moment = number % 400, number // 400
        time_ = f"{start + dt.timedelta(seconds=moment):%y%m%d%H%M%S}"
        body = jt808.location(117.2 + vehicle / 2000, 34.8 + moment / 20_000, 36.0, 90.0, time_)
        found.append(jt808.encode(0x0200, str(13_800_000_000 + vehicle), number, body))
    return found


def _readings(count: int) -> list[bytes]:
    values = ";".join(f"a{code}-Rtd={code / 1000:.2f},a{code}-Flag=N" for code in (34004, 34002, 21026, 21004, 5024))
    text = "QN=20260104081500123;ST=22;CN=2011;PW=123456;MN=88888880000001;Flag=5;CP=&&DataTime=20260104081500;"
    return [hj212.encode(f"{text}{values}&&")[:-2]] * count


@contextmanager
def _prepared() -> Iterator[tuple[Database, Path]]:
    """A database with the catalogue, which survives a crash."""
    home = Path(tempfile.mkdtemp(prefix="twin-"))
    home.chmod(0o755)
    cluster = Cluster(home)
    cluster.start()
    try:
        database = private_database(cluster, "feeds")
        database.migrate()
        with database.writing() as connection:
            apply(connection, catalog(), load_city("zaozhuang"))
        yield database, home
        asyncio.run(database.aclose())
    finally:
        cluster.stop()
        shutil.rmtree(home)


def _send(port: int, messages: list[bytes]) -> None:
    """Send messages over many connections at once, and read the answers away."""

    async def device(mine: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        wanted = sum(len(jt808.answer(message) or b"") for message in mine)

        async def answers() -> None:
            got = 0
            while got < wanted:
                got += len(await reader.read(1 << 16))

        reading = asyncio.create_task(answers())
        for start in range(0, len(mine), 50):
            writer.write(b"".join(mine[start : start + 50]))
            await writer.drain()
        await reading
        writer.close()

    async def main() -> None:
        await asyncio.gather(*(device(messages[k::_CONNECTIONS]) for k in range(_CONNECTIONS)))

    asyncio.run(main())


def _kept_per_second(database: Database, home: Path, messages: list[bytes]) -> float:
    """Messages a second from sockets to the disk, each answered: the median of some rounds."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    feed = TcpFeed(id="kept", transport="tcp", protocol="jt808", listen=f"127.0.0.1:{port}", datasets=(_VEHICLES,))
    rates: list[float] = []

    async def main() -> None:
        ready = asyncio.Event()
        running = asyncio.create_task(receive_feeds(database, catalog(), home, [feed], ready.set))
        await ready.wait()
        for _ in range(_ROUNDS):
            done = asyncio.Event()
            loop = asyncio.get_running_loop()

            def devices(done: asyncio.Event = done, loop: asyncio.AbstractEventLoop = loop) -> None:
                started = time.perf_counter()
                _send(port, messages)
                rates.append(len(messages) / (time.perf_counter() - started))
                loop.call_soon_threadsafe(done.set)

            threading.Thread(target=devices).start()
            await done.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    return sorted(rates)[_ROUNDS // 2]


def _placed_per_second(database: Database, home: Path) -> float:
    """Messages a second that one worker takes from the inbox into PostGIS and H3: the median of some rounds."""
    feed = TcpFeed(id="placed", transport="tcp", protocol="jt808", listen="127.0.0.1:1", datasets=(_VEHICLES,))
    worker = Worker(database, catalog(), load_city("zaozhuang"), home)
    rates: list[float] = []
    start = dt.datetime.now(_BEIJING) - dt.timedelta(hours=6)
    for number in range(_ROUNDS + 1):
        messages = _positions(_STREAM, start + dt.timedelta(hours=number))
        for at in range(0, len(messages), 1_000):
            part = messages[at : at + 1_000]
            with database.writing() as connection:
                arrivals.receive(connection, feed.id, arrivals.pack(part), len(part))
        started = time.perf_counter()
        while worker.step(feed):
            pass
        rates.append(len(messages) / (time.perf_counter() - started))
    return sorted(rates[1:])[_ROUNDS // 2]


def run() -> list[Measured]:
    """Measure all cases."""
    positions = _positions(_CODEC, dt.datetime.now(_BEIJING))
    readings = _readings(_CODEC)
    with _prepared() as (database, home):
        placed = _placed_per_second(database, home)
        kept = _kept_per_second(database, home, _positions(_STREAM, dt.datetime.now(_BEIJING)))
    return [
        measure(Case("HJ 212 decoded, with its check sum", lambda: [hj212.decode(one) for one in readings], {}, _CODEC,
                     "messages", ">= 70,000 messages/s", packages=_PACKAGES)),
        measure(Case("JT/T 808 positions decoded", lambda: [jt808.decode(one) for one in positions], {}, _CODEC,
                     "messages", ">= 200,000 messages/s", packages=_PACKAGES)),
        Figure("from sockets to the disk, each answered (the devices share the process)", kept, "messages/s",
               ">= 20,000"),
        Figure("from the inbox to places, PostGIS and H3, one worker", placed, "messages/s", ">= 8,000"),
    ]  # fmt: skip
