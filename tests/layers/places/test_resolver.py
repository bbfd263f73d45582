"""Rungs in order, the first that holds wins; coarse places stay coarse."""

from collections.abc import Sequence
from typing import Any

import h3
import numpy as np
import polars as pl
import pytest
import shapely

from layers.contract import Contract
from layers.places.fix import GEOMETRY, Register, Site
from layers.places.resolver import Placed, place
from layers.reasons import Reason
from tests.layers.places.town import gazetteer
from twin.city import load_city

CITY = load_city("zaozhuang")
LON, LAT = 117.56, 34.86
AREA = shapely.box(117.4, 34.8, 117.6, 35.0)


def contract(*rungs: dict[str, Any], geometry: str = "any") -> Contract:
    text = {"type": "string", "title": {"zh": "编号", "en": "Id"}}
    return Contract.model_validate(
        {
            "id": "test.things",
            "kind": "feature",
            "title": {"zh": "物", "en": "Things"},
            "owner": "测试局",
            "class": "open",
            "rate": "day",
            "key": ["id_"],
            "geometry": geometry,
            "place": {"rungs": list(rungs)},
            "fields": {"id_": text, "device": text, "town": text, "h3": text},
        }
    )


COORDINATE = {"by": "coordinate", "x": "lon", "y": "lat", "datum": "cgcs2000", "accuracy_m": 10}
DEVICE = {"by": "device", "id": "device", "register": "test.devices"}
TOWN = {"by": "area", "code": "town", "register": "test.towns"}
CELL = {"by": "cell", "id": "h3"}
SHAPE = {"by": "geometry", "datum": "cgcs2000", "accuracy_m": 5}


def registers(dataset: str) -> Register:
    if dataset == "test.devices":
        cell = h3.str_to_int(h3.latlng_to_cell(LAT, LON, 10))
        frame = {"id": ["D1"], "cell": [cell], "place_accuracy_m": [8.0], "lon": [LON], "lat": [LAT]}
        return Register(pl.DataFrame(frame), np.array([None], dtype=object))
    middle = shapely.point_on_surface(AREA)
    cell = h3.str_to_int(h3.latlng_to_cell(middle.y, middle.x, 4))
    frame = {"id": ["T1"], "cell": [cell], "place_accuracy_m": [11_000.0], "lon": [middle.x], "lat": [middle.y]}
    return Register(pl.DataFrame(frame), np.array([AREA], dtype=object))


def placed(what: Contract, **columns: Sequence[object]) -> Placed:
    n = len(next(iter(columns.values())))
    blank = {name: [None] * n for name in what.fields}
    frame = pl.DataFrame({**blank, **columns}, strict=False)
    return place(frame, what, Site(CITY, registers, gazetteer))


@pytest.mark.parametrize(
    ("lon", "lat", "reason"),
    [
        (LON, LAT, None),
        (LAT, LON, Reason.SWAPPED_AXES),
        (0.0, 0.0, Reason.NULL_ISLAND),
        (float("nan"), LAT, Reason.BAD_COORDINATE),
        (float("inf"), LAT, Reason.BAD_COORDINATE),
        (None, LAT, Reason.BAD_COORDINATE),
        (None, None, Reason.NO_PLACE),
        (121.5, 31.2, Reason.OUTSIDE_CITY),
        (300.0, 95.0, Reason.OUTSIDE_CITY),
    ],
)
def test_coordinate(lon: float | None, lat: float | None, reason: Reason | None) -> None:
    found = placed(contract(COORDINATE), lon=[lon], lat=[lat])
    assert found.reasons.tolist() == [reason]
    assert (found.cell[0] != 0) == (reason is None)


def test_first_rung_that_holds_wins() -> None:
    what = contract(COORDINATE, DEVICE, TOWN)
    found = placed(
        what,
        lon=[LON, None, None, None, LAT],
        lat=[LAT, None, None, None, LON],
        device=["D1", "D1", "D9", "D9", None],
        town=["T1", "T1", "T1", None, "T1"],
    )
    assert found.method.tolist() == ["coordinate", "device", "area", None, "area"]
    assert found.reasons.tolist() == [None, None, None, Reason.UNKNOWN_DEVICE, None]
    assert found.source.tolist() == ["coordinate:cgcs2000", "test.devices", "test.towns", None, "test.towns"]


def test_known_only_by_its_town_it_is_as_large_as_the_town() -> None:
    found = placed(contract(TOWN), town=["T1"])
    assert found.shapes[0].equals(AREA)
    assert h3.get_resolution(h3.int_to_str(int(found.cell[0]))) == 4
    assert found.accuracy_m[0] == 11_000


