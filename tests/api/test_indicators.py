"""Indicators over HTTP."""

import io
from typing import Any

import pyarrow as pa
import pytest

from tests.api.city import RECORDS, Served
from twin.access import Audience
from twin.grid import text_to_cell


def cells(served: Served, indicator: str, **parameters: Any) -> dict[str, Any]:
    return served.json(f"/indicators/{indicator}/cells", **parameters)


def test_the_list_says_what_each_is(served: Served) -> None:
    found = {one["id"]: one for one in served.json("/indicators")["indicators"]}
    one = found["housing.floor_area"]
    assert (one["dataset"], one["system"], one["resolution"], one["window"]) == (
        "housing.buildings",
        "housing",
        9,
        None,
    )
    assert one["title"] == {"zh": "建筑面积", "en": "Floor area"}
    assert served.json(f"/indicators/{one['id']}") == one
    for link in one["links"]:
        assert served.get(link["href"]).status_code == 200


@pytest.mark.parametrize("resolution", [9, 8, 7, 6])
def test_sums_are_conserved(served: Served, resolution: int) -> None:
    body = cells(served, "housing.floor_area", resolution=resolution)
    total = float(served.scalar("SELECT sum(floor_area_m2::text::numeric) FROM housing.buildings"))
    assert sum(cell["value"] for cell in body["cells"]) == pytest.approx(total, abs=1e-6)
    assert sum(cell["n"] for cell in body["cells"]) == RECORDS
    assert body["count"] == len(body["cells"])
    assert body["coarser"] == 0
    assert all(cell["cell"][:2] == f"8{resolution:x}" for cell in body["cells"])


def test_every_format_says_the_same(served: Served) -> None:
    plain = cells(served, "housing.height_mean", resolution=8)
    geo = cells(served, "housing.height_mean", resolution=8, f="geojson")
    packed = served.get("/indicators/housing.height_mean/cells", resolution=8, f="arrow")
    table = pa.ipc.open_stream(io.BytesIO(packed.content)).read_all()
    names = [cell["cell"] for cell in plain["cells"]]
    assert [feature["properties"]["cell"] for feature in geo["features"]] == names
    assert table.column("cell").to_pylist() == text_to_cell(names).tolist()
    assert table.column("value").to_pylist() == [cell["value"] for cell in plain["cells"]]
    assert geo["legend"] == plain["legend"]
    assert {"colour", "from", "to", "label"} == set(plain["legend"][0])


def test_a_box_and_a_default_resolution(served: Served) -> None:
    everything = cells(served, "housing.floor_area")
    assert everything["resolution"] == 9
    some = cells(served, "housing.floor_area", bbox="117.30,34.78,117.34,34.84")
    names = {cell["cell"] for cell in everything["cells"]}
    assert 0 < some["count"] < everything["count"]
    assert {cell["cell"] for cell in some["cells"]} < names
    same = cells(
        served,
        "housing.floor_area",
        bbox="34.78,117.30,34.84,117.34",
        bbox_crs="http://www.opengis.net/def/crs/EPSG/0/4326",
    )
    assert same["cells"] == some["cells"]


def test_a_window(served: Served) -> None:
    newest = cells(served, "environment.pm25_mean")
    assert newest["datetime"] is not None
    assert newest["count"] > 0
    assert cells(served, "environment.pm25_mean", datetime=newest["datetime"])["cells"] == newest["cells"]
    assert cells(served, "environment.pm25_mean", datetime="2001-01-01T00:00:00Z")["cells"] == []


def test_a_number_is_explained(served: Served) -> None:
    one = max(cells(served, "housing.floor_area", resolution=8)["cells"], key=lambda cell: cell["n"])
    said = served.json(f"/indicators/housing.floor_area/cells/{one['cell']}/explain")
    assert (said["value"], said["parts"]["n"]) == (one["value"], one["n"])
    assert len(said["records"]) == one["n"]
    for fid in said["records"]:
        assert served.get(f"/collections/housing.buildings/items/{fid}").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/indicators/no.such/cells", 404),
        ("/indicators/housing.floor_area/cells?resolution=10", 400),
        ("/indicators/housing.floor_area/cells?resolution=3", 400),
        ("/indicators/housing.floor_area/cells?resolution=x", 400),
        ("/indicators/housing.floor_area/cells?f=csv", 400),
        ("/indicators/housing.floor_area/cells?datetime=2026-01-01T00:00:00Z/..", 400),
        ("/indicators/housing.floor_area/cells?branch=no", 404),
        ("/indicators/housing.floor_area/cells?bbox=1,2,3", 400),
        ("/indicators/housing.floor_area/cells/zzz/explain", 400),
        ("/indicators/housing.floor_area/cells/8f30e1d8a000000/explain", 400),
    ],
)
def test_wrong_questions(served: Served, path: str, status: int) -> None:
    answer = served.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_every_indicator_that_a_reader_is_told_of_answers(served: Served) -> None:
    for audience in (Audience("public"), Audience("administrator"), Audience("department:environment")):
        for one in served.json("/indicators", audience)["indicators"]:
            answer = served.get(f"/indicators/{one['id']}/cells", audience)
            assert answer.status_code == 200, answer.text
