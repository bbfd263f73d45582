"""`twin up` and `twin down` as a person types them: a real process, a real port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psycopg

ROOT = Path(__file__).parents[2]
TWIN = [sys.executable, "-c", "from twin.cli import main; main()"]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    return {**kept, "TWIN_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TWIN, *words], env=environment(home), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def up(home: Path, port: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A running `twin up`; ends with the block."""
    command = [*TWIN, "up", "--port", str(port), *words]
    process = subprocess.Popen(
        command, env=environment(home), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def answers(port: int, process: subprocess.Popen[str], path: str = "/health/live") -> httpx.Response:
    deadline = time.monotonic() + 90
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30)
        except httpx.TransportError:
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)


def test_up_serves_and_down_stops(made_home: Path) -> None:
    port = free_port()
    with up(made_home, port) as process:
        assert answers(port, process).json() == {"status": "live"}
        not_ready = answers(port, process, "/health/ready")
        assert not_ready.status_code == 503, "the catalogue is not applied yet"
        assert not_ready.headers["retry-after"]
        applied = run(made_home, "catalog", "apply")
        assert applied.returncode == 0, applied.stderr
        assert answers(port, process, "/health/ready").json()["status"] == "ready"
        with psycopg.connect(run(made_home, "database", "url").stdout.strip()) as database:
            database.execute("DROP TABLE education.schools CASCADE")
        unserved = answers(port, process, "/collections/education.schools/items")
        assert unserved.status_code == 503, unserved.text
        assert unserved.json()["code"] == "setup-incomplete"
        assert "its log says" in unserved.json()["detail"]
        assert "education.schools" not in unserved.json()["detail"]
        assert f"process {process.pid}" in run(made_home, "status").stdout
        second = run(made_home, "up", "--port", str(free_port()))
        assert second.returncode == 2
        assert "serves this twin already" in second.stderr
        stopped = run(made_home, "down")
        assert "server" in stopped.stdout
        assert process.wait(timeout=60) == 0
        assert process.stdout is not None
        said = process.stdout.read()
    assert f"http://127.0.0.1:{port}" in said
    assert "0 of" in said
    assert "twin catalog apply" in said
    assert "Traceback" not in said
    assert not (made_home / "server.pid").exists()


def test_many_workers_answer_and_end_together(made_home: Path) -> None:
    port = free_port()
    with up(made_home, port, "--workers", "2") as process:
        assert answers(port, process).json() == {"status": "live"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not (made_home / "server.pid").exists()


def test_a_busy_port_is_refused_in_words(home: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run(home, "up", "--port", str(port))
    assert refused.returncode == 2
    assert f"127.0.0.1:{port} is taken" in refused.stderr
    assert "--port" in refused.stderr
    assert not (home / "server.pid").exists()


def test_a_wrong_port_is_refused(home: Path) -> None:
    refused = run(home, "up", "--port", "0")
    assert refused.returncode == 2
    assert "--port" in refused.stderr
