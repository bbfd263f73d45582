"""Isochrones against a count by hand: every point of every street, its time by scipy, its cell by h3."""

from collections.abc import Callable
from pathlib import Path

import h3
import numpy as np
import pytest
import shapely

from layers.roads.building import build
from layers.roads.isochrone import Cells, _samples, area_of, reached
from layers.roads.network import SHUT_MS
from layers.roads.profiles import profile
from layers.roads.routing import Router
from layers.roads.spots import Spot, Spots
from tests.layers.roads.networks import distances, grid, passed, real, some_spots
from twin.grid import cell_polygons


def by_hand(router: Router, spot: Spot, limit_ms: int, resolution: int, *, towards: bool) -> dict[int, int]:
    """The least time of the points in each cell."""
    network, ms = router.network, router.traffic.ms
    on = np.flatnonzero(network.edge == spot.edge)
    ends = [
        (int((network.tail if towards else network.head)[a]), round((x if towards else 1 - x) * int(ms[a])))
        for a in on if (x := passed(network, int(a), spot.share)) is not None
    ]  # fmt: skip
    if towards:
        dist = distances(router, list(range(network.nodes)))[:, [node for node, _ in ends]].T
    else:
        dist = distances(router, [node for node, _ in ends])
    node_ms = (dist + np.array([after for _, after in ends])[:, None]).min(axis=0)
    found: dict[int, int] = {}
    for edge, share, lon, lat in zip(*_samples(network), strict=True):
        best = SHUT_MS
        for arc in np.flatnonzero(network.edge == edge).tolist():
            x = passed(network, arc, float(share))
            node = int((network.head if towards else network.tail)[arc])
            best = min(best, int(node_ms[node]) + round((1 - x if towards else x) * int(ms[arc])))
            if edge == spot.edge:
                gap = x - passed(network, arc, spot.share)
                gap = -gap if towards else gap
                if gap >= 0:
                    best = min(best, round(gap * int(ms[arc])))
        if best <= limit_ms:
            cell = h3.str_to_int(h3.latlng_to_cell(lat, lon, resolution))
            found[cell] = min(best, found.get(cell, best))
    return found


@pytest.mark.parametrize("towards", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_cells_are_those_of_the_streets_reached(seed: int, towards: bool) -> None:  # noqa: FBT001
    network = build(grid(7, seed), profile("car"))
    router = Router(network)
    random = np.random.default_rng(seed)
    router.traffic.slow("rain", np.arange(network.edges, dtype=np.int32), random.uniform(0.4, 1, network.edges))
    spot = some_spots(network, 1, random)[0]
    edge, share, *_ = _samples(network)
    spot = spot._replace(share=float(random.choice(share[edge == spot.edge])))
    closed = np.setdiff1d(random.permutation(network.edges)[:5], [spot.edge]).astype(np.int32)
    router.traffic.close(closed)
    for resolution in (9, 11):
        cells, ms = reached(router, Spots.one(spot), 60_000, Cells(network, resolution), towards=towards)
        ours = dict(zip(cells.tolist(), ms.tolist(), strict=True))
        assert ours.keys() == (wanted := by_hand(router, spot, 60_000, resolution, towards=towards)).keys()
        assert all(abs(ours[cell] - wanted[cell]) <= 1 for cell in ours)


def test_more_time_reaches_more(shared: Callable[[str], Path]) -> None:
    network = real(shared("porto_alegre/poa_osm.pbf"))
    router = Router(network)
    spot = some_spots(network, 1, np.random.default_rng(5))[0]
    cells = Cells(network, 10)
    before: dict[int, int] = {}
    for minutes in (1, 5, 10, 15):
        found = dict(
            zip(*(part.tolist() for part in reached(router, Spots.one(spot), minutes * 60_000, cells)), strict=True)
        )
        assert before.items() <= found.items()
        before = found
    area = area_of(np.array(list(before)), 10)
    assert shapely.contains(area, shapely.point_on_surface(cell_polygons(np.array(list(before))))).all()
    assert area_of(np.array([], dtype=np.int64), 9).is_empty


def test_many_reach_what_each_of_them_reaches() -> None:
    """The time to a cell from several is the least of the times from each."""
    network = build(grid(8, 3), profile("car"))
    router = Router(network)
    cells = Cells(network, 10)
    spots = some_spots(network, 5, np.random.default_rng(3))
    together = dict(zip(*(part.tolist() for part in reached(router, spots, 40_000, cells)), strict=True))
    alone: dict[int, int] = {}
    for at in range(5):
        for cell, ms in zip(*reached(router, Spots.one(spots[at]), 40_000, cells), strict=True):
            alone[int(cell)] = min(int(ms), alone.get(int(cell), int(ms)))
    assert together == alone
