"""The synthetic city: it repeats, it has the published sizes, it holds together, and its codes are well formed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from geopandas import GeoDataFrame
from pyproj import Geod

from ingest.demo.boundaries import boundaries
from ingest.demo.city import DemoCity
from ingest.demo.graph import components, nodes_of
from ingest.demo.plan import Plan
from tests.ingest.demo.city import CITY, SCALE, SEED, small_city
from twin.city import load_city
from twin.errors import InvalidRequest

ROOT = Path(__file__).parents[3]
OTHER_PROFILE = ROOT / "tests/cities/porto_alegre.toml"
TINY = 0.01
HECTARE_M2 = 10_000
HECTARE_DEG2 = 1e-6
"""About a hectare at these latitudes, for sorting out slivers before they are measured."""

CREDIT_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
ORGANISATION_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
KEYS = {
    "buildings": "building_id",
    "parcels": "parcel_id",
    "roads": "road_id",
    "facilities": "facility_id",
    "enterprises": "credit_code",
    "sensors": "device_id",
    "fields": "field_id",
    "areas": "area_id",
    "outlets": "outlet_id",
    "bus_stops": "stop_id",
    "population": "cell",
}


@cache
def other_city() -> DemoCity:
    """A city of another profile."""
    return DemoCity.generate(load_city(str(OTHER_PROFILE)), SEED, SCALE)


def facilities_of(city: DemoCity, kind: str) -> GeoDataFrame:
    """The facilities of a kind."""
    return city.facilities.loc[city.facilities["kind"] == kind]


Drawn = Callable[[], DemoCity]
CITIES = pytest.mark.parametrize("drawn", [small_city, other_city], ids=["zaozhuang", "porto_alegre"])


def digest(city: DemoCity) -> str:
    """SHA-256 over every value and coordinate of a city."""
    total = hashlib.sha256()
    for name, frame in city.frames().items():
        total.update(name.encode())
        total.update(frame.drop(columns="geometry").to_csv(index=False).encode())
        total.update(b"".join(shapely.to_wkb(frame.geometry.to_numpy())))
    return total.hexdigest()


def area_m2(shape: shapely.Geometry) -> float:
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(shape)[0])


def overlaps_m2(areas: GeoDataFrame) -> list[float]:
    shape = areas.geometry.to_numpy()
    first, second = shapely.STRtree(shape).query(shape, predicate="intersects")
    pairs = first < second
    shared = shapely.intersection(shape[first[pairs]], shape[second[pairs]])
    return [area_m2(part) for part in shared if shapely.area(part) > 0]


def holes_m2(areas: GeoDataFrame) -> list[float]:
    whole = shapely.union_all(areas.geometry.to_numpy())
    return [area_m2(shapely.Polygon(ring)) for part in shapely.get_parts(whole) for ring in part.interiors]


def length_m(lines: GeoDataFrame) -> float:
    return float(lines["length_m"].sum())


def has_right_credit_check(code: str) -> bool:
    """GB 32100: the weighted sum of all eighteen signs is a multiple of 31."""
    return sum(CREDIT_SIGNS.index(sign) * pow(3, k, 31) for k, sign in enumerate(code[:17])) % 31 == (
        -CREDIT_SIGNS.index(code[17]) % 31
    )


def has_right_organisation_check(code: str) -> bool:
    """GB 11714: the check sign completes the weighted sum to a multiple of 11, X being ten."""
    total = sum(w * ORGANISATION_SIGNS.index(sign) for w, sign in zip(ORGANISATION_WEIGHTS, code, strict=False))
    return (total + ("0123456789X".index(code[8]))) % 11 == 0


def has_right_mod_11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10 over a number that ends with its check digit."""
    product = 10
    for digit in digits[:-1]:
        product = ((product + int(digit)) % 10 or 10) * 2 % 11
    return (product + int(digits[-1])) % 10 == 1


def test_the_checks_of_this_file_know_published_codes() -> None:
    assert has_right_credit_check("91350100M000100Y43")
    assert has_right_organisation_check("M000100Y4")
    assert has_right_mod_11_10("07945")
    assert not has_right_credit_check("91350100M000100Y44")
    assert not has_right_organisation_check("M000100Y5")
    assert not has_right_mod_11_10("07946")


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    command = "from tests.ingest.demo.test_city import digest, small_city; print(digest(small_city()))"
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    run = [sys.executable, "-c", command]
    again = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == digest(small_city())


