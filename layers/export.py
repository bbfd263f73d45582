"""Exports: selected records as CSV, FlatGeobuf, Arrow or GeoParquet."""

import io
import json
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract, FieldSpec
from layers.query import ItemsQuery
from twin.city import City

__all__ = ["to_arrow", "to_csv", "to_flatgeobuf", "to_parquet"]

_DTYPES = {
    "string": "string",
    "integer": "Int64",
    "float": "float64",
    "boolean": "boolean",
    "datetime": "datetime64[us, UTC]",
    "date": "datetime64[s]",
}


async def _frame(
    connection: AsyncConnection, contract: Contract, chosen: sa.Select[Any], query: ItemsQuery, city: City
) -> gpd.GeoDataFrame:
    """The selected records, in the order of their ids, in the city's SRID or the one that the question names."""
    rows = chosen.subquery("chosen")
    names = [name for name in contract.fields if query.properties is None or name in query.properties]
    own = ["id", "place_method", "place_accuracy_m"]
    statement = (
        sa.select(
            sa.func.ST_AsBinary(rows.c.geom).label("wkb"),
            *(rows.c[name].label(f"own_{name}") for name in own),
            *(rows.c[name] for name in names),
        )
        .order_by(rows.c.id)
        .limit(query.limit)
    )
    found = (await connection.execute(statement)).all()
    columns: dict[str, Any] = {"id": _column(found, 1, "string")}
    columns |= {
        name: _column(found, at, _DTYPES[contract.fields[name].type])
        for at, name in enumerate(names, start=len(own) + 1)
    }
    columns["place_method"] = _column(found, 2, "string")
    columns["place_accuracy_m"] = _column(found, 3, "float64")
    shapes = shapely.from_wkb(np.array([row[0] for row in found], dtype=object))
    frame = gpd.GeoDataFrame(columns, geometry=shapes, crs=city.srid)
    return frame.to_crs(query.crs) if query.crs and query.crs != city.srid else frame


def _column(rows: Sequence[Any], at: int, dtype: str) -> Any:  # noqa: ANN401  (pandas ships no types)
    values = [row[at] for row in rows]
    return (
        pd.to_datetime(pd.Series(values), utc="UTC" in dtype)
        if dtype.startswith("datetime")
        else pd.array(values, dtype)
    )


async def to_csv(
    connection: AsyncConnection, contract: Contract, chosen: sa.Select[Any], query: ItemsQuery, city: City
) -> bytes:
    """CSV in UTF-8 with the columns `lon`, `lat` of a point on each geometry, and `wkt` where one is not a point."""
    frame = await _frame(connection, contract, chosen, query, city)
    shapes = frame.geometry.to_numpy()
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    middles = shapely.point_on_surface(shapes)
    table["lon"], table["lat"] = shapely.get_x(middles).round(7), shapely.get_y(middles).round(7)
    if contract.geometry != "point":
        table["wkt"] = shapely.to_wkt(shapes, rounding_precision=7)
    return table.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode()


async def to_flatgeobuf(
    connection: AsyncConnection, contract: Contract, chosen: sa.Select[Any], query: ItemsQuery, city: City
) -> bytes:
    """FlatGeobuf with a spatial index."""
    frame = await _frame(connection, contract, chosen, query, city)
    sink = io.BytesIO()
    kind = "Point" if contract.geometry == "point" and (frame.geom_type == "Point").all() else "Unknown"
    pyogrio.write_dataframe(frame, sink, driver="FlatGeobuf", layer=contract.id, geometry_type=kind)
    return sink.getvalue()


async def to_arrow(
    connection: AsyncConnection, contract: Contract, chosen: sa.Select[Any], query: ItemsQuery, city: City
) -> bytes:
    """An Arrow IPC stream whose geometry column is GeoArrow WKB with its CRS; titles and units as field metadata."""
    frame = await _frame(connection, contract, chosen, query, city)
    table = pa.table(frame.to_arrow(index=False, geometry_encoding="WKB"))
    fields = [_described(field, contract.fields.get(field.name)) for field in table.schema]
    table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _described(field: Any, spec: FieldSpec | None) -> Any:  # noqa: ANN401  (pyarrow ships no types)
    if spec is None:
        return field
    words = {"title": json.dumps(spec.title.model_dump(), ensure_ascii=False), "unit": spec.unit or ""}
    return field.with_metadata({**(field.metadata or {}), **words})


async def to_parquet(
    connection: AsyncConnection, contract: Contract, chosen: sa.Select[Any], query: ItemsQuery, city: City
) -> bytes:
    """GeoParquet 1.1 with a bounding box column."""
    frame = await _frame(connection, contract, chosen, query, city)
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False, schema_version="1.1.0", write_covering_bbox=True)
    return sink.getvalue()
