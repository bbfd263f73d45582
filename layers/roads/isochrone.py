"""Isochrones: all that is reached within a time, as H3 cells with the time to each, and as the area they make up.

Every street counts as far as it is reached. It is looked at every few metres, and where it lies in a cell, that cell is
reached; coarser cells are the parents of these.
"""

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

from layers.roads.ends import arrivals, departures
from layers.roads.network import SHUT_MS, Network
from layers.roads.routing import Router
from layers.roads.spots import Spots
from twin.grid import cells_of_points, joined_cells, parents

__all__ = ["Cells", "area_of", "reached"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_STEP_M = 20.0


class Cells:
    """The cells through which each edge of a network leads, and where along it, at one resolution."""

    def __init__(self, network: Network, resolution: int) -> None:
        edge, share, lon, lat = _samples(network)
        cell, at = np.unique(cells_of_points(lon, lat, resolution), return_inverse=True)
        new = np.ones(len(edge), dtype=np.bool_)
        new[1:] = (edge[1:] != edge[:-1]) | (at[1:] != at[:-1])
        begin = np.flatnonzero(new)
        end = np.append(begin[1:], len(edge)) - 1
        self.cell = cell
        self.of: Ints = at[begin].astype(np.int32)
        self.first: Ints = np.searchsorted(edge[begin], np.arange(network.edges + 1)).astype(np.int32)
        self.low, self.high = share[begin], share[end]


def _samples(network: Network) -> tuple[Ints, Floats, Floats, Floats]:
    """Points along all edges (s,), none more than 20 m from the next: their edge, their share of it, their places."""
    count = np.maximum(np.ceil(network.length_m / _STEP_M), 1).astype(np.int64) + 1
    edge = np.repeat(np.arange(network.edges, dtype=np.int32), count)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    share = within / np.repeat(count - 1, count)
    narrow = np.cos(np.radians(float(np.mean(network.lat))))
    xy = np.stack([network.shape_lon * narrow, network.shape_lat], axis=1)
    owner = np.repeat(np.arange(network.edges), np.diff(network.shape_first))
    lines = np.asarray(shapely.linestrings(xy, indices=owner), dtype=object)
    points = shapely.get_coordinates(shapely.line_interpolate_point(lines[edge], share, normalized=True))
    return edge, share, points[:, 0] / narrow, points[:, 1]


def reached(
    router: Router, spots: Spots, limit_ms: int, cells: Cells, *, towards: bool = False
) -> tuple[NDArray[np.int64], Ints]:
    """The cells (c,) reached from one of the spots (q,) within `limit_ms`, and after how many milliseconds each.

    `towards`: from where one of the spots is reached instead.
    """
    (found, _) = router.traffic.consistent(lambda: _reached(router, spots, limit_ms, cells, towards=towards))
    inside = np.flatnonzero(found <= limit_ms)
    return cells.cell[inside], found[inside]


def _reached(router: Router, spots: Spots, limit_ms: int, cells: Cells, *, towards: bool) -> Ints:
    network, traffic = router.network, router.traffic
    spots = router.outside(spots)
    ends = (arrivals if towards else departures)(traffic, spots)
    reach = router.reach(ends.node, ends.ms, limit_ms, towards=towards)
    found = np.full(len(cells.cell), SHUT_MS, dtype=np.int32)
    first = traffic.home_first if towards else network.first_out
    arc_of = traffic.home_arc if towards else np.arange(network.arcs, dtype=np.int32)
    _spread(
        reach.nodes, reach.ms, first, arc_of, network.edge, network.against, traffic.ms, cells.first, cells.of,
        cells.low, cells.high, limit_ms, towards, found,
    )  # fmt: skip
    _on_own_edges(
        np.ascontiguousarray(spots.edge), np.ascontiguousarray(spots.share), network.ahead, network.back,
        network.against, traffic.open_ms, cells.first, cells.of, cells.low, cells.high, towards, found,
    )  # fmt: skip
    return found


@njit(cache=True, nogil=True)
def _on_own_edges(
    edges: Ints, shares: Floats, ahead: Ints, back: Ints, against: NDArray[np.bool_], open_ms: Ints, cell_first: Ints,
    cell_of: Ints, low: Floats, high: Floats,
    towards: bool,  # noqa: FBT001  (numba's)
    found: Ints,
) -> None:  # fmt: skip
    """The time to each cell along the edges on which the spots themselves lie."""
    for number in range(len(edges)):
        for way in range(2):
            arc = (ahead if way == 0 else back)[edges[number]]
            if arc < 0:
                continue
            forward = against[arc] == towards
            for part in range(cell_first[edges[number]], cell_first[edges[number] + 1]):
                passed = high[part] < shares[number] if forward else low[part] > shares[number]
                if not passed:
                    gap = max(low[part] - shares[number], 0.0) if forward else max(shares[number] - high[part], 0.0)
                    time = np.int32(np.rint(gap * open_ms[arc]))
                    found[cell_of[part]] = min(found[cell_of[part]], time)


@njit(cache=True, nogil=True)
def _spread(
    nodes: Ints, ms: Ints, first: Ints, arc_of: Ints, edge: Ints, against: NDArray[np.bool_], arc_ms: Ints,
    cell_first: Ints, cell_of: Ints, low: Floats, high: Floats, limit_ms: int,
    towards: bool,  # noqa: FBT001  (numba's)
    found: Ints,
) -> None:  # fmt: skip
    """The time to each cell along all arcs from (or to) the nodes that are reached, as far as these are."""
    for number in range(len(nodes)):
        for at in range(first[nodes[number]], first[nodes[number] + 1]):
            arc = arc_of[at]
            if arc_ms[arc] >= SHUT_MS:
                continue
            on = edge[arc]
            # Along the line when driven along it, and against it when looked at from its end.
            forward = against[arc] == towards
            for part in range(cell_first[on], cell_first[on + 1]):
                share = low[part] if forward else 1.0 - high[part]
                time = ms[number] + np.int32(np.rint(share * arc_ms[arc]))
                if time <= limit_ms and time < found[cell_of[part]]:
                    found[cell_of[part]] = time


def area_of(cells: NDArray[np.int64], resolution: int) -> shapely.Geometry:
    """The area that cells make up at a resolution, their own or a coarser one."""
    if not len(cells):
        return shapely.MultiPolygon()
    return shapely.MultiPolygon(shapely.get_parts(joined_cells(np.unique(parents(cells, resolution)))).tolist())
