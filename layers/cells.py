"""Cells: an indicator at any resolution up to its own, from its additive parts.

Sums stay `numeric` until the last step, so a coarse cell equals the sum of its children to the last digit. What is
known more coarsely than the cells asked for is in none of them, and counted beside them.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract, Indicator, seconds
from layers.grants import is_limited, may_read
from layers.indicators import PARTS, bucket_sql, counted, parent_sql, parts_of
from layers.query import Box, Visible, branch_ids, visible
from layers.tables import branch_table, dataset_table, open_rows, shown_table
from twin.city import City
from twin.errors import InvalidRequest, LimitExceeded, NotAllowed
from twin.grid import cell_area_m2, cell_polygons, resolution_of
from twin.view import MAIN, Span, View

__all__ = [
    "MOST_CELLS",
    "CellTable",
    "CellsQuery",
    "behind",
    "cells",
    "parts",
    "require_resolution",
    "touched_cells",
    "values_of",
]

MOST_CELLS = 50_000
_MOST_ROWS = 400_000
_COARSE_ROWS = 10_000  # cells of what is known too coarsely stand among the others
_M2_PER_KM2 = 1_000_000.0
_CHILDREN = 7
_LONGEST_SHIFT_S = 3_600  # a day of local time may be an hour longer

Column = sa.ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class CellsQuery:
    """Which cells: at a resolution, those whose outline meets the box (None: all), of the city that the view shows."""

    resolution: int
    box: Box | None
    view: View


@dataclass(frozen=True, slots=True)
class CellTable:
    """The cells of an indicator: `cell` (n,) int64, `value` (n,) in the indicator's unit, `n` (n,) records behind each.

    `bucket` is the start of the window the values belong to, None without one. `coarser` counts the records that are
    known too coarsely for these cells.
    """

    indicator: Indicator
    resolution: int
    cell: NDArray[np.int64]
    value: NDArray[np.float64]
    n: NDArray[np.int64]
    bucket: dt.datetime | None
    coarser: int


async def cells(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, query: CellsQuery, city: City
) -> CellTable:
    """The cells of an indicator.

    One with a window answers for the newest window that is over, or for the one that holds the view's instant. Raises
    InvalidRequest for a resolution that it does not have and for an interval, LimitExceeded for more than 50,000 cells,
    NotAllowed where an older state is to be computed from records that the audience may not read.
    """
    require_resolution(indicator, query.resolution, city)
    bucket, source = await parts(connection, contract, indicator, query.view, city)
    parent = parent_sql(source.c.cell, query.resolution)
    c, func = source.c, sa.func
    sums = func.sum(c.n), func.sum(c.total), func.min(c.smallest), func.max(c.largest)
    groups = sa.select(parent, *sums).group_by(parent)
    most = _MOST_ROWS if query.box is not None else MOST_CELLS + _COARSE_ROWS
    rows = (await connection.execute(groups.order_by(parent).limit(most + 1))).all()
    if len(rows) > most:
        total = sa.select(func.count()).select_from(groups.subquery("groups"))
        raise _too_many((await connection.execute(total)).scalar_one(), query.resolution)
    cell = np.array([row[0] for row in rows], dtype=np.int64)
    chosen = np.ones(len(cell), dtype=np.bool_) if query.box is None else _meets(cell, query.box)
    # Of people, what is published for a coarser cell is shown as that cell: it is the best there is.
    fits = chosen if contract.is_personal else chosen & (resolution_of(cell) == query.resolution)
    if np.count_nonzero(fits) > MOST_CELLS:
        raise _too_many(int(np.count_nonzero(fits)), query.resolution)
    kept = [row for row, fit in zip(rows, fits.tolist(), strict=True) if fit]
    return CellTable(
        indicator=indicator,
        resolution=query.resolution,
        cell=cell[fits],
        value=values_of(indicator, kept, cell[fits]),
        n=np.array([row[1] for row in kept], dtype=np.int64),
        bucket=bucket,
        coarser=int(sum(row[1] for row, fit in zip(rows, (chosen & ~fits).tolist(), strict=True) if fit)),
    )


def require_resolution(indicator: Indicator, resolution: int, city: City) -> None:
    """Raise InvalidRequest for a resolution finer than the indicator's, or coarser than any that the city shows."""
    coarsest = min(city.resolutions.coarsest, indicator.resolution)
    if not coarsest <= resolution <= indicator.resolution:
        raise InvalidRequest(
            f"{indicator.id} has resolutions {coarsest} to {indicator.resolution}, not {resolution}.",
            remedy=f"Ask for one of them; {indicator.resolution} is the finest.",
        )


