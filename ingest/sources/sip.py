"""Video networks (GB/T 28181) over UDP and TCP: they register, report, and are asked for their catalogues.

Whoever registers proves itself by a digest; what others send is refused and not kept. A message is answered with 200
once it is kept, so a device sends it again until then. Registrations live as long as this process: a device that is
refused after a restart registers again, as the standard has it.
"""

import asyncio
import datetime as dt
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from ingest.codecs import gb28181, sip
from ingest.codecs.messages import FrameError
from ingest.codecs.sip import Sip
from ingest.intake import Intake
from ingest.sources.tcp import Connection, Connections, listening
from layers.contract import seconds
from layers.feeds import SipFeed, secret_named
from twin.city import city

__all__ = ["SipServer"]

_REALM_DIGITS = 10
_SHORTEST_S, _LONGEST_S = 60, 86_400
_MOST_DEVICES = 20_000
_ALLOWED = "Allow: REGISTER, MESSAGE, NOTIFY"
_LATER = "Retry-After: 5"

Send = Callable[[bytes], None]


@dataclass(slots=True)
class _Binding:
    """A registered device: its host, by which transport and how it is reached, until when (monotonic seconds)."""

    host: str
    transport: str
    send: Send
    until_s: float


class SipServer:
    """Listens where a feed says, over both transports."""

    def __init__(self, feed: SipFeed, intake: Intake) -> None:
        self._feed, self._intake = feed, intake
        self._password = secret_named(intake.home, feed.password)
        self._realm = feed.server[:_REALM_DIGITS]
        self._seal = os.urandom(32)
        self._devices: dict[str, _Binding] = {}
        self._numbers = itertools.count(1)
        self._stop: list[Callable[[], object]] = []

    async def start(self) -> None:
        """Listen. Raises SetupError where that is not possible."""
        loop, others = asyncio.get_running_loop(), Connections()
        with listening(self._feed.listen, self._feed.id) as (host, port):
            udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.hear), (host, port))
            self._stop.append(udp.close)
            tcp = await loop.create_server(lambda: _Stream(self.hear, self._intake, others), host, port)
            self._stop.append(tcp.close)
        self._intake.on_pause(others.pause)
        for every, ask in ((self._feed.catalogue_every, self._ask_catalogue),
                           (self._feed.positions_every, self._ask_positions)):  # fmt: skip
            if every is not None:
                self._stop.append(asyncio.create_task(self._regularly(seconds(every), ask)).cancel)

    def close(self) -> None:
        """Listen no more."""
        for stop in self._stop:
            stop()
        self._stop.clear()

    def stop(self) -> None:
        """Nothing is left to end."""

    def hear(self, message: bytes, host: str, transport: str, send: Send) -> None:
        """Take in what a host said; what cannot be read, or is an answer, is passed over."""
        try:
            said = sip.parse(message)
        except FrameError:
            return
        if said.status is not None or said.method == "ACK":
            return
        if said.method == "REGISTER":
            self._register(said, host, transport, send)
        elif said.method not in {"MESSAGE", "NOTIFY"}:
            send(sip.reply(said, 405, "Method Not Allowed", _ALLOWED))
        elif not self._knows(said.user, host):
            send(sip.reply(said, 403, "Forbidden"))
        elif self._intake.is_full:
            send(sip.reply(said, 503, "Service Unavailable", _LATER))
        else:
            self._intake.put([message], lambda _: send(sip.reply(said, 200, "OK")))

    def _register(self, said: Sip, host: str, transport: str, send: Send) -> None:
        device, now_s = said.user, int(time.time())
        if not device:
            send(sip.reply(said, 400, "Bad Request"))
            return
        if not sip.proves(said, self._password, now_s, self._seal):
            fresh = sip.nonce(device, now_s, self._seal)
            send(sip.reply(said, 401, "Unauthorized", sip.challenge(self._realm, fresh)))
            return
        asked = said.first("expires")
        lasts_s = min(int(asked), _LONGEST_S) if asked.isascii() and asked.isdigit() else _LONGEST_S
        is_new = device not in self._devices
        if lasts_s == 0:
            self._devices.pop(device, None)
        elif is_new and len(self._devices) >= _MOST_DEVICES:
            send(sip.reply(said, 503, "Service Unavailable", _LATER))
            return
        else:
            lasts_s = max(lasts_s, _SHORTEST_S)
            self._devices[device] = _Binding(host, transport, send, time.monotonic() + lasts_s)
        # Devices set their clocks by this header.
        clock = f"Date: {dt.datetime.now(city().tzinfo):%Y-%m-%dT%H:%M:%S.000}"
        send(sip.reply(said, 200, "OK", clock, f"Expires: {lasts_s}"))
        if is_new and lasts_s:
            self._ask_catalogue(device)
            if self._feed.positions_every is not None:
                self._ask_positions(device)

    def _knows(self, device: str, host: str) -> bool:
        """Whether a device is registered, and at this host."""
        binding = self._devices.get(device)
        if binding is not None and binding.until_s < time.monotonic():
            self._devices.pop(device)
            return False
        return binding is not None and binding.host == host

    def _ask_catalogue(self, device: str) -> None:
        self._ask(device, "MESSAGE", gb28181.catalogue_query)

    def _ask_positions(self, device: str) -> None:
        every_s = seconds(self._feed.positions_every or self._feed.catalogue_every)
        body = partial(gb28181.position_subscription, interval_s=every_s)
        self._ask(device, "SUBSCRIBE", body, "Event: presence", f"Expires: {2 * every_s}")

    def _ask(self, device: str, method: str, body: Callable[[str, int], bytes], *more: str) -> None:
        binding, number = self._devices[device], next(self._numbers)
        binding.send(
            sip.request(
                method,
                to=device,
                sender=self._feed.server,
                host=self._feed.listen,
                transport=binding.transport,
                call=os.urandom(8).hex(),
                number=number,
                body=body(device, number),
                more=more,
            )
        )

    async def _regularly(self, every_s: int, ask: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(every_s)
            for device, binding in list(self._devices.items()):
                if self._knows(device, binding.host):
                    ask(device)
                    await asyncio.sleep(0)


class _Datagrams(asyncio.DatagramProtocol):
    """Messages that come one in a datagram."""

    def __init__(self, hear: Callable[[bytes, str, str, Send], None]) -> None:
        self._hear = hear
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is no DatagramTransport by its class.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._hear(data, str(addr[0]), "UDP", lambda answer: self._send(answer, addr))

    def _send(self, answer: bytes, to: tuple[str | int, ...]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, to)


class _Stream(Connection):
    """Messages that come one after the other."""

    def __init__(self, hear: Callable[[bytes, str, str, Send], None], intake: Intake, others: Connections) -> None:
        super().__init__(sip.split, intake, others)
        self._hear = hear

    def arrived(self, messages: list[bytes]) -> None:
        host = str(self.transport.get_extra_info("peername")[0]) if self.transport is not None else ""
        for message in messages:
            self._hear(message, host, "TCP", self._send)

    def _send(self, answer: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)
