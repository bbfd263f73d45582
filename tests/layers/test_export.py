"""Exports: every format is read back by somebody else's reader and says what the database says."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.export import EXPORTS, Export
from layers.features import Writing
from layers.query import ItemsQuery, Slice, next_token
from tests.layers.conftest import NOON, Park
from tests.layers.park import CITY
from twin.access import Audience
from twin.view import View

AREA = "POLYGON((117.3 34.8, 117.32 34.8, 117.32 34.82, 117.3 34.8))"


def exported(
    park: Park,
    word: str,
    dataset: str = "parks.trees",
    *,
    writing: Writing | None = None,
    limit: int = 1000,
    **query: Any,
) -> bytes:
    contract, view = park.catalog[dataset], View()
    part = Slice.of(contract, view, CITY, ItemsQuery(**query))

    async def whole(connection: AsyncConnection) -> bytes:
        what = Export(contract, CITY, part, writing or Writing(), limit)
        return b"".join([chunk async for chunk in EXPORTS[word](connection, what)])

    return park.ask(whole, Audience("planner"))


@pytest.fixture(scope="module")
def trees(shared_park: Park) -> Park:
    full = {"name": '老,"槐"\n树', "height_m": 2.5, "ring_count": 12, "healthy": True, "kind": "oak", "checked": NOON}
    shared_park.put(
        "parks.trees",
        {"id": "a", "tree_id": "a", **full, "planted": NOON.date(), "wkt": "POINT(117.123456789 34.8)"},
        {"id": "b", "tree_id": "b", "name": "=1+1", "height_m": -1e-7, "wkt": "POINT(117.2 34.9)"},
        {"id": "c", "tree_id": "c", "place_accuracy_m": 2_000.0, "wkt": AREA},
        {"id": "d", "tree_id": "d"},
    )
    shared_park.put("parks.beds", {"id": "bed", "name": "bed", "wkt": AREA})
    shared_park.put("parks.works", {"id": "w", "name": "w", "begins": NOON, "valid": f"[{NOON.isoformat()},)"})
    return shared_park


def test_csv(trees: Park) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(trees, "csv").decode())))
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    first = rows[0]
    assert first["name"] == '老,"槐"\n树'
    assert (first["lon"], first["lat"]) == ("117.1234568", "34.8000000")
    assert (first["healthy"], first["planted"], first["checked"]) == ("t", "2026-06-01", "2026-06-01T12:00:00+00:00")
    assert (first["valid_from"], first["recorded_from"]) == ("", "2026-01-01T00:00:00+00:00")
    assert (rows[2]["place_accuracy_m"], rows[3]["lon"]) == ("2000", "")
    assert 117.3 < float(rows[2]["lon"]) < 117.32, "a point in the area"
    (bed,) = csv.DictReader(io.StringIO(exported(trees, "csv", "parks.beds").decode()))
    assert bed["wkt"] == AREA.replace(", ", ",")
    assert "lon" not in bed
    metres = next(csv.DictReader(io.StringIO(exported(trees, "csv", writing=Writing(crs=3857)).decode())))
    assert float(metres["x"]) == pytest.approx(13038123.6, abs=1)


def test_nothing_is_a_file_too(trees: Park, tmp_path: Path) -> None:
    """An export of no record is a valid file with the columns and no rows."""
    nothing = {"filter": "id = 'none'"}
    assert exported(trees, "csv", **nothing).decode().startswith("id,tree_id,")
    assert pa.ipc.open_stream(exported(trees, "arrow", **nothing)).read_all().num_rows == 0
    table = gpd.read_parquet(io.BytesIO(exported(trees, "parquet", **nothing)))
    assert (len(table), table.crs.to_epsg()) == (0, 4490)
    (tmp_path / "none.fgb").write_bytes(exported(trees, "flatgeobuf", **nothing))
    assert len(pyogrio.read_dataframe(tmp_path / "none.fgb")) == 0


def test_arrow(trees: Park) -> None:
    table = pa.ipc.open_stream(exported(trees, "arrow")).read_all()
    types = {"tree_id": pa.string(), "height_m": pa.float64(), "ring_count": pa.int64(), "healthy": pa.bool_()}
    times = {"planted": pa.date32(), "checked": pa.timestamp("us", "UTC"), "valid_from": pa.timestamp("us", "UTC")}
    for name, type_ in {**types, **times}.items():
        assert table.schema.field(name).type == type_
    assert table.column("checked").to_pylist() == [NOON, None, None, None]
    described = table.schema.field("height_m").metadata
    assert json.loads(described[b"title"]) == {"zh": "高", "en": "Height"}
    assert described[b"unit"] == b"m"
    frame = gpd.GeoDataFrame.from_arrow(table)
    assert frame.crs.to_epsg() == 4490
    assert frame.geometry[0].x == 117.123456789, "all digits"
    assert frame.geom_type.tolist()[:3] == ["Point", "Point", "Polygon"]
    assert frame.geometry.isna().tolist() == [False, False, False, True]


def test_parquet(trees: Park) -> None:
    packed = exported(trees, "parquet")
    frame = gpd.read_parquet(io.BytesIO(packed))
    assert (frame["id"].tolist(), frame.crs.to_epsg()) == (["a", "b", "c", "d"], 4490)
    geo = json.loads(pq.read_metadata(io.BytesIO(packed)).metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], column["encoding"], column["geometry_types"]) == ("1.1.0", "WKB", ["Point", "Polygon"])
    assert column["bbox"] == pytest.approx([117.123456789, 34.8, 117.32, 34.9])
    part = gpd.read_parquet(io.BytesIO(packed), bbox=(117.15, 34.85, 117.25, 34.95))
    assert part["id"].tolist() == ["b"], "the bounding box column lets a reader skip the others"


def test_flatgeobuf(trees: Park, tmp_path: Path) -> None:
    path = tmp_path / "trees.fgb"
    path.write_bytes(exported(trees, "flatgeobuf"))
    frame = pyogrio.read_dataframe(path).set_index("id")
    assert frame.crs.to_epsg() == 4490
    assert frame.loc["a", "name"] == '老,"槐"\n树'
    assert set(frame.index) == {"a", "b", "c", "d"}
    assert frame.loc["c"].geometry.geom_type == "Polygon"
    assert frame.loc["a", "checked"] == NOON
    told = subprocess.run(["ogrinfo", "-so", "-al", str(path)], capture_output=True, text=True, check=True, timeout=60)
    assert "Feature Count: 4" in told.stdout


@pytest.mark.parametrize("word", EXPORTS)
def test_a_question_and_its_writing_hold_for_every_format(trees: Park, word: str, tmp_path: Path) -> None:
    packed = exported(trees, word, filter="height_m > 0 OR id = 'c'", writing=Writing(properties=("name",), crs=3857))
    if word == "csv":
        rows = list(csv.DictReader(io.StringIO(packed.decode())))
        assert [row["id"] for row in rows] == ["a", "c"]
        assert not {"height_m", "kind"} & set(rows[0])
        return
    if word == "flatgeobuf":
        (tmp_path / "x.fgb").write_bytes(packed)
        frame = pyogrio.read_dataframe(tmp_path / "x.fgb").sort_values("id")
    elif word == "parquet":
        frame = gpd.read_parquet(io.BytesIO(packed))
    else:
        frame = gpd.GeoDataFrame.from_arrow(pa.ipc.open_stream(packed).read_all())
    assert (frame["id"].tolist(), frame.crs.to_epsg()) == (["a", "c"], 3857)
    assert not {"height_m", "kind"} & set(frame.columns)
    assert frame.geometry.iloc[0].x == pytest.approx(13038123.6, abs=1)


def test_an_event_has_its_times(trees: Park) -> None:
    frame = gpd.read_parquet(io.BytesIO(exported(trees, "parquet", "parks.works")))
    assert frame["valid_from"].tolist() == [NOON]
    assert frame["valid_to"].isna().all()


def test_parts_of_an_export_follow_each_other(trees: Park) -> None:
    contract = trees.catalog["parks.trees"]
    seen: list[str] = []
    token = None
    while True:
        rows = csv.DictReader(io.StringIO(exported(trees, "csv", limit=3, after=token).decode()))
        seen += [row["id"] for row in rows]
        part = Slice.of(contract, View(), CITY, ItemsQuery(after=token))
        token = trees.ask(lambda c, part=part: next_token(c, part, 3, None))
        if token is None:
            break
    assert seen == ["a", "b", "c", "d"]


def test_many_records_come_in_chunks(park: Park) -> None:
    park.put("parks.trees", *({"id": f"t{at:05}", "tree_id": "x", "wkt": "POINT(117.3 34.8)"} for at in range(12_000)))
    for word, read in (
        ("csv", lambda packed: packed.count(b"\n") - 1),
        ("arrow", lambda packed: pa.ipc.open_stream(packed).read_all().num_rows),
        ("parquet", lambda packed: pq.read_table(io.BytesIO(packed)).num_rows),
    ):
        assert read(exported(park, word, limit=100_000)) == 12_000