def _too_many(number: int, resolution: int) -> LimitExceeded:
    """What to say of too many cells: the resolution at which there are few enough."""
    steps = max(1, math.ceil(math.log(number / MOST_CELLS, _CHILDREN)))
    return LimitExceeded(
        f"there are {number:,} cells of resolution {resolution}; {MOST_CELLS:,} are allowed.",
        remedy=f"Ask for resolution {resolution - steps}, or for a smaller bbox.",
    )


async def parts(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, view: View, city: City
) -> tuple[dt.datetime | None, sa.FromClause]:
    """The window and the parts of an indicator as a view shows them: PARTS and their `cell`, its own size or coarser.

    The main city as known now has them kept in a table. Other views, and records that begin or end by themselves, are
    computed from their rows. Raises as `cells` does.
    """
    table = shown_table(contract, indicator)
    kept = sa.select(table.c.cell, *(table.c[part] for part in PARTS))
    bucket = await _bucket(connection, contract, indicator, view, city)
    if indicator.window is not None:
        kept = kept.where(table.c.bucket == bucket)
    limited = is_limited(contract, view.audience)
    as_kept = view.known_at is None and (view.valid_at is None or indicator.window is not None)
    if as_kept and (contract.is_personal or (not limited and not _moves(contract, view))):
        if view.branch == MAIN or contract.is_stream or contract.is_personal or contract.kind == "coverage":
            return bucket, kept.subquery("parts")
        _require_rows(contract, indicator, view)
        return bucket, _over_kept(kept.subquery("kept"), contract, indicator, view, city)
    if contract.kind == "coverage":
        raise InvalidRequest(f"{contract.id} is a coverage: its indicators are of now.", remedy="Leave the times out.")
    _require_rows(contract, indicator, view)
    rows = _in_window(contract, indicator, view, city, bucket) if bucket is not None else visible(contract, view, city)
    found = rows.select(*rows.rows.columns).subquery("rows")
    return bucket, parts_of(found, contract, indicator, city).subquery("parts")


def _require_rows(contract: Contract, indicator: Indicator, view: View) -> None:
    if not may_read(contract.data_class, contract, view.audience):
        raise NotAllowed(
            f"{indicator.id} in another city is computed from records that {view.audience.name} may not read.",
            remedy="Leave datetime, known-at and branch out.",
        )


def _over_kept(kept: sa.FromClause, contract: Contract, indicator: Indicator, view: View, city: City) -> sa.FromClause:
    """The parts kept for main where a branch changed nothing, and those of the branch's own city where it did."""
    touched = touched_cells(contract, indicator.resolution, view, city)
    shown = visible(contract, view, city)
    rows = shown.where(parent_sql(shown.rows.c.cell, indicator.resolution).in_(touched))
    found = parts_of(rows.select(*rows.rows.columns).subquery("rows"), contract, indicator, city).subquery("found")
    names = ("cell", *PARTS)
    untouched = sa.select(*(kept.c[name] for name in names)).where(kept.c.cell.not_in(touched))
    return sa.union_all(untouched, sa.select(*(found.c[name] for name in names))).subquery("parts")


