"""Times as sources write them: each form that is read, what is not, and clocks that change."""

import datetime as dt
from typing import Any

import polars as pl
import pytest

from ingest.times import MOMENT, to_date, to_moment

ZONE = "Asia/Shanghai"
DAY = dt.date(2026, 11, 22)
EIGHT = dt.datetime(2026, 11, 22, 0, 0, tzinfo=dt.UTC)  # 08:00 in Zaozhuang


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-22 08:00:00", EIGHT),
        ("2026-11-22T08:00:00", EIGHT),
        ("2026-11-22 08:00", EIGHT),
        ("2026/11/22 8:00", EIGHT),
        ("2026/11/22 8:00:00", EIGHT),
        ("20261122080000", EIGHT),
        ("20261122080000123", EIGHT + dt.timedelta(milliseconds=123)),
        ("2026-11-22 08:00:00.5", EIGHT + dt.timedelta(milliseconds=500)),
        ("2026-11-22T00:00:00Z", EIGHT),
        ("2026-11-22T08:00:00+08:00", EIGHT),
        ("2026-11-22T08:00:00+0800", EIGHT),
        ("2026-11-21 19:00:00.25-05:00", EIGHT + dt.timedelta(milliseconds=250)),
        ("1795305600", EIGHT),
        ("1795305600123", EIGHT + dt.timedelta(milliseconds=123)),
        ("2026-11-22", EIGHT - dt.timedelta(hours=8)),
        ("20261122", EIGHT - dt.timedelta(hours=8)),
        ("2026年11月22日", EIGHT - dt.timedelta(hours=8)),
        (dt.date(2026, 11, 22), EIGHT - dt.timedelta(hours=8)),
        (dt.datetime(2026, 11, 22, 8), EIGHT),  # noqa: DTZ001
        (dt.datetime(2026, 11, 22, 0, tzinfo=dt.UTC), EIGHT),
    ],
)
def test_times_that_are_read(value: Any, moment: dt.datetime) -> None:
    moments, skipped = to_moment(pl.Series([value]), ZONE)
    assert moments.to_list() == [moment]
    assert moments.dtype == MOMENT
    assert skipped.to_list() == [False]


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "2026-13-01 00:00:00",
        "2026-02-30",
        "8:00",
        "202611220800",
        "2026112208",
        "2034112208",
        "12345678901",
        "0026-11-22 08:00:00",
        "26-11-22",
        "99999999999999",
        "2026-11-22 25:00:00",
        "-1795305600",
        "1795305600.5",
    ],
)
def test_times_that_are_not_read(value: str) -> None:
    moments, skipped = to_moment(pl.Series([value]), ZONE)
    assert (moments.to_list(), skipped.to_list()) == ([None], [False])


def test_mixed_forms_of_time_in_one_column() -> None:
    texts = ["2026-11-22 08:00:00", "20261122080000", "1795305600", "x", "", "2026-11-22T00:00:00Z", "2026/11/22 8:00"]
    moments, skipped = to_moment(pl.Series(texts * 300), ZONE)
    assert moments.to_list() == [EIGHT, EIGHT, EIGHT, None, None, EIGHT, EIGHT] * 300
    assert not skipped.any()


def test_clock_changes_are_not_guessed() -> None:
    times = ["2018-11-04 00:30:00", "2018-02-17 23:30:00", "2018-02-17 22:30:00", "2018-11-04 00:30:00-03:00"]
    moments, skipped = to_moment(pl.Series(times), "America/Sao_Paulo")
    assert skipped.to_list() == [True, True, False, False]
    assert moments[:2].to_list() == [None, None]
    assert moments[2:].to_list() == [
        dt.datetime(2018, 2, 18, 0, 30, tzinfo=dt.UTC),
        dt.datetime(2018, 11, 4, 3, 30, tzinfo=dt.UTC),
    ]


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2026-11-22", DAY),
        ("2026/11/22", DAY),
        ("20261122", DAY),
        ("2026年11月22日", DAY),
        ("2026-11-22 00:00:00", DAY),
        ("2026-11-21T16:00:00Z", DAY),
        ("2026-11-22 08:00:00", None),
        ("2026-02-30", None),
        ("0026-11-22", None),
        ("soon", None),
        (DAY, DAY),
        (dt.datetime(2026, 11, 22), DAY),  # noqa: DTZ001
        (dt.datetime(2026, 11, 22, 8), None),  # noqa: DTZ001
    ],
)
def test_dates(value: Any, date: dt.date | None) -> None:
    assert to_date(pl.Series([value]), ZONE).to_list() == [date]
