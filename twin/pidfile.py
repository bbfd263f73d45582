"""The pid file of the HTTP server: who serves this twin, and how to stop it."""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from twin.errors import SetupError

__all__ = ["PidFile"]

_POLL_S = 0.05


class PidFile:
    """`$TWIN_HOME/server.pid`: number and start time of the serving process.

    The start time tells the server from a stranger that got its number after a crash.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "server.pid"

    @contextmanager
    def hold(self) -> Generator[None]:
        """Name this process as the server while the block runs.

        Raises SetupError when another one serves this twin.
        """
        other = self.pid()
        if other is not None and other != os.getpid():
            raise SetupError(f"process {other} serves this twin already.", remedy="Stop it first: twin down.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"{os.getpid()} {_started(os.getpid())}\n", encoding="ascii")
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """Process number of the running server; None when there is none."""
        try:
            pid, started = self.path.read_text(encoding="ascii").split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _started(int(pid)) == started else None

    def stop(self, *, patience_s: float = 15.0) -> bool:
        """Ask the server to end, wait, and kill it when it does not. Returns whether one was running."""
        pid = self.pid()
        if pid is None:
            return False
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
            deadline = time.monotonic() + patience_s
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            if self.pid() is None:
                break
        self.path.unlink(missing_ok=True)
        return True


def _started(pid: int) -> str | None:
    """Start time of a live process in clock ticks since boot; None when there is none."""
    try:
        # The fields after the command name, which is in parentheses and may hold anything (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], fields[19]
    return None if state == "Z" else started