def touched_cells(contract: Contract, resolution: int, view: View, city: City) -> sa.Select[Any]:
    """The cells where a branch shows other records than main: where they are, and where main has them."""
    own, main = branch_table(contract, city.srid), dataset_table(contract, city.srid)
    in_branch = sa.select(parent_sql(own.c.cell, resolution)).where(
        own.c.branch == view.branch.number, open_rows(own), own.c.cell.is_not(None)
    )
    in_main = sa.select(parent_sql(main.c.cell, resolution)).where(
        open_rows(main), main.c.id.in_(branch_ids(contract, view, city)), main.c.cell.is_not(None)
    )
    return sa.select(sa.union(in_branch, in_main).subquery("touched").c[0])


def _moves(contract: Contract, view: View) -> bool:
    """Whether records begin or end without any write, so that parts kept since the last one may be late."""
    begins_or_ends = contract.time.start is not None or contract.time.end is not None
    return begins_or_ends and contract.kind != "coverage" and may_read(contract.data_class, contract, view.audience)


async def _bucket(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, view: View, city: City
) -> dt.datetime | None:
    """The start of the window that a view asks for; None for an indicator without windows, or while none is over."""
    if view.valid_at is not None and not view.valid_at.is_instant:
        raise InvalidRequest(f"{indicator.id} has a value for a moment, not for an interval.", remedy="Ask for one.")
    if indicator.window is None:
        return None
    window = dt.timedelta(seconds=seconds(indicator.window))
    moment = view.valid_at.start if view.valid_at else None
    if moment is None and view.known_at is None:
        bucket = shown_table(contract, indicator).c.bucket
        newest = sa.select(sa.func.max(bucket)).where(bucket <= dt.datetime.now(dt.UTC) - window)
        return (await connection.execute(newest)).scalar()
    at = sa.literal(moment or (view.known_at or dt.datetime.now(dt.UTC)) - window, sa.DateTime(timezone=True))
    return (await connection.execute(sa.select(bucket_sql(indicator, city, at)))).scalar()


def _in_window(contract: Contract, indicator: Indicator, view: View, city: City, bucket: dt.datetime) -> Visible:
    """The observations of a window, as known at the view's time."""
    longest = dt.timedelta(seconds=seconds(indicator.window or "0 s") + _LONGEST_SHIFT_S)
    found = visible(contract, replace(view, valid_at=Span(bucket, bucket + longest)), city)
    return found.where(bucket_sql(indicator, city, found.rows.c.observed_at) == bucket)


async def behind(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, query: CellsQuery, city: City
) -> Visible:
    """The rows behind the cells of an indicator: those that were counted for them."""
    bucket = await _bucket(connection, contract, indicator, query.view, city)
    if bucket is not None:
        rows = _in_window(contract, indicator, query.view, city, bucket)
    elif indicator.window is not None:
        rows = visible(contract, query.view, city).where(sa.false())
    else:
        rows = visible(contract, query.view, city)
    return rows.where(*counted(rows.rows, indicator))


def values_of(indicator: Indicator, rows: Sequence[Any], cell: NDArray[np.int64]) -> NDArray[np.float64]:
    """The measure (n,) of cells (n,) from rows of (anything, n, total, smallest, largest, ...)."""
    how = indicator.parsed.how
    values = np.array([_value(how, *row[1:5]) for row in rows], dtype=np.float64)
    return values / (cell_area_m2(cell) / _M2_PER_KM2) if indicator.per_km2 and len(cell) else values


def _value(how: str, n: int, total: Decimal | None, smallest: float | None, largest: float | None) -> float:
    """A measure from additive parts; of nothing measured it is 0 where it counts or adds, else no number."""
    match how:
        case "count":
            return float(n)
        case "sum":
            return float(total or 0)
        case "min":
            return math.nan if smallest is None else smallest
        case "max":
            return math.nan if largest is None else largest
        case _:
            return float((total or Decimal(0)) / n) if n else math.nan


def _meets(cell: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    if not len(cell):
        return np.zeros(0, dtype=np.bool_)
    return shapely.intersects(cell_polygons(cell), shapely.box(box.west, box.south, box.east, box.north))
