"""Devices that connect over TCP: each message is answered as its protocol says, once it is kept."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from ingest.codecs.messages import Cut, FrameError
from ingest.intake import Intake
from ingest.protocols import PROTOCOLS, Protocol
from layers.feeds import TcpFeed
from twin.errors import SetupError

__all__ = ["Connection", "Connections", "TcpServer", "listening"]

_IDLE_S = 900.0
_MOST_CONNECTIONS = 20_000


class TcpServer:
    """Listens where a feed says."""

    def __init__(self, feed: TcpFeed, intake: Intake) -> None:
        self._feed, self._intake = feed, intake
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises SetupError where that is not possible."""
        protocol, intake = PROTOCOLS[self._feed.protocol], self._intake
        others = Connections()
        with listening(self._feed.listen, self._feed.id) as (host, port):
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Device(protocol, intake, others), host, port
            )
        intake.on_pause(others.pause)

    def close(self) -> None:
        """Accept no more connections."""
        if self._server is not None:
            self._server.close()

    def stop(self) -> None:
        """Nothing is left to end."""


@contextmanager
def listening(address: str, feed: str) -> Generator[tuple[str, int]]:
    """The host and port of `host:port`. Raises SetupError where the block cannot listen there."""
    host, _, port = address.rpartition(":")
    try:
        yield host.strip("[]"), int(port)
    except OSError as error:
        raise SetupError(
            f"{address} cannot be listened at ({error.strerror}).",
            where=f"feed {feed}",
            remedy="Stop what listens there, or choose another address.",
        ) from error


class Connections(set["Connection"]):
    """The open connections of a feed."""

    def pause(self, *, full: bool) -> None:
        """Read from none of them any more, or again."""
        for connection in self:
            connection.pause(full=full)


class Connection(asyncio.Protocol, ABC):
    """Whoever connects: what it sends is cut into messages; it is made to wait, and hung up on when it is silent."""

    def __init__(self, split: Callable[[bytes], Cut], intake: Intake, others: Connections) -> None:
        self._split = split
        self._intake = intake
        self._others = others
        self._left = b""
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    @abstractmethod
    def arrived(self, messages: list[bytes]) -> None:
        """Take messages in."""

    def cut_off(self, left: bytes) -> None:
        """Take in what is left of a message when the connection ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold it, unless there are too many."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("TCP has transports that are read and written")
        self.transport = transport
        if len(self._others) >= _MOST_CONNECTIONS:
            transport.abort()
            return
        self._others.add(self)
        self._wait()
        if self._intake.is_full:
            self.pause(full=True)

    def data_received(self, data: bytes) -> None:
        """Cut into messages what has come."""
        cut = self._split(self._left + data)
        self._left = (self._left + data)[cut.taken :]
        if cut.messages:
            self._wait()
            self.arrived(cut.messages)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the name that asyncio gives it)
        """Let go of it."""
        self._others.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._left:
            self.cut_off(self._left)

    def pause(self, *, full: bool) -> None:
        """Read no more, or again."""
        if self.transport is None or self.transport.is_closing():
            return
        if full and self.transport.is_reading():
            self.transport.pause_reading()
        elif not full and not self.transport.is_reading():
            self.transport.resume_reading()

    def _wait(self) -> None:
        """Hang up on who says nothing for long."""
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self.transport.abort)


class _Device(Connection):
    """A device of a protocol whose messages are answered."""

    def __init__(self, protocol: Protocol, intake: Intake, others: Connections) -> None:
        if protocol.split is None:
            raise TypeError("messages of this protocol do not come in streams")
        super().__init__(protocol.split, intake, others)
        self._protocol = protocol

    def arrived(self, messages: list[bytes]) -> None:
        self._intake.put(messages, self._answer)

    def cut_off(self, left: bytes) -> None:
        # What was cut off arrived too: it is kept, and will be told to be unreadable.
        self._intake.put([left])

    def _answer(self, messages: Sequence[bytes]) -> None:
        if self._protocol.answer is None or self.transport is None or self.transport.is_closing():
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
            self.transport.write(b"".join(said))
