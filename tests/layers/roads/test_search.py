"""All ways to the nearest, and the matrix, equal scipy's Dijkstra to the millisecond, whatever the traffic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.roads.building import build
from layers.roads.hierarchy import Hierarchy
from layers.roads.network import SHUT_MS, Network
from layers.roads.profiles import profile
from layers.roads.routing import Fleet, Found, Router
from layers.roads.search import nearest_of_all
from layers.roads.spots import Spot, Spots
from tests.layers.roads.networks import REAL, distances, grid, real, some_spots, times_between


def expected(times: np.ndarray, most: int) -> list[Found]:
    """The nearest of times (q,), by time and then by number."""
    order = np.lexsort((np.arange(len(times)), times))[:most]
    return [Found(int(k), int(times[k])) for k in order if times[k] < SHUT_MS]


def disturbed(router: Router, random: np.random.Generator, closures: int) -> None:
    """Re-time half of the edges, then close some."""
    network = router.network
    half = random.permutation(network.edges)[: network.edges // 2].astype(np.int32)
    router.traffic.slow("probes", half, random.uniform(0.2, 1.3, len(half)))
    router.traffic.close(random.permutation(network.edges)[:closures].astype(np.int32))


@pytest.mark.parametrize("extract", REAL)
def test_real_network(shared: Callable[[str], Path], extract: str) -> None:
    """1,000 questions under free traffic, under disturbed traffic, and after all of that is undone."""
    network = real(shared(extract))
    router = Router(network, Hierarchy.of(network))
    random = np.random.default_rng(1)
    places, many, few = (some_spots(network, count, random) for count in (1000, 240, 12))
    free = check(router, places, many, few)
    disturbed(router, random, 50)
    open_ones = ~router.traffic.is_closed(places.edge)
    jammed = check(router, places.where(open_ones), *(
        fleet.where(~router.traffic.is_closed(fleet.edge)) for fleet in (many, few)
    ))  # fmt: skip
    assert jammed != free
    router.traffic.open(np.flatnonzero(router.traffic.is_closed(np.arange(network.edges))).astype(np.int32))
    router.traffic.forget("probes")
    assert np.array_equal(router.traffic.ms, network.free_ms)
    assert check(router, places, many, few) == free


def check(router: Router, places: Spots, many: Spots, few: Spots) -> list[list[Found]]:
    """Ask for the nearest in all ways; returns what was found."""
    answers: list[list[Found]] = []
    for spots in (many, few):
        times = times_between(router, spots, places)
        for customise in (False, True):
            if customise:
                router.customise()
            assert router.is_customised == customise or router.traffic.number == 0
            fleet = router.fleet(spots)
            for at in range(len(places)):
                found = router.nearest(places[at], fleet, 5)
                assert found == expected(times[:, at], 5)
                answers.append(found)
            assert np.array_equal(router.matrix(spots, places), times)
            router._times = None if not customise else router._times
        router._times = None
    return answers


@pytest.mark.parametrize("extract", REAL)
def test_table_of_all_nodes(shared: Callable[[str], Path], extract: str) -> None:
    network = real(shared(extract))
    router = Router(network)
    disturbed(router, np.random.default_rng(2), 50)
    fleet = router.fleet(Spots(*_at_heads(network, 100, np.random.default_rng(3))))
    table = router.table(fleet, 5)
    starts = fleet.ends.node[fleet.ends.first[:-1]]
    times = np.sort(distances(router, starts.tolist()), axis=0)[:5].T
    assert np.array_equal(np.minimum(table.ms, SHUT_MS), times)


def _at_heads(network: Network, count: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Spots at the very end of one-way edges: each is left by one node, after no time."""
    one_way = np.flatnonzero((network.back < 0) & (network.ahead >= 0))
    edge = random.choice(one_way, count, replace=False).astype(np.int32)
    return edge, np.ones(count), *np.zeros((3, count))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(3, 9), closures=st.integers(0, 12))
