"""Values of a contract's fields: from an SQL expression of its `[demo]` section, or by chance."""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from ingest.times import MOMENT, to_date
from layers.contract import Contract, FieldSpec
from twin.city import City
from twin.errors import ContractError

__all__ = ["evaluated", "local", "moments", "names_in", "random_values", "typed"]

_DIGITS = 6
"""Significant digits kept of what is no whole number."""

_LIKELY = 0.25
_YEARS_BACK = 10


def names_in(texts: list[str]) -> set[str]:
    """All column names that SQL expressions use."""
    return {name for text in texts for name in pl.sql_expr(text).meta.root_names()}


def evaluated(frame: pl.DataFrame, text: str, contract: Contract) -> pl.Series:
    """Values (n,) of an SQL expression over a frame of n rows. Raises ContractError when it cannot be worked out."""
    try:
        return frame.select(pl.repeat(0, pl.len()).alias(""), value=pl.sql_expr(text))["value"]
    except PolarsError as error:
        words = str(error).splitlines()[0]
        where = f"{contract.id}: demo: {text}"
        raise ContractError(f"the expression cannot be worked out: {words}", where=where) from error


def typed(values: pl.Series, name: str, contract: Contract, city: City) -> pl.Series:
    """Values in the type of a field: numbers rounded, dates read from texts and from moments in the city's time.

    Raises ContractError when they are of another kind.
    """
    spec = contract.fields[name]
    try:
        match spec.type:
            case "integer":
                return values.cast(pl.Float64).round().cast(pl.Int64)
            case "float":
                return values.cast(pl.Float64).round_sig_figs(_DIGITS)
            case "boolean":
                return values.cast(pl.Boolean)
            case "datetime":
                return values.cast(MOMENT)
            case "date":
                if isinstance(values.dtype, pl.Datetime):
                    values = local(values, city).dt.date()
                return to_date(values, city.zone)
            case "string":
                return values.cast(pl.String)
    except PolarsError as error:
        words = f"the expression does not make the type {spec.type}: {str(error).splitlines()[0]}"
        raise ContractError(words, where=f"{contract.id}: demo.map.{name}") from error


def random_values(spec: FieldSpec, count: int, rng: np.random.Generator, now: dt.datetime) -> pl.Series:
    """Values (n,) by chance that the field allows: codes, the first ones oftenest, numbers of the range, past dates.

    Texts without codes are null, as are numbers without a range and times.
    """
    if spec.values:
        codes = list(spec.values)
        weight = 1.0 / (1 + np.arange(len(codes)))
        picked = pl.Series(codes)[rng.choice(len(codes), count, p=weight / weight.sum())]
        return picked.cast(pl.Int64) if spec.type == "integer" else picked
    if spec.type == "boolean":
        return pl.Series(rng.random(count) < _LIKELY)
    if spec.type == "date":
        days = rng.integers(0, 365 * _YEARS_BACK, count)
        return pl.Series(np.datetime64(now.date()) - days)
    if spec.range is not None:
        numbers = rng.uniform(*spec.range, count)
        return pl.Series(np.floor(numbers).astype(np.int64) if spec.type == "integer" else numbers.round(3))
    dtype = {"string": pl.String, "integer": pl.Int64, "float": pl.Float64, "datetime": MOMENT}[spec.type]
    return pl.repeat(None, count, dtype=dtype, eager=True)


def moments(epoch_s: NDArray[np.floating[Any] | np.int64]) -> pl.Series:
    """Seconds since 1970 (n,), NaN for none, as moments in UTC."""
    whole = pl.Series(epoch_s.astype(np.float64)).fill_nan(None).cast(pl.Int64)
    return (whole * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def local(values: pl.Series, city: City) -> pl.Series:
    """Moments as the clocks of the city show them, without an offset."""
    return values.dt.convert_time_zone(city.zone).dt.replace_time_zone(None)
