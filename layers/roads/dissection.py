"""Nested dissection: an order of nodes in which every part of the graph comes before the few nodes that separate it.

Parts are cut by inertial flow (Schild and Sommer, On Balanced Separators in Road Networks, 2015): along each of four
directions, the nodes that lie first and those that lie last are held apart by as few edges as possible.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["nested_dissection"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Sides = NDArray[np.int8]

_LEAF = 6
_HELD = 0.3
"""The share of nodes at either end that are held apart: what lies between may fall to either side."""


def nested_dissection(x: Floats, y: Floats, first: Ints, neighbours: Ints) -> Ints:
    """The order (n,) of nodes at `x`, `y` (n,), whose neighbours in either direction `first` (n+1,) counts."""
    order = np.arange(len(x), dtype=np.int32)
    _dissect(x, y, first, neighbours, _twins(first, neighbours), order)
    return order


@njit(cache=True, nogil=True)
def _twins(first: Ints, neighbours: Ints) -> Ints:
    """For each arc the one of the other direction; the neighbours of a node are in ascending order."""
    found = np.empty(len(neighbours), dtype=np.int32)
    for node in range(len(first) - 1):
        for arc in range(first[node], first[node + 1]):
            other = neighbours[arc]
            found[arc] = first[other] + np.searchsorted(neighbours[first[other] : first[other + 1]], node)
    return found


@njit(cache=True, nogil=True)
def _dissect(x: Floats, y: Floats, first: Ints, neighbours: Ints, twins: Ints, order: Ints) -> None:
    """Sort `order` part by part: one half, the other half, what separates them."""
    count = len(order)
    side, best = np.zeros(count, dtype=np.int8), np.zeros(count, dtype=np.int8)
    seen, at_arc, stack = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int32), np.empty(count, np.int32)
    flow = np.zeros(len(neighbours), dtype=np.int8)
    low_of, high_of = [0], [count]
    now = 0
    while low_of:
        low, high = low_of.pop(), high_of.pop()
        if high - low <= _LEAF:
            continue
        part = order[low:high].copy()
        least = len(part) + 1
        for axis in range(4):
            across, along = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0))[axis]
            ranked = part[np.argsort(across * x[part] + along * y[part], kind="mergesort")]
            held = max(1, int(_HELD * len(part)))
            now = _hold_apart(ranked, held, first, neighbours, twins, side, seen, at_arc, stack, flow, now)
            separators = _separate(part, first, neighbours, side)
            if separators < least:
                least = separators
                for node in part:
                    best[node] = side[node]
            for node in part:
                side[node] = 0
                for arc in range(first[node], first[node + 1]):
                    flow[arc] = 0
        at, ends = low, (low, low, low)
        for kind in range(1, 4):
            for node in part:
                if best[node] == kind:
                    order[at] = node
                    at += 1
            ends = (ends[1], ends[2], at)
        low_of.append(low)
        high_of.append(ends[0])
        low_of.append(ends[0])
        high_of.append(ends[1])


@njit(cache=True, nogil=True)
def _hold_apart(
    ranked: Ints, held: int, first: Ints, neighbours: Ints, twins: Ints, side: Sides, seen: Ints, at_arc: Ints,
    stack: Ints, flow: Sides, now: int,
) -> int:  # fmt: skip
    """Set the `side` of a part's nodes to 1 or 2: those that the first `held` reach when the flow is at its largest.

    Every edge carries one unit (Ford and Fulkerson 1956). Paths are looked for depth first; a node from which there was
    none is not looked at again before the flow has changed everywhere. Returns the number of the last search in `seen`.
    """
    count = len(ranked)
    for at in range(count):
        side[ranked[at]] = 1 if at < held else 2 if at >= count - held else 3
    found = True
    while found:
        found = False
        now += 1
        for at in range(held):
            source = ranked[at]
            if seen[source] == now:
                continue
            seen[source], at_arc[source] = now, first[source]
            stack[0], size = source, 1
            while size > 0:
                node = stack[size - 1]
                if side[node] == 2:
                    # The arcs by which the path was found are those before where each node stands.
                    for step in range(size - 1):
                        arc = at_arc[stack[step]] - 1
                        flow[arc] += 1
                        flow[twins[arc]] -= 1
                        seen[stack[step]] = 0
                    seen[node] = 0
                    found = True
                    break
                arc = at_arc[node]
                if arc == first[node + 1]:
                    size -= 1
                    continue
                at_arc[node] += 1
                other = neighbours[arc]
                if side[other] != 0 and seen[other] != now and flow[arc] < 1:
                    seen[other], at_arc[other] = now, first[other]
                    stack[size] = other
                    size += 1
    for at in range(count):
        side[ranked[at]] = 1 if seen[ranked[at]] == now else 2
    return now


@njit(cache=True, nogil=True)
def _separate(part: Ints, first: Ints, neighbours: Ints, side: Sides) -> int:
    """Set the `side` of the nodes that separate 1 from 2 to 3: those of one side that touch the other. How many."""
    ones, twos = 0, 0
    for node in part:
        for arc in range(first[node], first[node + 1]):
            other = side[neighbours[arc]]
            if other != 0 and other != side[node]:
                if side[node] == 1:
                    ones += 1
                else:
                    twos += 1
                break
    fewer, count = (1, ones) if ones <= twos else (2, twos)
    for node in part:
        if side[node] == fewer:
            for arc in range(first[node], first[node + 1]):
                if side[neighbours[arc]] == 3 - fewer:
                    side[node] = 3
                    break
    return count
