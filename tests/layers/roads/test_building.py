"""From lines to a network: who may pass what, what is cut where, what is left out and said to be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.roads.building import build
from layers.roads.hierarchy import Hierarchy
from layers.roads.network import Network
from layers.roads.profiles import Mode, class_speed_kmh, profile, profiles
from layers.roads.spots import Locator
from layers.roads.tags import barred, excepted, length_m, passage, speed_kmh, weight_t
from layers.roads.ways import Barrier
from tests.layers.roads.networks import REAL, drawn, grid, real
from twin.errors import InvalidRequest, SourceError

CAR, EMERGENCY, FOOT = Mode.MOTOR, Mode.EMERGENCY, Mode.FOOT
ALL = CAR | EMERGENCY | FOOT
LINE = {k: (k, 0) for k in range(6)}


@pytest.mark.parametrize(
    ("road_class", "tags", "ahead", "back"),
    [
        ("residential", {}, ALL, ALL),
        ("primary", {"oneway": "yes"}, ALL, FOOT),
        ("primary", {"oneway": "-1"}, FOOT, ALL),
        ("motorway", {}, CAR | EMERGENCY, 0),
        ("tertiary", {"junction": "roundabout"}, ALL, FOOT),
        ("tertiary", {"junction": "roundabout", "oneway": "no"}, ALL, ALL),
        ("service", {"access": "private"}, EMERGENCY, EMERGENCY),
        ("service", {"access": "no"}, 0, 0),
        ("service", {"access": "no", "emergency": "yes"}, EMERGENCY, EMERGENCY),
        ("residential", {"motor_vehicle": "no"}, EMERGENCY | FOOT, EMERGENCY | FOOT),
        ("residential", {"emergency": "no"}, CAR | FOOT, CAR | FOOT),
        ("pedestrian", {}, EMERGENCY | FOOT, EMERGENCY | FOOT),
        ("footway", {}, FOOT, FOOT),
        ("residential", {"foot": "no"}, CAR | EMERGENCY, CAR | EMERGENCY),
        ("primary", {"oneway": "reversible"}, FOOT, FOOT),
        ("busway", {"oneway": "yes"}, EMERGENCY | FOOT, FOOT),
        ("ferry", {}, FOOT, FOOT),
        ("ferry", {"motor_vehicle": "yes"}, ALL, ALL),
    ],
)
def test_passage(road_class: str, tags: dict[str, str], ahead: int, back: int) -> None:
    found = passage(road_class, tags)
    if road_class == "busway":
        assert (found.ahead & ~FOOT, found.back & ~FOOT) == (ahead & ~FOOT, back & ~FOOT)
    else:
        assert tuple(found) == (ahead, back)


@pytest.mark.parametrize(
    ("tags", "whom"),
    [
        ({}, 0),
        ({"barrier": "bollard"}, CAR | EMERGENCY),
        ({"barrier": "bollard", "emergency": "yes"}, CAR),
        ({"barrier": "gate"}, 0),
        ({"barrier": "gate", "access": "private"}, CAR | FOOT),
        ({"barrier": "gate", "access": "no"}, ALL),
        ({"barrier": "gate", "access": "private", "foot": "yes"}, CAR),
    ],
)
def test_barrier(tags: dict[str, str], whom: int) -> None:
    assert barred(tags) == whom


def test_numbers_of_tags() -> None:
    assert speed_kmh("50") == 50
    assert speed_kmh("30 mph") == pytest.approx(48.28, abs=0.01)
    assert speed_kmh("walk") == 7
    assert all(np.isnan(speed_kmh(text)) for text in (None, "none", "CN:urban", "0", "fast"))
    assert length_m("3.5") == length_m("3.5 m") == length_m("350 cm") == 3.5
    assert length_m("11'6\"") == pytest.approx(3.505, abs=0.001)
    assert np.isnan(length_m("default"))
    assert weight_t("7,5") == weight_t("7.5 t") == weight_t("7500 kg") == 7.5
    assert excepted("bus;emergency") == FOOT | EMERGENCY


def test_large_vehicles_go_around() -> None:
    ways = drawn([(0, 1), (1, 2), (2, 3)], LINE)
    ways.height_m[1], ways.weight_t[2] = 3.2, 10.0
    assert build(ways, profile("car")).report.too_small_ways == 0
    engine = build(ways, profile("fire_engine"))
    assert engine.report.too_small_ways == 2
    assert [engine.record(e) for e in range(engine.edges)] == ["r0"]
    assert build(ways, profile("ambulance")).report.too_small_ways == 0


def test_a_barrier_cuts_a_way_for_those_it_stops() -> None:
    ways = drawn([(0, 1, 2)], LINE, barriers=[Barrier(1, CAR), Barrier(2, 0, height_m=2.0)])
    car, engine = (
        build(ways, profile("car")),
        build(drawn([(0, 1, 2), (2, 3)], LINE, barriers=ways.barriers), profile("fire_engine")),
    )
    assert car.report.barriers == 1
    assert car.report.pieces == 2
    assert car.report.length_km == pytest.approx(0.091, abs=0.001)
    assert car.report.left_out_km == pytest.approx(0.091, abs=0.001)
    assert engine.report.barriers == 1, "a bar over the road stops who is higher"


def test_what_hangs_not_together_is_named() -> None:
    network = build(drawn([(0, 1), (1, 2), (3, 4)], LINE), profile("car"))
    assert network.report.pieces == 2
    assert network.report.left_out == ("r2",)
    assert network.report.left_out_km == pytest.approx(0.091, abs=0.001)


def test_nothing_to_travel_on() -> None:
    with pytest.raises(SourceError, match="no two places are connected"):
        build(drawn([(0, 1)], LINE, one_way=[0]), profile("car"))


def test_loops_and_twin_streets() -> None:
    """A loop and two streets between the same crossings: each keeps its length, and no two arcs join the same nodes."""
    at = {0: (0, 0), 1: (1, 0), 2: (2, 0), 3: (1, 1), 4: (3, 0), 5: (4, 0), 6: (4, 1), 7: (3, 1)}
    ways = drawn([(0, 1, 2), (0, 3, 2), (2, 4, 5, 6, 7, 2)], at)
    network = build(ways, profile("car"))
    assert len({*zip(network.tail.tolist(), network.head.tolist(), strict=True)}) == network.arcs
    assert (network.tail != network.head).all()
    lengths = [sum(network.length_m[e] for e in range(network.edges) if network.record(e) == f"r{k}") for k in range(3)]
    geod = pyproj.Geod(ellps="GRS80")
    for k, line in enumerate([(0, 1, 2), (0, 3, 2), (2, 4, 5, 6, 7, 2)]):
        xy = [(117 + at[n][0] / 1000, 35 + at[n][1] / 1000) for n in line]
        assert lengths[k] == pytest.approx(geod.line_length(*zip(*xy, strict=True)), rel=1e-6)


def test_stakes_lie_at_their_share() -> None:
    network = build(
        drawn([(0, 1, 2, 3), (1, 4)], {**LINE, 4: (1, 1)}, stakes=[(12, 15), (np.nan, np.nan)]), profile("car")
    )
    found = sorted((network.from_km[e], network.to_km[e]) for e in range(network.edges) if network.record(e) == "r0")
    assert np.allclose(found, [(12, 13), (13, 15)], atol=1e-6)


def test_speeds() -> None:
    ways = drawn([(0, 1), (1, 2)], LINE, road_class="primary")
    ways.limit_kmh[1] = 80
    for name, speeds in {"car": (55, 72), "fire_engine": (55, 76), "ambulance": (60.5, 88), "walking": (5, 5)}.items():
        network = build(ways, profile(name))
        assert sorted(network.speed_kmh) == pytest.approx(sorted(speeds))
        assert network.free_ms == pytest.approx(
            np.rint(network.length_m / network.speed_kmh[network.way] * 3600)[network.edge]
        )
    assert set(class_speed_kmh()) >= {"motorway", "track", "steps"}
    with pytest.raises(InvalidRequest, match="nobody travels as 'tank'"):
        profile("tank")


@pytest.mark.parametrize("name", list(profiles()))
@pytest.mark.parametrize("extract", REAL)
def test_real_networks(shared: Callable[[str], Path], tmp_path: Path, extract: str, name: str) -> None:
    """Whatever the profile: a plain graph in one piece, that survives the disk, with its lines and times."""
    network = real(shared(extract), name)
    report = network.report
    assert report.left_out_km < 0.03 * report.length_km
    assert len(np.unique(network.tail.astype(np.int64) * network.nodes + network.head)) == network.arcs
    assert (np.diff(network.tail) >= 0).all()
    assert np.array_equal(network.first_out, np.searchsorted(network.tail, np.arange(network.nodes + 1)))
    starts, ends = network.shape_first[:-1], network.shape_first[1:] - 1
    along = ~network.against
    for node, vertex in ((network.tail, starts), (network.head, ends)):
        assert np.array_equal(network.lon[node[along]], network.shape_lon[vertex[network.edge[along]]])
    assert ((network.ahead >= 0) | (network.back >= 0)).all()
    network.save(tmp_path / "n")
    hierarchy = Hierarchy.of(network)
    hierarchy.save(tmp_path / "n")
    again = Network.load(tmp_path / "n")
    assert (again.digest, again.report, again.texts) == (network.digest, report, network.texts)
    assert np.array_equal(Hierarchy.load(tmp_path / "n").heads, hierarchy.heads)
    (tmp_path / "n" / "head.npy").unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        Network.load(tmp_path / "n")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_nearest_edge(seed: int) -> None:
    """Against shapely's tree, for places inside and outside the network."""
    network = build(grid(6, seed), profile("car"))
    random = np.random.default_rng(seed)
    lon, lat = 117 + random.uniform(-0.01, 0.015, 60), 35 + random.uniform(-0.01, 0.015, 60)
    within_m = float(random.choice([50.0, 300.0, 2000.0]))
    found = Locator(network).near(lon, lat, within_m)
    narrow = np.cos(np.radians(network.shape_lat.mean()))
    flat = shapely.transform(
        np.array([shapely.LineString(network.shape(e)) for e in range(network.edges)]),
        lambda xy: xy * (111_320 * narrow, 111_320),
    )
    points = shapely.points(lon * 111_320 * narrow, lat * 111_320)
    away = np.array([shapely.distance(flat, point).min() for point in points])
    near = away <= within_m
    assert np.array_equal(found.edge >= 0, near)
    assert found.away_m[near] == pytest.approx(away[near], abs=1e-6)
    for at in np.flatnonzero(near):
        on = shapely.line_interpolate_point(flat[found.edge[at]], found.share[at], normalized=True)
        assert shapely.distance(on, points[at]) == pytest.approx(away[at], abs=1e-3)
        assert (found.lon[at] * 111_320 * narrow, found.lat[at] * 111_320) == pytest.approx((on.x, on.y), abs=1e-3)
