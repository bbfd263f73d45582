"""Texts to places: the finest level that is known, all that a name may mean, never another city, nothing guessed."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from layers.places.candidates import Candidate, metres
from layers.places.gazetteer import Gazetteer
from tests.layers.places.town import EAST, EAST_TOWN, WEST, WEST_TOWN, gazetteer

TOWN = gazetteer()


def only(text: str, area: str = "", where: Gazetteer = TOWN) -> Candidate:
    found = where.resolve(text, area)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("text", "method", "at", "accuracy_m"),
    [
        ("薛城区光明大道10号", "door", (117.3000, 34.8000), 20),
        ("光明大道10号附近", "door", (117.3000, 34.8000), 170),
        ("光明大道20号2号楼", "door", (117.3025, 34.8002), 20),
        ("光明大道10号3号楼", "door", (117.3000, 34.8000), 20),
        ("市中区解放路5号", "door", (117.5100, 34.8050), 20),
        ("光明大道与解放路交叉口", "crossing", (117.3100, 34.8000), 30),
        ("王家村7号", "door", (117.5000, 34.8100), 20),
        ("王家村", "village", (117.50, 34.81), 300),
        ("枣庄市第八中学", "place", (117.30, 34.83), 97),
        ("阳光家园", "place", (117.51, 34.805), 50),
        ("G104 K602+0附近起火", "stake", (117.30, 34.7382), 170),
    ],
)
def test_the_finest_level_that_is_known(text: str, method: str, at: tuple[float, float], accuracy_m: float) -> None:
    found = only(text)
    assert found.method == method
    assert metres(found.lon, found.lat, *at) < 30
    assert found.accuracy_m == pytest.approx(accuracy_m, rel=0.05)
    assert found.confidence > 0.7


def test_between_two_known_numbers() -> None:
    found = only("光明大道14号")
    assert (found.method, found.reason) == ("interpolated", "between No. 10 and No. 20")
    assert metres(found.lon, found.lat, 117.3009, 34.8) < 30
    assert found.accuracy_m > metres(117.3, 34.8, 117.302, 34.8), "no more exact than the doors are apart"
    assert TOWN.resolve("光明大道300号")[0].method == "road", "no door is near"


def test_what_a_name_may_mean_comes_back_whole() -> None:
    found = TOWN.resolve("解放路5号")
    assert [(one.method, one.area[:6]) for one in found] == [("door", EAST), ("door", WEST)]
    assert [one.confidence for one in found] == [pytest.approx(0.95 / 2)] * 2
    assert {one.reason for one in found} == {"one of 2 places of this name"}
    assert only("解放路5号", area=WEST).area == WEST_TOWN


def test_a_door_may_be_on_the_other_street_of_the_name() -> None:
    """No register knows every door: of two streets far apart, the one without known doors is meant as well."""
    found = TOWN.resolve("薛城区新建路3号")
    assert [(one.method, round(one.confidence, 3)) for one in found] == [("door", 0.475), ("road", 0.35)]
    assert {one.reason for one in found} == {"1 more of this name"}
    assert [one.method for one in TOWN.resolve("新建路")] == ["road", "road"]


def test_coarse_places_are_as_large_as_they_are() -> None:
    town, district, road = only("薛城区临城街道"), only("薛城区"), only("薛城区光明大道")
    assert (town.method, district.method, road.method) == ("town", "district", "road")
    assert town.accuracy_m == pytest.approx(math.sqrt(9_130 * 11_132 / math.pi), rel=0.02)
    assert district.accuracy_m == pytest.approx(2 * town.accuracy_m, rel=0.02)
    assert road.accuracy_m >= 3_656 / 2
    assert None not in (town.shape, district.shape, road.shape)


def test_what_does_not_fit_together_is_doubted() -> None:
    found = TOWN.resolve("市中区光明大道10号")
    assert {one.method for one in found} == {"door", "road", "district"}
    assert all(one.confidence < 0.4 and "光明大道" not in one.area and one.reason for one in found)
    found = TOWN.resolve("市中区解放路5号", area=WEST)
    assert all(one.confidence < 0.4 and one.reason for one in found)
    assert only("薛城区无名大道9号").reason == "无名大道 is not known there"


@pytest.mark.parametrize(
    "text", ["", "徐州市解放路5号", "经十路1号", "济南市历下区王家村", "G104 K9+0", "G999 K602+0", "？？"]
)
def test_what_is_not_here_has_no_place(text: str) -> None:
    assert TOWN.resolve(text) == []


def test_stakes_lie_at_their_share_of_the_section() -> None:
    """Oracle: geodesic lengths, walked along the vertices one by one."""
    geod = Geod(ellps="GRS80")
    legs = [(117.30, 34.72, 117.30, 34.74), (117.30, 34.74, 117.32, 34.74)]
    lengths = [geod.inv(*leg)[2] for leg in legs]
    for km in (600.0, 600.5, 601.9, 602.0, 603.25, 604.0):
        left = (km - 600) / 4 * sum(lengths)
        for (x0, y0, x1, y1), length in zip(legs, lengths, strict=True):
            if left <= length + 1e-6:
                at = x0 + (x1 - x0) * left / length, y0 + (y1 - y0) * left / length
                break
            left -= length
        found = only(f"G104 K{int(km)}+{round(km % 1 * 1000):03d}")
        assert metres(found.lon, found.lat, *at) < 5, km
    backward = only("G104 K605+0")
    assert metres(backward.lon, backward.lat, 117.33, 34.74) < 0.1, "a section that runs against its stakes"
    assert TOWN.stakes_of("G104") == "G104 runs from K600 to K606 here"


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from("枣庄市薛城区中光明大道解放路王家村号楼附近与交叉口0123456789GK+"), max_size=20).map(
        "".join
    )
)
def test_no_text_makes_it_fail_or_leave_the_city(text: str) -> None:
    for one in TOWN.resolve(text):
        assert 117.2 <= one.lon <= 117.6
        assert 34.7 <= one.lat <= 34.9
        assert 0 < one.confidence <= 1
        assert one.area.startswith((EAST, WEST))
        assert one.area in {EAST, WEST, EAST_TOWN, WEST_TOWN}


@pytest.mark.parametrize("file", ["cpca_cases.json", "jionlp_cases.json"])
def test_published_addresses_of_other_cities_have_no_place_here(shared: Callable[[str], Path], file: str) -> None:
    for case in json.loads(shared(f"addresses/{file}").read_text())["cases"]:
        assert TOWN.resolve(case[0]) == [], case
