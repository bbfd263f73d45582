"""Live: from sensors to listeners, 10,000 vehicles once a second.

Everything runs on this machine: the devices, PostgreSQL, one worker, one server process, the listeners. For the many
listeners vehicles move straight through a worker, and what is told is the time from its commit to the last byte of
each listener's frame. From sensor to browser is from when a device sends to when a listener has the frame.
"""

import asyncio
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from websockets.sync.client import connect

from ingest.codecs import jt808
from ingest.running import receive_feeds
from ingest.worker import Worker
from layers import arrivals
from layers.catalog import catalog
from layers.feeds import TcpFeed
from layers.store import apply
from layers.versions import versions
from tests.api.frames import read_frame
from tests.bench.harness import Figure, Measured
from tests.bench.serving import serving
from tests.ingest.broker import free_port
from twin.city import load_city
from twin.cluster import Cluster
from twin.database import Database, private_database

__all__ = ["run"]

_BUSES = "transport.buses"
_VEHICLES, _LISTENERS, _ROUNDS = 10_000, 1_000, 20
_CITY = "zaozhuang"
_BEIJING = dt.timezone(dt.timedelta(hours=8))
_SERVER = ["-m", "uvicorn", "api.app:app_from_settings", "--factory", "--port", "{port}", "--log-level", "warning",
           "--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]  # fmt: skip


def _positions(moment: dt.datetime, step: int) -> list[bytes]:
    """What each vehicle says at a moment: it goes east."""
    time_ = f"{moment.astimezone(_BEIJING):%y%m%d%H%M%S}"
    return [
        jt808.encode(
            0x0200, str(13_800_000_000 + number), step,
            jt808.location(117.2 + number / 50_000 + step / 10_000, 34.8 + number / 100_000, 36.0, 90.0, time_),
        )
        for number in range(_VEHICLES)
    ]  # fmt: skip


@contextmanager
def _served() -> Iterator[tuple[Database, Path, str]]:
    home = Path(tempfile.mkdtemp(prefix="twin-"))
    home.chmod(0o755)
    cluster = Cluster(home)
    cluster.start()
    try:
        database = private_database(cluster, _CITY)
        database.migrate()
        with database.writing() as connection:
            apply(connection, catalog(), load_city(_CITY))
        environment = {**os.environ, "TWIN_HOME": str(home), "TWIN_CITY": _CITY, "TWIN_RATE_PER_MINUTE": "0"}
        with serving(_SERVER, environment) as url:
            yield database, home, url.replace("http", "ws")
        asyncio.run(database.aclose())
    finally:
        cluster.stop()
        shutil.rmtree(home)


def _many_listeners(database: Database, home: Path, url: str) -> tuple[np.ndarray[Any, Any], float]:
    """Milliseconds that frames take to many listeners while vehicles move once a second, and bytes a frame."""
    feed = TcpFeed(id="buses", transport="tcp", protocol="jt808", listen="127.0.0.1:1", datasets=(_BUSES,))
    worker = Worker(database, catalog(), load_city(_CITY), home)

    def move(step: int) -> None:
        messages = _positions(dt.datetime.now(dt.UTC), step)
        with database.writing() as connection:
            arrivals.receive(connection, feed.id, arrivals.pack(messages), len(messages))
        worker.step(feed)
        committed = time.time()
        with database.writing() as connection:
            moment = connection.scalar(sa.select(versions.c.changed_at).where(versions.c.dataset == _BUSES))
        commits.append((moment or dt.datetime.now(dt.UTC), committed))

    commits: list[tuple[dt.datetime, float]] = []
    move(0)
    words = ["-m", "tests.bench.live_listeners", f"{url}/live/ws?collections={_BUSES}", str(_LISTENERS), "30"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as listeners:
        if listeners.stdout is None or listeners.stdout.readline() != "ready\n":
            raise AssertionError("the listeners did not get ready")
        for step in range(1, _ROUNDS + 1):
            began = time.monotonic()
            move(step)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
        said = orjson.loads(listeners.stdout.readline())
    took_ms = [1_000 * (at - committed)
               for moment, committed in commits
               for told, times in said["arrived"].items() if dt.datetime.fromisoformat(told) == moment
               for at in times]  # fmt: skip
    return np.array(took_ms), said["bytes"] / max(1, len(took_ms))


def _receive(database: Database, home: Path, feed: TcpFeed, stop: threading.Event) -> None:
    async def main() -> None:
        running = asyncio.create_task(receive_feeds(database, catalog(), home, [feed]))
        await asyncio.to_thread(stop.wait)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def _place(database: Database, home: Path, feed: TcpFeed, stop: threading.Event) -> None:
    worker = Worker(database, catalog(), load_city(_CITY), home)
    while not stop.is_set():
        if not worker.step(feed):
            time.sleep(0.02)


def _listen(url: str, stop: threading.Event, heard: list[tuple[float, np.ndarray[Any, Any]]]) -> None:
    """Note when frames arrive, and the moments that things in them were seen at."""
    with connect(f"{url}/live/ws?collections={_BUSES}", max_size=None) as socket:
        while not stop.is_set():
            try:
                head, columns = read_frame(bytes(socket.recv(timeout=0.5)))
            except TimeoutError:
                continue
            if head["kind"] == "delta" and "observed_at" in columns:
                heard.append((time.time(), columns["observed_at"]))


async def _send(port: int) -> dict[int, float]:
    """Let the vehicles report once a second; returns when they did, by the second that they say."""
    sent: dict[int, float] = {}
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]

    async def answers(reader: asyncio.StreamReader) -> None:
        while await reader.read(1 << 16):
            pass

    readers = [asyncio.create_task(answers(reader)) for reader, _ in streams]
    start = dt.datetime.now(dt.UTC).replace(microsecond=0)
    for step in range(1, _ROUNDS + 1):
        moment = start + dt.timedelta(seconds=step)
        messages = _positions(moment, step)
        await asyncio.sleep(max(0.0, moment.timestamp() - time.time()))
        sent[int(moment.timestamp())] = time.time()
        for number, (_, writer) in enumerate(streams):
            writer.write(b"".join(messages[number :: len(streams)]))
    await asyncio.sleep(5)
    for task, (_, writer) in zip(readers, streams, strict=True):
        task.cancel()
        writer.close()
    return sent


def _from_sensors(database: Database, home: Path, url: str) -> float:
    """Seconds from sending to a listener, 95th percentile of all vehicles' reports; NaN where any is missing."""
    port, stop = free_port(), threading.Event()
    feed = TcpFeed(id="sensors", transport="tcp", protocol="jt808", listen=f"127.0.0.1:{port}", datasets=(_BUSES,))
    heard: list[tuple[float, np.ndarray[Any, Any]]] = []
    threads = [
        threading.Thread(target=_receive, args=(database, home, feed, stop)),
        threading.Thread(target=_place, args=(database, home, feed, stop)),
        threading.Thread(target=_listen, args=(url, stop, heard)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(2)
    sent = asyncio.run(_send(port))
    stop.set()
    for thread in threads:
        thread.join()
    seconds = np.concatenate([at - np.array([sent.get(int(one), np.nan) for one in seen]) for at, seen in heard])
    return float(np.quantile(seconds, 0.95)) if len(seconds) == _VEHICLES * _ROUNDS else float("nan")


def run() -> list[Measured]:
    """Measure both."""
    with _served() as (database, home, url):
        took_ms, size = _many_listeners(database, home, url)
        sensors_s = _from_sensors(database, home, url)
    p50_ms, p95_ms = np.quantile(took_ms, [0.5, 0.95])
    many = "10,000 vehicles at 1 Hz to 1,000 listeners, one process"
    return [
        Figure(f"{many}: frame, 95th percentile", float(p95_ms), "ms", "<= 200 ms"),
        Figure(f"{many}: frame, median", float(p50_ms), "ms", ""),
        Figure(f"{many}: frames of 20 moves that arrived", len(took_ms), "frames", "20,000"),
        Figure(f"{many}: size of a frame", size, "bytes", ""),
        Figure("sensor to listener, 10,000 vehicles at 1 Hz: 95th percentile", 1000 * sensors_s, "ms", "<= 2,000 ms"),
    ]
