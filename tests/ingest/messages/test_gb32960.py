"""GB/T 32960: vectors made from the standard, reports, answers."""

import datetime as dt
import json

import pytest

from ingest.codecs import gb32960
from ingest.codecs.messages import FrameError
from tests.shared_data import shared

VIN = "LTESTVIN123456789"
NOON = dt.datetime(2026, 1, 4, 12, 0, 0, tzinfo=dt.UTC)
REPORT = gb32960.report(NOON, 117.5, 34.8, 60.0, 12_345.6, 85)


def test_vectors() -> None:
    for vector in json.loads(shared("gb32960/vectors.json").read_text()):
        read = gb32960.decode(bytes.fromhex(vector["hex"]))
        expected = vector["expect"]
        assert int(read.kind) == expected.get("cmd", 2)
        assert read.device == expected.get("vin", read.device)
        if "speed_kmh" in expected:
            (record,) = read.records
            assert (record["speed_kmh"], record["mileage_km"]) == (expected["speed_kmh"], expected["mileage_km"])
            assert record["charge_percent"] == expected["soc"]


def test_a_report_is_read() -> None:
    (record,) = gb32960.decode(gb32960.encode(3, VIN, REPORT)).records
    assert record == {
        "vin": VIN, "time": "2026-01-04T12:00:00+08:00", "late": True, "running": True, "charging": False,
        "speed_kmh": 60.0, "mileage_km": 12345.6, "charge_percent": 85, "longitude": 117.5, "latitude": 34.8,
    }  # fmt: skip


def test_other_items_are_stepped_over() -> None:
    motors = bytes((2, 2)) + bytes(24)
    fuel_cell = bytes((3,)) + bytes(6) + b"\x00\x02" + bytes(12)
    alarms = bytes((7,)) + bytes(5) + b"\x01" + bytes(4) + bytes(3)
    vehicle, place = REPORT[6:27], REPORT[27:]
    data = REPORT[:6] + vehicle + motors + fuel_cell + bytes((4,)) + bytes(5) + bytes((6,)) + bytes(14) + alarms + place
    (record,) = gb32960.decode(gb32960.encode(2, VIN, data)).records
    assert (record["longitude"], record["charge_percent"]) == (117.5, 85)
    unknown = REPORT[:6] + b"\x80whatever"
    assert gb32960.decode(gb32960.encode(2, VIN, unknown)).records[0].keys() == {"vin", "time", "late"}


def test_answers() -> None:
    said = gb32960.answer(gb32960.encode(2, VIN, REPORT, flag=0xFE))
    assert said is not None
    assert said[2:4] == bytes((2, 1))
    assert said[24:30] == REPORT[:6]
    assert gb32960.answer(said) is None, "an answer wants no answer"


def test_a_stream_is_cut_by_lengths() -> None:
    one = gb32960.encode(2, VIN, REPORT)
    assert gb32960.split(one + one[:30]) == ([one], len(one))
    assert gb32960.split(b"junk" + one) == ([b"junk", one], 4 + len(one))
    assert gb32960.split(b"junk#") == ([b"junk"], 4)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"xx", "begin with"),
        (b"##\x02", "cut off"),
        (gb32960.encode(2, VIN, REPORT)[:-1], "holds"),
        (gb32960.encode(2, VIN, REPORT)[:-1] + b"\x00", "check byte"),
        (gb32960.encode(2, "!" * 17, REPORT), "no VIN"),
        (gb32960.encode(2, VIN, REPORT[:4]), "time is cut off"),
        (gb32960.encode(2, VIN, REPORT[:20]), "item 1 is cut off"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(message: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        gb32960.decode(message)
