"""JT/T 808: 68 published frames, every field of positions, pieces, answers, both header forms."""

import json
from collections import Counter

import pytest

from ingest.codecs import jt808
from ingest.codecs.messages import FrameError
from tests.shared_data import shared

NOON = "260104120000"


def position(*, is_2019: bool = True, **changes: float) -> bytes:
    said = {"lon": 117.5, "lat": 34.8, "speed_kmh": 36.5, "heading_deg": 271.0} | changes
    return jt808.encode(0x0200, "13800000001", 7, jt808.location(**said, time=NOON), is_2019=is_2019)


def plain(frame: bytes) -> bytes:
    """A frame without marks, escapes and check byte, byte by byte as the standard says it (4.4)."""
    found, at = bytearray(), 1
    while at < len(frame) - 1:
        # One of the published frames is written without its escapes: a 7D that escapes nothing is itself.
        escaped = {b"\x7d\x01": 0x7D, b"\x7d\x02": 0x7E}.get(frame[at : at + 2])
        found.append(frame[at] if escaped is None else escaped)
        at += 1 if escaped is None else 2
    check = found.pop()
    for byte in found:
        check ^= byte
    assert check == 0
    return bytes(found)


def digits(data: bytes) -> str:
    """Binary-coded decimals."""
    return "".join(f"{byte >> 4}{byte & 15}" for byte in data)


def number(data: bytes) -> int:
    total = 0
    for byte in data:
        total = 256 * total + byte
    return total


def expected_position(terminal: str, body: bytes) -> dict[str, object]:
    """Table 23 of JT/T 808-2019, by offsets; and of table 27 the items that we read."""
    alarm, status = number(body[0:4]), number(body[4:8])
    lat, lon = number(body[8:12]) / 1e6, number(body[12:16]) / 1e6
    located = status >> 1 & 1
    year, month, day, hour, minute, second = (digits(body[at : at + 1]) for at in range(22, 28))
    found: dict[str, object] = {
        "terminal": terminal,
        "time": f"20{year}-{month}-{day}T{hour}:{minute}:{second}+08:00",
        "latitude": (-lat if status >> 2 & 1 else lat) if located else None,
        "longitude": (-lon if status >> 3 & 1 else lon) if located else None,
        "altitude_m": number(body[16:18]), "speed_kmh": number(body[18:20]) / 10, "direction": number(body[20:22]),
        "alarm": alarm > 0, "alarms": body[0:4].hex().upper(), "engine_on": status & 1 == 1,
    }  # fmt: skip
    items = {1: ("mileage_km", 4, 10), 2: ("fuel_l", 2, 10), 3: ("recorder_kmh", 2, 10), 0x30: ("signal", 1, 1),
             0x31: ("satellites", 1, 1)}  # fmt: skip
    rest = body[28:]
    while rest:
        name, size, scale = items.get(rest[0], ("", 0, 1))
        if name and rest[1] == size:
            found[name] = number(rest[2 : 2 + size]) / scale
        rest = rest[2 + rest[1] :]
    return found


def expected(frame: bytes) -> tuple[str, str, tuple[int, int] | None, list[dict[str, object]]]:
    """Kind, terminal, which piece of how many, and positions, read anew from the standard's tables."""
    bare = plain(frame)
    properties = number(bare[2:4])
    start = 5 if properties >> 14 & 1 else 4
    end = start + (10 if properties >> 14 & 1 else 6)
    terminal = (
        digits(bare[start:end]).lstrip("0") if bare[start:end].hex().isdigit() else bare[start:end].hex().lstrip("0")
    )
    body, piece = bare[end + 2 :], None
    if properties >> 13 & 1:
        piece, body = (number(body[2:4]), number(body[0:2])), body[4:]
    assert len(body) == properties & 1023
    kind = number(bare[0:2])
    positions: list[dict[str, object]] = []
    if kind in {0x0200, 0x0201} and piece is None:
        positions = [expected_position(terminal, body[2:] if kind == 0x0201 else body)]
    elif kind == 0x0704 and piece is None:
        rest = body[3:]
        while rest:
            size = number(rest[0:2])
            positions.append({**expected_position(terminal, rest[2 : 2 + size]), "late": body[2] == 1})
            rest = rest[2 + size :]
        assert len(positions) == number(body[0:2])
    return f"0x{kind:04X}", terminal, piece, positions


def test_every_field_of_every_published_frame() -> None:
    """The oracle reads the bytes anew from the standard's tables; it shares nothing with the codec."""
    frames = [bytes.fromhex(one["hex"]) for one in json.loads(shared("jt808/frames_index.json").read_text())]
    kinds: Counter[str] = Counter()
    for frame in frames:
        if b"\x7e" not in frame[1:-1]:  # one of them is written without its escapes
            assert jt808.split(frame).messages == [frame]
        read, (kind, terminal, piece, positions) = jt808.decode(frame), expected(frame)
        kinds[kind] += 1
        assert (read.kind, read.device) == (kind, terminal)
        assert (read.part is not None and (read.part.number, read.part.total)) == (piece or False), frame.hex()
        assert read.records == positions, frame.hex()
    assert sum(kinds.values()) == len(frames) == 68
    assert kinds["0x0200"] == 11


