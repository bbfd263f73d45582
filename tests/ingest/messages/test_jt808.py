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


def test_every_published_frame_is_read() -> None:
    frames = [bytes.fromhex(one["hex"]) for one in json.loads(shared("jt808/frames_index.json").read_text())]
    kinds: Counter[str] = Counter()
    places = 0
    for frame in frames:
        if b"\x7e" not in frame[1:-1]:  # one of them is written without its escapes
            assert jt808.split(frame).messages == [frame]
        read = jt808.decode(frame)
        kinds[read.kind] += 1
        assert read.device.isalnum()
        for record in read.records:
            places += 1
            assert str(record["time"]).startswith("20")
            if record["latitude"] is not None:
                assert -90 <= float(str(record["latitude"])) <= 90
    assert sum(kinds.values()) == len(frames) == 68
    assert kinds["0x0200"] > 5
    assert places >= kinds["0x0200"]


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
