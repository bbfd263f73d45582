"""Vector files made by the libraries that people use, read back with their encoding, CRS and geometry."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import polars as pl
import pytest
import shapely

from ingest.codecs import geojson, geoparquet, vector
from ingest.codecs.records import GEOMETRY, ROW, Codec, ReadOptions, Records
from tests.ingest.contracts import contract, field
from twin.errors import SourceError
from twin.settings import settings

NAMES = ["枣庄市薛城区", "台儿庄古城", None]


def places(crs: int | None = 4490) -> gpd.GeoDataFrame:
    points = [shapely.Point(117.26, 34.79), shapely.Point(117.73, 34.56, 12.5), None]
    return gpd.GeoDataFrame({"编号": ["007", "b", "c"], "名称": NAMES, "n": [1, 2, 3]}, geometry=points, crs=crs)


def one(codec: Codec, path: Path, **options: Any) -> Records:
    (records,) = codec(path, contract(), ReadOptions(**options))
    return records


def shapes(records: Records) -> list[shapely.Geometry | None]:
    return list(shapely.from_wkb(np.array(records.frame[GEOMETRY].to_list(), dtype=object)))


def check_places(records: Records) -> None:
    assert records.frame["编号"].to_list() == ["007", "b", "c"]
    assert records.frame["名称"].to_list() == NAMES
    assert records.frame["n"].to_list() == [1, 2, 3]
    assert records.frame[ROW].to_list() == [1, 2, 3]
    assert shapes(records) == [shapely.Point(117.26, 34.79), shapely.Point(117.73, 34.56), None]
    assert not shapely.has_z(shapes(records)[1])
    assert records.unreadable == ()


@pytest.mark.parametrize("encoding", ["UTF-8", "GBK", "GB18030"])
@pytest.mark.parametrize("says_so", [True, False])
def test_shapefile_in_either_encoding(tmp_path: Path, encoding: str, *, says_so: bool) -> None:
    path = tmp_path / "places.shp"
    places().to_file(path, encoding=encoding)
    if not says_so:
        path.with_suffix(".cpg").unlink()
    records = one(vector.read_shapefile, path)
    check_places(records)
    assert records.crs == "EPSG:4490"


def test_shapefile_whose_cpg_is_wrong_is_refused_until_told(tmp_path: Path) -> None:
    path = tmp_path / "places.shp"
    places().to_file(path, encoding="GBK")
    path.with_suffix(".cpg").write_text("UTF-8")
    with pytest.raises(SourceError, match=r"not utf-8, as the \.cpg file says"):
        one(vector.read_shapefile, path)
    check_places(one(vector.read_shapefile, path, encoding="gbk"))


def test_shapefile_field_cut_within_a_character(tmp_path: Path) -> None:
    path = tmp_path / "places.shp"
    long = "枣" * 90  # 270 bytes of UTF-8; a field has 254
    frame = gpd.GeoDataFrame({"name": [long]}, geometry=[shapely.Point(1, 2)], crs=4326)
    frame.to_file(path, encoding="UTF-8")
    assert one(vector.read_shapefile, path).frame["name"][0].strip("枣") == ""


def test_shapefile_with_missing_or_cut_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "places.shp"
    places().to_file(path, encoding="UTF-8")
    shutil.copytree(tmp_path, tmp_path / "cut")
    path.with_suffix(".shx").unlink()
    path.with_suffix(".dbf").unlink()
    with pytest.raises(SourceError, match=r"missing: \.shx, \.dbf"):
        one(vector.read_shapefile, path)
    cut = tmp_path / "cut" / "places.shp"
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(SourceError, match="cut off"):
        one(vector.read_shapefile, cut)


def test_shapefile_without_prj_says_no_crs(tmp_path: Path) -> None:
    path = tmp_path / "places.shp"
    places(crs=None).to_file(path, encoding="UTF-8")
    assert one(vector.read_shapefile, path).crs is None


@pytest.mark.parametrize(
    ("suffix", "codec"), [("gpkg", vector.read), ("fgb", vector.read), ("parquet", geoparquet.read)]
)
@pytest.mark.parametrize("epsg", [4490, 4548, 4326])
def test_formats_that_carry_their_crs(tmp_path: Path, suffix: str, codec: Codec, epsg: int) -> None:
    path = tmp_path / f"places.{suffix}"
    frame = places(crs=epsg)
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        # FlatGeobuf keeps the order only without an index, and takes no mixture of two and three dimensions.
        options = {"SPATIAL_INDEX": "NO"} if suffix == "fgb" else {}
        frame.set_geometry(shapely.force_3d(frame.geometry)).to_file(path, **options)
    records = one(codec, path)
    check_places(records)
    assert records.crs == f"EPSG:{epsg}"


def test_crs_without_a_code_is_its_wkt(tmp_path: Path) -> None:
    path = tmp_path / "local.gpkg"
    local = "+proj=tmerc +lon_0=117.3 +x_0=600000 +ellps=GRS80 +units=m"
    gpd.GeoDataFrame({"code": ["1"]}, geometry=[shapely.Point(1, 2)], crs=local).to_file(path)
    crs = one(vector.read, path).crs
    assert crs is not None
    assert crs.startswith("PROJCRS")


def test_geopackage_of_several_layers_needs_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    places().to_file(path, layer="one")
    places().iloc[:1].to_file(path, layer="two")
    with pytest.raises(SourceError, match="several layers: one, two"):
        one(vector.read, path)
    with pytest.raises(SourceError, match="no layer 'three': one, two"):
        one(vector.read, path, layer="three")
    assert one(vector.read, path, layer="two").frame.height == 1


def test_feature_numbers_stay_only_where_the_contract_knows_them(tmp_path: Path) -> None:
    path = tmp_path / "places.gpkg"
    places().to_file(path)
    assert "fid" not in one(vector.read, path).frame.columns
    numbered = contract(key=["fid"], fields={"fid": field("integer", "号", "Number")})
    (records,) = vector.read(path, numbered, ReadOptions())
    assert records.frame["fid"].to_list() == [1, 2, 3]


def test_curves_become_straight_segments(tmp_path: Path) -> None:
    table = tmp_path / "curves.csv"
    table.write_text('code,WKT\n1,"CURVEPOLYGON(CIRCULARSTRING(0 0,1 1,2 0,1 -1,0 0))"\n2,POINT(1 2)\n3,\n')
    path = tmp_path / "curves.gpkg"
    subprocess.run(["ogr2ogr", "-f", "GPKG", path, table, "-nlt", "GEOMETRY", "-a_srs", "EPSG:4490"], check=True)
    disc, point, nothing = shapes(one(vector.read, path))
    assert disc is not None
    assert disc.geom_type == "Polygon"
    assert disc.area == pytest.approx(np.pi, rel=2e-3)
    assert (point, nothing) == (shapely.Point(1, 2), None)


def test_batches_count_on(tmp_path: Path) -> None:
    path = tmp_path / "many.gpkg"
    gpd.GeoDataFrame({"code": range(25)}, geometry=shapely.points(np.zeros((25, 2))), crs=4326).to_file(path)
    batches = list(vector.read(path, contract(), ReadOptions(batch_rows=10)))
    assert [batch.frame.height for batch in batches] == [10, 10, 5]
    assert pl.concat(batch.frame for batch in batches)[ROW].to_list() == list(range(1, 26))


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_empty_layers_give_one_empty_batch(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty.{suffix}"
    empty = places().iloc[:0]
    empty.to_parquet(path) if suffix == "parquet" else empty.to_file(path)
    records = one(geoparquet.read if suffix == "parquet" else vector.read, path)
    assert records.frame.height == 0
    assert {"编号", GEOMETRY, ROW} <= set(records.frame.columns)


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_cut_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    frame = gpd.GeoDataFrame({"code": range(5000)}, geometry=shapely.points(np.zeros((5000, 2))), crs=4326)
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"broken|ends after"):
        list((geoparquet if suffix == "parquet" else vector).read(path, contract(), ReadOptions()))


def test_parquet_says_no_crs_only_by_null(tmp_path: Path) -> None:
    path = tmp_path / "places.parquet"
    places(crs=None).to_parquet(path)
    assert one(geoparquet.read, path).crs is None


def test_parquet_without_geometry_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"code": ["1"], "n": [1.5]}).write_parquet(path)
    records = one(geoparquet.read, path)
    assert records.frame.columns == ["code", "n", ROW]


def test_parquet_with_broken_wkb_is_unreadable_there(tmp_path: Path) -> None:
    path = tmp_path / "places.parquet"
    good = shapely.to_wkb(shapely.Point(1, 2))
    circle = b"\x01\x08\x00\x00\x00" + bytes(4)
    frame = pl.DataFrame({"code": ["1", "2", "3", "4"], "geometry": [good, b"\x01\x02junk", circle, None]})
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    frame.write_parquet(path, metadata={"geo": json.dumps(geo)})
    records = one(geoparquet.read, path)
    assert records.frame["code"].to_list() == ["1", "4"]
    assert [bad.row for bad in records.unreadable] == [2, 3]
    assert "curves" in records.unreadable[1].why
    assert records.crs == "EPSG:4326"


def test_parquet_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_MAX_UPLOAD_MB", "1")
    settings.cache_clear()
    path = tmp_path / "bomb.parquet"
    pl.select(code=pl.repeat("x", 2_000_000)).write_parquet(path)
    try:
        assert path.stat().st_size < 10_000
        with pytest.raises(SourceError, match="unpacks to more than 1 MB"):
            one(geoparquet.read, path)
    finally:
        settings.cache_clear()


def collection(*features: dict[str, Any], **members: Any) -> str:
    return json.dumps({"type": "FeatureCollection", **members, "features": features}, ensure_ascii=False)


def feature(geometry: dict[str, Any] | None, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def read_geojson(folder: Path, text: str | bytes) -> Records:
    path = folder / "places.geojson"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return one(geojson.read, path)


POINT = {"type": "Point", "coordinates": [117.26, 34.79, 5]}


def test_geojson(tmp_path: Path) -> None:
    features = [feature(POINT, code="1", n=1, mixed="a", flag=True), feature(None, code="2", n=2.5, mixed=7, more=[1])]
    records = read_geojson(tmp_path, collection(*features))
    assert records.frame["code"].to_list() == ["1", "2"]
    assert records.frame["n"].to_list() == [1.0, 2.5]
    assert records.frame["mixed"].to_list() == ["a", "7"]
    assert records.frame["flag"].to_list() == [True, None]
    assert records.frame["more"].to_list() == [None, "[1]"]
    assert shapes(records) == [shapely.Point(117.26, 34.79), None]
    assert records.crs is None


@pytest.mark.parametrize(
    ("name", "crs"),
    [
        ("urn:ogc:def:crs:EPSG::4490", "EPSG:4490"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"),
        ("EPSG:4548", "EPSG:4548"),
    ],
)
def test_geojson_with_a_crs_member(tmp_path: Path, name: str, crs: str) -> None:
    member = {"type": "name", "properties": {"name": name}}
    assert read_geojson(tmp_path, collection(feature(POINT), crs=member)).crs == crs


def test_geojson_id_is_a_column_unless_a_property_is(tmp_path: Path) -> None:
    assert read_geojson(tmp_path, collection({**feature(POINT), "id": 7})).frame["id"].to_list() == [7]
    own = read_geojson(tmp_path, collection({**feature(POINT, id="a"), "id": 7}))
    assert own.frame["id"].to_list() == ["a"]


def test_geojson_features_that_cannot_be_read(tmp_path: Path) -> None:
    ring = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 5]]]}
    word = {"type": "Point", "coordinates": ["east", 1]}
    text = collection(
        feature(POINT, code="1"), feature(ring, code="2"), feature(word), feature(POINT, code="4"), {"a": 1}
    )
    records = read_geojson(tmp_path, text)
    assert records.frame["code"].to_list() == ["1", "4"]
    assert records.frame[ROW].to_list() == [1, 4]
    assert [bad.row for bad in records.unreadable] == [2, 3, 5]
    assert '"code": "2"' in records.unreadable[0].text


def test_geojson_of_a_chinese_tool_in_gbk(tmp_path: Path) -> None:
    text = collection(*(feature(POINT, 名称="枣庄市薛城区光明大道") for _ in range(3)))
    assert read_geojson(tmp_path, text.encode("gbk")).frame["名称"][0] == "枣庄市薛城区光明大道"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (collection(feature(POINT))[:-20], "ends in the middle, after byte"),
        ('{"type": "FeatureCollection", "features": [{"a": NaN}]}', "byte 49"),
        ('{"type": "FeatureCollection", "features": [' + "[" * 100_000 + "]" * 100_000 + "]}", "nested too deeply"),
        ('{"type": "Topology", "objects": {}}', "of type 'Topology'"),
        ('{"hello": 1}', "not GeoJSON"),
        ("[1, 2]", "not GeoJSON"),
        (collection(feature(POINT), crs={"properties": {"name": "my town"}}), "cannot be understood: my town"),
    ],
)
def test_broken_geojson_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_geojson(tmp_path, text)
    assert words in str(caught.value)


def test_real_districts_say_no_crs(shared: Callable[[str], Path]) -> None:
    records = one(geojson.read, shared("zaozhuang/districts_gcj02.geojson"))
    assert records.crs is None
    assert records.frame["adcode"].to_list() == [370402, 370403, 370404, 370405, 370406, 370481]
    assert all(shape is not None and shape.is_valid for shape in shapes(records))
