"""The bytes of COPY: what PostgreSQL reads back is what the frame held, for every type and any value."""

import datetime as dt
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ingest import pgcopy
from ingest.pgcopy import ColumnType, Kind, encode, geometry_ewkb, point_ewkb
from ingest.staging import copy
from twin.cluster import Cluster
from twin.database import private_database
from twin.errors import GeometryError, SourceError

UTC_MOMENT = pl.Datetime("us", "UTC")
MOMENTS = st.datetimes(timezones=st.just(dt.UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def whole(bits: int) -> SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


VALUES: dict[Kind, tuple[SearchStrategy[Any], Any]] = {
    "text": (TEXTS, pl.String),
    "int2": (whole(16), pl.Int16),
    "int4": (whole(32), pl.Int32),
    "int8": (whole(64), pl.Int64),
    "float4": (st.floats(width=32), pl.Float32),
    "float8": (st.floats(), pl.Float64),
    "bool": (st.booleans(), pl.Boolean),
    "timestamptz": (MOMENTS, UTC_MOMENT),
    "date": (st.dates(), pl.Date),
    "bytea": (st.binary(), pl.Binary),
    "jsonb": (JSON.map(json.dumps), pl.String),
}
"""What a column of each kind may hold, and the type it has in a frame."""

AS_READ = ", ".join(f'"{kind}"::text' if kind == "jsonb" else f'"{kind}"' for kind in VALUES)
RECORDS = st.lists(
    st.fixed_dictionaries({kind: st.none() | values for kind, (values, _) in VALUES.items()}), max_size=12
)
SPANS = st.lists(
    st.tuples(st.none() | MOMENTS, st.none() | MOMENTS).filter(lambda span: None in span or span[0] <= span[1])
)


@pytest.fixture(scope="module")
def connection(cluster: Cluster) -> Iterator[sa.Connection]:
    database = private_database(cluster, "pgcopy")
    with database.writing() as opened:
        opened.exec_driver_sql("create extension postgis")
        yield opened


def sent(connection: sa.Connection, columns: list[ColumnType], frame: pl.DataFrame, select: str = "*") -> list[Any]:
    """The rows as PostgreSQL reads them back, in their order."""
    sql_type = {"float4": "real"}
    definitions = ", ".join(f'"{column.name}" {sql_type.get(column.kind, column.kind)}' for column in columns)
    connection.exec_driver_sql(f"drop table if exists t; create temporary table t ({definitions})")
    copy(connection, "t", columns, frame)
    return list(connection.execute(sa.text(f"select {select} from t order by ctid")))


def exact(text: str) -> Any:
    """JSON with its numbers as they are written, however that is."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def same(kind: Kind, wrote: Any, read: Any) -> bool:
    if wrote is None or read is None:
        return wrote is read or (kind == "jsonb" and wrote == "null")
    if kind == "jsonb":
        return exact(wrote) == exact(read)
    if kind in {"float4", "float8"} and math.isnan(wrote):
        return math.isnan(read)
    if kind == "float4":  # PostgreSQL shows as few digits as tell the number from its neighbours
        read = float(np.float32(read))
    if kind in {"float4", "float8"}:
        return wrote == read and math.copysign(1, wrote) == math.copysign(1, read)
    return type(wrote) is type(read) and wrote == read


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS)
def test_every_value_is_read_back(connection: sa.Connection, records: list[dict[Kind, Any]]) -> None:
    frame = pl.DataFrame(records, schema={kind: dtype for kind, (_, dtype) in VALUES.items()}, orient="row")
    rows = sent(connection, [ColumnType(kind, kind) for kind in VALUES], frame, AS_READ)
    assert len(rows) == len(records)
    for record, row in zip(records, rows, strict=True):
        for kind, read in zip(VALUES, row, strict=True):
            assert same(kind, record[kind], read), f"{kind}: wrote {record[kind]!r}, read {read!r}"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=SPANS)
def test_a_span_has_its_ends(
    connection: sa.Connection, spans: list[tuple[dt.datetime | None, dt.datetime | None]]
) -> None:
    frame = pl.DataFrame(spans, schema={"start": UTC_MOMENT, "end": UTC_MOMENT}, orient="row")
    read = sent(
        connection,
        [ColumnType("span", "tstzrange", ("start", "end"))],
        frame,
        "nullif(lower(span), '-infinity'), lower_inc(span), upper(span), upper_inf(span), upper_inc(span)",
    )
    # A span of one moment is that moment: without its end it would be empty.
    expected = [(start, True, end, end is None, end is not None and start == end) for start, end in spans]
    assert [tuple(row) for row in read] == expected


def test_no_start_is_minus_infinity(connection: sa.Connection) -> None:
    frame = pl.DataFrame({"start": [None], "end": [None]}, schema={"start": UTC_MOMENT, "end": UTC_MOMENT})
    column = ColumnType("span", "tstzrange", ("start", "end"))
    assert sent(connection, [column], frame, "lower(span) = '-infinity', lower_inf(span)") == [(True, False)]


def test_geometries_are_read_back(connection: sa.Connection) -> None:
    shapes = [
        shapely.Point(117.3, 34.8),
        None,
        shapely.LineString([(117, 34), (118, 35), (117.5, 34.2)]),
        shapely.box(117, 34, 118, 35).difference(shapely.box(117.2, 34.2, 117.3, 34.3)),
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)]),
        shapely.Point(1, 2, 3),
    ]
    frame = pl.DataFrame({"geom": geometry_ewkb(shapes, 4490)})
    rows = sent(connection, [ColumnType("geom", "geometry")], frame, "ST_AsText(geom, 17), ST_SRID(geom)")
    flat = [shape and shapely.force_2d(shape) for shape in shapes]
    assert [text and shapely.from_wkt(text) for text, _ in rows] == flat
    assert [srid for _, srid in rows] == [4490, None, 4490, 4490, 4490, 4490]


def test_points_are_what_shapely_writes() -> None:
    lon, lat = np.random.default_rng(3).uniform(-180, 180, (2, 50))
    assert point_ewkb(lon, lat, 4326).to_list() == geometry_ewkb(shapely.points(lon, lat), 4326).to_list()
    assert point_ewkb([], [], 4326).to_list() == []


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_point_that_is_nowhere_is_refused(number: float) -> None:
    with pytest.raises(GeometryError, match="point 1"):
        point_ewkb([1.0, number], [1.0, 2.0], 4326)


def test_frames_of_many_chunks_keep_their_rows(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    # Slices and parts that were put together have other buffers below than a frame that was made at once.
    monkeypatch.setattr(pgcopy, "CHUNK_ROWS", 7)
    words = pl.Series("text", [None if at % 5 == 0 else "字" * (at % 4) + str(at) for at in range(100)])
    numbers = pl.Series("int8", range(100))
    frame = pl.DataFrame([words, numbers]).slice(3, 90)
    parts = pl.concat([frame.slice(0, 11), frame.slice(11, 40), frame.slice(51)], rechunk=False)
    columns = [ColumnType("text", "text"), ColumnType("int8", "int8")]
    assert parts.n_chunks() > 1
    for made in (frame, parts):
        assert [tuple(row) for row in sent(connection, columns, made)] == list(frame.iter_rows())
    kinds = frame.with_columns(pl.col("text").cast(pl.Categorical))
    assert [tuple(row) for row in sent(connection, columns, kinds)] == list(frame.iter_rows())


def test_wide_rows_count_their_columns(connection: sa.Connection) -> None:
    frame = pl.DataFrame({f"c{at}": [at, None] for at in range(300)})
    rows = sent(connection, [ColumnType(name, "int8") for name in frame.columns], frame)
    assert [tuple(row) for row in rows] == list(frame.iter_rows())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", "a\0b"),
        ("jsonb", '"a\0b"'),
        ("int2", 40_000),
        ("int4", 2**31),
        ("int8", 1.5),
        ("float4", 1e39),
        ("timestamptz", dt.datetime.min),  # noqa: DTZ901  (that is what is wrong with it)
    ],
)
def test_what_postgresql_cannot_hold_is_refused(kind: Kind, value: object) -> None:
    frame = pl.DataFrame({"field": [value]})
    with pytest.raises(SourceError, match="field"):
        list(encode(frame, [ColumnType("field", kind)]))


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    late, early = dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    frame = pl.DataFrame({"start": [early, late], "end": [late, early]})
    with pytest.raises(SourceError, match="ends before it starts"):
        list(encode(frame, [ColumnType("span", "tstzrange", ("start", "end"))]))
