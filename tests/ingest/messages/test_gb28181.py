"""GB/T 28181: registering with a digest, catalogues in GB 18030, positions; secrets stay outside."""

import hashlib
import re

import pytest

from ingest.codecs import gb28181, sip
from ingest.codecs.messages import FrameError

DEVICE, PLATFORM = "37040000001320000001", "37040000002000000001"
SEAL, PASSWORD, NOW_S = b"seal of the test", "12345678", 1_767_500_000
CATALOGUE = """<?xml version="1.0" encoding="GB2312"?>
<Response>
<CmdType>Catalog</CmdType><SN>17</SN><DeviceID>37040000001320000001</DeviceID><SumNum>2</SumNum>
<DeviceList Num="2">
<Item><DeviceID>37040300011327000001</DeviceID><Name>黄家庄村路口</Name><Owner>市公安局</Owner><CivilCode>370403</CivilCode>
<Status>ON</Status><Longitude>117.25</Longitude><Latitude>34.79</Latitude><Password>secret</Password>
<CertNum>77</CertNum><Info><PTZType>1</PTZType></Info></Item>
<Item><DeviceID>37040300011327000002</DeviceID><Name>西门</Name><Status>OFF</Status></Item>
</DeviceList>
</Response>"""


def sent(method: str, body: bytes = b"", *more: str) -> bytes:
    return sip.request(
        method, to=PLATFORM, sender=DEVICE, host="127.0.0.1:5060", call="c1", number=1, body=body, more=more
    )


def authorization(fresh: str, password: str, **changes: str) -> str:
    said = {"username": DEVICE, "realm": "3704000000", "nonce": fresh, "uri": f"sip:{PLATFORM}@3704000000"} | changes
    one, two = f"{said['username']}:{said['realm']}:{password}", f"REGISTER:{said['uri']}"
    md5 = [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in (one, two)]
    response = hashlib.md5(f"{md5[0]}:{said['nonce']}:{md5[1]}".encode(), usedforsecurity=False).hexdigest()
    words = ", ".join(f'{name}="{value}"' for name, value in {**said, "response": response}.items())
    return f"Authorization: Digest {words}, algorithm=MD5"


def test_a_device_proves_itself() -> None:
    fresh = sip.nonce(DEVICE, NOW_S, SEAL)
    good = sip.parse(sent("REGISTER", b"", authorization(fresh, PASSWORD)))
    assert sip.proves(good, PASSWORD, NOW_S + 5, SEAL)
    assert not sip.proves(good, "another", NOW_S + 5, SEAL)
    assert not sip.proves(good, PASSWORD, NOW_S + 400, SEAL), "the nonce is old"
    assert not sip.proves(good, PASSWORD, NOW_S + 5, b"another seal")
    stolen = sip.nonce("37040000001320000002", NOW_S, SEAL)
    assert not sip.proves(sip.parse(sent("REGISTER", b"", authorization(stolen, PASSWORD))), PASSWORD, NOW_S, SEAL)
    assert not sip.proves(sip.parse(sent("REGISTER")), PASSWORD, NOW_S, SEAL)


def test_the_digest_is_that_of_rfc_2617() -> None:
    """The example of RFC 2617, section 3.5."""
    said = {
        "username": "Mufasa", "realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html", "qop": "auth", "nc": "00000001", "cnonce": "0a4f113b",
    }  # fmt: skip
    assert sip.digest(said, "GET", "Circle Of Life") == "6629fae49393a05397450978507c4ef1"


def test_a_challenge_and_an_answer_carry_the_caller_back() -> None:
    asked = sip.parse(sent("REGISTER"))
    text = sip.reply(asked, 401, "Unauthorized", sip.challenge("3704000000", "n1")).decode()
    assert text.startswith("SIP/2.0 401 Unauthorized\r\n")
    assert "CSeq: 1 REGISTER\r\n" in text
    assert 'nonce="n1"' in text
    assert re.search(r"To: .*;tag=twin\r\n", text)
    assert sip.parse(text.encode()).status == 401


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8"])
def test_a_catalogue_is_read_without_its_secrets(encoding: str) -> None:
    text = CATALOGUE if encoding == "gb18030" else CATALOGUE.replace("GB2312", "UTF-8")
    arrived = gb28181.redact(sent("MESSAGE", text.encode(encoding)))
    assert b"secret" not in arrived
    read = gb28181.decode(arrived)
    assert (read.kind, read.device) == ("Catalog", DEVICE)
    first, second = read.records
    assert first == {
        "CmdType": "Catalog", "sender": DEVICE, "DeviceID": "37040300011327000001", "Name": "黄家庄村路口",
        "Owner": "市公安局", "CivilCode": "370403", "Status": "ON", "Longitude": "117.25", "Latitude": "34.79",
        "Industry": "01", "DeviceType": "132",
    }  # fmt: skip
    assert second["Status"] == "OFF"


def test_positions_and_keepalives() -> None:
    body = (
        '<?xml version="1.0"?>\r\n<Notify><CmdType>MobilePosition</CmdType><SN>1</SN>'
        f"<DeviceID>{DEVICE}</DeviceID><Time>2026-01-04T12:00:00</Time><Longitude>117.5</Longitude>"
        "<Latitude>34.8</Latitude><Speed>36.0</Speed><Direction>90</Direction></Notify>"
    )
    (record,) = gb28181.decode(sent("NOTIFY", body.encode())).records
    assert (record["Time"], record["Longitude"], record["Speed"]) == ("2026-01-04T12:00:00", "117.5", "36.0")
    alive = "<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>1</DeviceID><Status>OK</Status></Notify>"
    assert gb28181.decode(sent("MESSAGE", alive.encode())).records[0]["Status"] == "OK"
    assert gb28181.decode(sent("REGISTER")).records == []
    assert gb28181.decode(sent("MESSAGE", gb28181.catalogue_query(DEVICE, 3))).records == []
    assert b"<Interval>5</Interval>" in gb28181.position_subscription(DEVICE, 4, 5)


def test_what_proves_somebody_is_not_kept() -> None:
    arrived = gb28181.redact(sent("REGISTER", b"", authorization("n", PASSWORD)))
    assert b"response" not in arrived
    assert gb28181.decode(arrived).kind == "REGISTER"


def test_a_stream_is_cut_by_lengths() -> None:
    one, two = sent("MESSAGE", CATALOGUE.encode("gb18030")), sent("REGISTER")
    assert gb28181.split(one + b"\r\n\r\n" + two) == ([one, two], len(one + two) + 4)
    assert gb28181.split(one[:-5]) == ([], 0)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"MESSAGE", "does not end"),
        (b"hello there\r\n\r\n", "begins with"),
        (b"MESSAGE sip:1@2 SIP/2.0\r\nnonsense\r\n\r\n", "its head has"),
        (sent("MESSAGE", b"<a>"), "no XML"),
        (sent("MESSAGE", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), "no XML"),
        (sent("MESSAGE", CATALOGUE.encode("gb18030"))[:-9], "its body has"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(message: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        gb28181.decode(message)
