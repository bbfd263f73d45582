"""Devices that connect over TCP: each message is answered as its protocol says, once it is kept."""

import asyncio
from collections.abc import Sequence

from ingest.codecs.messages import FrameError
from ingest.intake import Intake
from ingest.protocols import PROTOCOLS, Protocol
from layers.feeds import TcpFeed
from twin.errors import SetupError

__all__ = ["serve_tcp"]

_IDLE_S = 900.0
_MOST_CONNECTIONS = 20_000


async def serve_tcp(feed: TcpFeed, intake: Intake) -> asyncio.Server:
    """Listen where the feed says. Raises SetupError where that is not possible."""
    host, _, port = feed.listen.rpartition(":")
    connections: set[_Connection] = set()

    def pause(*, full: bool) -> None:
        for connection in connections:
            connection.pause(full=full)

    intake.on_pause(pause)
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: _Connection(PROTOCOLS[feed.protocol], intake, connections), host.strip("[]"), int(port)
        )
    except OSError as error:
        raise SetupError(
            f"{feed.listen} cannot be listened at ({error.strerror}).",
            where=f"feed {feed.id}",
            remedy="Stop what listens there, or choose another address.",
        ) from error


class _Connection(asyncio.Protocol):
    """One device, or whatever else connects."""

    def __init__(self, protocol: Protocol, intake: Intake, others: "set[_Connection]") -> None:
        self._protocol = protocol
        self._intake = intake
        self._others = others
        self._left = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("TCP has transports that are read and written")
        self._transport = transport
        if len(self._others) >= _MOST_CONNECTIONS:
            transport.abort()
            return
        self._others.add(self)
        self._wait()
        if self._intake.is_full:
            self.pause(full=True)

    def data_received(self, data: bytes) -> None:
        cut = self._protocol.split(self._left + data) if self._protocol.split else None
        if cut is None:
            return
        self._left = (self._left + data)[cut.taken :]
        if cut.messages:
            self._wait()
            self._intake.put(cut.messages, self._answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the name that asyncio gives it)
        self._others.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._left:
            # What was cut off arrived too: it is kept, and will be told to be unreadable.
            self._intake.put([self._left])

    def pause(self, *, full: bool) -> None:
        """Read no more, or again."""
        if self._transport is None or self._transport.is_closing():
            return
        if full and self._transport.is_reading():
            self._transport.pause_reading()
        elif not full and not self._transport.is_reading():
            self._transport.resume_reading()

    def _answer(self, messages: Sequence[bytes]) -> None:
        if self._protocol.answer is None or self._transport is None or self._transport.is_closing():
            return
        said: list[bytes] = []
        for message in messages:
            try:
                answer = self._protocol.answer(message)
            except FrameError:
                continue
            if answer is not None:
                said.append(answer)
        if said:
            self._transport.write(b"".join(said))

    def _wait(self) -> None:
        """Hang up on who says nothing for long."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self._transport.abort)
