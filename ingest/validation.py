"""Records -> rows of a contract: typed, checked, each refused one with the first reason and the value at fault.

All checks work on whole columns; nothing runs row by row.
"""

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from polars.exceptions import ComputeError

from ingest.casts import as_text, cast, to_float
from ingest.codecs.records import GEOMETRY, ROW, Records
from ingest.codes import wrong_codes
from ingest.columns import Headings, coordinates
from ingest.extra import to_json
from ingest.times import MOMENT, to_moment
from layers.contract import Contract, FieldSpec
from layers.reasons import Reason
from twin.errors import ContractError

__all__ = ["EXTRA", "Checked", "Validator"]

EXTRA = "extra"
"""Column of what a source says beyond the contract: a JSON object, or null."""

_LEEWAY = dt.timedelta(minutes=5)
_SHOWN_CHARACTERS = 80
_SHOWN_VALUES = 12

_ORDER = {
    reason: position
    for position, reason in enumerate(
        (
            *(Reason.UNREADABLE_ROW, Reason.MISSING_KEY, Reason.MISSING_VALUE, Reason.WRONG_TYPE, Reason.BAD_TIME),
            *(Reason.BAD_COORDINATE, Reason.OUT_OF_RANGE, Reason.UNKNOWN_VALUE, Reason.PATTERN, Reason.TOO_LONG),
            Reason.WRONG_CODE,
            Reason.FUTURE_TIME,
        )
    )
}
"""Which reason is told when several hold: the first. Of two checks with the same, that of the earlier field."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after the checks, row by row as in the records.

    `frame` has the contract's fields in its order and types, its coordinate columns (Float64), EXTRA, ROW and, where
    the records had it, GEOMETRY; a value that cannot be read is null. `reasons` is null for a good row, else a Reason;
    `details` says which field and which value, in words.
    """

    frame: pl.DataFrame
    reasons: pl.Series
    details: pl.Series
    unknown_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    """What one check found: the rows that fail it (mask of length n), why, and the values to show, if any.

    `why` is said of all of them, or is a text (n,) of each.
    """

    reason: Reason
    field: str
    mask: pl.Series
    why: str | pl.Series
    shown: pl.Series | None = None

    def details(self, rows: pl.Series) -> pl.Series:
        """The words for the rows at these positions."""
        if self.shown is None:
            return pl.repeat(f"{self.field} {self.why}", rows.len(), eager=True)
        values = self.shown.gather(rows)
        quote = '"' if values.dtype == pl.String else ""
        text = pl.col("text")
        why = pl.Series("why", [self.why] * rows.len()) if isinstance(self.why, str) else self.why.gather(rows)
        short = pl.when(text.str.len_chars() > _SHOWN_CHARACTERS).then(text.str.head(_SHOWN_CHARACTERS) + "…")
        words = pl.format(f"{{}} = {quote}{{}}{quote}: {{}}", pl.lit(self.field), short.otherwise(text), pl.col("why"))
        shown = as_text(values).fill_null("?").str.replace_all("\0", "␀", literal=True)
        return pl.DataFrame([shown.alias("text"), why.alias("why")]).select(words).to_series()


class Validator:
    """The checks of one contract. `zone` is for times with no offset where the contract names no zone.

    Raises ContractError when a pattern of the contract cannot be used.
    """

    def __init__(self, contract: Contract, zone: str) -> None:
        self._contract = contract
        self._zone = contract.time.zone or zone
        self._headings = Headings(contract)
        self._coordinates = tuple(name for name in coordinates(contract) if name not in contract.fields)
        for name, field in contract.fields.items():
            _require_usable(name, field, contract.id)

    def check(self, records: Records, *, now: dt.datetime | None = None) -> Checked:
        """Type and check a batch. `now` (default: this moment) is what a time of observation may not lie beyond.

        Raises SourceError when a column of the key or of a required field is missing, or nothing says where.
        """
        source = records.frame
        own = [name for name in (ROW, GEOMETRY) if name in source.columns]
        theirs = [name for name in source.columns if name not in own]
        columns = self._headings.match(theirs, geometry=GEOMETRY in own)

        def judge(name: str) -> tuple[pl.Series, list[_Fault]]:
            given = source[columns.of[name]] if name in columns.of else _nothing(source.height)
            return self._judge(name, given)

        names = (*self._contract.fields, *self._coordinates)
        # Polars works on one column with one thread; two columns at once keep two cores busy.
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            judged = dict(zip(names, pool.map(judge, names), strict=True))
        typed = {name: values for name, (values, _) in judged.items()}
        faults = [fault for _, found in judged.values() for fault in found]
        faults += self._times(typed, now or dt.datetime.now(dt.UTC))
        typed[EXTRA], nul = to_json(source, columns.unknown)
        faults.append(_Fault(Reason.UNREADABLE_ROW, EXTRA, nul, "contains a NUL character"))
        reasons, details = _first(faults, source.height)
        frame = pl.DataFrame([series.alias(name) for name, series in typed.items()])
        return Checked(frame.hstack(source.select(own)), reasons, details, columns.unknown)

    def _judge(self, name: str, given: pl.Series) -> tuple[pl.Series, list[_Fault]]:
        """Typed values of a field or coordinate column, and what is wrong with them."""
        if isinstance(given.dtype, pl.Categorical | pl.Enum):
            given = given.cast(pl.String)
        field = self._contract.fields.get(name)
        if field is None:
            result = to_float(given)
            return result.values, [_Fault(Reason.BAD_COORDINATE, name, mask, why, given) for mask, why in result.faults]
        key = name in self._contract.key
        result = cast(given, field, self._zone, code=key or bool(field.pattern) or bool(field.values))
        reason = Reason.BAD_TIME if field.type in {"date", "datetime"} else Reason.WRONG_TYPE
        faults = [_Fault(reason, name, mask, why, given) for mask, why in result.faults]
        if key or field.required:
            faults.append(_Fault(Reason.MISSING_KEY if key else Reason.MISSING_VALUE, name, result.empty, "is empty"))
        faults += _constraints(name, field, result.values)
        return result.values, faults

    def _times(self, typed: dict[str, pl.Series], now: dt.datetime) -> Iterator[_Fault]:
        """Checks of the fields that carry the record's time."""
        time = self._contract.time
        if time.event:
            observed = _moments(typed[time.event], self._zone)
            why = "more than 5 minutes in the future"
            yield _Fault(Reason.FUTURE_TIME, time.event, observed > now + _LEEWAY, why, observed)
        if time.start and time.end:
            start, end = (_moments(typed[name], self._zone) for name in (time.start, time.end))
            yield _Fault(Reason.BAD_TIME, time.end, end < start, f"before {time.start}", typed[time.end])


