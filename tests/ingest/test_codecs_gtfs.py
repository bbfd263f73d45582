"""GTFS feeds: stops and routes with their courses."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely

from ingest.codecs.gtfs import read
from ingest.codecs.records import GEOMETRY, ROW, ReadOptions, Records
from ingest.reading import open_records
from layers.contract import Contract
from tests.ingest.contracts import contract, field
from twin.errors import SourceError

FEED = {
    "stops": "stop_id,stop_name,stop_lat,stop_lon\nA,东站,34.1,117.1\nB,西站,34.2,117.2\nC,北站,34.3,117.3\nD,未定,,\n",
    "routes": "route_id,route_short_name\nr1,1路\nr2,2路\nr3,3路\n",
    "trips": "route_id,trip_id,shape_id\nr1,t1,short\nr1,t2,long\nr2,t3,short\n",
    "shapes": "shape_id,shape_pt_lat,shape_pt_lon,shape_pt_sequence\n"
    "short,34.1,117.1,1\nshort,34.2,117.2,2\nlong,34.1,117.1,2\nlong,34.0,117.0,10\nlong,34.3,117.3,1\n",
    "stop_times": "trip_id,stop_id,stop_sequence\nt1,A,1\nt1,B,2\nt2,C,9\nt2,B,10\nt2,A,11\nt3,A,1\nt3,D,2\n",
}
STOPS = {"table": "stops", "map": {"code": "stop_id", "name": "stop_name", "lon": "stop_lon", "lat": "stop_lat"}}
ROUTES = {"table": "routes", "map": {"code": "route_id", "name": "route_short_name"}}


def feed(folder: Path, **tables: str | None) -> Path:
    for name, text in (FEED | tables).items():
        if text is not None:
            (folder / f"{name}.txt").write_text(text)
    return folder


def dataset(gtfs: dict[str, Any]) -> Contract:
    fields = {"code": field("string", "编号", "Code"), "name": field("string", "名称", "Name")}
    return contract(fields=fields, gtfs=gtfs)


def one(folder: Path, gtfs: dict[str, Any]) -> Records:
    (records,) = read(folder, dataset(gtfs), ReadOptions())
    return records


def courses(records: Records) -> dict[str, list[tuple[float, float]] | None]:
    shapes = shapely.from_wkb(records.frame[GEOMETRY].to_list())
    return {
        code: None if shape is None else list(shape.coords)
        for code, shape in zip(records.frame["code"], shapes, strict=True)
    }


def test_stops(tmp_path: Path) -> None:
    records = one(feed(tmp_path), STOPS)
    assert records.frame.select("code", "name", "lon", "lat", ROW).rows()[0] == ("A", "东站", "117.1", "34.1", 1)
    assert courses(records) | {"D": None} == {
        "A": [(117.1, 34.1)],
        "B": [(117.2, 34.2)],
        "C": [(117.3, 34.3)],
        "D": None,
    }
    assert records.frame[GEOMETRY].null_count() == 1
    assert records.crs == "EPSG:4326"


def test_course_of_a_route_is_its_longest_shape_in_order(tmp_path: Path) -> None:
    found = courses(one(feed(tmp_path), ROUTES))
    assert found == {
        "r1": [(117.3, 34.3), (117.1, 34.1), (117.0, 34.0)],
        "r2": [(117.1, 34.1), (117.2, 34.2)],
        "r3": None,
    }


def test_without_shapes_the_stops_are_the_course(tmp_path: Path) -> None:
    found = courses(one(feed(tmp_path, shapes=None), ROUTES))
    assert found == {"r1": [(117.3, 34.3), (117.2, 34.2), (117.1, 34.1)], "r2": None, "r3": None}


def test_broken_line_of_the_table_itself_is_unreadable(tmp_path: Path) -> None:
    records = one(feed(tmp_path, routes="route_id,route_short_name\nr1,1路\nr2\n"), ROUTES)
    assert records.frame["code"].to_list() == ["r1"]
    assert [bad.row for bad in records.unreadable] == [2]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"trips": None}, "no trips.txt"),
        ({"stops": "stop_id,stop_name\nA,x\n"}, "no column stop_lat, stop_lon"),
        ({"shapes": None, "stop_times": None}, "no stop_times.txt"),
        ({"trips": "route_id,trip_id,shape_id\nr1,t1\n"}, "record 1 of trips.txt cannot be read"),
    ],
)
def test_incomplete_feeds_are_refused(tmp_path: Path, tables: dict[str, Any], words: str) -> None:
    folder = feed(tmp_path, **tables)
    with pytest.raises(SourceError) as caught:
        one(folder, STOPS if "stops" in tables else ROUTES)
    assert words in str(caught.value)


def test_contract_without_gtfs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="takes nothing from GTFS"):
        list(read(feed(tmp_path), contract(), ReadOptions()))


@pytest.mark.parametrize("folder", ["", "feed/"])
def test_zipped_feed(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "feed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FEED.items():
            archive.writestr(f"{folder}{name}.txt", text)
    (records,) = open_records(path, dataset(ROUTES))
    assert records.frame.height == 3


@pytest.mark.parametrize(("name", "stops", "routes"), [("poa_eptc", 3986, 115), ("poa_trensurb", 24, 2)])
def test_real_feeds(shared: Callable[[str], Path], name: str, stops: int, routes: int) -> None:
    path = shared(f"porto_alegre/{name}.zip")
    (records,) = open_records(path, dataset(STOPS))
    assert (records.frame.height, records.frame[GEOMETRY].null_count()) == (stops, 0)
    (records,) = open_records(path, dataset(ROUTES))
    assert (records.frame.height, records.frame[GEOMETRY].null_count()) == (routes, 0)