def test_a_published_position_has_its_fields() -> None:
    """A frame of SmallChi/JT808's tests, whose values its own assertions name."""
    frame = bytes.fromhex(
        "7E0200002611223344556622B8000000010000000200BA7F0E07E4F11C0028003C000018071510101001040000006402020037577E"
    )
    (record,) = jt808.decode(frame).records
    assert record == {
        "terminal": "112233445566", "time": "2018-07-15T10:10:10+08:00", "longitude": 132.444444, "latitude": 12.222222,
        "altitude_m": 40, "speed_kmh": 6.0, "direction": 0, "alarm": True, "alarms": "00000001", "engine_on": False,
        "mileage_km": 10.0, "fuel_l": 5.5,
    }  # fmt: skip


@pytest.mark.parametrize("is_2019", [True, False])
def test_what_is_written_is_read(*, is_2019: bool) -> None:
    (record,) = jt808.decode(position(is_2019=is_2019, lon=-58.4, lat=-34.6)).records
    assert (record["terminal"], record["longitude"], record["latitude"]) == ("13800000001", -58.4, -34.6)
    assert (record["speed_kmh"], record["direction"], record["time"]) == (36.5, 271, "2026-01-04T12:00:00+08:00")


def test_without_a_fix_there_is_no_place() -> None:
    body = bytearray(jt808.location(117.5, 34.8, 0, 0, NOON))
    body[7] &= ~2
    (record,) = jt808.decode(jt808.encode(0x0200, "1", 1, bytes(body))).records
    assert (record["longitude"], record["latitude"]) == (None, None)


def test_many_positions_at_once() -> None:
    one = jt808.location(117.5, 34.8, 10, 90, NOON)
    body = b"\x00\x02\x01" + 2 * (len(one).to_bytes(2, "big") + one)
    records = jt808.decode(jt808.encode(0x0704, "9", 1, body)).records
    assert [record["late"] for record in records] == [True, True]
    for cut in (body[:2], body[:-1], b"\x00\x03" + body[2:]):
        with pytest.raises(FrameError, match="positions"):
            jt808.decode(jt808.encode(0x0704, "9", 1, cut))


def test_pieces_make_one_message() -> None:
    one = jt808.location(117.5, 34.8, 10, 90, NOON)
    body = b"\x00\x02\x00" + 2 * (len(one).to_bytes(2, "big") + one)
    frames = [
        jt808.encode(0x0704, "9", 40 + number, piece, part=jt808.Part("", number, 2))
        for number, piece in ((1, body[:30]), (2, body[30:]))
    ]
    first, second = map(jt808.decode, frames)
    assert first.part is not None
    assert second.part is not None
    assert first.part.key == second.part.key
    assert len(jt808.joined(frames[0], [first.body, second.body]).records) == 2


def test_answers() -> None:
    said = jt808.answer(position())
    assert said is not None
    assert jt808.decode(said).kind == "0x8001"
    assert said[18:23] == bytes.fromhex("0007020000"), "the number and id of what is answered, and: taken"
    registered = jt808.answer(jt808.encode(0x0100, "13800000001", 3, bytes(37)))
    assert registered is not None
    assert jt808.decode(registered).kind == "0x8100"
    assert registered.endswith(b"13800000001" + registered[-2:])
    assert jt808.answer(jt808.encode(0x0001, "1", 1, bytes(5))) is None


def test_marks_inside_are_sent_otherwise() -> None:
    frame = jt808.encode(0x0002, "13800000001", 0x7E7D, b"\x7e\x7d")
    assert frame.count(b"\x7e") == 2
    assert jt808.split(frame) == ([frame], len(frame))
    said = jt808.answer(frame)
    assert said is not None
    assert b"\x7d\x02\x7d\x01" in said, "the number of the message, 7E 7D"


def test_a_stream_is_cut_where_messages_end() -> None:
    frame = position()
    assert jt808.split(frame + frame) == ([frame, frame], 2 * len(frame))
    assert jt808.split(b"junk" + frame) == ([b"junk", frame], 4 + len(frame))
    assert jt808.split(frame[:10]) == ([], 0)
    endless = b"\x7e" + b"x" * 5000
    assert jt808.split(endless) == ([endless], len(endless)), "an endless message does not fill the memory"


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"", "bytes 7E"),
        (position()[:-3] + b"\x00\x7e", "check byte"),
        (jt808.encode(0x0200, "1", 1, b"short"), "position is cut off"),
        (jt808.encode(0x0200, "1", 1, jt808.location(1, 1, 1, 1, NOON) + b"\x01\x04\x00"), "cut off"),
        (jt808.encode(0x0200, "1", 1, jt808.location(1, 1, 1, 1, "AB0104120000")), "its time is ab"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(frame: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        jt808.decode(frame)
