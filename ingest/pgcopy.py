"""Columns to the bytes of PostgreSQL's binary COPY, a chunk of rows at a time.

Every column is first made into its cells as PostgreSQL wants them (bytes in network order, offsets, nulls), all of a
chunk at once; a compiled loop then lays the columns into the rows. No Python object is made per value.

Format: PostgreSQL documentation, COPY, "Binary Format"; the binary forms of the types are those of their `_recv`
functions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import shapely
from numba import njit
from numpy.typing import ArrayLike, NDArray

from twin.errors import GeometryError, SourceError

__all__ = ["ColumnType", "Kind", "encode", "geometry_ewkb", "point_ewkb"]

Kind = Literal[
    "text",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "bool",
    "timestamptz",
    "date",
    "bytea",
    "geometry",
    "tstzrange",
    "jsonb",
]

CHUNK_ROWS = 32_768
"""Rows encoded at once: few enough to send a part while the next is made, enough that Python's share is small."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"

_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL counts from, in microseconds since 1970
_EPOCH_DAYS = 10_957
_MINUS_INFINITY_US = np.iinfo(np.int64).min

_LOWER_INCLUDED, _UPPER_INCLUDED, _UPPER_INFINITE = 0x02, 0x04, 0x10
_UNBOUNDED_RANGE_BYTES = 13  # flags, length and value of the start

_EWKB_POINT_WITH_SRID = 0x2000_0001

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column of the target table: its name and type, and the columns of the frame it is made from.

    `sources` is the column of the same name unless given. A `tstzrange` has two: its starts and its ends. A null start
    becomes the value '-infinity', a null end leaves the range unbounded; a range whose ends are equal is that moment.
    """

    name: str
    kind: Kind
    sources: tuple[str, ...] = ()


class _Cells(NamedTuple):
    """The values of one column, as PostgreSQL receives them."""

    data: Bytes
    offsets: NDArray[np.int64]  # (n + 1,): value i is data[offsets[i]:offsets[i + 1]]
    null: NDArray[np.bool_]  # (n,)


def encode(frame: pl.DataFrame, columns: Sequence[ColumnType]) -> Iterator[memoryview]:
    """The binary COPY stream of `frame` into `columns`, header and trailer included, in chunks.

    Raises SourceError for what PostgreSQL cannot store: a text with the character NUL, a time without zone, a range
    that ends before it starts, a number beyond its type.
    """
    yield memoryview(_HEADER)
    for part in frame.iter_slices(CHUNK_ROWS):
        if part.height:
            yield _rows([_cells(part, column) for column in columns])
    yield memoryview(_TRAILER)


def point_ewkb(lon: ArrayLike, lat: ArrayLike, srid: int) -> pl.Series:
    """Points of longitudes and latitudes (n,), in degrees of the SRID's datum, as EWKB (n,), dtype Binary.

    Raises GeometryError when a coordinate is not finite.
    """
    x, y = (np.ascontiguousarray(axis, dtype="<f8") for axis in (lon, lat))
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        raise GeometryError("a coordinate is not a finite number.", where=f"point {int(np.argmin(finite))}")
    layout = np.dtype([("order", "u1"), ("type", "<u4"), ("srid", "<u4"), ("x", "<f8"), ("y", "<f8")])
    points = np.empty(x.size, dtype=layout)
    points["order"], points["type"], points["srid"], points["x"], points["y"] = 1, _EWKB_POINT_WITH_SRID, srid, x, y
    offsets = np.arange(x.size + 1, dtype=np.int64) * layout.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(points)]
    return pl.Series(values=pa.LargeBinaryArray.from_buffers(pa.large_binary(), x.size, buffers), dtype=pl.Binary)


def geometry_ewkb(geometries: ArrayLike, srid: int) -> pl.Series:
    """Shapely geometries (n,), None where there is none, as two-dimensional EWKB (n,), dtype Binary."""
    shapes = shapely.set_srid(np.asarray(geometries, dtype=object), srid)
    return pl.Series(values=shapely.to_wkb(shapes, include_srid=True, output_dimension=2), dtype=pl.Binary)


def _rows(columns: list[_Cells]) -> memoryview:
    """The rows of one chunk: a count of columns, then each value after its length."""
    n = columns[0].null.size
    size = np.full(n, 2 + 4 * len(columns), dtype=np.int64)
    for cells in columns:
        size += np.where(cells.null, 0, np.diff(cells.offsets))
    ends = np.cumsum(size)
    at = ends - size
    out = np.empty(int(ends[-1]), dtype=np.uint8)
    out[at], out[at + 1] = len(columns) >> 8, len(columns) & 0xFF
    at += 2
    for cells in columns:
        _append(out, at, *cells)
    return out.data


@njit(cache=True, nogil=True)
def _append(
    out: Bytes, at: NDArray[np.int64], data: Bytes, offsets: NDArray[np.int64], null: NDArray[np.bool_]
) -> None:
    """Write one column's value into every row, and move `at`, where each row is written next, behind it."""
    for row in range(at.size):
        to = at[row]
        start, size = offsets[row], offsets[row + 1] - offsets[row]
        if null[row]:
            size = -1
        for place in range(4):
            out[to + place] = (size >> (24 - 8 * place)) & 0xFF
        for place in range(size):
            out[to + 4 + place] = data[start + place]
        at[row] = to + 4 + max(size, 0)


