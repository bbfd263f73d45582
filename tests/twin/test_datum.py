import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod

from twin import gcj
from twin.city import City, load_city
from twin.datum import (
    bd09_to_gcj02,
    from_city,
    gcj02_to_bd09,
    gcj02_to_wgs84,
    geometries_to_city,
    parse_datum,
    to_city,
    wgs84_to_gcj02,
)
from twin.errors import DatumError, GeometryError

Floats = NDArray[np.float64]
Shared = Callable[[str], Path]

WEST, SOUTH, EAST, NORTH = 72.004, 0.8293, 137.8347, 55.8271
HELMERT = (-12.5, 103.25, 40.75, 0.9, -1.1, 2.3, -4.2)


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("zaozhuang")


@pytest.fixture(scope="module")
def other_city() -> City:
    return load_city(str(Path(__file__).parents[1] / "cities" / "porto_alegre.toml"))


@pytest.fixture(scope="module")
def local_city(city: City) -> City:
    return city.model_copy(update={"datums": dict.fromkeys(("xian80", "beijing54", "local"), HELMERT)})


def metres(lon: Floats, lat: Floats, lon2: Floats, lat2: Floats) -> Floats:
    """Distances of neighbours, good to 1 %."""
    east = (lon2 - lon) * 111_320 * np.cos(np.radians(lat))
    return np.hypot(east, (lat2 - lat) * 111_132)


def in_box(n: int, *, seed: int = 1) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.uniform(WEST, EAST, n), rng.uniform(SOUTH, NORTH, n)


