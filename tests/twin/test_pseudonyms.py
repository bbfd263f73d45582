"""Nothing that names a person or a device stays in a text, and nothing else is touched."""

import datetime as dt
import stat
from pathlib import Path

import polars as pl
import pytest

from twin.keys import forget_keys, known_key, sealed_key
from twin.pseudonyms import Pseudonyms, mask, redact, redacted

PLANTED = {
    "13812345678": "138••••5678",
    "+86 138-1234-5678": "138••••5678",
    "8613812345678": "138••••5678",
    "１３８１２３４５６７８": "138••••5678",
    "11010519491231002X": "110105••••••••••2X",
    "a4:83:e7:01:02:03": "a4:••:••:••:••:••",
    "A4-83-E7-01-02-03": "A4:••:••:••:••:••",
    "a483.e701.0203": "a4:••:••:••:••:••",
    "鲁D12345": "鲁D•••45",
    "鲁D·12A45": "鲁D•••45",
    "鲁DD12345": "鲁D•••45",
    "鲁D1234警": "鲁D•••4警",
}
KEPT = [
    "91370400769719571X",  # a credit code
    "913704007697195719",
    "8930e1d8a93ffff",  # an H3 cell
    "0632-3318888",
    "G104 K612+300",
    "110105194912310021",  # no ID number: its check digit is wrong
    "370402001001",
    "2026-11-26T08:00:00Z",
    "123456789012345678901",
    "13800000000000",
    "鲁南大道 12号",
    "鲁班路",
    "0.1380013800138",
    "37040200000000000012",
    "AA:BB",
]


@pytest.mark.parametrize(("planted", "masked"), PLANTED.items())
@pytest.mark.parametrize("around", ["{}", "联系人电话{}，请回复", "call {} now", "{}/{}", '{{"t":"{}"}}'])
def test_what_is_planted_in_a_text_is_masked(planted: str, masked: str, around: str) -> None:
    text = around.replace("{}", planted).replace("{{", "{").replace("}}", "}")
    expected = around.replace("{}", masked).replace("{{", "{").replace("}}", "}")
    assert redact(text) == expected
    assert redacted(pl.Series([text, None, "x"])).to_list() == [expected, None, "x"]


@pytest.mark.parametrize("text", KEPT)
def test_other_numbers_stay(text: str) -> None:
    assert redact(text) == text
    assert redact(f"见{text}。") == f"见{text}。"


def test_masks_show_no_more_than_they_should() -> None:
    assert mask("张三丰", "name") == "张••"
    assert mask("12", "phone") == "••••"
    assert mask("x", "id_number") == "••••••••••"


def test_pseudonyms_are_steady_keyed_and_of_one_day_for_devices(tmp_path: Path) -> None:
    today, tomorrow = dt.datetime(2026, 11, 26, tzinfo=dt.UTC), dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
    now, later = Pseudonyms(tmp_path, today), Pseudonyms(tmp_path, tomorrow)
    assert now.of("a4:83:e7:01:02:03", "mac") == now.of("A483.E701.0203", "mac")
    assert now.of("a4:83:e7:01:02:03", "mac") != later.of("a4:83:e7:01:02:03", "mac")
    assert now.of("鲁D12345", "plate") == later.of("鲁D·12345", "plate")
    assert now.of("+86 138 1234 5678", "phone") == now.of("13812345678", "phone")
    assert now.of("x", "plate") != now.of("x", "phone")
    assert Pseudonyms(tmp_path / "other", today).of("鲁D12345", "plate") != now.of("鲁D12345", "plate")
    assert len(now.of("x", "mac")) == 24


def test_keys_are_private_and_can_be_destroyed(tmp_path: Path) -> None:
    old = sealed_key(tmp_path, "mac-20261124")
    assert sealed_key(tmp_path, "mac-20261124") == old
    sealed_key(tmp_path, "mac-20261126")
    sealed_key(tmp_path, "inbox-20261124")
    assert stat.S_IMODE((tmp_path / "keys" / "mac-20261124").stat().st_mode) == 0o600
    assert forget_keys(tmp_path, "mac", dt.date(2026, 11, 26)) == ["mac-20261124"]
    assert known_key(tmp_path, "mac-20261124") is None
    assert known_key(tmp_path, "inbox-20261124") is not None
    assert sealed_key(tmp_path, "mac-20261124") != old