def _cells(frame: pl.DataFrame, column: ColumnType) -> _Cells:
    values = [frame.get_column(name) for name in column.sources or (column.name,)]
    try:
        return _ENCODERS[column.kind](*values)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise SourceError(
            f"the values are no {column.kind}: {error}.", where=column.name, remedy="Validate the records first."
        ) from error


def _integer(big_endian: str, dtype: type[pl.DataType]) -> Callable[[pl.Series], _Cells]:
    """An encoder of integers: what is none, or beyond the type, is an error and not another number."""

    def cells(values: pl.Series) -> _Cells:
        if not (values.dtype.is_integer() or values.dtype == pl.Null):
            raise ValueError(f"they are {values.dtype}")
        return _numbers(values.cast(dtype).fill_null(0).to_numpy(), big_endian, values)

    return cells


def _float4(values: pl.Series) -> _Cells:
    narrow = values.cast(pl.Float32)
    if values.dtype != pl.Float32 and narrow.is_infinite().sum() > values.cast(pl.Float64).is_infinite().sum():
        raise ValueError("a number is too large")
    return _numbers(narrow.fill_null(0).to_numpy(), ">f4", values)


def _float8(values: pl.Series) -> _Cells:
    return _numbers(values.cast(pl.Float64).fill_null(0).to_numpy(), ">f8", values)


def _numbers(numbers: NDArray[Any], big_endian: str, values: pl.Series) -> _Cells:
    data = numbers.astype(big_endian).view(np.uint8)
    width = np.dtype(big_endian).itemsize
    return _Cells(data, np.arange(0, data.size + 1, width, dtype=np.int64), _nulls(values))


def _nulls(values: pl.Series) -> NDArray[np.bool_]:
    return values.is_null().to_numpy()


def _bool(values: pl.Series) -> _Cells:
    return _numbers(values.cast(pl.Boolean).fill_null(value=False).to_numpy(), "u1", values)


def _moments(values: pl.Series) -> NDArray[np.int64]:
    """Microseconds since 2000 (n,); 0 where null."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None:
        raise ValueError("a time has no zone")
    return values.cast(pl.Datetime("us", "UTC")).to_physical().fill_null(_EPOCH_US).to_numpy() - _EPOCH_US


def _timestamptz(values: pl.Series) -> _Cells:
    return _numbers(_moments(values), ">i8", values)


def _date(values: pl.Series) -> _Cells:
    days = values.cast(pl.Date).to_physical().fill_null(_EPOCH_DAYS).to_numpy() - _EPOCH_DAYS
    return _numbers(days, ">i4", values)


def _tstzrange(starts: pl.Series, ends: pl.Series) -> _Cells:
    start = np.where(_nulls(starts), _MINUS_INFINITY_US, _moments(starts))
    end, unbounded = _moments(ends), _nulls(ends)
    if (reversed_ := (start > end) & ~unbounded).any():
        row = int(np.argmax(reversed_))
        raise ValueError(f"{starts[row]} to {ends[row]} ends before it starts")
    layout = np.dtype([("flags", "u1"), ("size", ">i4"), ("start", ">i8"), ("end_size", ">i4"), ("end", ">i8")])
    ranges = np.zeros(start.size, dtype=layout)
    ranges["flags"] = _LOWER_INCLUDED | np.where(unbounded, _UPPER_INFINITE, np.where(start == end, _UPPER_INCLUDED, 0))
    ranges["size"], ranges["end_size"], ranges["start"], ranges["end"] = 8, 8, start, end
    width = np.where(unbounded, _UNBOUNDED_RANGE_BYTES, layout.itemsize)
    table = ranges.view(np.uint8).reshape(-1, layout.itemsize)
    data = table[np.arange(layout.itemsize) < width[:, None]]
    offsets = np.concatenate([[0], np.cumsum(width)])
    return _Cells(data, offsets, np.zeros(start.size, dtype=np.bool_))


def _text(values: pl.Series) -> _Cells:
    cells = _binary(values.cast(pl.String))
    if not cells.data.all():
        raise ValueError("a text holds the character NUL")
    return cells


def _jsonb(values: pl.Series) -> _Cells:
    version = pl.Series(["\x01"])
    return _text(version + values.cast(pl.String))


def _binary(values: pl.Series) -> _Cells:
    array = values.cast(pl.Binary).to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return _Cells(data, offsets - offsets[0], _nulls(values))


_ENCODERS: dict[Kind, Callable[..., _Cells]] = {
    "text": _text,
    "int2": _integer(">i2", pl.Int16),
    "int4": _integer(">i4", pl.Int32),
    "int8": _integer(">i8", pl.Int64),
    "float4": _float4,
    "float8": _float8,
    "bool": _bool,
    "timestamptz": _timestamptz,
    "date": _date,
    "bytea": _binary,
    "geometry": _binary,
    "tstzrange": _tstzrange,
    "jsonb": _jsonb,
}
