"""Video networks over real sockets: register by a digest, are asked, report, and are answered once that is kept."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ingest.codecs import gb28181, sip
from ingest.intake import Intake
from ingest.running import receive_feeds
from ingest.sources.sip import SipServer
from layers.catalog import catalog
from layers.feeds import SipFeed
from tests.ingest.broker import free_port
from tests.ingest.messages.test_gb28181 import CATALOGUE, DEVICE, PASSWORD, authorization
from tests.ingest.test_running import received
from twin.database import Database

SERVER = "37040000002000000001"


class Udp(asyncio.DatagramProtocol):
    """A device on UDP."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002  (the name that asyncio gives it)
        """Remember what came."""
        self.heard.put_nowait(data)


class Talk:
    """What a device says and hears, over either transport."""

    def __init__(self, send: Callable[[bytes], None], hear: Callable[[], Awaitable[bytes]]) -> None:
        self.send, self._hear = send, hear

    async def hear(self) -> sip.Sip:
        """What it hears next."""
        return sip.parse(await asyncio.wait_for(self._hear(), 10))

    async def ask(self, method: str, body: bytes = b"", *more: str, device: str = DEVICE) -> sip.Sip:
        """Send a request; what it hears next is taken for the answer."""
        self.send(sip.request(method, to=SERVER, sender=device, host="127.0.0.1:5060", call="c1", number=1,
                              body=body, more=more))  # fmt: skip
        return await self.hear()

    async def register(self, password: str = PASSWORD, expires: int = 3600) -> sip.Sip:
        """Register in two steps, as the standard has it."""
        asked = await self.ask("REGISTER", b"", f"Expires: {expires}")
        assert asked.status == 401
        fresh = re.search(r'nonce="([^"]+)"', asked.first("www-authenticate"))
        assert fresh is not None
        said = authorization(fresh.group(1), password)
        return await self.ask("REGISTER", b"", said, f"Expires: {expires}")


async def over_udp(port: int) -> Talk:
    loop = asyncio.get_running_loop()
    transport, device = await loop.create_datagram_endpoint(Udp, remote_addr=("127.0.0.1", port))
    return Talk(transport.sendto, device.heard.get)


async def over_tcp(port: int) -> Talk:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    waiting: list[bytes] = []
    buffer = b""

    async def hear() -> bytes:
        nonlocal buffer
        while not waiting:
            buffer += await reader.read(65_536)
            cut = sip.split(buffer)
            waiting.extend(cut.messages)
            buffer = buffer[cut.taken :]
        return waiting.pop(0)

    return Talk(writer.write, hear)


def feed(port: int, **more: object) -> SipFeed:
    return SipFeed.model_validate({"id": "cameras", "transport": "sip", "listen": f"127.0.0.1:{port}", "server": SERVER,
                                   "password": "cameras", "datasets": ["video.camera_status"], **more})  # fmt: skip


def listening(database: Database, home: Path, script: Callable[[int], Awaitable[None]], **more: object) -> None:
    """Run a script of a device against a feed."""
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / "cameras").write_text(PASSWORD)

    async def main() -> None:
        port, ready = free_port(), asyncio.Event()
        running = asyncio.create_task(receive_feeds(database, catalog(), home, [feed(port, **more)], ready.set))
        await asyncio.wait_for(ready.wait(), 20)
        try:
            await script(port)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("connect", [over_udp, over_tcp])
def test_a_network_registers_is_asked_and_reports(
    database: Database, tmp_path: Path, connect: Callable[[int], Awaitable[Talk]]
) -> None:
    async def script(port: int) -> None:
        device = await connect(port)
        assert (await device.ask("MESSAGE", CATALOGUE.encode("gb18030"))).status == 403, "it is not registered"
        assert (await device.register("wrong")).status == 401
        welcome = await device.register()
        assert welcome.status == 200
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000", welcome.first("date")), "devices set their clocks"
        asked = [await device.hear(), await device.hear()]
        assert [one.method for one in asked] == ["MESSAGE", "SUBSCRIBE"]
        assert b"<CmdType>Catalog</CmdType>" in asked[0].body
        assert asked[1].first("event") == "presence"
        assert ("UDP" if connect is over_udp else "TCP") in asked[0].first("via")
        device.send(sip.reply(asked[0], 200, "OK"))
        assert (await device.ask("MESSAGE", CATALOGUE.encode("gb18030"))).status == 200
        assert len(received(database, "cameras")) == 1, "it was answered once it was kept"
        assert (await device.ask("INVITE")).status == 405
        assert (await device.ask("MESSAGE", b"x", device="37040000001320000009")).status == 403
        assert (await device.register(expires=0)).status == 200
        assert (await device.ask("MESSAGE", CATALOGUE.encode("gb18030"))).status == 403, "it has left"

    listening(database, tmp_path, script, positions_every="10 s")
    (kept,) = received(database, "cameras")
    assert b"<Password></Password>" in kept
    assert b"secret" not in kept
    assert [record["Status"] for record in gb28181.decode(kept).records] == ["ON", "OFF"]


def test_catalogues_are_asked_for_again_until_a_device_is_gone(database: Database, tmp_path: Path) -> None:
    async def script(port: int) -> None:
        device = await over_udp(port)
        await device.register()
        numbers = [(await device.hear()).first("cseq") for _ in range(3)]
        assert len(set(numbers)) == 3
        device.send(b"no message of the protocol")
        device.send(b"\xff" * 70)
        assert b"Catalog" in (await device.hear()).body, "what cannot be read does no harm"

    listening(database, tmp_path, script, catalogue_every="1 s")
    assert received(database, "cameras") == []


def test_a_full_intake_sends_devices_away(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.intake.Intake.is_full", property(lambda _: True))

    async def script(port: int) -> None:
        device = await over_udp(port)
        await device.register()
        await device.hear()
        answer = await device.ask("MESSAGE", CATALOGUE.encode("gb18030"))
        assert (answer.status, answer.first("retry-after")) == (503, "5")

    listening(database, tmp_path, script)


def test_a_registration_ends(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.sources.sip._SHORTEST_S", 0)

    async def script(port: int) -> None:
        device = await over_udp(port)
        await device.register(expires=1)
        await device.hear()
        await asyncio.sleep(1.2)
        assert (await device.ask("MESSAGE", CATALOGUE.encode("gb18030"))).status == 403

    listening(database, tmp_path, script)


def test_another_host_cannot_speak_for_a_device(database: Database, tmp_path: Path) -> None:
    """Whoever sends from an address at which the device did not register is refused."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "cameras").write_text(PASSWORD)
    said: list[bytes] = []

    async def main() -> None:
        server = SipServer(feed(1), Intake(database, feed(1), tmp_path))
        hello = sip.request("REGISTER", to=SERVER, sender=DEVICE, host="a:1", call="c", number=1)
        server.hear(hello, "10.0.0.1", "UDP", said.append)
        fresh = re.search(rb'nonce="([^"]+)"', said[-1])
        assert fresh is not None
        proof = authorization(fresh.group(1).decode(), PASSWORD)
        server.hear(sip.request("REGISTER", to=SERVER, sender=DEVICE, host="a:1", call="c", number=2, more=(proof,)),
                    "10.0.0.1", "UDP", said.append)  # fmt: skip
        assert b"200 OK" in said[-2]
        message = sip.request("MESSAGE", to=SERVER, sender=DEVICE, host="a:1", call="c", number=3, body=b"x")
        server.hear(message, "10.0.0.2", "UDP", said.append)
        assert b"403" in said[-1]

    asyncio.run(main())
