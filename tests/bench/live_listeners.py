"""A process with many listeners on `/live/ws`: prints when the deltas of each moment arrived, and their bytes.

`python -m tests.bench.live_listeners ws://... <listeners> <seconds>`. It reads the sockets itself: a client library
for each of a thousand sockets would be what is measured. Prints `ready` when all have had their first frame.
"""

import asyncio
import base64
import os
import struct
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import orjson

__all__: list[str] = []

_LONG = 127


class _Listener(asyncio.Protocol):
    """One socket: notes when each frame has arrived whole."""

    def __init__(self, address: str, first: asyncio.Semaphore) -> None:
        self._address, self._first = urlsplit(address), first
        self._head = bytearray()
        self._left = -1
        self._is_open = False
        self.arrived: list[tuple[str, float]] = []
        self.bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the socket."""
        path = f"{self._address.path}?{self._address.query}"
        key = base64.b64encode(os.urandom(16)).decode()
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(
                f"GET {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )

    def data_received(self, data: bytes) -> None:
        """Cut frames; all but their beginning is counted only."""
        self.bytes += len(data)
        while data:
            if self._left > len(data):
                if len(self._head) < 4_096:
                    self._head += data
                self._left -= len(data)
                return
            if self._left > 0:
                self._arrived(bytes(self._head + data[: self._left]))
                data, self._left = data[self._left :], -1
                self._head.clear()
                continue
            self._head += data
            data = b""
            if not self._is_open:
                end = self._head.find(b"\r\n\r\n")
                if end < 0:
                    return
                if not self._head.startswith(b"HTTP/1.1 101"):
                    raise RuntimeError(bytes(self._head[:300]).decode())
                self._is_open = True
                data = bytes(self._head[end + 4 :])
                self._head.clear()
                continue
            if len(self._head) < 10:
                return
            kind = self._head[1]
            size, start = (struct.unpack_from(">Q", self._head, 2)[0], 10) if kind == _LONG else (
                (struct.unpack_from(">H", self._head, 2)[0], 4) if kind == _LONG - 1 else (kind, 2)
            )  # fmt: skip
            data = bytes(self._head[start:])
            self._head.clear()
            self._left = size

    def _arrived(self, frame: bytes) -> None:
        if not frame.startswith(b"CTF1"):
            return
        found = frame.find(b'"moment":"') + 10
        moment = frame[found : frame.index(b'"', found)].decode()
        if b'"kind":"delta"' in frame[:200]:
            self.arrived.append((moment, time.time()))
        else:
            self._first.release()


async def _main(address: str, count: int, seconds: float) -> None:
    loop, first = asyncio.get_running_loop(), asyncio.Semaphore(0)
    parts = urlsplit(address)
    listeners: list[_Listener] = []
    for _ in range(count):
        _, listener = await loop.create_connection(lambda: _Listener(address, first), parts.hostname, parts.port)
        listeners.append(listener)
        await first.acquire()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.sleep(seconds)
    arrived: dict[str, list[float]] = {}
    for listener in listeners:
        for moment, at in listener.arrived:
            arrived.setdefault(moment, []).append(at)
    total = sum(listener.bytes for listener in listeners)
    sys.stdout.write(orjson.dumps({"arrived": arrived, "bytes": total}).decode() + "\n")


def main(words: Sequence[str]) -> None:
    """Listen as the words say."""
    asyncio.run(_main(words[0], int(words[1]), float(words[2])))


if __name__ == "__main__":
    main(sys.argv[1:])
