"""Nothing lost, nothing doubled: workers and PostgreSQL are killed in the middle of what they do."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.codecs import jt808
from ingest.running import receive_feeds, work
from ingest.worker import Worker
from layers import arrivals
from layers.catalog import catalog
from layers.store import apply
from tests.faults.killed_worker import read
from tests.ingest.test_running import feed, free_port
from tests.ingest.test_worker import VEHICLES, ask, drain, position
from tests.layers.park import CITY
from twin.cluster import Cluster
from twin.database import Database, private_database

KILLS, VEHICLE_COUNT, MOMENTS = 40, 400, 60
_STATE = (
    (
        "SELECT id, subject, observed_at, ST_AsBinary(geom), cell, place_method, speed_kmh, heading_deg, extra::text"
        " FROM transport.vehicles WHERE upper_inf(recorded) ORDER BY subject, observed_at"
    ),
    'SELECT id, subject, observed_at, ST_AsBinary(geom), speed_kmh FROM transport."vehicles__latest" ORDER BY subject',
    'SELECT cell, bucket, n, total, squares FROM indicators."transport.vehicle_speed_mean" ORDER BY cell, bucket',
    'SELECT cell, bucket, n, total FROM indicators."transport.vehicle_alarm_share" ORDER BY cell, bucket',
)


def traffic(chance: random.Random) -> tuple[list[bytes], list[bytes]]:
    """What vehicles send: all messages once and in order; and as they arrive: shuffled, and three in ten sent twice."""
    sent = [
        position(str(1 + vehicle), 4 * moment, 10 + vehicle % 60)
        for moment in range(MOMENTS)
        for vehicle in range(VEHICLE_COUNT)
    ]
    late = [(number + chance.uniform(0, 2_000), message) for number, message in enumerate(sent)]
    twice = [(at + chance.uniform(0, 4_000), message) for at, message in late if chance.random() < 0.3]
    return sent, [message for _, message in sorted(late + twice)]


def keep(database: Database, source: str, messages: list[bytes], together: int) -> None:
    for start in range(0, len(messages), together):
        part = messages[start : start + together]
        with database.writing() as connection:
            arrivals.receive(connection, source, arrivals.pack(part), len(part))


def state(database: Database) -> list[list[tuple[object, ...]]]:
    return [ask(database, query) for query in _STATE]


@pytest.fixture
def prepared(cluster: Cluster) -> Iterator[tuple[Database, str, Database]]:
    """Two databases with the catalogue, and the name of the first."""
    name = f"killed_{os.getpid()}"
    one, two = (private_database(cluster, each) for each in (name, f"{name}_sorted"))
    for database in (one, two):
        database.migrate()
        with database.writing() as connection:
            apply(connection, catalog(), CITY)
    yield one, name, two
    for database in (one, two):
        asyncio.run(database.aclose())


def test_workers_killed_again_and_again(cluster: Cluster, prepared: tuple[Database, str, Database]) -> None:
    database, name, other = prepared
    chance = random.Random(40)  # noqa: S311
    sent, arriving = traffic(chance)
    vehicles = feed("jt808", 1, VEHICLES)
    keep(database, vehicles.id, arriving, 50)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.killed_worker"])
    progress: list[int] = []
    for _ in range(KILLS):
        ready = context.Event()
        process = context.Process(target=read, args=(str(cluster.home), name, vehicles, 300, ready), daemon=True)
        process.start()
        assert ready.wait(60)
        time.sleep(chance.uniform(0, 0.9))
        if process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        progress.append(ask(database, "SELECT coalesce(sum(messages), 0) FROM twin.sources")[0][0])
    worker = Worker(database, catalog(), CITY, cluster.home)
    assert len(set(progress)) > 3, f"the kills hit work in progress: {progress}"
    drain(worker, vehicles)
    work_off(worker)
    keep(other, vehicles.id, sorted(sent), 5_000)
    replayed = Worker(other, catalog(), CITY, cluster.home)
    drain(replayed, vehicles)
    work_off(replayed)
    assert ask(database, "SELECT count(*) FROM transport.vehicles") == [(len(sent),)], "lost 0, doubled 0"
    assert state(database) == state(other)
    (account,) = ask(database, "SELECT messages, records, broken FROM twin.sources")
    assert account == (len(arriving), len(arriving), 0)
    sums = ask(database, "SELECT sum(received), sum(accepted), sum(duplicate), sum(quarantined) FROM twin.batches")
    assert sums == [(len(arriving), len(sent), len(arriving) - len(sent), 0)]


def work_off(worker: Worker) -> None:
    """What `work` does last: sum up what changed."""
    stop = threading.Event()
    stop.set()
    work(worker, [], stop)


async def device(port: int, terminal: int, moments: list[int], answered: Counter[int]) -> None:
    """Sends its positions one by one, each again until it is answered."""
    for moment in moments:
        message = position(str(terminal), moment)
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(message)
                said = await asyncio.wait_for(reader.readexactly(len(jt808.answer(message) or b"")), 5)
                writer.close()
                assert said == jt808.answer(message)
                answered[terminal] += 1
                break
            await asyncio.sleep(0.05)


def test_postgres_killed_under_load(home: Path) -> None:
    """What was answered is there; what was not is sent again; ingest goes on once the database is back."""
    cluster = Cluster(home)
    cluster.start()
    database = private_database(cluster, "killed")
    database.migrate()
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    port, answered, terminals, moments = free_port(), Counter[int](), 20, list(range(0, 240, 4))
    vehicles = feed("jt808", port, VEHICLES)
    stop = threading.Event()
    reading = threading.Thread(target=work, args=(Worker(database, catalog(), CITY, home), [vehicles], stop))
    gaps_s: list[float] = []

    async def main() -> None:
        ready = asyncio.Event()
        running = asyncio.create_task(receive_feeds(database, catalog(), home, [vehicles], ready.set))
        await asyncio.wait_for(ready.wait(), 30)
        devices = asyncio.gather(*(device(port, number, moments, answered) for number in range(1, terminals + 1)))
        for kill in range(1, 4):
            while answered.total() < kill * terminals * len(moments) // 5:  # noqa: ASYNC110  (devices only count)
                await asyncio.sleep(0.02)
            pid = cluster.status().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(restarted, cluster)
            back, before = time.monotonic(), answered.total()
            while answered.total() == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            gaps_s.append(time.monotonic() - back)
        await asyncio.wait_for(devices, 120)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    reading.start()
    try:
        asyncio.run(main())
        deadline = time.monotonic() + 60
        while stored(database) < terminals * len(moments):
            assert time.monotonic() < deadline, "what was kept is not read"
            time.sleep(0.2)
    finally:
        stop.set()
        reading.join(60)
    assert answered.total() == terminals * len(moments)
    assert ask(database, "SELECT count(*), count(DISTINCT id) FROM transport.vehicles") == [(answered.total(),) * 2]
    assert max(gaps_s) < 10, f"ingest went on after {gaps_s} s"
    asyncio.run(database.aclose())


def stored(database: Database) -> int:
    with contextlib.suppress(Exception):
        return int(ask(database, "SELECT count(*) FROM transport.vehicles")[0][0])
    return 0


def restarted(cluster: Cluster) -> None:
    """Start the cluster again, once what the killed one held is free."""
    deadline = time.monotonic() + 30
    while True:
        try:
            cluster.start()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return
