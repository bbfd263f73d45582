"""The ends of a path: from a spot on an edge to the nodes of the network, and out of or into what is closed.

Whoever stands inside a closure gets out, and an incident inside one is reached: first or last, closed arcs are passed
at the times they take when open, but only there. What is written here is for departures; with the arcs of the reverse
graph the same holds for arrivals.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from layers.roads.network import SHUT_MS
from layers.roads.spots import Spots
from layers.roads.traffic import Traffic

__all__ = ["Ends", "arrivals", "departures", "on_edges"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_SHUT = np.int32(SHUT_MS)


@dataclass(frozen=True, slots=True)
class Ends:
    """The nodes by which spots (q,) are left or reached.

    `first` (q+1,): those of spot i are first[i] to first[i+1]. `node`, `ms`: the node, and the time between it and the
    spot. `arc`: the arc that is passed next on the way to the spot (last on the way from it), and `before`: the end
    that stands at its other node, -1 where the arc is the one on which the spot lies.
    """

    first: NDArray[np.int64]
    node: Ints
    ms: Ints
    arc: Ints
    before: Ints

    @property
    def nodes(self) -> tuple[NDArray[np.int64], Ints, Ints]:
        """`first`, `node` and `ms`."""
        return self.first, self.node, self.ms

    def of(self, at: int) -> tuple[Ints, Ints]:
        """The nodes and times of one spot."""
        part = slice(int(self.first[at]), int(self.first[at + 1]))
        return self.node[part], self.ms[part]

    def along(self, end: int) -> list[int]:
        """The arcs from an end to its spot, the one on which that lies last."""
        arcs: list[int] = []
        while end >= 0:
            arcs.append(int(self.arc[end]))
            end = int(self.before[end])
        return arcs


def departures(traffic: Traffic, spots: Spots) -> Ends:
    """How spots (q,) are left."""
    network = traffic.network
    return _ends(traffic, spots, leaving=True, first=network.first_out, pairs=traffic.forth,
                 arc_of=np.arange(network.arcs, dtype=np.int32))  # fmt: skip


def arrivals(traffic: Traffic, spots: Spots) -> Ends:
    """How spots (q,) are reached."""
    return _ends(traffic, spots, leaving=False, first=traffic.home_first, pairs=traffic.home, arc_of=traffic.home_arc)


def _ends(traffic: Traffic, spots: Spots, *, leaving: bool, first: Ints, pairs: Ints, arc_of: Ints) -> Ends:
    network = traffic.network
    found = on_edges(
        np.ascontiguousarray(spots.edge), np.ascontiguousarray(spots.share), traffic.edge_first, traffic.edge_arcs,
        network.against, network.head if leaving else network.tail, traffic.open_ms, leaving,
    )  # fmt: skip
    simple = Ends(*found, np.full(len(found[1]), -1, dtype=np.int32))
    shut = np.flatnonzero(traffic.is_closed(spots.edge))
    if not len(shut):
        return simple
    inside = {int(at): _inside(traffic, simple, int(at), first, pairs, arc_of) for at in shut}
    parts = [inside.get(at) or _one(simple, at) for at in range(len(spots))]
    starts = np.concatenate([[0], np.cumsum([len(one.node) for one in parts])])
    before = [np.where(one.before < 0, -1, one.before + begin) for one, begin in zip(parts, starts[:-1], strict=True)]
    return Ends(
        starts,
        np.concatenate([one.node for one in parts]),
        np.concatenate([one.ms for one in parts]),
        np.concatenate([one.arc for one in parts]),
        np.concatenate(before).astype(np.int32),
    )


def _one(ends: Ends, at: int) -> Ends:
    part = slice(int(ends.first[at]), int(ends.first[at + 1]))
    count = part.stop - part.start
    return Ends(np.array([0, count]), ends.node[part], ends.ms[part], ends.arc[part], ends.before[part])


def _inside(traffic: Traffic, ends: Ends, at: int, first: Ints, pairs: Ints, arc_of: Ints) -> Ends:
    """The ends of a spot that is closed: all nodes that are reached over closed arcs alone."""
    one = _one(ends, at)
    nodes = traffic.network.nodes
    node, ms, arc, before = _through_closed(
        first, pairs, arc_of, traffic.ms, traffic.open_ms, one.node, one.ms, one.arc, nodes
    )
    return Ends(np.array([0, len(node)]), node, ms, arc, before)


@njit(cache=True, nogil=True)
def on_edges(
    edges: Ints, shares: Floats, edge_first: Ints, edge_arcs: Ints, against: NDArray[np.bool_], node_of: Ints, ms: Ints,
    leaving: bool,  # noqa: FBT001  (numba's)
) -> tuple[NDArray[np.int64], Ints, Ints, Ints]:  # fmt: skip
    """The nodes at the ends of edges, with the share of the edge's time that lies between.

    `node_of` (m,): the heads of the arcs where edges are left, their tails where they are reached.
    """
    first = np.zeros(len(edges) + 1, dtype=np.int64)
    for at in range(len(edges)):
        first[at + 1] = first[at] + edge_first[edges[at] + 1] - edge_first[edges[at]]
    node, time, arc_of = np.empty(first[-1], np.int32), np.empty(first[-1], np.int32), np.empty(first[-1], np.int32)
    for at in range(len(edges)):
        to = first[at]
        for one in range(edge_first[edges[at]], edge_first[edges[at] + 1]):
            arc = edge_arcs[one]
            passed = 1.0 - shares[at] if against[arc] else shares[at]
            share = 1.0 - passed if leaving else passed
            node[to], time[to], arc_of[to] = node_of[arc], np.int32(np.rint(share * ms[arc])), arc
            to += 1
    return first, node, time, arc_of


@njit(cache=True, nogil=True)
def _through_closed(
    first: Ints, pairs: Ints, arc_of: Ints, ms: Ints, open_ms: Ints, seeds: Ints, seeds_ms: Ints, seeds_arc: Ints,
    nodes: int,
) -> tuple[Ints, Ints, Ints, Ints]:  # fmt: skip
    """All nodes reached over closed arcs (Bellman-Ford with a queue: closures are small)."""
    at_node = np.full(nodes, -1, dtype=np.int32)
    room = len(seeds) + nodes
    node, time, arc = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    before, queue = np.empty(room, np.int32), np.empty(room, np.int32)
    waiting = np.zeros(room, dtype=np.bool_)
    count, head, size = 0, 0, 0
    for at in range(len(seeds)):
        known = at_node[seeds[at]]
        if known < 0:
            known = count
            at_node[seeds[at]] = count
            node[count], time[count], arc[count], before[count] = seeds[at], seeds_ms[at], seeds_arc[at], -1
            queue[(head + size) % room] = count
            waiting[count] = True
            size += 1
            count += 1
        elif seeds_ms[at] < time[known]:
            time[known], arc[known] = seeds_ms[at], seeds_arc[at]
    while size > 0:
        here = queue[head]
        head = (head + 1) % room
        size -= 1
        waiting[here] = False
        for at in range(first[node[here]], first[node[here] + 1]):
            passed = arc_of[at]
            if ms[passed] < _SHUT:
                continue
            other, later = pairs[2 * at], time[here] + open_ms[passed]
            known = at_node[other]
            if known >= 0 and time[known] <= later:
                continue
            if known < 0:
                known = count
                at_node[other] = count
                node[count] = other
                count += 1
            time[known], arc[known], before[known] = later, passed, here
            if not waiting[known]:
                queue[(head + size) % room] = known
                waiting[known] = True
                size += 1
    return node[:count].copy(), time[:count].copy(), arc[:count].copy(), before[:count].copy()
