"""Other people's programs read what we serve, and count what the database counts."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest
from owslib.ogcapi.features import Features

from tests.api.city import RECORDS, Served
from tests.layers.park import CITY

DATASETS = ["housing.buildings", "transport.roads", "environment.air_stations"]


def gdal(*words: str) -> str:
    """What a GDAL tool says."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]} (gdal-bin)")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    return done.stdout


def counted(served: Served, dataset: str) -> int:
    suffix = "__latest" if served.catalog[dataset].is_stream else ""
    return served.scalar(f"SELECT count(*) FROM {dataset}{suffix}")


@pytest.mark.parametrize("dataset", DATASETS)
def test_gdal_copies_a_collection_page_by_page(served: Served, dataset: str, tmp_path: Path) -> None:
    target = tmp_path / "out.fgb"
    gdal("ogr2ogr", "-f", "FlatGeobuf", str(target), f"OAPIF:{served.url}", dataset, "-oo", "PAGE_SIZE=7")
    told = gdal("ogrinfo", "-so", "-al", str(target))
    assert f"Feature Count: {counted(served, dataset)}" in told


def test_gdal_lists_the_open_collections(served: Served) -> None:
    listed = gdal("ogrinfo", f"OAPIF:{served.url}")
    open_ids = {contract.id for contract in served.catalog if contract.data_class == "open"}
    assert all(f" {dataset} " in listed.replace("\n", " ") for dataset in open_ids)
    assert "video.cameras" not in listed


def test_gdal_filters_by_a_box(served: Served, tmp_path: Path) -> None:
    box = ("117.30", "34.78", "117.34", "34.84")
    target = tmp_path / "out.geojson"
    gdal("ogr2ogr", "-f", "GeoJSON", str(target), f"OAPIF:{served.url}", "housing.buildings", "-spat", *box)
    expected = served.scalar(
        f"SELECT count(*) FROM housing.buildings WHERE ST_Intersects(geom, ST_MakeEnvelope({', '.join(box)}, 4490))"
    )
    features = json.loads(target.read_text(encoding="utf-8"))["features"]
    assert len(features) == expected > 0
    assert {feature["properties"]["use"] for feature in features} <= set(
        served.catalog["housing.buildings"].fields["use"].values
    )


def test_gdal_reads_a_tile(served: Served, tmp_path: Path) -> None:
    z = 6
    lon, lat = CITY.centre
    x = int((lon + 180) / 360 * 2**z)
    y = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z)
    path = tmp_path / "tile.pbf"
    path.write_bytes(served.get(f"/collections/housing.buildings/tiles/WebMercatorQuad/{z}/{y}/{x}").content)
    told = gdal("ogrinfo", "-so", "-al", f"MVT:{path}", "-oo", f"X={x}", "-oo", f"Y={y}", "-oo", f"Z={z}")
    assert "Layer name: housing.buildings" in told
    assert f"Feature Count: {RECORDS}" in told


@pytest.mark.parametrize(("word", "suffix"), [("flatgeobuf", "fgb"), ("csv", "csv"), ("json", "geojson")])
def test_gdal_reads_the_files(served: Served, word: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(served.get("/collections/transport.roads/items", f=word, limit=1000).content)
    assert f"Feature Count: {counted(served, 'transport.roads')}" in gdal("ogrinfo", "-so", "-al", str(path))


def test_owslib_reads_the_features(served: Served) -> None:
    features = Features(served.url)
    assert {contract.id for contract in served.catalog if contract.data_class == "open"} == set(
        features.feature_collections()
    )
    assert any("ogcapi-features-1" in one for one in features.conformance()["conformsTo"])
    described = features.collection("housing.buildings")
    assert described["id"] == "housing.buildings"
    page = features.collection_items("housing.buildings", limit=5)
    assert (page["numberMatched"], page["numberReturned"]) == (counted(served, "housing.buildings"), 5)
    assert "use" in features.collection_queryables("housing.buildings")["properties"]
    chosen = features.collection_items("housing.buildings", filter="use = 'office'", limit=100)
    expected = served.scalar("SELECT count(*) FROM housing.buildings WHERE use = 'office'")
    assert chosen["numberMatched"] == expected
    fid = page["features"][0]["id"]
    assert features.collection_item("housing.buildings", fid)["id"] == fid
