"""Columns beyond the contract -> one JSON object a row, so that nothing a source says is lost."""

import json
from collections.abc import Iterable

import polars as pl
from polars.exceptions import PolarsError

from ingest.casts import as_text, cleaned

__all__ = ["to_json"]

# A NUL, which jsonb cannot hold: \u0000 after an even number of backslashes.
_NUL = r"(?:^|[^\\])(?:\\\\)*\\u0000"


def to_json(frame: pl.DataFrame, columns: Iterable[str]) -> tuple[pl.Series, pl.Series]:
    """One JSON object a row of the values that are not null, null where none is; and the mask of those with a NUL."""
    members = [_members(frame[name]) for name in columns]
    if not members:
        nothing = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
        return nothing, nothing.is_not_null()
    joined = pl.concat_str(members, separator=",", ignore_nulls=True)
    texts = pl.select(pl.when(joined != "").then(pl.format("{{{}}}", joined))).to_series()
    return texts, texts.str.contains(_NUL).fill_null(value=False)


def _members(series: pl.Series) -> pl.Series:
    """Each value as `"name":value`, null where there is none."""
    values = _expressible(series)
    members = _objects(values).str.slice(1).str.head(-1).set(values.is_null(), None)
    if not values.dtype.is_float() or (finite := values.is_finite()).all():
        return members
    # JSON has no NaN: such values are texts, and only they, whatever else the column holds.
    return members.zip_with(finite | values.is_null(), _members(values.cast(pl.String)))


def _objects(values: pl.Series) -> pl.Series:
    try:
        return values.to_frame().select(pl.struct(pl.all()).struct.json_encode()).to_series()
    except PolarsError:  # a nested value that holds what JSON cannot
        texts = [json.dumps({values.name: str(value)}, ensure_ascii=False) for value in values]
        return pl.Series(texts, dtype=pl.String)


def _expressible(series: pl.Series) -> pl.Series:
    """Values that JSON can say as they are; others as text (hexadecimal for bytes)."""
    dtype = series.dtype
    if dtype == pl.String:
        return cleaned(series)
    if dtype == pl.Binary:
        return series.bin.encode("hex")
    plain = dtype.is_integer() or dtype.is_float() or dtype.is_nested() or dtype == pl.Boolean
    return series if plain else as_text(series)