def published_gcj02(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """The published formula, sine by sine."""
    pi, sin = np.pi, np.sin
    x, y = lon - 105.0, lat - 35.0
    root = np.sqrt(np.abs(x))
    d_lat = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    d_lat += (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
    d_lat += (20.0 * sin(y * pi) + 40.0 * sin(y / 3.0 * pi)) * 2.0 / 3.0
    d_lat += (160.0 * sin(y / 12.0 * pi) + 320.0 * sin(y * pi / 30.0)) * 2.0 / 3.0
    d_lon = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    d_lon += (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
    d_lon += (20.0 * sin(x * pi) + 40.0 * sin(x / 3.0 * pi)) * 2.0 / 3.0
    d_lon += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    a, ee = 6378245.0, 0.00669342162296594323
    rad_lat = lat / 180.0 * pi
    magic = 1 - ee * sin(rad_lat) ** 2
    d_lat = d_lat * 180.0 / ((a * (1 - ee)) / (magic * np.sqrt(magic)) * pi)
    d_lon = d_lon * 180.0 / (a / np.sqrt(magic) * np.cos(rad_lat) * pi)
    return lon + d_lon, lat + d_lat


def published_bd09(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    x_pi = np.pi * 3000.0 / 180.0
    z = np.sqrt(lon * lon + lat * lat) + 0.00002 * np.sin(lat * x_pi)
    theta = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * x_pi)
    return z * np.cos(theta) + 0.0065, z * np.sin(theta) + 0.006


# --- the shifts -----------------------------------------------------------------------------------------------------


def test_gcj02_agrees_with_published_pairs(shared: Shared) -> None:
    pairs = json.loads(shared("datum/gcj02_pairs.json").read_text(encoding="utf-8"))
    lat, lon, lat2, lon2 = np.array(pairs["wgs_lat,wgs_lon,gcj_lat,gcj_lon"]).T
    np.testing.assert_allclose(wgs84_to_gcj02(lon, lat), (lon2, lat2), atol=1e-6)
    assert metres(lon, lat, *gcj02_to_wgs84(lon2, lat2)).max() < 1


def test_bd09_agrees_with_published_pairs(shared: Shared) -> None:
    pairs = json.loads(shared("datum/gcj02_pairs.json").read_text(encoding="utf-8"))
    lat, lon, lat2, lon2 = np.array(pairs["bd_lat,bd_lon,gcj_lat,gcj_lon"]).T
    assert metres(lon2, lat2, *bd09_to_gcj02(lon, lat)).max() < 1
    lon, lat, lon2, lat2 = np.array(pairs["transbigdata wgs->bd (lon,lat -> lon,lat)"]).T
    assert metres(lon2, lat2, *gcj02_to_bd09(*wgs84_to_gcj02(lon, lat))).max() < 1
    lon, lat, lon2, lat2 = np.array(pairs["transbigdata bd->wgs"]).T
    assert metres(lon2, lat2, *gcj02_to_wgs84(*bd09_to_gcj02(lon, lat))).max() < 1


def test_forward_is_the_published_formula() -> None:
    lon, lat = in_box(100_000)
    np.testing.assert_allclose(wgs84_to_gcj02(lon, lat), published_gcj02(lon, lat), rtol=0, atol=1e-12)
    np.testing.assert_allclose(gcj02_to_bd09(lon, lat), published_bd09(lon, lat), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("forward", "inverse"), [(published_gcj02, gcj02_to_wgs84), (published_bd09, bd09_to_gcj02)])
def test_inverse_is_exact(
    forward: Callable[..., tuple[Floats, Floats]], inverse: Callable[..., tuple[Floats, Floats]]
) -> None:
    lon, lat = in_box(200_000)
    # The square root in the formula has an infinite slope here.
    lon[:100] = 105 + np.linspace(-1e-9, 1e-9, 100)
    assert metres(lon, lat, *inverse(*forward(lon, lat))).max() < 1e-6


@given(st.floats(WEST, EAST), st.floats(SOUTH, NORTH))
def test_every_place_in_the_box_comes_back(lon: float, lat: float) -> None:
    there = wgs84_to_gcj02([lon], [lat])
    assert metres(np.array([lon]), np.array([lat]), *gcj02_to_wgs84(*there))[0] < 1e-6
    back = bd09_to_gcj02(*gcj02_to_bd09(*there))
    assert metres(*there, *back)[0] < 1e-6


@given(st.floats(-180, 180), st.floats(-90, 90))
def test_gcj02_is_the_identity_outside_the_box(lon: float, lat: float) -> None:
    point = np.array([lon]), np.array([lat])
    if not (WEST <= lon <= EAST and SOUTH <= lat <= NORTH):
        np.testing.assert_array_equal(wgs84_to_gcj02(*point), point)
    km_outside = max(WEST - lon, lon - EAST, SOUTH - lat, lat - NORTH) * 111 * np.cos(np.radians(lat))
    if km_outside > 1:
        np.testing.assert_array_equal(gcj02_to_wgs84(*point), point)


def test_edge_of_the_box() -> None:
    at = np.array([WEST, EAST, 100, 100]), np.array([30, 30, SOUTH, NORTH])
    beyond = np.array([WEST - 1e-9, EAST + 1e-9, 100, 100]), np.array([30, 30, SOUTH - 1e-9, NORTH + 1e-9])
    assert (metres(*at, *wgs84_to_gcj02(*at)) > 10).all()
    np.testing.assert_array_equal(wgs84_to_gcj02(*beyond), beyond)
    # Coordinates within the box are always shifted back, also where that leads out of it: no seam inside the box.
    lon = np.linspace(EAST - 0.02, EAST, 2001)
    lon_back, _ = gcj02_to_wgs84(lon, np.full_like(lon, 30))
    assert np.abs(np.diff(lon_back) - np.diff(lon)).max() < 1e-6


def test_zero_is_safe() -> None:
    np.testing.assert_allclose(gcj02_to_bd09([0.0], [0.0]), published_bd09(np.zeros(1), np.zeros(1)), atol=1e-12)


def test_results_do_not_depend_on_position_or_chunk() -> None:
    """A ring closes only if its first and last vertex come out the same to the bit."""
    for convert in (wgs84_to_gcj02, gcj02_to_wgs84, gcj02_to_bd09, bd09_to_gcj02):
        for n in (1, 2, 3, 5, 8, 70_001):
            lon, lat = convert(np.full(n, 117.323), np.full(n, 34.811))
            assert len(set(lon.tolist())) == len(set(lat.tolist())) == 1


def test_inputs_are_not_changed_and_may_be_read_only_or_strided() -> None:
    lon, lat = in_box(1000)
    kept = lon.copy()
    lon.flags.writeable = False
    every_second = gcj02_to_wgs84(lon[::2], lat[::2])
    np.testing.assert_array_equal(every_second[0], gcj02_to_wgs84(lon, lat)[0][::2])
    np.testing.assert_array_equal(lon, kept)


def test_not_finite_gives_nan_in_both() -> None:
    lon = [np.nan, 117.0, np.inf, 117.0, 117.0]
    lat = [34.8, np.nan, 34.8, -np.inf, 34.8]
    for convert in (wgs84_to_gcj02, gcj02_to_wgs84, gcj02_to_bd09, bd09_to_gcj02):
        x, y = convert(lon, lat)
        assert np.isnan(x[:4]).all()
        assert np.isnan(y[:4]).all()
        assert np.isfinite([x[4], y[4]]).all()


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(GeometryError, match="2 x and 1 y"):
        gcj02_to_wgs84([117.0, 118.0], [34.0])


def test_kernel_sines() -> None:
    turns = np.concatenate([np.linspace(-40, 40, 40_001), np.arange(-8, 8) / 4])
    found = np.array([gcj._sin_cos(t) for t in turns])
    np.testing.assert_allclose(found, np.column_stack([np.sin(np.pi * turns), np.cos(np.pi * turns)]), atol=2e-14)


# --- words ----------------------------------------------------------------------------------------------------------


WORDS = "wgs84 cgcs2000 cgcs2000-3deg-75 cgcs2000-3deg-117 cgcs2000-3deg-135 gcj02 bd09 xian80 beijing54 local none"
OTHER_WORDS = "wgs-84 cgcs2000-3deg-116 cgcs2000-3deg-138 cgcs2000-3deg-72 cgcs2000-3deg-0117 gcj epsg: epsg:<code>"


@pytest.mark.parametrize("word", [*WORDS.split(), "epsg:4326"])
def test_words(word: str) -> None:
    assert parse_datum(word).word == word
    assert parse_datum(f" {word.upper()} ") == parse_datum(word)


@pytest.mark.parametrize("word", ["", *OTHER_WORDS.split(), "cgcs2000-3deg-<75, 78, ... 135>"])
def test_other_words_are_refused_with_the_list(word: str) -> None:
    with pytest.raises(DatumError, match="wgs84, cgcs2000, gcj02, bd09, xian80, beijing54, local, none"):
        parse_datum(word)


@pytest.mark.parametrize("code", [99999, 900914, 5773, 4978, 1027])
def test_codes_without_horizontal_coordinates_are_refused(code: int) -> None:
    with pytest.raises(DatumError):
        parse_datum(f"epsg:{code}")


# --- to the city ----------------------------------------------------------------------------------------------------


def test_zone_coordinates(shared: Shared, city: City) -> None:
    rows = json.loads(shared("datum/cgcs2000_3deg_pairs.json").read_text(encoding="utf-8"))["rows"]
    lon, lat, east, north, east_39, north_39 = np.array(rows).T
    zone = parse_datum("cgcs2000-3deg-117")
    plain = to_city(east, north, zone, city)
    assert metres(lon, lat, *plain).max() < 1e-4
    np.testing.assert_allclose(to_city(east_39, north_39, zone, city), plain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(from_city(lon, lat, zone, city), (east, north), rtol=0, atol=1e-4)
    np.testing.assert_allclose(from_city(lon, lat, parse_datum("epsg:4527"), city), (east_39, north_39), atol=1e-4)
    np.testing.assert_allclose(to_city(east, north, parse_datum("epsg:4548"), city), plain, rtol=0, atol=1e-12)


def test_zone_rows_that_do_not_fit_become_nan(city: City) -> None:
    zone = parse_datum("cgcs2000-3deg-117")
    good, north = 529_554.1289, 3_853_562.0779
    easting = [good, 40e6 + good, north, -good, 39e6 + good, np.nan, 1e300, 117.3]
    northing = [north, north, good, north, north, north, north, -34.8]
    lon, lat = to_city(easting, northing, zone, city)
    np.testing.assert_array_equal(np.isfinite(lon), [True, False, False, False, True, False, False, False])
    np.testing.assert_array_equal(np.isnan(lon), np.isnan(lat))
    assert lon[0] == pytest.approx(lon[4], abs=1e-11)


def test_every_zone_has_its_meridian(city: City) -> None:
    for meridian in range(75, 136, 3):
        lon, lat = to_city(
            [500_000, meridian / 3 * 1e6 + 500_000], [4e6, 4e6], parse_datum(f"cgcs2000-3deg-{meridian}"), city
        )
        np.testing.assert_allclose(lon, meridian, atol=1e-9)
        assert lat[0] == lat[1]


def test_wgs84_and_cgcs2000_are_one(city: City, other_city: City) -> None:
    point = np.array([117.3]), np.array([34.8])
    for word in ("wgs84", "cgcs2000", "epsg:4326", "epsg:4979", "epsg:9518"):
        for place in (city, other_city):
            np.testing.assert_array_equal(to_city(*point, parse_datum(word), place), point)
    np.testing.assert_array_equal(to_city(*point, parse_datum("epsg:4490"), city), point)


def test_web_mercator_and_utm_against_their_formulas(city: City) -> None:
    lon, lat = to_city([13_060_000.0], [4_140_000.0], parse_datum("epsg:3857"), city)
    radius = 6_378_137.0
    np.testing.assert_allclose(lon, np.degrees(13_060_000 / radius), atol=1e-11)
    np.testing.assert_allclose(lat, np.degrees(np.arctan(np.sinh(4_140_000 / radius))), atol=1e-11)
    # On its central meridian, UTM's northing is 0.9996 of the meridian arc.
    _, lat = to_city([500_000.0], [3_850_000.0], parse_datum("epsg:32650"), city)
    assert Geod(ellps="WGS84").line_length([117, 117], [0, lat[0]]) == pytest.approx(3_850_000 / 0.9996, abs=1e-3)


def test_degrees_out_of_range_are_not_wrapped(local_city: City) -> None:
    for word in ("xian80", "epsg:4674"):
        place = (
            local_city if word == "xian80" else load_city(str(Path(__file__).parents[1] / "cities/porto_alegre.toml"))
        )
        lon, _ = to_city([477.3, 39_529_554.0, -51.2], [34.8, 3_853_562.0, -30.0], parse_datum(word), place)
        np.testing.assert_array_equal(np.isfinite(lon), [False, False, True])


@pytest.mark.parametrize("code", [4610, 4214, 2333, 2437, 4555, 2326])
def test_codes_without_an_exact_path_are_refused(code: int, city: City) -> None:
    with pytest.raises(DatumError, match=f"EPSG:{code} "):
        to_city([117.3], [34.8], parse_datum(f"epsg:{code}"), city)


def test_the_path_is_chosen_for_the_city(city: City, other_city: City) -> None:
    """SIRGAS 2000 is at home in South America only."""
    assert np.isfinite(to_city([-51.2], [-30.0], parse_datum("epsg:4674"), other_city)).all()
    with pytest.raises(DatumError):
        to_city([-51.2], [-30.0], parse_datum("epsg:4674"), city)


@pytest.mark.parametrize("word", ["xian80", "beijing54", "local", "none"])
def test_refused_without_parameters(word: str, city: City) -> None:
    for convert in (to_city, from_city):
        with pytest.raises(DatumError):
            convert([117.3], [34.8], parse_datum(word), city)
    half = city.model_copy(update={"datums": {word: HELMERT[:3]}})
    with pytest.raises(DatumError):
        to_city([117.3], [34.8], parse_datum(word), half)


def test_city_of_another_datum_is_refused(city: City) -> None:
    with pytest.raises(DatumError, match="gcj02"):
        to_city([117.3], [34.8], parse_datum("wgs84"), city.model_copy(update={"datum": "gcj02"}))


@pytest.mark.parametrize(
    ("word", "a", "inverse_f"),
    [("xian80", 6378140.0, 298.257), ("beijing54", 6378245.0, 298.3), ("local", 6378137.0, 298.257222101)],
)
def test_seven_parameters(word: str, a: float, inverse_f: float, local_city: City) -> None:
    """Against the textbook: geodetic to geocentric, small-angle rotation (position vector), and back by iteration."""
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(116.8, 117.9, 100), rng.uniform(34.4, 35.3, 100)
    f = 1 / inverse_f
    e2 = f * (2 - f)
    phi, lam = np.radians(lat), np.radians(lon)
    n = a / np.sqrt(1 - e2 * np.sin(phi) ** 2)
    xyz = np.stack([n * np.cos(phi) * np.cos(lam), n * np.cos(phi) * np.sin(lam), n * (1 - e2) * np.sin(phi)])
    rx, ry, rz = np.radians(np.array(HELMERT[3:6]) / 3600)
    turn = np.array([[1, -rz, ry], [rz, 1, -rx], [-ry, rx, 1]])
    x, y, z = np.array(HELMERT[:3])[:, None] + (1 + HELMERT[6] * 1e-6) * turn @ xyz
    f = 1 / 298.257222101
    e2 = f * (2 - f)
    p = np.hypot(x, y)
    phi = np.arctan2(z, p * (1 - e2))
    for _ in range(20):
        n = 6378137.0 / np.sqrt(1 - e2 * np.sin(phi) ** 2)
        phi = np.arctan2(z + e2 * n * np.sin(phi), p)
    expected = np.degrees(np.arctan2(y, x)), np.degrees(phi)
    found = to_city(lon, lat, parse_datum(word), local_city)
    assert metres(*expected, *found).max() < 1e-3
    assert metres(lon, lat, *found).min() > 10
    assert metres(lon, lat, *from_city(*found, parse_datum(word), local_city)).max() < 1e-2


@pytest.mark.parametrize(
    "word",
    ["wgs84", "cgcs2000", "gcj02", "bd09", "cgcs2000-3deg-117", "cgcs2000-3deg-120", "epsg:32650", "epsg:3857"],
)
def test_there_and_back(word: str, city: City) -> None:
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(116.6, 118.0, 5000), rng.uniform(34.3, 35.5, 5000)
    lon[7] = np.nan
    x, y = from_city(lon, lat, parse_datum(word), city)
    back = to_city(x, y, parse_datum(word), city)
    assert np.isnan([x[7], y[7], back[0][7], back[1][7]]).all()
    assert np.nanmax(metres(lon, lat, *back)) < 1e-6


def test_threads_agree(city: City) -> None:
    words = ["gcj02", "bd09", "cgcs2000-3deg-117", "epsg:32650"] * 6
    lon, lat = np.linspace(116.8, 117.9, 40_000), np.linspace(34.4, 35.3, 40_000)
    inputs = {word: from_city(lon, lat, parse_datum(word), city) for word in set(words)}

    def back_again(word: str) -> tuple[Floats, Floats]:
        return to_city(*inputs[word], parse_datum(word), city)

    with ThreadPoolExecutor(4) as pool:
        for back in pool.map(back_again, words):
            assert metres(lon, lat, *back).max() < 1e-6


# --- geometries -----------------------------------------------------------------------------------------------------


def test_geometries_keep_their_shape_and_lose_their_heights(city: City) -> None:
    ring = shapely.Point(117.3, 34.8).buffer(0.2, quad_segs=20_000)
    hole = shapely.box(117, 34.5, 117.6, 35) - shapely.box(117.2, 34.7, 117.3, 34.8)
    line = shapely.LineString([(117.1, 34.5, 12.0), (117.2, 34.6, 13.0)])
    many = shapely.MultiPoint([(117.1, 34.5), (117.2, 34.6)])
    given = np.array([ring, None, hole, line, many, shapely.Point()], dtype=object)
    moved = geometries_to_city(given, parse_datum("gcj02"), city)
    assert moved[1] is None
    assert moved[5].is_empty
    assert not shapely.has_z(moved).any()
    assert list(shapely.get_type_id(moved)) == [3, -1, 3, 1, 4, 0]
    assert shapely.is_valid(moved[[0, 2, 3, 4]]).all()
    before, after = shapely.get_coordinates(given), shapely.get_coordinates(moved)
    np.testing.assert_array_equal(after.T, to_city(before[:, 0], before[:, 1], parse_datum("gcj02"), city))
    assert given[3].has_z


def test_a_vertex_that_cannot_be_converted_costs_its_own_geometry_only(city: City) -> None:
    zone = parse_datum("cgcs2000-3deg-117")
    good = shapely.box(500_000, 3.8e6, 500_100, 3.8001e6)
    broken = shapely.Polygon([(500_000, 3.8e6), (41_500_100, 3.8e6), (500_100, 3.81e6)])
    first, lost, last = geometries_to_city(np.array([good, broken, good]), zone, city)
    assert first.equals(last)
    assert first.is_valid
    assert np.isnan(shapely.get_coordinates(lost)).all()


def test_a_real_undeclared_gcj02_file(shared: Shared, city: City) -> None:
    """Six districts: as large as published, gapless, and moved by the known shift."""
    collection = json.loads(shared("zaozhuang/districts_gcj02.geojson").read_text(encoding="utf-8"))
    given = np.array([shapely.from_geojson(json.dumps(feature["geometry"])) for feature in collection["features"]])
    moved = geometries_to_city(given, parse_datum("gcj02"), city)
    assert shapely.is_valid(moved).all()
    geod = Geod(ellps="GRS80")
    areas_km2 = [abs(geod.geometry_area_perimeter(district)[0]) / 1e6 for district in moved]
    assert sum(areas_km2) == pytest.approx(4576, rel=0.01)
    union = abs(geod.geometry_area_perimeter(shapely.union_all(moved))[0]) / 1e6
    assert union == pytest.approx(sum(areas_km2), abs=0.01)
    shift_m = metres(*shapely.get_coordinates(given).T, *shapely.get_coordinates(moved).T)
    assert shift_m.mean() == pytest.approx(534, abs=10)
