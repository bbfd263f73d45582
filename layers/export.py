"""Exports: selected records as CSV, FlatGeobuf, Arrow or GeoParquet, in chunks as they come out of the database."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
import sqlalchemy as sa
from pyproj import CRS
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.features import PLACE, Writing
from layers.query import Slice
from layers.refusals import wrong_questions
from twin.city import City

__all__ = ["EXPORTS", "MOST_EXPORTED", "Export", "to_arrow", "to_csv", "to_flatgeobuf", "to_parquet"]

MOST_EXPORTED = 100_000
_BATCH = 5_000
_DEGREE_DIGITS = 7

Chunks = AsyncIterator[bytes]
Column = sa.ColumnElement[Any]
# pyarrow ships no types.
Schema = Any
Table = Any
Batch = Any
Array = Any

_ARROW = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "datetime": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
}


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported: at most `limit` records of a dataset from a position on, written in a certain way."""

    contract: Contract
    city: City
    part: Slice
    writing: Writing
    limit: int

    @property
    def srid(self) -> int:
        """EPSG code of the coordinates, which are longitude or easting first whatever the code's own order is."""
        return self.writing.crs or self.city.srid

    @property
    def geom(self) -> Column:
        """The geometry in that system."""
        geom = self.part.found.rows.c.geom
        return geom if self.srid == self.city.srid else sa.func.ST_Transform(geom, self.srid)

    def columns(self) -> dict[str, tuple[Column, str]]:
        """Every column but the geometry, with the type of its values in the contract's words."""
        c = self.part.found.rows.c
        found: dict[str, tuple[Column, str]] = {"id": (c.id, "string")}
        found |= {name: (c[name], self.contract.fields[name].type) for name in self.writing.names(self.contract)}
        found |= {name: (c[name], "float" if name == "place_accuracy_m" else "string") for name in PLACE}
        if not self.contract.is_stream:
            found["valid_from"] = _finite(sa.func.lower(c.valid)), "datetime"
            found["valid_to"] = _finite(sa.func.upper(c.valid)), "datetime"
        return found | {"recorded_from": (_finite(sa.func.lower(c.recorded)), "datetime")}

    def texts(self) -> list[Column]:
        """The columns, with times as RFC 3339 texts."""
        return [
            (sa.func.to_json(column).op("#>>")(sa.literal_column("'{}'")) if type_ == "datetime" else column).label(
                name
            )
            for name, (column, type_) in self.columns().items()
        ]


def _finite(moment: Column) -> Column:
    return sa.case((sa.func.isfinite(moment), moment))


async def to_csv(connection: AsyncConnection, what: Export) -> Chunks:
    """CSV in UTF-8 with the geometry as `lon` and `lat` (`x` and `y` in metres) of points, as `wkt` of other datasets.

    What a dataset of points knows only by its area has the coordinates of a point in it; see `place_accuracy_m`.
    """
    degrees = what.srid == what.city.srid
    if what.contract.geometry == "point":
        point = sa.case((sa.func.ST_Dimension(what.geom) > 0, sa.func.ST_PointOnSurface(what.geom)), else_=what.geom)
        x, y = sa.cast(sa.func.ST_X(point), sa.Numeric), sa.cast(sa.func.ST_Y(point), sa.Numeric)
        digits = _DEGREE_DIGITS if degrees else 2
        names = ("lon", "lat") if degrees else ("x", "y")
        place = [sa.func.round(axis, digits).label(name) for axis, name in zip((x, y), names, strict=True)]
    else:
        place = [sa.func.ST_AsText(what.geom, _DEGREE_DIGITS if degrees else 2).label("wkt")]
    statement = what.part.select(what.limit, *what.texts(), *place)
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"{type(driver).__name__} is not a psycopg connection")
    question = f"COPY ({compiled}) TO STDOUT (FORMAT csv, HEADER)".encode()
    with wrong_questions():
        async with driver.cursor() as cursor, cursor.copy(question, compiled.params) as copy:
            async for chunk in copy:
                yield bytes(chunk)


async def to_flatgeobuf(connection: AsyncConnection, what: Export) -> Chunks:
    """FlatGeobuf with a spatial index, for which it needs all records at once; without one if some have no geometry."""
    schema = _schema(what)
    batches = [batch async for batch in _batches(connection, what, schema)]
    table = pa.Table.from_batches(batches, schema)
    yield await asyncio.to_thread(_flatgeobuf, table, what)


def _flatgeobuf(table: Table, what: Export) -> bytes:
    sink = io.BytesIO()
    everywhere = table.column("geometry").null_count == 0
    pyogrio.write_arrow(
        table,
        sink,
        driver="FlatGeobuf",
        layer=what.contract.id,
        geometry_name="geometry",
        geometry_type="Unknown",  # a dataset of points holds areas too
        crs=f"EPSG:{what.srid}",
        SPATIAL_INDEX="YES" if everywhere else "NO",
    )
    return sink.getvalue()


