"""Servers to be measured, each in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

__all__ = ["serving"]


@contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator[str]:
    """A server in a process of its own; gives its address once it answers."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, *(word.replace("{port}", str(port)) for word in command)]
    process = subprocess.Popen(words, env=environment, cwd=Path(__file__).parents[2])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{words[1:3]} does not answer")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/conformance", timeout=10).is_success
    except httpx.TransportError:
        return False
