"""Values as a source writes them -> values of a contract's types. What cannot be read is marked, never guessed.

Each cast takes a Series of any type and tries the plain form first, for all values at once; only what remains is read
again with full-width characters folded. Nothing else is: Unicode's NFKC would read 10² as 102.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import and_

import polars as pl

from ingest.times import to_date, to_moment
from layers.contract import FieldSpec

__all__ = ["Cast", "as_text", "cast", "cleaned", "to_float"]

_BOOLEANS = {"true": True, "1": True, "是": True, "false": False, "0": False, "否": False}
_FULL_WIDTH = {chr(plain + 0xFEE0): chr(plain) for plain in range(0x21, 0x7F)} | {"\u3000": " "}
"""Full-width forms of ASCII (Unicode, Halfwidth and Fullwidth Forms) and the space that goes with them."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Typed values, null where there is none; masks of those that the source has but cannot be read, each with why."""

    values: pl.Series
    faults: tuple[tuple[pl.Series, str], ...]

    @property
    def empty(self) -> pl.Series:
        """Mask of the rows where the source has no value."""
        return reduce(and_, (~mask for mask, _ in self.faults), self.values.is_null())


def cast(series: pl.Series, field: FieldSpec, zone: str, *, code: bool) -> Cast:
    """Values of the field's type. `zone` is for times without an offset.

    Spaces around a text do not count, and nothing else is nothing. `code` says that a text identifies something:
    full-width characters in it are folded, as in numbers.
    """
    match field.type:
        case "string":
            text = cleaned(as_text(series))
            unread = series.is_not_null() & text.is_null() if series.dtype != pl.String else _no(series)
            return Cast(folded(text) if code else text, ((unread, "not a text"),))
        case "integer":
            return _read(series, _whole_numbers, "not a whole number")
        case "float":
            return to_float(series)
        case "boolean":
            return _read(series, _booleans, "neither true nor false")
        case "date":
            return _read(_plain(series), lambda text: to_date(text, zone), "not a date")
        case "datetime":
            plain = _plain(series)
            values, skipped = to_moment(plain, zone)
            unread = plain.is_not_null() & values.is_null() & ~skipped
            clocks = f"a time that the clocks of {zone} skip or repeat; write its offset"
            return Cast(values, ((unread, "not a time"), (skipped, clocks)))


def to_float(series: pl.Series) -> Cast:
    """Finite numbers as Float64."""
    return _read(series, _finite, "not a number")


def cleaned(text: pl.Series) -> pl.Series:
    """Texts without the spaces around them, null where nothing is left."""
    text = text.str.strip_chars()
    empty = text == ""
    return text.set(empty, None) if empty.any() else text


def folded(text: pl.Series) -> pl.Series:
    """Texts with plain digits, letters, signs and spaces for full-width ones."""
    beyond = text.str.len_bytes() != text.str.len_chars()
    return cleaned(text.str.replace_many(_FULL_WIDTH)) if beyond.any() else text


def as_text(series: pl.Series) -> pl.Series:
    """Values as text: whole numbers without a fraction, ISO times, JSON for lists and structures; null for binary."""
    dtype = series.dtype
    if dtype == pl.String:
        return series
    if dtype.is_float():
        whole = (series == series.floor()) & (series.abs() < 2**53)
        series = series.set(~series.is_finite(), None)
        return series.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, series.cast(pl.String))
    if isinstance(dtype, pl.Datetime | pl.Duration):
        return series.dt.to_string("iso:strict" if isinstance(dtype, pl.Datetime) else "iso")
    if dtype.is_nested():
        texts = series.alias("").to_frame().select(pl.struct("").struct.json_encode().str.slice(4).str.head(-1))
        return texts.to_series().set(series.is_null(), None)
    return _nothing(series, pl.String) if dtype == pl.Binary else series.cast(pl.String, strict=False)


def _read(series: pl.Series, read: Callable[[pl.Series], pl.Series], why: str) -> Cast:
    """Read values as they are; the texts among them that cannot be read, once more, cleaned and folded."""
    values = read(series)
    left = (values.is_null() & series.is_not_null()).arg_true()
    unread = _no(series)
    if left.len():
        rest = series.gather(left)
        if series.dtype == pl.String:
            rest = folded(cleaned(rest))
            values = values.scatter(left, read(rest))
        unread = unread.scatter(left, rest.is_not_null() & values.gather(left).is_null())
    return Cast(values, ((unread, why),))


def _whole_numbers(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        plain = series.cast(pl.Int64, strict=False)
        if plain.null_count() == series.null_count():
            return plain
        return series.str.replace(r"^([+-]?[0-9]+)\.0*$", "$1").cast(pl.Int64, strict=False)
    if not series.dtype.is_numeric():
        return _nothing(series, pl.Int64)
    if not series.dtype.is_integer():
        series = series.set(series != series.cast(pl.Float64).floor(), None)
    return series.cast(pl.Int64, strict=False)


def _finite(series: pl.Series) -> pl.Series:
    if series.dtype != pl.String and not series.dtype.is_numeric():
        return _nothing(series, pl.Float64)
    values = series.cast(pl.Float64, strict=False)
    infinite = ~values.is_finite()
    return values.set(infinite, None) if infinite.any() else values


def _booleans(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Boolean:
        return series
    text = as_text(series).str.to_lowercase()
    return text.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)


def _plain(series: pl.Series) -> pl.Series:
    """What the readers of time take: times and dates as they are, all else as cleaned and folded text."""
    return series if isinstance(series.dtype, pl.Datetime | pl.Date) else folded(cleaned(as_text(series)))


def _no(series: pl.Series) -> pl.Series:
    return pl.repeat(value=False, n=series.len(), eager=True)


def _nothing(series: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    return pl.repeat(None, series.len(), dtype=dtype, eager=True)
