"""Texts -> moments and dates, in the forms that sources of a city write.

Read are ISO 8601 with or without an offset, `2026-11-22 08:00:00`, `2026/11/22 8:00`, `2026年11月22日`,
`20261122080000` with or without milliseconds, and seconds or milliseconds since 1970.
"""

import polars as pl

__all__ = ["MOMENT", "to_date", "to_moment"]

MOMENT = pl.Datetime("us", "UTC")
"""Type of a moment: microseconds, UTC."""

_LOCAL = pl.Datetime("us")
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y年%m月%d日")
_TIMES = (
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"),
    *("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M"),
    *("%Y%m%d%H%M%S", "%Y%m%d%H%M%S%3f"),
)
_WITH_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z")

# Formats of digits only fit texts of just this length: 2026112208 is no date.
_DIGITS = {"%Y%m%d": 8, "%Y%m%d%H%M%S": 14, "%Y%m%d%H%M%S%3f": 17}

# Counts since 1970 from 2001 to May 2033; from then on they could also be a day and an hour (2034112208).
_COUNT = r"^1[0-9]{9}([0-9]{3})?$"
_SAMPLE = 256


def to_moment(series: pl.Series, zone: str) -> tuple[pl.Series, pl.Series]:
    """Moments of a Series of texts, times or dates; a date is the start of its day.

    Times without an offset are of `zone`. Returns the moments, null where there is none, and the mask of those that
    the clocks of the zone skip or have twice.
    """
    local, known = _local(series), _nothing(series, MOMENT)
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        known = series.dt.convert_time_zone("UTC").cast(MOMENT)
    elif series.dtype == pl.String and (left := _left(series, local)).len():
        known = known.scatter(left, _known(series.gather(left)))
    placed = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    moments = placed if known.null_count() == known.len() else known.zip_with(known.is_not_null(), placed)
    return moments, local.is_not_null() & placed.is_null()


def to_date(series: pl.Series, zone: str) -> pl.Series:
    """Dates of a Series of texts, times or dates; null for what is none.

    A time at midnight is read, since databases and spreadsheets write dates so; any other says more than a date.
    """
    if series.dtype == pl.Date:
        return series
    dates = _parsed(series, pl.Date, _DATES) if series.dtype == pl.String else _nothing(series, pl.Date)
    left = _left(series, dates)
    if left.is_empty():
        return dates
    moments, _ = to_moment(series.gather(left), zone)
    local = moments.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return dates.scatter(left, local.set(local != local.dt.truncate("1d"), None).dt.date())


def _local(series: pl.Series) -> pl.Series:
    """Times without an offset, as a clock on the wall shows them."""
    if series.dtype == pl.String:
        return _parsed(series, _LOCAL, (*_TIMES, *_DATES))
    if series.dtype == pl.Date or (isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is None):
        return series.cast(_LOCAL)
    return _nothing(series, _LOCAL)


def _known(text: pl.Series) -> pl.Series:
    """Moments that say their offset, or count from 1970."""
    moments = _parsed(text, MOMENT, _WITH_OFFSET)
    count = pl.col("text").cast(pl.Int64, strict=False)
    milliseconds = pl.when(pl.col("text").str.len_bytes() == 10).then(count * 1000).otherwise(count)
    counted = (
        text.alias("text")
        .to_frame()
        .select(pl.when(pl.col("text").str.contains(_COUNT)).then(pl.from_epoch(milliseconds, "ms")))
    )
    return moments.zip_with(moments.is_not_null(), counted.to_series().dt.replace_time_zone("UTC").cast(MOMENT))


def _parsed(text: pl.Series, dtype: pl.DataType | type[pl.DataType], formats: tuple[str, ...]) -> pl.Series:
    """Texts in any of the formats, commonest first; null for others."""
    values = _nothing(text, dtype)
    left = _left(text, values)
    sample = text.gather(left.gather_every(max(1, left.len() // _SAMPLE)))
    hits = {form: _in_format(sample, dtype, form).count() for form in formats}
    for form in sorted(formats, key=lambda form: -hits[form]):
        if left.is_empty():
            break
        whole = left.len() == text.len()
        found = _in_format(text if whole else text.gather(left), dtype, form)
        values = found if whole else values.scatter(left, found)
        left = _left(text, values)
    return values


def _in_format(text: pl.Series, dtype: pl.DataType | type[pl.DataType], form: str) -> pl.Series:
    """Texts in a format; null for others and for years before 1000, which no source of a city means."""
    if form in _DIGITS:
        text = text.set(text.str.len_bytes() != _DIGITS[form], None)
    if dtype == pl.Date:
        values = text.str.to_date(form, strict=False, cache=False)
    else:
        values = text.str.to_datetime(form, time_unit="us", strict=False, cache=False)
    early = values.dt.year() < 1000
    return values.set(early, None) if early.any() else values


def _left(source: pl.Series, values: pl.Series) -> pl.Series:
    """Positions of what is in the source and not yet read."""
    return (values.is_null() & source.is_not_null()).arg_true()


def _nothing(series: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    return pl.repeat(None, series.len(), dtype=dtype, eager=True).alias(series.name)
