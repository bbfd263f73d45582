"""HJ 212: two hours of real traffic accounted for, the appendix's own message, pieces, answers, flags."""

import gzip
from collections import Counter

import pytest

from ingest.codecs import hj212
from ingest.codecs.messages import FrameError, Message
from tests.shared_data import shared

STATION = "ST=22;CN=2011;PW=123456;MN=88888880000001;Flag=5"
VALUES = "DataTime=20260104081500;a34004-Rtd=35.2,a34004-Flag=N;a21026-Rtd=9.1,a21026-Flag=D"


def message(head: str = STATION, contents: str = VALUES) -> bytes:
    return hj212.encode(f"QN=20260104081500123;{head};CP=&&{contents}&&")


def test_the_check_sum_is_that_of_the_standard() -> None:
    """The message of HJ 212-2017, appendix C; its check sum was computed by others."""
    text = "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
    assert hj212.encode(text)[-6:-2] == b"1C80"


@pytest.mark.parametrize(("name", "good", "broken"), [("2016-08-24T05", 8_692, 4), ("2016-08-24T08", 8_621, 5)])
def test_an_hour_of_real_traffic(name: str, good: int, broken: int) -> None:
    raw = gzip.decompress(shared(f"hj212/{name}.h212.gz").read_bytes())
    cut = hj212.split(raw)
    assert cut.taken == len(raw)
    assert sum(len(line) + 2 for line in cut.messages) == len(raw), "no byte is lost between the messages"
    outcome: Counter[str] = Counter()
    times: Counter[int] = Counter()
    for line in cut.messages:
        try:
            read = hj212.decode(line)
        except FrameError as error:
            outcome[str(error).split(",")[0][:24]] += 1
            continue
        outcome["good"] += 1
        times.update(len(str(record.get("DataTime") or "")) for record in read.records)
    assert outcome.pop("good") == good
    assert sum(outcome.values()) == broken, outcome
    assert times.keys() <= {0, 14, 17}


def test_a_record_has_its_fields_and_values() -> None:
    (record,) = hj212.decode(message()).records
    assert record == {
        "ST": "22", "CN": "2011", "MN": "88888880000001", "QN": "20260104081500123", "DataTime": "20260104081500",
        "a34004-Rtd": "35.2", "a34004-Flag": "N", "a21026-Rtd-D": "9.1", "a21026-Flag": "D",
    }  # fmt: skip


def test_what_keeps_the_connection_going_brings_no_record() -> None:
    beat = hj212.encode("QN=20260104081500123;ST=91;CN=9015;PW=123456;MN=88888880000001;Flag=4;CP=&&&&")
    assert hj212.decode(beat) == Message("9015", "88888880000001")
    assert hj212.answer(beat) is None


def test_who_asks_for_an_answer_gets_one() -> None:
    said = hj212.answer(message())
    assert said is not None
    assert said[6:-6] == b"QN=20260104081500123;ST=91;CN=9014;PW=123456;MN=88888880000001;Flag=4;CP=&&&&"
    assert hj212.decode(said).kind == "9014"
    assert hj212.answer(message(STATION.replace("Flag=5", "Flag=4"))) is None


def test_pieces_make_one_message() -> None:
    head = STATION.replace("Flag=5", "Flag=7;PNUM=2;PNO={}")
    one, two = (
        message(head.format(number), part) for number, part in ((1, VALUES), (2, "a05024-Rtd=80,a05024-Flag=N"))
    )
    first, second = hj212.decode(one), hj212.decode(two)
    assert first.records == []
    assert first.part is not None
    assert second.part is not None
    assert (first.part.key, first.part.number, first.part.total) == (second.part.key, 1, 2)
    (record,) = hj212.joined(one, [first.body, second.body]).records
    assert (record["a34004-Rtd"], record["a05024-Rtd"]) == ("35.2", "80")


def test_a_buffer_is_cut_at_ends_only() -> None:
    whole = message()
    assert hj212.split(whole[:40]) == ([], 0)
    assert hj212.split(whole + whole[:40]) == ([whole[:-2]], len(whole))
    junk = b"x" * 20_000
    assert hj212.split(junk) == ([junk], len(junk)), "an endless line does not fill the memory"


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (b"#", "begin with ##"),
        (b"##ABCDxx", "length is no number"),
        (message()[:-30], "holds"),
        (message().replace(b"35.2", b"35.3"), "check sum is"),
        (message()[:-6] + b"XXXX\r\n", "check sum is no number"),
        (hj212.encode("ST=22;MN=1;CP=&&"), "contents"),
        (hj212.encode("ST=22;CP=&&DataTime=20260104081500&&"), "no MN"),
        (hj212.encode("ST;MN=1;CP=&&&&"), "without a value"),
        (message(contents="a34004"), "without a value"),
        (message(STATION.replace("Flag=5", "Flag=7;PNUM=2;PNO=9")), "piece 9 of 2"),
        (message(STATION.replace("Flag=5", "Flag=7")), "do not say which"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(spoilt: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        hj212.decode(spoilt)