def test_any_small_network(seed: int, size: int, closures: int) -> None:
    network = build(grid(size, seed), profile("car"))
    router = Router(network, Hierarchy.of(network))
    random = np.random.default_rng(seed)
    disturbed(router, random, min(closures, network.edges))
    open_edges = np.flatnonzero(~router.traffic.is_closed(np.arange(network.edges)))
    if not len(open_edges):
        return
    spots = some_spots(network, 12, random)
    spots = Spots(random.choice(open_edges, 12).astype(np.int32), spots.share, spots.away_m, spots.lon, spots.lat)
    times = times_between(router, spots, spots)
    for customise in (False, True):
        if customise:
            router.customise()
        assert np.array_equal(router.matrix(spots, spots), times)
        fleet = router.fleet(spots)
        for at in range(12):
            for most in (1, 3, 12):
                assert router.nearest(spots[at], fleet, most) == expected(times[:, at], most)
            check_ways(router, spots[at], fleet)


def check_ways(router: Router, spot: Spot, fleet: Fleet) -> None:
    """Paths are paths: their arcs follow each other, their times are what they take, no other is shorter."""
    network, traffic = router.network, router.traffic
    found = router.nearest(spot, fleet, 12)
    for one, way in zip(found, router.ways(spot, fleet, found), strict=True):
        assert network.edge[way.arcs[0]] == fleet.spots.edge[one.thing]
        assert network.edge[way.arcs[-1]] == spot.edge
        assert all(network.head[a] == network.tail[b] for a, b in zip(way.arcs, way.arcs[1:], strict=False))
        whole = [int(traffic.ms[arc]) for arc in way.arcs]
        if len(way.arcs) == 1:
            assert way.leave >= way.enter
            assert one.ms == round((way.leave - way.enter) * whole[0])
        else:
            ends = round((1 - way.enter) * whole[0]) + round(way.leave * whole[-1])
            assert one.ms == sum(whole[1:-1]) + ends


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_closing_never_shortens_and_opening_restores(seed: int) -> None:
    network = build(grid(6, seed), profile("car"))
    router = Router(network)
    random = np.random.default_rng(seed)
    spots = some_spots(network, 8, random)
    before = router.matrix(spots, spots)
    closed = random.permutation(network.edges)[:6].astype(np.int32)
    closed = closed[~np.isin(closed, spots.edge)]
    for edge in closed:
        earlier = router.matrix(spots, spots)
        router.traffic.close(np.array([edge]))
        assert (router.matrix(spots, spots) >= earlier).all()
    router.traffic.close(closed)  # twice
    router.traffic.open(closed)
    assert router.traffic.is_closed(closed).all()
    router.traffic.open(closed)
    assert np.array_equal(router.matrix(spots, spots), before)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_more_are_the_same_and_more(seed: int) -> None:
    """The nearest k are the first k of the nearest k + 1; a limit cuts the list off."""
    network = build(grid(7, seed), profile("car"))
    router = Router(network)
    random = np.random.default_rng(seed)
    fleet = router.fleet(some_spots(network, 20, random))
    spot = some_spots(network, 1, random)[0]
    whole = router.nearest(spot, fleet, 20)
    for most in range(1, 20):
        assert router.nearest(spot, fleet, most) == whole[:most]
    for one in whole:
        assert router.nearest(spot, fleet, 20, one.ms) == [other for other in whole if other.ms <= one.ms]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_detour_is_shorter(seed: int) -> None:
    """Between nodes the triangle inequality holds exactly."""
    network = build(grid(6, seed), profile("car"))
    router = Router(network)
    edge, share, *rest = _ends_of_all(network)
    spots = Spots(edge, share, *rest)
    times = router.matrix(spots, spots).astype(np.int64)
    through = (times[:, :, None] + times[None, :, :]).min(axis=1)
    assert (times <= through).all()


def _ends_of_all(network: Network) -> tuple[np.ndarray, ...]:
    edge = np.flatnonzero((network.ahead >= 0) & (network.back >= 0))[:10].astype(np.int32)
    return edge, np.ones(len(edge)), *np.zeros((3, len(edge)))


def test_a_table_needs_room_for_all_labels() -> None:
    """A place from which nothing is reached has no nearest."""
    first, arcs = np.array([0, 1, 1], np.int32), np.array([1, 7], np.int32)
    seeds, zero = np.array([1], np.int32), np.zeros(1, np.int32)
    count, table = np.empty(2, np.int32), np.empty((2, 2), np.int32)
    nearest_of_all(first, arcs, seeds, zero, zero, 2, *(np.empty(8, np.int32) for _ in range(4)), count, table, table)
    assert count.tolist() == [0, 1]
