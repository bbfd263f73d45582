"""Collections in collections: told apart as GEOS reads them, and refused before a library follows them too deep."""

import json
import sqlite3
import struct
from pathlib import Path

import geopandas as gpd
import polars as pl
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import parquet

from ingest.codecs.nesting import nests_deeply
from ingest.codecs.records import Records
from ingest.reading import open_records
from tests.ingest.contracts import contract

POINT = shapely.Point(117, 34)
DEADLY = 200_000


def nested(depth: int, innermost: bytes = POINT.wkb, head: bytes = b"\x01\x07\0\0\0\x01\0\0\0") -> bytes:
    return head * depth + innermost


def deep(*geometries: bytes | None) -> list[bool]:
    return nests_deeply(pl.Series(geometries, dtype=pl.Binary)).tolist()


@pytest.mark.parametrize(
    "head",
    [
        b"\x01\x07\0\0\0\x01\0\0\0",
        b"\0\0\0\0\x07\0\0\0\x01",
        b"\x01\x04\0\0\0\x01\0\0\0",
        b"\x01\xef\x03\0\0\x01\0\0\0",
        b"\x01\x07\0\0\x20\xe6\x10\0\0\x01\0\0\0",
        b"\x01\x07\0\x01\0\x01\0\0\0",
        b"\x01\x0a\0\0\0\x01\0\0\0",
    ],
    ids=["little", "big", "multi", "iso z", "srid", "stray bits", "curves"],
)
def test_deepest_that_is_read(head: bytes) -> None:
    assert deep(nested(16, head=head), nested(17, head=head), None, nested(DEADLY, head=head)) == [
        *(False, True),
        *(False, True),
    ]


def test_depth_is_found_behind_other_members() -> None:
    members = [
        shapely.Point(1, 2, 3),
        shapely.LineString([(0, 0), (1, 1)]),
        shapely.box(0, 0, 1, 1).difference(shapely.box(0.4, 0.4, 0.6, 0.6)),
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1)] * 3),
        shapely.MultiPoint([(1, 2)] * 40),
        shapely.GeometryCollection(),
        shapely.GeometryCollection([shapely.MultiLineString([[(0, 0), (1, 1)]])] * 30),
    ]
    for flavor in ("iso", "extended"):
        for order in (0, 1):
            before = b"".join(shapely.to_wkb(one, byte_order=order, flavor=flavor) for one in members)
            head = b"\x01\x07\0\0\0" + struct.pack("<I", len(members) + 1) + before
            assert deep(head + nested(15), head + nested(16)) == [False, True]


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 20), st.integers(0, 255))
def test_any_bytes_are_gone_through(rest: bytes, depth: int, kind: int) -> None:
    assert deep(nested(depth, b"\x01" + bytes([kind]) + rest)) == [True] or depth <= 16


def refused(path: Path) -> list[str]:
    (records,) = open_records(path, contract())
    assert isinstance(records, Records)
    assert records.frame["code"].to_list() == ["sound"]
    return [one.why for one in records.unreadable]


def test_parquet_of_deadly_depth_is_refused(tmp_path: Path) -> None:
    geo = {"version": "1.1.0", "primary_column": "place", "columns": {"place": {"encoding": "WKB"}}}
    table = pa.table({"code": ["deadly", "sound"], "place": [nested(DEADLY), POINT.wkb]})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "a.parquet")
    assert refused(tmp_path / "a.parquet") == ["its geometry has too many collections in one another"]


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (nested(DEADLY), "its geometry has too many collections in one another"),
        (shapely.box(0, 0, 1, 1).wkb[:-9], "its geometry cannot be read"),
        (shapely.box(0, 0, 1, 1).wkb[:-8] + struct.pack("<d", float("nan")), "its geometry cannot be read"),
    ],
    ids=["deadly", "cut", "nan"],
)
def test_geopackage_passes_its_geometry_unread(tmp_path: Path, hostile: bytes, why: str) -> None:
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame({"code": ["deadly", "sound"]}, geometry=[POINT, POINT], crs=4490).to_file(path)
    with sqlite3.connect(path) as package:
        for (trigger,) in package.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            package.execute(f'drop trigger "{trigger}"')
        ((blob,),) = package.execute("select geom from a where code = 'deadly'")
        head = blob[: blob.index(POINT.wkb)]
        package.execute("update a set geom = ? where code = 'deadly'", (head + hostile,))
    package.close()
    assert refused(path) == [why]