def test_cell_rung_keeps_the_cell_itself() -> None:
    cells = [h3.latlng_to_cell(LAT, LON, resolution) for resolution in (7, 9)]
    found = placed(contract(CELL), h3=[*cells, "nonsense", None])
    assert [h3.int_to_str(int(cell)) for cell in found.cell[:2]] == cells
    assert found.reasons.tolist() == [None, None, Reason.BAD_COORDINATE, Reason.NO_PLACE]
    far = h3.latlng_to_cell(-30.0, -51.2, 9)
    assert placed(contract(CELL), h3=[far]).reasons.tolist() == [Reason.OUTSIDE_CITY]


def test_geometry_rung() -> None:
    bow_tie = shapely.Polygon([(117.5, 34.8), (117.6, 34.9), (117.6, 34.8), (117.5, 34.9)])
    shapes = [AREA, bow_tie, shapely.Point(LON, LAT), shapely.Polygon(), shapely.box(10, 10, 11, 11)]
    found = placed(contract(SHAPE, geometry="polygon"), **{GEOMETRY: [shapely.to_wkb(shape) for shape in shapes]})
    assert found.reasons.tolist() == [None, None, Reason.WRONG_GEOMETRY, Reason.EMPTY_GEOMETRY, Reason.OUTSIDE_CITY]
    assert found.source[1] == "geometry:cgcs2000 repaired"
    assert found.shapes[1].is_valid
    assert found.shapes[1].area == pytest.approx(0.005)


def test_a_large_polygon_is_in_no_small_cell() -> None:
    found = placed(contract(SHAPE), **{GEOMETRY: [shapely.to_wkb(AREA), shapely.to_wkb(shapely.Point(LON, LAT))]})
    sizes = [h3.get_resolution(h3.int_to_str(int(cell))) for cell in found.cell]
    assert sizes[0] < 6
    assert sizes[1] == CITY.resolutions.finest


def test_places_of_many_points_equal_those_of_each() -> None:
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(117.0, 117.7, 500), rng.uniform(34.6, 35.2, 500)
    together = placed(contract(COORDINATE), lon=lon.tolist(), lat=lat.tolist())
    expected = [h3.str_to_int(h3.latlng_to_cell(y, x, CITY.resolutions.finest)) for x, y in zip(lon, lat, strict=True)]
    assert together.cell.tolist() == expected


ADDRESS = {"by": "address", "text": "device", "area": "town"}
STAKE = {"by": "stake", "text": "device", "road": "h3"}


@pytest.mark.parametrize(
    ("text", "area", "reason", "hint"),
    [
        ("薛城区光明大道10号", None, None, None),
        ("解放路5号", "370402", None, None),
        ("薛城区临城街道", None, None, None),
        ("解放路5号", None, Reason.AMBIGUOUS_ADDRESS, "2 candidates"),
        ("市中区解放路5号", "370403001002", Reason.AMBIGUOUS_ADDRESS, "the text says"),
        ("没有的路3号", None, Reason.UNKNOWN_ADDRESS, None),
        ("徐州市解放路5号", None, Reason.OUTSIDE_CITY, "徐州市"),
        (None, "370402", Reason.NO_PLACE, None),
    ],
)
def test_address_rung(text: str | None, area: str | None, reason: Reason | None, hint: str | None) -> None:
    found = placed(contract(ADDRESS), device=[text], town=[area])
    assert found.reasons[0] == reason
    assert (hint or "") in (found.hints[0] or "")
    assert np.isfinite(found.lon[0]) == (reason is None)
    if reason is None:
        assert found.method[0] == "address"


def test_an_address_known_by_its_town_has_the_cell_of_a_town() -> None:
    found = placed(contract(ADDRESS), device=["薛城区临城街道", "薛城区光明大道10号"])
    town, door = (h3.get_resolution(h3.int_to_str(int(cell))) for cell in found.cell)
    assert (town, door) == (5, 10)
    assert found.shapes[0].geom_type == "Polygon"


def test_stake_rung() -> None:
    found = placed(
        contract(STAKE),
        device=["G104 K602+0", "K602+0", "K999+0", "somewhere", None],
        h3=[None, "G104", "G104", "G104", "G104"],
    )
    assert found.lon[0] == found.lon[1] == pytest.approx(117.3)
    assert found.reasons.tolist() == [None, None, Reason.UNKNOWN_STAKE, Reason.UNKNOWN_STAKE, Reason.NO_PLACE]
    assert found.hints[2] == "G104 runs from K600 to K606 here"
