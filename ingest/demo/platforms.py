"""Video networks of the synthetic city: they register by UDP and answer with their cameras (GB/T 28181)."""

import asyncio
import contextlib
import itertools
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from ingest.codecs import sip
from ingest.codecs.messages import FrameError
from ingest.codecs.sip import Sip
from ingest.demo.line import SEED, Line
from layers.feeds import SipFeed

__all__ = ["Camera", "Platforms"]

_ITEMS, _WAITS_S = 10, (0.5, 1.0, 2.0, 4.0)
_EXPIRES_S, _ALIVE_S, _RETRY_S = 3_600, 60.0, 5.0
_AWAY_SHARE = 0.04
_CODE_DIGITS = 8

Camera = tuple[str, str, float, float]
"""A camera's code, name, longitude and latitude."""


@dataclass(frozen=True)
class Platforms:
    """The cameras of a feed: those whose codes share a centre belong to one platform."""

    feed: SipFeed
    cameras: Sequence[Camera]
    password: str = field(repr=False)

    @property
    def ids(self) -> Sequence[str]:
        """The codes of the cameras."""
        return [camera[0] for camera in self.cameras]

    def start(self, group: asyncio.TaskGroup, line: Line, pace: float) -> None:
        """Let each platform register and report."""
        for number, (centre, cameras) in enumerate(
            itertools.groupby(sorted(self.cameras), key=lambda camera: camera[0][:_CODE_DIGITS])
        ):
            code = f"{centre}002000{number + 1:06d}"
            group.create_task(_Platform(self.feed, code, list(cameras), self.password, line).run(_ALIVE_S / pace))


class _Platform(asyncio.DatagramProtocol):
    """One platform. What is not answered is sent again."""

    def __init__(self, feed: SipFeed, code: str, cameras: list[Camera], password: str, line: Line) -> None:
        self._feed, self._code, self._cameras, self._password, self._line = feed, code, cameras, password, line
        self._chance = random.Random(f"{SEED} {code}")  # noqa: S311
        self._held: list[bytes] = []
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Sip]] = {}
        self._queries: asyncio.Queue[str] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    async def run(self, alive_s: float) -> None:
        """Register, answer queries, and say now and then that it is alive."""
        host, _, port = self._feed.listen.rpartition(":")
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError, TimeoutError, ConnectionError):
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: self, remote_addr=(host.strip("[]"), int(port))
                )
                self._transport = transport
                try:
                    await self._register()
                    while True:
                        await self._report(alive_s)
                finally:
                    transport.close()
            await asyncio.sleep(_RETRY_S)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002  (the name that asyncio gives it)
        """Hear an answer, or a query."""
        try:
            said = sip.parse(data)
        except FrameError:
            return
        if said.status is not None:
            waiting = self._answers.pop(said.first("cseq"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(said)
            return
        self._send(sip.reply(said, 200, "OK"))
        number = re.search(rb"<CmdType>Catalog</CmdType>\s*<SN>(\d+)</SN>", said.body)
        if number is not None:
            self._queries.put_nowait(number.group(1).decode())

    async def _report(self, alive_s: float) -> None:
        """The catalogue when it is asked for; else, after a while, that the platform is alive."""
        try:
            async with asyncio.timeout(alive_s):
                number = await self._queries.get()
        except TimeoutError:
            await self._ask("MESSAGE", self._body("Notify", "Keepalive", "1", "<Status>OK</Status>"))
            return
        for start in range(0, len(self._cameras), _ITEMS):
            items = "".join(map(self._item, self._cameras[start : start + _ITEMS]))
            listed = f"<SumNum>{len(self._cameras)}</SumNum><DeviceList>{items}</DeviceList>"
            await self._ask("MESSAGE", self._body("Response", "Catalog", number, listed))

    def _item(self, camera: Camera) -> str:
        code, name, lon, lat = camera
        status = "OFF" if self._chance.random() < _AWAY_SHARE else "ON"
        return (
            f"<Item><DeviceID>{code}</DeviceID><Name>{escape(name)}</Name><Status>{status}</Status>"
            f"<Longitude>{lon:.6f}</Longitude><Latitude>{lat:.6f}</Latitude></Item>\r\n"
        )

    def _body(self, kind: str, command: str, number: str, more: str) -> bytes:
        text = (
            f'<?xml version="1.0" encoding="GB2312"?>\r\n<{kind}><CmdType>{command}</CmdType><SN>{number}</SN>'
            f"<DeviceID>{self._code}</DeviceID>{more}</{kind}>\r\n"
        )
        return text.encode("gb18030")

    async def _register(self) -> None:
        expires = f"Expires: {_EXPIRES_S}"
        asked = await self._ask("REGISTER", b"", expires)
        realm, nonce = (
            (re.search(rf'{word}="([^"]*)"', asked.first("www-authenticate")) or [""] * 2)[1]
            for word in ("realm", "nonce")
        )
        said = {"username": self._code, "realm": realm, "nonce": nonce, "uri": f"sip:{self._feed.server}@{realm}"}
        said["response"] = sip.digest(said, "REGISTER", self._password)
        proof = ", ".join(f'{name}="{word}"' for name, word in said.items())
        answer = await self._ask("REGISTER", b"", expires, f"Authorization: Digest {proof}, algorithm=MD5")
        if answer.status != 200:
            raise ConnectionError(f"the registration was answered with {answer.status}")

    async def _ask(self, method: str, body: bytes, *more: str) -> Sip:
        """Send a request until it is answered. Raises TimeoutError when it never is, ConnectionError when refused."""
        number = next(self._numbers)
        message = sip.request(method, to=self._feed.server, sender=self._code, host=self._feed.listen,
                              call=os.urandom(8).hex(), number=number, body=body, more=more)  # fmt: skip
        for wait_s in _WAITS_S:
            waiting = self._answers.setdefault(f"{number} {method}", asyncio.get_running_loop().create_future())
            for copy in self._line.sent(message, self._held, self._chance):
                self._send(copy)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    answer = await asyncio.shield(waiting)
                    if answer.status in {403, 503}:
                        raise ConnectionError(f"{method} was answered with {answer.status}")
                    return answer
        raise TimeoutError

    def _send(self, message: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(message)
