"""Cells as files: JSON, GeoJSON and Arrow; and where one cell's number comes from."""

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.cells import CellsQuery, CellTable, behind, parts, require_resolution, values_of
from layers.contract import Contract, Indicator
from layers.grants import may_read
from layers.indicators import PARTS, parent_sql
from layers.style import classes
from twin.city import City
from twin.errors import GeometryError, InvalidRequest
from twin.grid import cell_polygons, cell_to_text, resolution_of, text_to_cell
from twin.view import View

__all__ = ["explain", "to_arrow", "to_geojson", "to_json"]

_MOST_RECORDS = 100
_OUTLINE_DEG = 1e-6


def _frame(table: CellTable) -> dict[str, Any]:
    """What every format says of the whole."""
    legend = [
        {"colour": item.colour, "from": item.start, "to": item.end, "label": {"zh": item.label, "en": item.label}}
        for item in classes(table.value.tolist())
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
    return orjson.dumps(
        {**_frame(table), "cells": [{"cell": cell, "value": value, "n": n} for cell, value, n in found]}
    )


def to_geojson(table: CellTable) -> bytes:
    """The cells as GeoJSON polygons, each with the colour of its class (none where it has no number)."""
    frame = _frame(table)
    colours = [*(item["colour"] for item in frame["legend"]), None]
    band = np.searchsorted([item["from"] for item in frame["legend"]], table.value, side="right") - 1
    band[~np.isfinite(table.value)] = -1
    outlines = shapely.to_geojson(shapely.set_precision(cell_polygons(table.cell), _OUTLINE_DEG)) if len(band) else []
    columns = cell_to_text(table.cell), outlines, table.value.tolist(), table.n.tolist(), band.tolist()
    features = [
        {
            "type": "Feature",
            "id": cell,
            "geometry": orjson.Fragment(outline),
            "properties": {"cell": cell, "value": value, "n": n, "colour": colours[at]},
        }
        for cell, outline, value, n, at in zip(*columns, strict=True)
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

    An audience that may read the indicator but not the dataset is told no record. Raises InvalidRequest for a text that
    is no cell, and as `cells` does. Sums are texts, so that no digit is lost.
    """
    try:
        number = text_to_cell([cell])
    except GeometryError as error:
        raise InvalidRequest(error.what, remedy=error.remedy) from error
    query = CellsQuery(int(resolution_of(number)[0]), None, view)
    if (
        not contract.is_personal or query.resolution > indicator.resolution
    ):  # numbers of people come in coarse cells too
        require_resolution(indicator, query.resolution, city)
    bucket, source = await parts(connection, contract, indicator, view, city)
    sums = await _sums(connection, source, query, int(number[0]))
    return {
        "indicator": indicator.id,
        "title": indicator.title.model_dump(),
        "cell": cell,
        "resolution": query.resolution,
        "value": values_of(indicator, [(cell, *sums)], number).tolist()[0],
        "unit": indicator.unit,
        "rule": {
            "measure": indicator.measure,
            "where": {name: list(values) for name, values in indicator.where.items()},
            "window": indicator.window,
            "per_km2": indicator.per_km2,
        },
        "datetime": bucket,
        "parts": {
            name: str(part) if isinstance(part, Decimal) else part for name, part in zip(PARTS, sums, strict=True)
        },
        "dataset": contract.id,
        "owner": contract.owner,
        "rate": contract.rate,
        **await _records(connection, contract, indicator, query, int(number[0]), city),
    }


async def _sums(connection: AsyncConnection, source: sa.FromClause, query: CellsQuery, cell: int) -> tuple[Any, ...]:
    """The additive parts of one cell, in the order of PARTS."""
    c, func = source.c, sa.func
    sums = func.sum(c.n), func.sum(c.total), func.min(c.smallest), func.max(c.largest), func.sum(c.squares)
    here = sa.select(*sums).where(parent_sql(c.cell, query.resolution) == cell)
    n, *others = (await connection.execute(here)).one()
    return (int(n or 0), *others)


async def _records(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, query: CellsQuery, cell: int, city: City
) -> dict[str, Any]:
    """Ids and freshness of the records behind a cell."""
    if not may_read(contract.data_class, contract, query.view.audience) or contract.kind == "coverage":
        return {"records": None, "newest_record_at": None}
    found = await behind(connection, contract, indicator, query, city)
    found = found.where(parent_sql(found.rows.c.cell, query.resolution) == cell)
    newest: dt.datetime | None = (
        await connection.execute(found.select(sa.func.max(sa.func.lower(found.rows.c.recorded))))
    ).scalar()
    ids = await connection.execute(found.select(found.rows.c.id).order_by(found.rows.c.id).limit(_MOST_RECORDS))
    return {"records": list(ids.scalars()), "newest_record_at": newest}
