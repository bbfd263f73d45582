"""Which records of a batch become rows, and which are refused with what reason."""

from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl
import shapely
from numpy.typing import NDArray

from ingest.codecs.records import GEOMETRY, ROW, Records
from ingest.validation import Checked
from ingest.writer import Written
from layers.contract import Contract
from layers.places.fix import Site, is_none
from layers.places.resolver import Placed, place
from layers.reasons import Reason
from layers.rungs import GeometryRung, columns_of

__all__ = ["REFUSED", "Judged", "judge"]

REFUSED = {"row_number": pl.Int64, "stage": pl.String, "reason": pl.String, "detail": pl.String, "record": pl.String}
"""Columns of refused records: number in the source, the stage that refused, the reason, details, the record as JSON."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch, judged: the good records (`frame`, `placed`, of the same length) and the refused ones (REFUSED)."""

    received: int
    frame: pl.DataFrame
    placed: Placed
    refused: pl.DataFrame
    unknown_columns: tuple[str, ...]
    records: Records

    def conflicts(self, written: Written) -> pl.DataFrame:
        """The records that the writer found in conflict with another of the batch, as refused records."""
        numbers = written.conflicts
        return _refused(
            self.records,
            numbers[ROW],
            "write",
            pl.repeat(Reason.KEY_CONFLICT, numbers.height, eager=True),
            numbers["detail"],
        )


def judge(records: Records, checked: Checked, contract: Contract, site: Site) -> Judged:
    """Place the records that passed the contract's checks and set the others aside.

    Raises DatumError when the file's datum is unsaid or contradicts the contract.
    """
    passed = checked.reasons.is_null()
    good = checked.frame.filter(passed)
    placed = place(good, contract, site)
    here = is_none(placed.reasons)
    lost = good.filter(pl.Series(~here))
    refused = [
        _unreadable(records),
        _refused(records, checked.frame[ROW].filter(~passed), "contract", checked.reasons, checked.details, ~passed),
        _refused(
            records,
            lost[ROW],
            "place",
            pl.Series(placed.reasons[~here].tolist(), dtype=pl.String),
            _hinted(_where(lost, contract), placed.hints[~here]),
        ),
    ]
    return Judged(
        received=records.frame.height + len(records.unreadable),
        frame=good.filter(pl.Series(here)),
        placed=placed.where(here),
        refused=pl.concat(refused),
        unknown_columns=checked.unknown_columns,
        records=records,
    )


def _unreadable(records: Records) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (item.row, "read", Reason.UNREADABLE_ROW.value, item.why, orjson.dumps({"text": item.text}).decode())
            for item in records.unreadable
        ],
        schema=REFUSED,
        orient="row",
    )


def _refused(
    records: Records,
    numbers: pl.Series,
    stage: str,
    reasons: pl.Series,
    details: pl.Series,
    mask: pl.Series | None = None,
) -> pl.DataFrame:
    """Refused records with their source values. `mask` picks reasons and details where these are of the whole batch."""
    if mask is not None:
        reasons, details = reasons.filter(mask), details.filter(mask)
    wanted = pl.DataFrame({ROW: numbers.cast(pl.Int64), "reason": reasons.cast(pl.String), "detail": details})
    source = records.frame.with_columns(pl.col(ROW).cast(pl.Int64))
    joined = wanted.join(source, on=ROW, how="left", maintain_order="left")
    values = joined.drop("reason", "detail", GEOMETRY, strict=False)
    texts = [orjson.dumps(row, default=str).decode() for row in values.drop(ROW).iter_rows(named=True)]
    return pl.DataFrame(
        {
            "row_number": joined[ROW],
            "stage": [stage] * joined.height,
            "reason": joined["reason"],
            "detail": joined["detail"],
            "record": texts,
        },
        schema=REFUSED,
    )


def _where(frame: pl.DataFrame, contract: Contract) -> pl.Series:
    """What the place rungs looked at, in words: `lon=34.8 lat=117.5 station_id=A1`."""
    names: dict[str, None] = {}
    for rung in contract.place.rungs:
        names |= dict.fromkeys((GEOMETRY,) if isinstance(rung, GeometryRung) else columns_of(rung))
    seen = frame.select(name for name in names if name in frame.columns)
    return pl.Series([_said(row) for row in seen.iter_rows(named=True)], dtype=pl.String)


def _hinted(details: pl.Series, hints: NDArray[np.object_]) -> pl.Series:
    """Details with what would fit behind them."""
    pairs = zip(details.to_list(), hints.tolist(), strict=True)
    return pl.Series([f"{detail} | {hint}" if hint else detail for detail, hint in pairs], dtype=pl.String)


def _said(values: dict[str, object]) -> str:
    """The values that are there; a geometry by its type and box."""
    words = [
        _outlined(value) if isinstance(value, bytes) else f"{name}={value}"
        for name, value in values.items()
        if value is not None
    ]
    names = ("geometry" if name == GEOMETRY else name for name in values)
    return " ".join(words) or f"nothing in {', '.join(names)}"


def _outlined(wkb: bytes) -> str:
    geometry = shapely.from_wkb(wkb, on_invalid="ignore")
    if not geometry or geometry.is_empty:
        return "empty geometry"
    return f"{geometry.geom_type} within {', '.join(f'{edge:.7g}' for edge in geometry.bounds)}"
