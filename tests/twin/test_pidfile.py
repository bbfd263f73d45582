"""The pid file of the server."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from twin.errors import SetupError
from twin.pidfile import PidFile


def of_process(home: Path, pid: int, started: str | None = None) -> PidFile:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    (home / "server.pid").write_text(f"{pid} {started or fields[19]}\n")
    return PidFile(home)


def test_the_holder_is_the_server_while_it_holds(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "home")
    assert file.pid() is None
    with file.hold():
        assert file.pid() == os.getpid()
    assert file.pid() is None
    assert not file.stop()


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as server:
        file = of_process(tmp_path, server.pid)
        with pytest.raises(SetupError, match=str(server.pid)), file.hold():
            pass
        assert file.stop()
        assert server.wait() == -signal.SIGTERM
    with file.hold():
        pass


def test_a_stranger_with_the_same_number_is_neither_server_nor_stopped(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        file = of_process(tmp_path, stranger.pid, started="1")
        assert file.pid() is None
        assert not file.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; wait"], stdout=subprocess.PIPE
    ) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        assert of_process(tmp_path, deaf.pid).stop(patience_s=0.2)
        deaf.stdout.close()
        assert deaf.wait() == -signal.SIGKILL


def test_a_spoilt_file_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "server.pid").write_text("rubbish")
    assert PidFile(tmp_path).pid() is None
