"""Closures: what is closed is not passed, but one gets out of it and an incident inside is reached."""

import dataclasses
import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.roads.building import build
from layers.roads.hierarchy import Hierarchy
from layers.roads.isochrone import Cells, reached
from layers.roads.network import SHUT_MS
from layers.roads.profiles import profile
from layers.roads.routing import Router
from layers.roads.spots import Spots
from tests.layers.roads.networks import drawn, grid, passed, some_spots
from twin.grid import cells_of_points

LINE = {k: (k, 0) for k in range(7)}


def spots_on(router: Router, *records: str) -> Spots:
    edges = [next(e for e in range(router.network.edges) if router.network.record(e) == name) for name in records]
    return Spots(np.array(edges, np.int32), np.full(len(edges), 0.5), *np.zeros((3, len(edges))))


def test_an_incident_inside_a_closure_is_reached_and_nobody_drives_through() -> None:
    router = Router(build(drawn([(k, k + 1) for k in range(6)], LINE), profile("car")))
    ends, middle = spots_on(router, "r0", "r5"), spots_on(router, "r3")
    free = router.matrix(ends, middle)
    router.traffic.close(spots_on(router, "r2", "r3", "r4").edge)
    assert np.array_equal(router.matrix(ends, middle), free)
    assert router.matrix(ends, ends)[0, 1] == SHUT_MS
    assert np.array_equal(router.matrix(middle, ends), free.T), "and who is inside gets out"
    fleet = router.fleet(ends)
    found = router.nearest(middle[0], fleet, 5)
    assert [one.ms for one in found] == sorted(free[:, 0].tolist())
    ways = router.ways(middle[0], fleet, found)
    assert [len(way.arcs) for way in ways] == [4 - one.thing for one in found]


def two_phase(router: Router, start: int, end: int, share_start: float, share_end: float) -> int:
    """Oracle: closed arcs first, then open ones, then closed ones, as three graphs one above the other."""
    network, traffic = router.network, router.traffic
    count = network.nodes
    closed = traffic.ms >= SHUT_MS
    layers = [(0, closed), (1, ~closed), (2, closed)]
    arcs = [(t + count * k, h + count * k, int(m)) for k, mask in layers
            for t, h, m in zip(network.tail[mask], network.head[mask], traffic.open_ms[mask], strict=True)]  # fmt: skip
    arcs += [(v + count * k, v + count * (k + 1), 0) for v in range(count) for k in (0, 1)]
    on = [np.flatnonzero(network.edge == edge) for edge in (start, end)]
    layer = [1 if not closed[some[0]] else default for some, default in zip(on, (0, 2), strict=True)]
    source, target = 3 * count, 3 * count + 1
    for a in on[0]:
        arcs.append(
            (
                source,
                int(network.head[a]) + count * layer[0],
                round((1 - passed(network, a, share_start)) * int(traffic.open_ms[a])),
            )
        )
    for a in on[1]:
        arcs.append(
            (
                int(network.tail[a]) + count * layer[1],
                target,
                round(passed(network, a, share_end) * int(traffic.open_ms[a])),
            )
        )
    best = np.full(3 * count + 2, SHUT_MS, dtype=np.int64)
    best[source] = 0
    tail, head, ms = np.array(arcs, dtype=np.int64).T
    while True:  # Bellman-Ford
        later = best.copy()
        np.minimum.at(later, head, best[tail] + ms)
        if np.array_equal(later, best):
            break
        best = later
    found = int(best[target])
    if start == end:
        for a in on[0]:
            ahead = passed(network, a, share_end) - passed(network, a, share_start)
            if ahead >= 0:
                found = min(found, round(ahead * int(traffic.open_ms[a])))
    return min(found, SHUT_MS)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), closures=st.integers(1, 25))
