"""Routing: the nearest of many resources to a place, by what travel takes now; the matrix between places; their paths.

Three ways lead to the nearest, and all give the same answer to the millisecond: a search around the place where
resources are many, the hierarchy where they are few, a table of all nodes where the same resources are asked for by
the thousand.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from layers.roads.ends import Ends, arrivals, departures
from layers.roads.hierarchy import Hierarchy, Labels, Times, between
from layers.roads.network import SHUT_MS, Network
from layers.roads.search import descend, nearest, nearest_of_all, nearest_to_spot, reach
from layers.roads.spots import Locator, Spot, Spots
from layers.roads.traffic import Traffic

__all__ = ["Fleet", "Found", "Reach", "Router", "Table", "Way"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_DENSE = 300
"""With more resources than one for so many nodes the search around the place is quicker than the hierarchy."""
_AT_END_M, _HALF = 1.0, 0.5


class Reach(NamedTuple):
    """The nodes that are reached, in order of time, and after how many milliseconds."""

    nodes: Ints
    ms: Ints


class Found(NamedTuple):
    """A resource, by its number in the fleet, and the time from it in milliseconds."""

    thing: int
    ms: int


class Way(NamedTuple):
    """A path: its arcs, of which the first is entered at a share of its length and the last left at one; its time."""

    arcs: tuple[int, ...]
    enter: float
    leave: float
    ms: int


@dataclass(frozen=True, slots=True)
class Table:
    """The resources nearest to every node (n,): how many (`count`), which and after how long (n, most)."""

    count: Ints
    things: Ints
    ms: Ints


@dataclass(eq=False)
class Fleet:
    """Where resources stand (q,), and how they get onto the network under the traffic of `number`.

    `given` are their spots; `spots` those that count now: who stands at the end of a closed edge is not inside it.
    """

    given: Spots
    spots: Spots
    number: int
    ends: Ends
    thing_first: Ints
    things: Ints
    things_ms: Ints
    by_edge: Ints
    edges: Ints
    labels: tuple[int, Labels] | None = field(default=None, repr=False)


@dataclass(eq=False)
class _Scratch:
    """What a search writes its labels into; one a thread."""

    dist: Ints
    stamp: Ints
    keys: Ints
    values: Ints
    reached: Ints
    now: int = 0

    @classmethod
    def of(cls, network: Network) -> "_Scratch":
        nodes, room = network.nodes, 2 * network.arcs + network.nodes + 64
        return cls(
            np.empty(nodes, np.int32),
            np.zeros(nodes, np.int32),
            np.empty(room, np.int32),
            np.empty(room, np.int32),
            np.empty(nodes, np.int32),
        )

    def question(self) -> int:
        """The number of a new question."""
        if self.now == np.iinfo(np.int32).max:
            self.stamp[:] = 0
            self.now = 0
        self.now += 1
        return self.now


class Router:
    """A network with its traffic: what is asked of it."""

    def __init__(self, network: Network, hierarchy: Hierarchy | None = None) -> None:
        self.network = network
        self.traffic = Traffic(network)
        self.locator = Locator(network)
        self.hierarchy = hierarchy
        self._times: tuple[int, Times] | None = None
        self._local = threading.local()

    def customise(self) -> None:
        """Let the hierarchy know the traffic of now; until then it is not asked."""
        if self.hierarchy is not None:
            hierarchy, ms = self.hierarchy, self.traffic.ms
            times, number = self.traffic.consistent(lambda: hierarchy.customise(ms))
            self._times = number, times

    @property
    def is_customised(self) -> bool:
        """Whether the hierarchy knows the traffic of now."""
        return self._times is not None and self._times[0] == self.traffic.number

    def fleet(self, spots: Spots) -> Fleet:
        """Resources at spots (q,), all of which are on the network."""
        given, spots = spots, self.outside(spots)
        (ends, number) = self.traffic.consistent(lambda: departures(self.traffic, spots))
        owner = np.repeat(np.arange(len(spots), dtype=np.int32), np.diff(ends.first))
        by_node = np.argsort(ends.node, kind="stable")
        first = np.searchsorted(ends.node[by_node], np.arange(self.network.nodes + 1)).astype(np.int32)
        by_edge = np.argsort(spots.edge, kind="stable").astype(np.int32)
        return Fleet(given, spots, number, ends, first, owner[by_node], ends.ms[by_node], by_edge, spots.edge[by_edge])

    def nearest(self, spot: Spot, fleet: Fleet, most: int, limit_ms: int = SHUT_MS - 1) -> list[Found]:
        """The resources from which a place is reached first, by time and then by number. Fewer where fewer reach it."""
        if not self._is_current(fleet):
            fleet = self.fleet(fleet.given)
        spot = self._outside_one(spot)
        (found, _) = self.traffic.consistent(lambda: self._nearest(spot, fleet, most, limit_ms))
        return found

    def outside(self, spots: Spots) -> Spots:
        """The same spots, those at the end of a closed edge on an open one that ends there too, where there is one."""
        at_end = np.minimum(spots.share, 1 - spots.share) * self.network.length_m[spots.edge] < _AT_END_M
        moved = {int(at): self._outside_one(spots[int(at)])
                 for at in np.flatnonzero(at_end & self.traffic.is_closed(spots.edge))}  # fmt: skip
        if not moved:
            return spots
        edge, share = spots.edge.copy(), spots.share.copy()
        for at, spot in moved.items():
            edge[at], share[at] = spot.edge, spot.share
        return Spots(edge, share, spots.away_m, spots.lon, spots.lat)

    def _outside_one(self, spot: Spot) -> Spot:
        network, traffic = self.network, self.traffic
        if not traffic.is_closed_edge(spot.edge):
            return spot
        if min(spot.share, 1 - spot.share) * float(network.length_m[spot.edge]) >= _AT_END_M:
            return spot
        arc, starts_here = int(network.ahead[spot.edge]), spot.share < _HALF
        if arc < 0:
            arc, starts_here = int(network.back[spot.edge]), not starts_here
        node = int((network.tail if starts_here else network.head)[arc])
        for other in range(int(network.first_out[node]), int(network.first_out[node + 1])):
            edge = int(network.edge[other])
            if not traffic.is_closed_edge(edge):
                return spot._replace(edge=edge, share=1.0 if network.against[other] else 0.0)
        return spot

    def _is_current(self, fleet: Fleet) -> bool:
        return fleet.number == self.traffic.number

    def _nearest(self, spot: Spot, fleet: Fleet, most: int, limit_ms: int) -> list[Found]:
        if len(fleet.spots) * _DENSE < self.network.nodes and self.is_customised:
            return self._by_hierarchy(spot, fleet, most, limit_ms)
        return self._by_search(spot, fleet, most, limit_ms)

    def _by_search(self, spot: Spot, fleet: Fleet, most: int, limit_ms: int) -> list[Found]:
        scratch, traffic, network = self._scratch(), self.traffic, self.network
        things, ms = np.empty(most, np.int32), np.empty(most, np.int32)
        if traffic.is_closed_edge(spot.edge):
            ends = arrivals(traffic, Spots.one(spot))
            count, _ = nearest(
                traffic.home_first, traffic.home, ends.node, ends.ms, most, limit_ms, fleet.thing_first, fleet.things,
                fleet.things_ms, scratch.dist, scratch.stamp, scratch.question(), scratch.keys, scratch.values, things,
                ms,
            )  # fmt: skip
            found = zip(things[:count].tolist(), ms[:count].tolist(), strict=True)
            return self._with_direct([Found(*pair) for pair in found], spot, fleet, most, limit_ms)
        count = nearest_to_spot(
            spot.edge, spot.share, traffic.edge_first, traffic.edge_arcs, network.against, network.tail,
            traffic.home_first, traffic.home, traffic.ms, most, limit_ms, fleet.thing_first, fleet.things,
            fleet.things_ms, fleet.edges, fleet.by_edge, fleet.spots.share, scratch.dist, scratch.stamp,
            scratch.question(), scratch.keys, scratch.values, things, ms,
        )  # fmt: skip
        return [Found(*pair) for pair in zip(things[:count].tolist(), ms[:count].tolist(), strict=True)]

    def _by_hierarchy(self, spot: Spot, fleet: Fleet, most: int, limit_ms: int) -> list[Found]:
        hierarchy, times = self.hierarchy, self._times
        if hierarchy is None or times is None:
            raise AssertionError("there is no hierarchy")
        scratch = self._scratch().dist
        if fleet.labels is None or fleet.labels[0] != times[0]:
            fleet.labels = times[0], hierarchy.labels(*fleet.ends.nodes, times[1].up, scratch)
        ends = arrivals(self.traffic, Spots.one(spot))
        ms = between(fleet.labels[1], hierarchy.labels(*ends.nodes, times[1].down, scratch))[:, 0]
        reached = np.flatnonzero(ms <= limit_ms)
        order = reached[np.lexsort((reached, ms[reached]))][:most]
        found = [Found(*pair) for pair in zip(order.tolist(), ms[order].tolist(), strict=True)]
        return self._with_direct(found, spot, fleet, most, limit_ms)

    def _with_direct(self, found: list[Found], spot: Spot, fleet: Fleet, most: int, limit_ms: int) -> list[Found]:
        """The same with those that stand on the very edge, and need not leave it."""
        low = int(fleet.edges.searchsorted(spot.edge))
        if low == len(fleet.edges) or fleet.edges[low] != spot.edge:
            return found
        best = dict(found)
        for thing in fleet.by_edge[low : int(fleet.edges.searchsorted(spot.edge, "right"))].tolist():
            direct = self._direct_ms(float(fleet.spots.share[thing]), spot)
            if direct <= limit_ms:
                best[thing] = min(direct, best.get(thing, direct))
        return sorted((Found(*pair) for pair in best.items()), key=lambda one: (one.ms, one.thing))[:most]

    def _direct_ms(self, share: float, spot: Spot) -> int:
        """How long it takes along the edge itself, from a share of it to a spot; SHUT_MS where that is against it."""
        arc = self._direct_arc(share, spot)
        return SHUT_MS if arc < 0 else round(abs(spot.share - share) * int(self.traffic.open_ms[arc]))

    def _direct_arc(self, share: float, spot: Spot) -> int:
        return int((self.network.ahead if share <= spot.share else self.network.back)[spot.edge])

    def matrix(self, starts: Spots, ends: Spots) -> Ints:
        """The times (q, r) from starts (q,) to ends (r,) in milliseconds; SHUT_MS where there is no way."""
        (found, _) = self.traffic.consistent(lambda: self._matrix(self.outside(starts), self.outside(ends)))
        return found

    def _matrix(self, starts: Spots, ends: Spots) -> Ints:
        leaving, reaching = departures(self.traffic, starts), arrivals(self.traffic, ends)
        if self.hierarchy is not None and self.is_customised and self._times is not None:
            up, down, scratch = self._times[1].up, self._times[1].down, self._scratch().dist
            found = between(
                self.hierarchy.labels(*leaving.nodes, up, scratch),
                self.hierarchy.labels(*reaching.nodes, down, scratch),
            )
        else:
            found = self._rows(leaving, reaching)
        found = np.minimum(found, np.int32(SHUT_MS))
        for start, end in _pairs_on_one_edge(starts, ends):
            found[start, end] = min(found[start, end], self._direct_ms(float(starts.share[start]), ends[end]))
        return found

    def _rows(self, leaving: Ends, reaching: Ends) -> Ints:
        scratch = self._scratch()
        found = np.empty((len(leaving.first) - 1, len(reaching.first) - 1), np.int32)
        for row in range(len(found)):
            self.reach(*leaving.of(row), SHUT_MS - 1)
            there = np.where(scratch.stamp[reaching.node] == scratch.now, scratch.dist[reaching.node], SHUT_MS)
            times = np.minimum(there.astype(np.int64) + reaching.ms, SHUT_MS).astype(np.int32)
            found[row] = _least(times, reaching.first)
        return found

    def reach(self, seeds: Ints, seeds_ms: Ints, limit_ms: int, *, towards: bool = False) -> Reach:
        """The nodes within `limit_ms` of seeds, or from which these are reached; of one state of the traffic."""
        scratch, traffic = self._scratch(), self.traffic
        first, pairs = (traffic.home_first, traffic.home) if towards else (self.network.first_out, traffic.forth)
        count = reach(first, pairs, seeds, seeds_ms, limit_ms, scratch.dist, scratch.stamp, scratch.question(),
                      scratch.keys, scratch.values, scratch.reached)  # fmt: skip
        nodes = scratch.reached[:count].copy()
        return Reach(nodes, scratch.dist[nodes])

    def table(self, fleet: Fleet, most: int) -> Table:
        """The `most` resources from which each node of the network is reached first."""
        if not self._is_current(fleet):
            fleet = self.fleet(fleet.given)
        network, ends = self.network, fleet.ends
        room = most * network.arcs + len(ends.node)
        owner = np.repeat(np.arange(len(fleet.spots), dtype=np.int32), np.diff(ends.first))
        shape = network.nodes, most
        found = Table(np.empty(network.nodes, np.int32), np.empty(shape, np.int32), np.empty(shape, np.int32))
        keys, labels, label_node, label_thing = (np.empty(room, np.int32) for _ in range(4))

        def ask() -> None:
            found.things[:], found.ms[:] = -1, SHUT_MS
            nearest_of_all(
                network.first_out, self.traffic.forth, ends.node, ends.ms, owner, most, keys, labels, label_node,
                label_thing, found.count, found.things, found.ms,
            )  # fmt: skip

        self.traffic.consistent(ask)
        return found

    def ways(self, spot: Spot, fleet: Fleet, found: Sequence[Found]) -> list[Way]:
        """The paths of what `nearest` found. A path of the same time is the same path whenever it is asked for."""
        if not found:
            return []
        if not self._is_current(fleet):
            fleet = self.fleet(fleet.given)
        spot = self._outside_one(spot)
        (ways, _) = self.traffic.consistent(lambda: self._ways(spot, fleet, found))
        return ways

    def _ways(self, spot: Spot, fleet: Fleet, found: Sequence[Found]) -> list[Way]:
        ends = arrivals(self.traffic, Spots.one(spot))
        # The labels of the whole search around the place, as far as the last of them.
        self.reach(ends.node, ends.ms, max(one.ms for one in found), towards=True)
        scratch = self._scratch()
        return [self._way(spot, fleet, ends, one, scratch, scratch.now) for one in found]

    def _way(self, spot: Spot, fleet: Fleet, ends: Ends, one: Found, scratch: _Scratch, now: int) -> Way:
        share = float(fleet.spots.share[one.thing])
        if int(fleet.spots.edge[one.thing]) == spot.edge and self._direct_ms(share, spot) == one.ms:
            arc = self._direct_arc(share, spot)
            return Way((arc,), self._passed(arc, share), self._passed(arc, spot.share), one.ms)
        for begin in range(int(fleet.ends.first[one.thing]), int(fleet.ends.first[one.thing + 1])):
            node = int(fleet.ends.node[begin])
            if scratch.stamp[node] == now and scratch.dist[node] + fleet.ends.ms[begin] == one.ms:
                leaving = fleet.ends.along(begin)[::-1]
                middle, finish = self._middle(node, ends, scratch, now)
                reaching = ends.along(finish)
                first, last = leaving[0], reaching[-1]
                return Way(
                    (*leaving, *middle, *reaching), self._passed(first, share), self._passed(last, spot.share), one.ms
                )
        raise AssertionError("the network changed while a path was read")

    def _middle(self, node: int, ends: Ends, scratch: _Scratch, now: int) -> tuple[list[int], int]:
        """The arcs from a node to an end of the place, and that end."""
        path = np.empty(self.network.nodes, np.int32)
        count = descend(self.network.first_out, self.traffic.forth, node, scratch.dist, scratch.stamp, now, ends.node,
                        ends.ms, path)  # fmt: skip
        arcs = path[:count].tolist()
        last = int(self.network.head[arcs[-1]]) if arcs else node
        at = [end for end in range(len(ends.node)) if ends.node[end] == last and ends.ms[end] == scratch.dist[last]]
        return arcs, at[0]

    def _passed(self, arc: int, share: float) -> float:
        """The share of an arc that has been passed at a share of its edge."""
        return 1.0 - share if self.network.against[arc] else share

    def _scratch(self) -> _Scratch:
        if not hasattr(self._local, "scratch"):
            self._local.scratch = _Scratch.of(self.network)
        return self._local.scratch


def _least(rows: Ints, first: NDArray[np.int64]) -> Ints:
    """The least of the rows of each group, where group i has rows first[i] to first[i+1], at least one."""
    return np.minimum.reduceat(rows, first[:-1], axis=0)


def _pairs_on_one_edge(starts: Spots, ends: Spots) -> list[tuple[int, int]]:
    shared = np.intersect1d(starts.edge, ends.edge)
    return [
        (int(start), int(end))
        for edge in shared
        for start in np.flatnonzero(starts.edge == edge)
        for end in np.flatnonzero(ends.edge == edge)
    ]
