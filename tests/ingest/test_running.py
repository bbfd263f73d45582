"""Running feeds over real sockets: received, answered when kept, read by any number of processes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from ingest.codecs import hj212, jt808
from ingest.intake import Intake
from ingest.running import receive_feeds
from layers.arrivals import unpack
from layers.catalog import catalog
from layers.feeds import FEEDS, TcpFeed, read_feeds
from tests.ingest.broker import free_port
from tests.ingest.test_worker import VEHICLES, ask, position, reading
from twin.database import Database
from twin.errors import SetupError

ROOT = Path(__file__).parents[2]
TWIN = [sys.executable, "-c", "from twin.cli import main; main()"]


def feed(protocol: str, port: int, dataset: str) -> TcpFeed:
    return TcpFeed.model_validate(
        {"id": protocol, "transport": "tcp", "protocol": protocol, "listen": f"127.0.0.1:{port}", "datasets": [dataset]}
    )


def received(database: Database, source: str) -> list[bytes]:
    rows = ask(database, f"SELECT raw FROM twin.inbox WHERE source = '{source}' ORDER BY id")
    return [message for row in rows for message in unpack(bytes(row[0]))]


async def talk(port: int, *chunks: bytes, answers: int) -> bytes:
    """Send chunks and return what comes back, up to so many bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
    said = b""
    while len(said) < answers:
        said += await asyncio.wait_for(reader.read(65_536), 20)
    writer.close()
    await writer.wait_closed()
    return said


def test_devices_are_answered_once_their_messages_are_kept(database: Database, tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    feeds = [feed("jt808", port, VEHICLES), feed("hj212", other, "environment.air_stations")]
    frame, beat = position("13800000001", 0), jt808.encode(0x0002, "13800000001", 3, b"")
    expected = b"".join(jt808.answer(one) or b"" for one in (frame, beat))
    line = hj212.encode("QN=20260104081500123;" + reading("1", 0).replace("Flag=4", "Flag=5"))

    async def main() -> None:
        ready = asyncio.Event()
        running = asyncio.create_task(receive_feeds(database, catalog(), tmp_path, feeds, ready.set))
        await asyncio.wait_for(ready.wait(), 30)
        said = await talk(port, frame[:9], frame[9:] + beat, answers=len(expected))
        assert said == expected
        assert received(database, "jt808") == [frame, beat]
        assert await talk(other, line, answers=20) == hj212.answer(line[:-2])
        await talk(port, b"\x7ecut off", answers=0)
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert received(database, "hj212") == [line[:-2]]
    assert received(database, "jt808")[-1] == b"\x7ecut off", "what was cut off arrived too"


def test_a_full_intake_makes_devices_wait(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room on the disk nothing is taken in, and memory stays bounded; with room again all of it is."""
    room = [False]
    monkeypatch.setattr("twin.disk.has_room", lambda _: room[0])
    told: list[bool] = []

    async def main() -> None:
        intake = Intake(database, feed("jt808", 1, VEHICLES), tmp_path)
        intake.on_pause(lambda *, full: told.append(full))
        running = asyncio.create_task(intake.run())
        for number in range(20):
            intake.put([bytes([number]) * 1_000_000])
        assert intake.is_full
        await asyncio.sleep(0.3)
        assert received(database, "jt808") == []
        room[0] = True
        await asyncio.wait_for(intake.drain(), 30)
        running.cancel()

    asyncio.run(main())
    assert told == [True, False]
    assert [message[0] for message in received(database, "jt808")] == list(range(20))


def test_a_taken_port_is_told_in_words_and_holds_up_no_other_feed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.running._START_AGAIN_S", 0.2)
    other = free_port()

    def fault() -> str | None:
        return ask(database, "SELECT fault FROM twin.sources WHERE source = 'jt808'")[0][0]

    async def main(taken: socket.socket) -> None:
        ready, port = asyncio.Event(), taken.getsockname()[1]
        feeds = [feed("jt808", port, VEHICLES), feed("hj212", other, "environment.air_stations")]
        running = asyncio.create_task(receive_feeds(database, catalog(), tmp_path, feeds, ready.set))
        await asyncio.wait_for(ready.wait(), 20)
        assert "cannot be listened at" in (fault() or "")
        await talk(other, hj212.encode(reading("1", 0)), answers=0)
        taken.close()
        frame = position("13800000001", 0)
        for _ in range(50):
            await asyncio.sleep(0.1)
            if fault() is None:
                break
        await talk(port, frame, answers=len(jt808.answer(frame) or b""))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        asyncio.run(main(taken))
    assert len(received(database, "jt808")) == len(received(database, "hj212")) == 1


TCP = '[[feed]]\nid="a"\ntransport="tcp"\nlisten="127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[feed]]\nid = 3", "feed 0"),
        (TCP + 'protocol="cap"\ndatasets=["transport.buses"]', "this way come"),
        (TCP + 'protocol="jt808"\ndatasets=["no.such"]', "no dataset"),
        (TCP + 'protocol="jt808"\ndatasets=["video.cameras"]', "no .source. for jt808"),
        (2 * (TCP + 'protocol="jt808"\ndatasets=["transport.buses"]\n'), "two feeds are called"),
        ("x = 1", "'x' means nothing"),
        ("[[feed", "cannot be read"),
    ],
)
def test_wrong_feeds_are_told_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / FEEDS).write_text(text)
    with pytest.raises(SetupError, match=words):
        read_feeds(tmp_path / FEEDS, catalog())


@contextmanager
def twin_runs(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`twin ingest run` as a person types it; ended with SIGTERM."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    environment = {**kept, "TWIN_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([*TWIN, "ingest", "run", *words], env=environment, cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_for(seconds: float, condition: object) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def test_the_command_receives_and_reads(made_home: Path) -> None:
    port = free_port()
    (made_home / FEEDS).write_text(
        f'[[feed]]\nid = "vehicles"\ntransport = "tcp"\nprotocol = "jt808"\nlisten = "127.0.0.1:{port}"\n'
        f'datasets = ["{VEHICLES}"]\n'
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    environment = {**kept, "TWIN_HOME": str(made_home), "PYTHONPATH": str(ROOT)}

    def twin(*words: str) -> str:
        return subprocess.run([*TWIN, *words], env=environment, cwd=ROOT, capture_output=True, text=True,
                              timeout=120, check=True).stdout  # fmt: skip

    twin("catalog", "apply")
    address = twin("database", "url").strip()

    def stored() -> int:
        with psycopg.connect(address) as connection:
            return connection.execute("SELECT count(*) FROM transport.vehicles").fetchone()[0]  # type: ignore[index]

    with twin_runs(made_home, "--workers", "2") as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port)) as device:
            device.sendall(b"".join(position(str(number), number) for number in range(1, 51)))
            wait_for(30, lambda: stored() == 50)
    listed = twin("ingest", "feeds")
    assert "vehicles  tcp jt808 -> transport.vehicles" in listed
    assert "0 messages wait" in listed