def test_another_seed_gives_another_city() -> None:
    city = other_city()
    other = DemoCity.generate(load_city(str(OTHER_PROFILE)), SEED + 1, TINY)
    for name in ("districts", "roads", "buildings", "facilities", "sensors"):
        ours, theirs = city.frames()[name].geometry, other.frames()[name].geometry
        assert not set(ours.to_wkb()) & set(theirs.to_wkb()), name
    assert list(other.districts["code"]) == list(city.districts["code"])


@pytest.mark.parametrize(("seed", "scale"), [(SEED, 0), (SEED, 1.01), (SEED, float("nan")), (-1, TINY)])
def test_a_scale_or_seed_out_of_range_is_refused(seed: int, scale: float) -> None:
    with pytest.raises(InvalidRequest):
        DemoCity.generate(CITY, seed, scale)


@CITIES
def test_districts_have_their_published_areas(drawn: Drawn) -> None:
    districts = drawn().districts
    for shape, stated, published in zip(
        districts.geometry, districts["area_km2"], districts["published_km2"], strict=True
    ):
        assert area_m2(shape) / 1e6 == pytest.approx(published, rel=0.03)
        assert area_m2(shape) / 1e6 == pytest.approx(stated, rel=0.001)


@pytest.mark.parametrize("seed", [5, 7])
@pytest.mark.parametrize("profile", ["zaozhuang", str(OTHER_PROFILE)], ids=["zaozhuang", "porto_alegre"])
def test_other_seeds_reach_the_published_areas_in_one_piece(profile: str, seed: int) -> None:
    city = load_city(profile)
    drawn = boundaries(Plan.of(city, seed, TINY))
    published = [district.area_km2 for district in city.districts]
    assert shapely.area(drawn.districts) / 1e6 == pytest.approx(published, rel=0.03)
    assert {shape.geom_type for shape in drawn.districts} == {"Polygon"}
    assert drawn.city.geom_type == "Polygon"


@CITIES
def test_districts_leave_no_gap_and_do_not_overlap(drawn: Drawn) -> None:
    districts = drawn().districts
    assert max(overlaps_m2(districts), default=0) < HECTARE_M2
    assert max(holes_m2(districts), default=0) < HECTARE_M2


def test_towns_partition_their_districts() -> None:
    city = small_city()
    assert max(overlaps_m2(city.towns), default=0) < HECTARE_M2
    for code, shape in zip(city.districts["code"], city.districts.geometry, strict=True):
        towns = shapely.union_all(city.towns.geometry[city.towns["district"] == code].to_numpy())
        rest = [part for part in shapely.get_parts(shape ^ towns) if shapely.area(part) > HECTARE_DEG2 / 10]
        assert max((area_m2(part) for part in rest), default=0) < HECTARE_M2


@CITIES
def test_every_geometry_is_valid_and_every_key_is_unique(drawn: Drawn) -> None:
    for name, frame in drawn().frames().items():
        assert shapely.is_valid(frame.geometry.to_numpy()).all(), name
        assert frame.crs == drawn().districts.crs
        if name in KEYS:
            assert frame[KEYS[name]].is_unique, name


@CITIES
def test_the_roads_are_one_connected_network(drawn: Drawn) -> None:
    roads = drawn().roads
    lines = roads.geometry.to_numpy()
    ends = np.stack([shapely.get_coordinates(shapely.get_point(lines, k)) for k in (0, -1)], axis=1)
    node, count = nodes_of(ends.reshape(-1, 2))
    a, b = node.reshape(-1, 2).T
    part = components(count, a, b)[a]
    assert np.bincount(part, roads["length_m"]).max() >= 0.98 * length_m(roads)
    # The nodes the table names are those at which the lines end.
    named = roads[["from_node", "to_node"]].to_numpy().ravel()
    assert len(np.unique(named)) == len(np.unique(np.column_stack([named, node]), axis=0)) == count


@CITIES
def test_the_roads_are_noded(drawn: Drawn) -> None:
    roads = drawn().roads
    surface = roads[(roads["road_class"] != "motorway") | roads["ramp"]].geometry.to_numpy()
    tree = shapely.STRtree(surface)
    first, second = tree.query(surface, predicate="crosses")
    assert not first.size, [shapely.intersection(surface[first[0]], surface[second[0]])]
    ends = shapely.get_point(surface, [[0], [-1]]).ravel()
    end, line = tree.query(ends, predicate="intersects")
    own = shapely.intersects(shapely.boundary(surface[line]), ends[end]) | shapely.is_closed(surface[line])
    assert own.all()