async def _batches(connection: AsyncConnection, what: Export, schema: Schema) -> AsyncIterator[Batch]:
    """The records as Arrow batches with the geometry as WKB in the last column."""
    columns = [column.label(name) for name, (column, _) in what.columns().items()]
    wkb = sa.func.ST_AsBinary(what.geom, type_=sa.LargeBinary).label("geometry")
    with wrong_questions():
        found = await connection.stream(what.part.select(what.limit, *columns, wkb))
        async for rows in found.partitions(_BATCH):
            yield _batch(rows, schema)


def _batch(rows: Sequence[Any], schema: Schema) -> Batch:
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)], schema
    )


def _schema(what: Export) -> Schema:
    """Arrow's schema: titles and units of the contract as metadata, the geometry as GeoArrow WKB with its CRS."""
    fields = [
        pa.field(name, _ARROW[type_], metadata=_words(what.contract, name))
        for name, (_, type_) in what.columns().items()
    ]
    crs = {"crs": CRS.from_epsg(what.srid).to_json_dict(), "crs_type": "projjson"}
    extension = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps(crs)}
    return pa.schema([*fields, pa.field("geometry", pa.binary(), metadata=extension)])


def _words(contract: Contract, name: str) -> dict[str, str] | None:
    spec = contract.fields.get(name)
    if spec is None:
        return None
    return {"title": json.dumps(spec.title.model_dump(), ensure_ascii=False), "unit": spec.unit or ""}


class _Drain(io.RawIOBase):
    """A file that is written to and emptied chunk by chunk."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  (any buffer)
        self._held += data
        self._length += len(data)
        return len(data)

    def tell(self) -> int:
        return self._length

    def take(self) -> bytes:
        """What was written since the last time."""
        chunk = bytes(self._held)
        self._held.clear()
        return chunk


async def to_arrow(connection: AsyncConnection, what: Export) -> Chunks:
    """An Arrow IPC stream whose geometry column is GeoArrow WKB with its CRS; titles and units as field metadata."""
    schema, drain = _schema(what), _Drain()
    writer = pa.ipc.new_stream(drain, schema)
    async for batch in _batches(connection, what, schema):
        writer.write_batch(batch)
        yield drain.take()
    writer.close()
    yield drain.take()


async def to_parquet(connection: AsyncConnection, what: Export) -> Chunks:
    """GeoParquet 1.1 (WKB) with a bounding box column, so that readers can skip what lies elsewhere."""
    schema, drain, extent = _schema(what), _Drain(), _Extent()
    box = pa.struct([pa.field(side, pa.float64()) for side in _SIDES])
    writer = pq.ParquetWriter(drain, schema.append(pa.field("bbox", box)), compression="zstd")
    async for batch in _batches(connection, what, schema):
        bounds = extent.add(batch.column("geometry"))
        sides = pa.StructArray.from_arrays(
            [pa.array(bounds[:, side], from_pandas=True) for side in range(4)], fields=list(box)
        )
        writer.write_batch(pa.record_batch([*batch.columns, sides], schema.append(pa.field("bbox", box))))
        yield drain.take()
    writer.add_key_value_metadata({"geo": json.dumps(extent.metadata(what.srid))})
    writer.close()
    yield drain.take()


_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Extent:
    """Types and bounds of the geometries that were written: GeoParquet states them at its end."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._bounds = np.full(4, np.nan)

    def add(self, column: Array) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Take in a column of WKB (n); returns the bounds (n, 4) of its geometries."""
        shapes = shapely.from_wkb(np.array(column.to_pylist(), dtype=object))
        bounds = shapely.bounds(shapes)
        self._types |= {str(shape.geom_type) for shape in shapes if shape is not None}
        every = np.vstack([self._bounds, bounds])
        if np.isfinite(every).any():
            self._bounds = np.concatenate([np.nanmin(every[:, :2], axis=0), np.nanmax(every[:, 2:], axis=0)])
        return bounds

    def metadata(self, srid: int) -> dict[str, Any]:
        """The `geo` metadata of GeoParquet 1.1."""
        column = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "crs": CRS.from_epsg(srid).to_json_dict(),
            "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
        }
        if np.isfinite(self._bounds).all():
            column["bbox"] = self._bounds.tolist()
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


EXPORTS: dict[str, Callable[[AsyncConnection, Export], Chunks]] = {
    "csv": to_csv,
    "flatgeobuf": to_flatgeobuf,
    "arrow": to_arrow,
    "parquet": to_parquet,
}
"""How each format is written, by its word."""
