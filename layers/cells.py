"""Cells: an indicator at any resolution up to its own, from its additive parts.

Sums stay `numeric` until the last step, so a coarse cell equals the sum of its children to the last digit.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract, Indicator
from layers.indicators import PARTS, bucket_sql, parent_sql, parts_of
from layers.query import Box, visible
from layers.style import Class, classes
from layers.tables import indicator_table
from twin.city import City
from twin.errors import GeometryError, InvalidRequest, LimitExceeded
from twin.grid import cell_area_m2, cell_polygons, cell_to_text, resolution_of, text_to_cell
from twin.view import View

__all__ = ["CellTable", "CellsQuery", "cells", "explain", "to_arrow", "to_geojson", "to_json"]

_MOST_CELLS = 50_000
_MOST_RECORDS = 100
_M2_PER_KM2 = 1_000_000.0


@dataclass(frozen=True, slots=True)
class CellsQuery:
    """Which cells: at a resolution, those whose outline touches the box, of the city that the view shows."""

    resolution: int
    box: Box | None
    view: View


@dataclass(frozen=True, slots=True)
class CellTable:
    """The cells of an indicator: `cell` (n,) int64, `value` (n,) in the indicator's unit, `n` (n,) records behind each.

    `bucket` is the start of the window the values belong to, None without one. `coarser` counts the records that are
    known too coarsely for these cells: they are in none of them.
    """

    indicator: Indicator
    resolution: int
    cell: NDArray[np.int64]
    value: NDArray[np.float64]
    n: NDArray[np.int64]
    bucket: dt.datetime | None
    coarser: int

    @property
    def legend(self) -> list[Class]:
        """Classes of the values."""
        return classes(self.value.tolist())


async def cells(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, query: CellsQuery, city: City
) -> CellTable:
    """The cells of an indicator.

    An indicator with a window answers for the newest one, or for the one that holds the view's instant. Raises
    InvalidRequest for a resolution finer than the indicator's, LimitExceeded for more than 50,000 cells.
    """
    if query.resolution > indicator.resolution:
        raise InvalidRequest(
            f"{indicator.id} is kept at resolution {indicator.resolution}; {query.resolution} is finer.",
            remedy=f"Ask for {indicator.resolution} or less.",
        )
    bucket, parts = await _parts(connection, contract, indicator, query.view, city)
    parent = parent_sql(parts.c.cell, query.resolution)
    c, func = parts.c, sa.func
    sums = func.sum(c.n), func.sum(c.total), func.min(c.smallest), func.max(c.largest)
    rows = (await connection.execute(sa.select(parent, *sums).group_by(parent).order_by(parent))).all()
    cell = np.array([row[0] for row in rows], dtype=np.int64)
    fits = resolution_of(cell) == query.resolution if len(cell) else np.zeros(0, dtype=bool)
    coarser = int(sum(row[1] for row, fit in zip(rows, fits, strict=True) if not fit))
    if query.box is not None:
        fits &= _touches(cell, query.box)
    if np.count_nonzero(fits) > _MOST_CELLS:
        raise LimitExceeded(
            f"that are {np.count_nonzero(fits):,} cells.",
            remedy=f"Ask for resolution {query.resolution - 1}, or for a smaller bbox.",
        )
    chosen = [row for row, fit in zip(rows, fits, strict=True) if fit]
    cell = cell[fits]
    return CellTable(
        indicator=indicator,
        resolution=query.resolution,
        cell=cell,
        value=_values(indicator, chosen, cell),
        n=np.array([row[1] for row in chosen], dtype=np.int64),
        bucket=bucket,
        coarser=coarser,
    )


async def _parts(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, view: View, city: City
) -> tuple[dt.datetime | None, sa.FromClause]:
    """The window and the parts at the indicator's own resolution, as a subquery with `cell` and PARTS.

    The main city as known now has its parts kept. Other views of states are computed from the rows they show.
    """
    table = indicator_table(indicator)
    kept = sa.select(table.c.cell, *(table.c[part] for part in PARTS)).where(table.c.branch == 0)
    if indicator.window is None:
        if view.is_current or contract.kind == "coverage":
            return None, kept.subquery("parts")
        return None, parts_of(visible(contract, view, city), contract, indicator, city).subquery("parts")
    moment = view.valid_at.start if view.valid_at else None
    newest = sa.select(sa.func.max(table.c.bucket)).where(table.c.branch == 0)
    if moment is not None:
        newest = newest.where(table.c.bucket == bucket_sql(indicator, city, sa.literal(moment)))
    bucket = (await connection.execute(newest)).scalar()
    if view.known_at is None:
        return bucket, kept.where(table.c.bucket == bucket).subquery("parts")
    rows = visible(contract, view, city)
    return moment, parts_of(rows, contract, indicator, city).subquery("parts")


def _values(indicator: Indicator, rows: Sequence[Any], cell: NDArray[np.int64]) -> NDArray[np.float64]:
    """The measure of each cell from its parts (n, total, smallest, largest)."""
    how = indicator.parsed.how
    values = np.array([_value(how, *row[1:]) for row in rows], dtype=np.float64)
    return values / (cell_area_m2(cell) / _M2_PER_KM2) if indicator.per_km2 and len(cell) else values


def _value(how: str, n: int, total: Decimal | None, smallest: float | None, largest: float | None) -> float:
    match how:
        case "count":
            return float(n)
        case "sum":
            return float(total or 0)
        case "min":
            return float("nan") if smallest is None else smallest
        case "max":
            return float("nan") if largest is None else largest
        case _:
            return float((total or Decimal(0)) / n)


def _touches(cell: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    if not len(cell):
        return np.zeros(0, dtype=bool)
    return shapely.intersects(cell_polygons(cell), shapely.box(box.west, box.south, box.east, box.north))


def _frame(table: CellTable) -> dict[str, Any]:
    """What every format says of the whole."""
    legend = [
        {"colour": item.colour, "from": item.start, "to": item.end, "label": {"zh": item.label, "en": item.label}}
        for item in table.legend
    ]
    return {
        "indicator": table.indicator.id,
        "unit": table.indicator.unit,
        "resolution": table.resolution,
        "datetime": table.bucket,
        "count": len(table.cell),
        "coarser": table.coarser,
        "legend": legend,
    }


def to_json(table: CellTable) -> bytes:
    """The cells as JSON."""
    found = zip(cell_to_text(table.cell), table.value.tolist(), table.n.tolist(), strict=True)
    cells_ = [{"cell": cell, "value": value, "n": n} for cell, value, n in found]
    return orjson.dumps({**_frame(table), "cells": cells_})


def to_geojson(table: CellTable) -> bytes:
    """The cells as GeoJSON polygons, each with the colour of its class."""
    frame = _frame(table)
    starts = np.array([item["from"] for item in frame["legend"]], dtype=np.float64)
    colours = [item["colour"] for item in frame["legend"]]
    at = np.maximum(np.searchsorted(starts, table.value, side="right") - 1, 0)
    outlines = shapely.to_geojson(shapely.set_precision(cell_polygons(table.cell), 1e-6)) if len(table.cell) else []
    features = [
        {
            "type": "Feature",
            "id": cell,
            "geometry": orjson.Fragment(outline),
            "properties": {"cell": cell, "value": value, "n": n, "colour": colours[band]},
        }
        for cell, outline, value, n, band in zip(
            cell_to_text(table.cell), outlines, table.value.tolist(), table.n.tolist(), at.tolist(), strict=True
        )
    ]
    return orjson.dumps({"type": "FeatureCollection", **frame, "features": features})


def to_arrow(table: CellTable) -> bytes:
    """The cells as an Arrow IPC stream: `cell` uint64, `value` float64, `n` int64; what holds for all as metadata."""
    columns = [pa.array(table.cell.view(np.uint64)), pa.array(table.value), pa.array(table.n)]
    batch = pa.record_batch(columns, names=["cell", "value", "n"])
    batch = batch.replace_schema_metadata({"twin": orjson.dumps(_frame(table))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


async def explain(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, cell: str, view: View, city: City
) -> dict[str, Any]:
    """Where a cell's number comes from: rule, parts, up to 100 of the records behind it, and how fresh they are.

    Raises InvalidRequest for a text that is no cell or a cell finer than the indicator.
    """
    try:
        number = text_to_cell([cell])
    except GeometryError as error:
        raise InvalidRequest(str(error)) from error
    query = CellsQuery(int(resolution_of(number)[0]), None, view)
    table = await cells(connection, contract, indicator, query, city)
    here = np.flatnonzero(table.cell == number[0])
    rows = visible(contract, view, city)
    behind = parent_sql(rows.c.cell, query.resolution) == int(number[0])
    recorded = sa.func.max(sa.func.lower(rows.c.recorded))
    newest = (await connection.execute(sa.select(recorded).where(behind))).scalar()
    ids = await connection.execute(sa.select(rows.c.id).where(behind).order_by(rows.c.id).limit(_MOST_RECORDS))
    return {
        "indicator": indicator.id,
        "cell": cell,
        "resolution": query.resolution,
        "value": float(table.value[here[0]]) if len(here) else None,
        "n": int(table.n[here[0]]) if len(here) else 0,
        "unit": indicator.unit,
        "measure": indicator.measure,
        "where": {name: list(values) for name, values in indicator.where.items()},
        "window": indicator.window,
        "datetime": table.bucket,
        "dataset": contract.id,
        "records": list(ids.scalars()),
        "newest_record_at": newest,
    }