def _constraints(name: str, field: FieldSpec, values: pl.Series) -> Iterator[_Fault]:
    """Checks of typed values against what the contract allows."""
    if field.range and values.dtype.is_numeric():
        low, high = field.range
        unit = f" {field.unit}" if field.unit else ""
        why = f"outside {low:g} to {high:g}{unit}"
        yield _Fault(Reason.OUT_OF_RANGE, name, (values < low) | (values > high), why, values)
    if field.values:
        why = f"not one of {', '.join(list(field.values)[:_SHOWN_VALUES])}{', …' * (len(field.values) > _SHOWN_VALUES)}"
        yield _Fault(Reason.UNKNOWN_VALUE, name, ~as_text(values).is_in(list(field.values)), why, values)
    if values.dtype == pl.String:
        if field.pattern:
            matches = values.str.contains(_whole(field.pattern))
            yield _Fault(Reason.PATTERN, name, ~matches, f"not of the form {field.pattern}", values)
        if field.code:
            wrong = wrong_codes(field.code, values)
            yield _Fault(Reason.WRONG_CODE, name, wrong.is_not_null(), wrong, values)
        too_long = values.str.len_bytes() > field.max_length
        if too_long.any():
            too_long = values.str.len_chars() > field.max_length
        yield _Fault(Reason.TOO_LONG, name, too_long, f"longer than {field.max_length} characters", values)
        # PostgreSQL stores no NUL in a text.
        nul = values.cast(pl.Binary).bin.contains(b"\0")
        yield _Fault(Reason.UNREADABLE_ROW, name, nul, "contains a NUL character")


def _nothing(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.String, eager=True)


def _moments(series: pl.Series, zone: str) -> pl.Series:
    return series if series.dtype == MOMENT else to_moment(series, zone)[0]


def _whole(pattern: str) -> str:
    """The pattern, for the whole text."""
    return f"^(?:{pattern})$"


def _require_usable(name: str, field: FieldSpec, dataset: str) -> None:
    try:
        pl.Series([""]).str.contains(_whole(field.pattern or ""))
    except ComputeError as error:
        raise ContractError(
            f"the pattern of {name} cannot be used: {field.pattern}",
            where=dataset,
            remedy="Write it without look-around and back-references.",
        ) from error


def _first(faults: Iterable[_Fault], height: int) -> tuple[pl.Series, pl.Series]:
    """Reason and details of each row by the first check it fails, null where it fails none."""
    ranked = sorted((fault for fault in faults if fault.mask.any()), key=lambda fault: _ORDER[fault.reason])
    which = np.full(height, len(ranked), dtype=np.uint32)
    for position, fault in reversed(list(enumerate(ranked))):
        which[fault.mask.fill_null(value=False).to_numpy()] = position
    reasons = pl.Series([*(fault.reason.value for fault in ranked), None], dtype=pl.String).gather(which)
    details = pl.repeat(None, height, dtype=pl.String, eager=True)
    for position, fault in enumerate(ranked):
        rows = pl.Series(np.flatnonzero(which == position))
        if rows.len():
            details = details.scatter(rows, fault.details(rows))
    return reasons.alias("reason"), details.alias("detail")
