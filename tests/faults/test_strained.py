"""Nothing lost when the API is killed under load, when the disk is full for real, and when ten times as much comes."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingest.codecs import jt808
from ingest.running import receive_feeds, work
from ingest.worker import Worker
from layers.catalog import catalog
from layers.feeds import FEEDS, read_feeds
from layers.store import apply
from tests.faults.test_killed import device, stored
from tests.ingest.test_running import ROOT, TWIN, feed, free_port, twin_runs, wait_for
from tests.ingest.test_worker import VEHICLES, ask, drain, position
from tests.layers.park import CITY
from twin.cluster import Cluster
from twin.database import Database, private_database

PUSHED = """
[[feed]]
id = "amenities"
transport = "push"
protocol = "json"
datasets = ["services.amenities"]
token = "amenities"
"""
WORKER_MB = 500
"""What a worker may take, however much comes: 270 MB of it are the libraries that it needs."""


@pytest.fixture
def prepared(home: Path) -> Iterator[tuple[Path, Database]]:
    """A state folder with a durable database and the catalogue."""
    cluster = Cluster(home)
    cluster.start()
    database = private_database(cluster, "zaozhuang")
    database.migrate()
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    yield home, database
    asyncio.run(database.aclose())
    with contextlib.suppress(Exception):
        cluster.stop()


def serve(home: Path, port: int) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    environment = {**kept, "TWIN_HOME": str(home), "TWIN_PORT": str(port), "PYTHONPATH": str(ROOT),
                   "TWIN_RATE_PER_MINUTE": "0"}  # fmt: skip
    (home / "up.pid").unlink(missing_ok=True)
    return subprocess.Popen([*TWIN, "up"], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_the_api_is_killed_while_messages_are_pushed(prepared: tuple[Path, Database]) -> None:
    """Who is answered with 202 has been heard; who is not sends again."""
    home, database = prepared
    port, senders, each = free_port(), 8, 60
    (home / FEEDS).write_text(PUSHED)
    (home / "secrets").mkdir()
    (home / "secrets" / "amenities").write_text("let me in")
    accepted: Counter[int] = Counter()

    async def sender(number: int, client: httpx.AsyncClient) -> None:
        for message in range(each):
            amenity = {
                "amenity_id": f"A{number}-{message}",
                "name": "厕所",
                "kind": "toilet",
                "lon": 117.3,
                "lat": 34.8,
            }
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.post(f"http://127.0.0.1:{port}/push/amenities", content=json.dumps(amenity))
                    if answer.status_code == 202:
                        accepted[number] += 1
                        break
                await asyncio.sleep(0.05)

    async def main() -> None:
        async with httpx.AsyncClient(headers={"Authorization": "Bearer let me in"}, timeout=10) as client:
            sending = asyncio.gather(*(sender(number, client) for number in range(senders)))
            for kill in range(1, 4):
                server = await asyncio.to_thread(serve, home, port)
                while accepted.total() < kill * senders * each // 4:
                    assert server.poll() is None
                    await asyncio.sleep(0.01)
                server.send_signal(signal.SIGKILL)
                server.wait()
            server = await asyncio.to_thread(serve, home, port)
            await asyncio.wait_for(sending, 60)
            server.terminate()
            await asyncio.to_thread(server.wait, 30)

    asyncio.run(main())
    assert accepted.total() == senders * each
    Cluster(home).start()  # the last server ended with its database
    (amenities,) = read_feeds(home / FEEDS, catalog())
    drain(Worker(database, catalog(), CITY, home), amenities)
    assert ask(database, "SELECT count(*), count(DISTINCT id) FROM services.amenities") == [(accepted.total(),) * 2]
    assert ask(database, "SELECT count(*) FROM twin.quarantine") == [(0,)]


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of its own, small enough to be filled."""
    disk = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m,mode=755", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """Nothing is answered that is not kept; with room again everything is taken in, whoever had filled the disk."""
    home = small_disk / "home"
    home.mkdir(mode=0o755)
    cluster = Cluster(home)
    cluster.start()
    database = private_database(cluster, "full")
    database.migrate()
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    port, terminals, moments, answered = free_port(), 10, list(range(0, 200, 4)), Counter[int]()
    vehicles = feed("jt808", port, VEHICLES)
    stop = threading.Event()
    reading = threading.Thread(target=work, args=(Worker(database, catalog(), CITY, home), [vehicles], stop))

    async def main() -> None:
        ready = asyncio.Event()
        running = asyncio.create_task(receive_feeds(database, catalog(), home, [vehicles], ready.set))
        await asyncio.wait_for(ready.wait(), 30)
        devices = asyncio.gather(*(device(port, number, moments, answered) for number in range(1, terminals + 1)))
        while answered.total() < 100:  # noqa: ASYNC110  (devices only count)
            await asyncio.sleep(0.02)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        await asyncio.sleep(1)
        before = answered.total()
        await asyncio.sleep(4)
        assert answered.total() == before, "nothing is answered that cannot be kept"
        filler.unlink()
        await asyncio.wait_for(devices, 120)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    reading.start()
    try:
        asyncio.run(main())
        wait_for(60, lambda: stored(database) == terminals * len(moments))
    finally:
        stop.set()
        reading.join(60)
        asyncio.run(database.aclose())
        cluster.stop()
    assert answered.total() == terminals * len(moments)


def resident_mb(pid: int) -> dict[str, float]:
    """Memory of the processes below one, by what they are."""
    found: dict[str, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            words = (path.parent / "cmdline").read_text()
            if int(fields[1]) == pid and "spawn_main" in words:
                status = (path.parent / "status").read_text()
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                found[path.parent.name] = int(peak.split()[1]) / 1024
    return found


def test_ten_times_as_much_for_half_a_minute(prepared: tuple[Path, Database]) -> None:
    """2,800 vehicles report every second instead of every ten: all of it is placed, and memory stays bounded."""
    home, database = prepared
    port, count, seconds = free_port(), 2_800, 30
    (home / FEEDS).write_text(
        f'[[feed]]\nid = "vehicles"\ntransport = "tcp"\nprotocol = "jt808"\nlisten = "127.0.0.1:{port}"\n'
        f'datasets = ["{VEHICLES}"]\n'
    )

    def reports(second: int) -> list[bytes]:
        return [position(str(10_000 + number), second) for number in range(count)]

    with twin_runs(home, "--workers", "1") as process:
        wait_for(60, lambda: listens(port))
        with socket.create_connection(("127.0.0.1", port)) as line:
            wanted = count * seconds * len(jt808.answer(position("10000", 0)) or b"")
            answers = threading.Thread(target=read_away, args=(line, wanted))
            answers.start()
            began = time.monotonic()
            for second in range(seconds):
                line.sendall(b"".join(reports(second)))
                time.sleep(max(0.0, began + second + 1 - time.monotonic()))
            answers.join(60)
            assert not answers.is_alive(), "every message is answered"
        wait_for(60, lambda: stored(database) == count * seconds)
        memory = resident_mb(process.pid)
    assert ask(database, "SELECT count(*), count(DISTINCT id) FROM transport.vehicles") == [(count * seconds,) * 2]
    assert len(memory) == 2, "one receives, one reads"
    sys.stderr.write(f"peak memory of the two processes: {memory}\n")
    assert max(memory.values()) < WORKER_MB, memory


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def read_away(line: socket.socket, wanted: int) -> None:
    while wanted > 0:
        wanted -= len(line.recv(1 << 16))