def test_any_closures(seed: int, closures: int) -> None:
    network = build(grid(5, seed), profile("car"))
    router = Router(network, Hierarchy.of(network))
    random = np.random.default_rng(seed)
    router.traffic.slow("rain", np.arange(network.edges, dtype=np.int32), random.uniform(0.3, 1, network.edges))
    router.traffic.close(random.permutation(network.edges)[:closures].astype(np.int32))
    spots = some_spots(network, 6, random)
    spots = dataclasses.replace(spots, share=spots.share.clip(0.1, 0.9))  # at an end one is not inside
    wanted = np.array([
        [two_phase(router, int(spots.edge[i]), int(spots.edge[j]), float(spots.share[i]), float(spots.share[j]))
         for j in range(6)] for i in range(6)
    ])  # fmt: skip
    for customise in (False, True):
        if customise:
            router.customise()
        assert np.array_equal(router.matrix(spots, spots), wanted)
        fleet = router.fleet(spots)
        for j in range(6):
            found = router.nearest(spots[j], fleet, 6)
            assert {one.thing: one.ms for one in found} == {
                i: t for i, t in enumerate(wanted[:, j].tolist()) if t < SHUT_MS
            }
            for way in router.ways(spots[j], fleet, found):
                follows = [network.head[a] == network.tail[b] for a, b in zip(way.arcs, way.arcs[1:], strict=False)]
                assert all(follows)


def test_speeds_add_up_and_are_taken_back_source_by_source() -> None:
    router = Router(build(grid(6, 1), profile("car")))
    traffic, network = router.traffic, router.network
    some, others = np.arange(5, dtype=np.int32), np.arange(5, 9, dtype=np.int32)
    traffic.slow("probes", some, np.full(5, 0.5))
    traffic.slow("probes", others, np.full(4, 0.25))
    assert traffic.factor(np.arange(9, dtype=np.int32)).tolist() == [0.5] * 5 + [0.25] * 4, (
        "the second wipes out nothing"
    )
    traffic.slow("rain", some, np.full(5, 0.8))
    assert traffic.factor(some).tolist() == [0.4] * 5
    on_some = np.isin(network.edge, some)
    assert np.array_equal(traffic.ms[on_some], np.maximum(np.rint(network.free_ms[on_some] / 0.4), 1))
    traffic.forget("probes")
    assert traffic.factor(some).tolist() == [0.8] * 5
    traffic.forget("rain")
    traffic.forget("nobody")
    assert np.array_equal(traffic.ms, network.free_ms)


def test_a_question_sees_one_state() -> None:
    """While closures come and go, every answer is that of one state or of the other."""
    network = build(grid(12, 3), profile("car"))
    router = Router(network)
    spots = some_spots(network, 6, np.random.default_rng(1))
    shut = np.setdiff1d(np.arange(0, network.edges, 2), spots.edge).astype(np.int32)
    states = []
    for change in (router.traffic.close, router.traffic.open):
        change(shut)
        states.append(router.matrix(spots, spots).tobytes())
    assert states[0] != states[1]
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            router.traffic.close(shut)
            router.traffic.open(shut)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        seen = {router.matrix(spots, spots).tobytes() for _ in range(300)}
    finally:
        stop.set()
        thread.join()
    assert seen <= set(states)


def test_the_hierarchy_waits_for_the_traffic() -> None:
    """Until it is customised anew it is not asked."""
    network = build(grid(8, 2), profile("car"))
    router = Router(network, Hierarchy.of(network))
    router.customise()
    assert router.is_customised
    router.traffic.close(np.array([0], np.int32))
    assert not router.is_customised
    router.customise()
    assert router.is_customised


def test_who_stands_at_the_end_of_a_closed_street_is_not_inside() -> None:
    """Nobody sets out into a closure from a crossing that is open, nor is led through it to one."""
    at = {0: (0, 0), 1: (1, 0), 2: (2, 0), 3: (0, 1), 4: (2, 1)}
    router = Router(build(drawn([(0, 1), (1, 2), (0, 3), (3, 4), (4, 2)], at), profile("car")))
    straight = spots_on(router, "r0", "r1")
    ends = dataclasses.replace(straight, share=np.array([0.0, 1.0]))
    free = router.matrix(ends, ends)
    router.traffic.close(straight.edge)
    around = router.matrix(ends, ends)
    assert around[0, 1] > free[0, 1]
    assert around[1, 0] > free[1, 0]
    assert router.nearest(ends[1], router.fleet(ends), 2)[1].ms == around[0, 1]
    assert around.max() < SHUT_MS
    cells = Cells(router.network, 11)
    reachable = reached(router, ends.where(np.array([0])), 60_000, cells)[0]
    inner = cells_of_points([117.0005], [35.0], 11)
    assert inner[0] in cells.cell
    assert inner[0] not in reachable, "nothing inside the closure is reached"