def test_there_are_enough_buildings() -> None:
    assert len(small_city().buildings) >= 60_000 * SCALE


@CITIES
def test_every_resident_is_housed_and_counted(drawn: Drawn) -> None:
    city = drawn()
    expected = (city.districts.set_index("code")["population"] * SCALE).round().astype(int)
    housed = city.buildings.groupby("district")["residents"].sum()
    assert housed.to_dict() == expected.to_dict()
    assert city.population["residents"].sum() == expected.sum()


@CITIES
def test_buildings_stand_off_roads_and_water(drawn: Drawn) -> None:
    city = drawn()
    tree = shapely.STRtree(city.buildings.geometry.to_numpy())
    for name in ("roads", "water", "railways"):
        assert not tree.query(city.frames()[name].geometry.to_numpy(), predicate="intersects")[0].size, name


@CITIES
@pytest.mark.parametrize("name", ["facilities", "buildings", "sensors", "enterprises", "junctions"])
def test_nothing_lies_outside_its_district(drawn: Drawn, name: str) -> None:
    city = drawn()
    placed = city.frames()[name]
    points = placed.set_geometry(placed.representative_point())[["district", "geometry"]]
    found = geopandas.sjoin(points, city.districts[["code", "geometry"]], how="left", predicate="intersects")
    assert len(placed)
    assert (found["code"] == found["district"]).groupby(found.index).any().all()


@CITIES
def test_credit_codes_have_right_check_signs(drawn: Drawn) -> None:
    city = drawn()
    codes = [*city.facilities["credit_code"].dropna(), *city.enterprises["credit_code"]]
    assert len(set(codes)) == len(codes) > 100
    for code in codes:
        assert len(code) == 18
        assert code[:2] in {"91", "12", "11", "52"}
        assert has_right_credit_check(code), code
        assert has_right_organisation_check(code[8:17]), code


@CITIES
def test_codes_have_the_length_and_check_of_their_standard(drawn: Drawn) -> None:
    city = drawn()
    facilities = city.facilities.dropna(subset="code")
    assert facilities["code"].is_unique
    licences = facilities["code"][facilities["code"].str.match(r"(SC|JY)\d{14}$")]
    assert len(licences)
    assert all(has_right_mod_11_10(code[2:]) for code in licences)
    hospitals = facilities_of(city, "hospital")["code"]
    assert (hospitals.str.len() == 22).all()
    assert all(has_right_organisation_check(code[:9]) for code in hospitals)
    assert (facilities_of(city, "primary_school")["code"].str.len() == 10).all()
    assert city.sensors["code"].is_unique
    assert (city.sensors["code"][city.sensors["kind"] == "camera"].str.len() == 20).all()


@CITIES
def test_parts_bear_the_codes_of_the_whole(drawn: Drawn) -> None:
    city = drawn()
    assert (city.parcels["parcel_id"].str.len() == 19).all()
    assert (city.buildings["building_id"].str.len() == 28).all()
    assert (city.buildings["building_id"].str[:19] == city.buildings["parcel_id"]).all()
    assert (city.parcels["grid_code"].str[:12] == city.parcels["community"]).all()
    assert city.buildings["parcel_id"].isin(city.parcels["parcel_id"]).all()
    assert city.facilities["building_id"].dropna().isin(city.buildings["building_id"]).all()
    assert city.facilities["road_id"].dropna().isin(city.roads["road_id"]).all()


def test_every_district_has_what_a_district_has() -> None:
    city = small_city()
    for kind in ("hospital", "primary_school", "fire_station", "police_station", "government_counter"):
        assert set(facilities_of(city, kind)["district"]) == set(city.districts["code"]), kind


def test_numbered_roads_run_with_their_stakes() -> None:
    roads = small_city().roads
    numbered = roads.dropna(subset="number")
    assert {"G3", "G104", "G206", "S318"} <= set(numbered["number"])
    run = numbered["stake_end_m"] - numbered["stake_start_m"]
    assert run.to_numpy() == pytest.approx(numbered["length_m"].to_numpy(), abs=0.11)


def test_a_city_without_a_facts_file_has_roads_rails_and_water() -> None:
    city = other_city()
    assert {"motorway", "trunk"} <= set(city.roads["road_class"])
    assert len(city.railways)
    assert {"river", "reservoir"} <= set(city.water["kind"])
    assert not len(city.towns)
