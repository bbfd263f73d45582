"""Shortest paths on arrays: the nearest of many, all within a time, the nearest for every node (Dijkstra 1959).

Kernels only: they know neither the network nor the database. Arcs come as a compressed row of (node, milliseconds)
pairs side by side, so that looking at an arc touches one line of the cache; the heap has four children a node. Labels
are stamped with the number of the question instead of being cleared. Times are int32 milliseconds, and exact; what
takes `SHUT_MS` or more is not passed.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from layers.roads.network import SHUT_MS

__all__ = ["descend", "nearest", "nearest_of_all", "nearest_to_spot", "reach"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_SHUT = np.int32(SHUT_MS)


@njit(inline="always")
def _push(keys: Any, values: Any, size: int, key: Any, value: Any) -> int:  # noqa: ANN401  (numba's)
    at = size
    while at > 0:
        above = (at - 1) >> 2
        if keys[above] <= key:
            break
        keys[at], values[at] = keys[above], values[above]
        at = above
    keys[at], values[at] = key, value
    return size + 1


@njit(inline="always")
def _pop(keys: Any, values: Any, size: int) -> int:  # noqa: ANN401  (numba's)
    size -= 1
    key, value = keys[size], values[size]
    at = 0
    while True:
        child = (at << 2) + 1
        if child >= size:
            break
        least = child
        for other in range(child + 1, min(child + 4, size)):
            if keys[other] < keys[least]:
                least = other
        if keys[least] >= key:
            break
        keys[at], values[at] = keys[least], values[least]
        at = least
    keys[at], values[at] = key, value
    return size


@njit(inline="always")
def _rank(found: int, things: Any, times: Any, most: int, thing: Any, time: Any) -> int:  # noqa: ANN401  (numba's)
    """Put a thing into a list of at most `most`, ordered by time, then by number; each thing stands there once."""
    at = found
    for other in range(found):
        if things[other] == thing:
            if times[other] <= time:
                return found
            at = other
            break
    if at == found:
        if found == most:
            if time > times[most - 1] or (time == times[most - 1] and thing > things[most - 1]):
                return found
            at = most - 1
        else:
            found += 1
    while at > 0 and (times[at - 1] > time or (times[at - 1] == time and things[at - 1] > thing)):
        times[at], things[at] = times[at - 1], things[at - 1]
        at -= 1
    times[at], things[at] = time, thing
    return found


@njit(cache=True, nogil=True)
def nearest(
    first: Ints, arcs: Ints, seeds: Ints, seeds_ms: Ints, most: int, limit_ms: int,
    thing_first: Ints, things: Ints, things_ms: Ints,
    dist: Ints, stamp: Ints, now: int, keys: Ints, values: Ints, found_things: Ints, found_ms: Ints,
) -> tuple[int, int]:  # fmt: skip
    """The `most` things nearest to the seeds, within `limit_ms`, by time and then by number.

    `first` (n+1,), `arcs` (2m,): the arcs of the reverse graph. `seeds`, `seeds_ms` (s,): where the search begins, and
    the time that has passed there. `thing_first` (n+1,), `things`, `things_ms`: which things can be had at a node and
    after which time more. `dist`, `stamp` (n,), `keys`, `values`: scratch; `now` a number not used with it before.
    Returns how many were found, in `found_things`, `found_ms`, and how many nodes were settled. `dist` keeps the times
    of the nodes whose `stamp` is `now`.
    """
    size = 0
    for at in range(len(seeds)):
        node, time = seeds[at], seeds_ms[at]
        if time < _SHUT and (stamp[node] != now or time < dist[node]):
            stamp[node], dist[node] = now, time
            size = _push(keys, values, size, time, node)
    found, settled = 0, 0
    while size > 0:
        time, node = keys[0], values[0]
        size = _pop(keys, values, size)
        if time > dist[node]:
            continue
        if time > limit_ms or (found == most and time > found_ms[most - 1]):
            break
        settled += 1
        for at in range(thing_first[node], thing_first[node + 1]):
            total = time + things_ms[at]
            if total <= limit_ms:
                found = _rank(found, found_things, found_ms, most, things[at], total)
        for arc in range(first[node], first[node + 1]):
            later = time + arcs[2 * arc + 1]
            if later >= _SHUT:
                continue
            other = arcs[2 * arc]
            if stamp[other] != now or later < dist[other]:
                stamp[other], dist[other] = now, later
                size = _push(keys, values, size, later, other)
    return found, settled


@njit(cache=True, nogil=True)
def nearest_to_spot(
    edge: int, share: float, edge_first: Ints, edge_arcs: Ints, against: NDArray[np.bool_], tail: Ints,
    first: Ints, arcs: Ints, ms: Ints, most: int, limit_ms: int, thing_first: Ints, things: Ints, things_ms: Ints,
    thing_edge: Ints, thing_on: Ints, thing_share: Floats, dist: Ints, stamp: Ints, now: int, keys: Ints, values: Ints,
    found_things: Ints, found_ms: Ints,
) -> int:  # fmt: skip
    """As `nearest`, to a share of an edge that is open; returns how many were found.

    `edge_first` (e+1,), `edge_arcs`: the arcs along each edge; `against`, `tail`, `ms` (m,) of arcs. `thing_edge` (q,)
    in ascending order, and of each place in it `thing_on` the thing there: those on the very edge need not leave it.
    `thing_share` (q,): at which share of its edge each thing stands.
    """
    begin, end = edge_first[edge], edge_first[edge + 1]
    seeds, seeds_ms = np.empty(end - begin, np.int32), np.empty(end - begin, np.int32)
    for at in range(end - begin):
        arc = edge_arcs[begin + at]
        passed = 1.0 - share if against[arc] else share
        seeds[at], seeds_ms[at] = tail[arc], np.int32(np.rint(passed * ms[arc]))
    found, _ = nearest(first, arcs, seeds, seeds_ms, most, limit_ms, thing_first, things, things_ms, dist, stamp, now,
                       keys, values, found_things, found_ms)  # fmt: skip
    at = np.searchsorted(thing_edge, edge)
    while at < len(thing_edge) and thing_edge[at] == edge:
        thing = thing_on[at]
        for one in range(begin, end):
            arc = edge_arcs[one]
            ahead = thing_share[thing] - share if against[arc] else share - thing_share[thing]
            if ahead >= 0:
                time = np.int32(np.rint(ahead * ms[arc]))
                if time <= limit_ms:
                    found = _rank(found, found_things, found_ms, most, thing, time)
        at += 1
    return found


@njit(cache=True, nogil=True)
def reach(
    first: Ints, arcs: Ints, seeds: Ints, seeds_ms: Ints, limit_ms: int,
    dist: Ints, stamp: Ints, now: int, keys: Ints, values: Ints, reached: Ints,
) -> int:  # fmt: skip
    """All nodes within `limit_ms` of the seeds, in order of their time: how many, in `reached`; times in `dist`.

    On the arcs of the graph: where one gets to; on those of the reverse graph: from where one gets here.
    """
    size, count = 0, 0
    for at in range(len(seeds)):
        node, time = seeds[at], seeds_ms[at]
        if time <= limit_ms and (stamp[node] != now or time < dist[node]):
            stamp[node], dist[node] = now, time
            size = _push(keys, values, size, time, node)
    while size > 0:
        time, node = keys[0], values[0]
        size = _pop(keys, values, size)
        if time > dist[node]:
            continue
        reached[count] = node
        count += 1
        for arc in range(first[node], first[node + 1]):
            later = time + arcs[2 * arc + 1]
            if later > limit_ms:
                continue
            other = arcs[2 * arc]
            if stamp[other] != now or later < dist[other]:
                stamp[other], dist[other] = now, later
                size = _push(keys, values, size, later, other)
    return count


@njit(cache=True, nogil=True)
def nearest_of_all(
    first: Ints, arcs: Ints, seeds: Ints, seeds_ms: Ints, seeds_thing: Ints, most: int,
    keys: Ints, labels: Ints, label_node: Ints, label_thing: Ints, count: Ints, table: Ints, table_ms: Ints,
) -> None:  # fmt: skip
    """The `most` nearest things of every node, into `table`, `table_ms` (n, most) and `count` (n,), in order of time.

    `seeds`, `seeds_ms`, `seeds_thing` (s,): from where, after which time, each thing sets out, on the arcs of the
    graph. One search in which a node is settled by `most` different things (k-nearest Voronoi; Erwig 2000). `keys`,
    `labels`, `label_node`, `label_thing` are scratch for `most * m + s` labels.
    """
    count[:] = 0
    size, made = 0, 0
    for at in range(len(seeds)):
        label_node[made], label_thing[made] = seeds[at], seeds_thing[at]
        size = _push(keys, labels, size, seeds_ms[at], np.int32(made))
        made += 1
    while size > 0:
        time, label = keys[0], labels[0]
        size = _pop(keys, labels, size)
        node, thing = label_node[label], label_thing[label]
        here = count[node]
        if here >= most or _has(table, node, here, thing):
            continue
        table[node, here], table_ms[node, here] = thing, time
        count[node] = here + 1
        for arc in range(first[node], first[node + 1]):
            later = time + arcs[2 * arc + 1]
            other = arcs[2 * arc]
            there = count[other]
            if later >= _SHUT or there >= most or _has(table, other, there, thing):
                continue
            label_node[made], label_thing[made] = other, thing
            size = _push(keys, labels, size, later, np.int32(made))
            made += 1


@njit(inline="always")
def _has(table: Any, node: Any, count: Any, thing: Any) -> bool:  # noqa: ANN401  (numba's)
    for at in range(count):
        if table[node, at] == thing:
            return True
    return False


@njit(cache=True, nogil=True)
def descend(
    first: Ints, arcs: Ints, start: int, dist: Ints, stamp: Ints, now: int, seeds: Ints, seeds_ms: Ints, path: Ints
) -> int:
    """The arcs of the graph from `start` to a seed of the search on the reverse graph that left `dist`: how many.

    They are numbered as `first` counts them. Of arcs that are equally good the first is taken, so that a question has
    one answer. Returns -1 where the search did not come to `start`.
    """
    node, count = start, 0
    if stamp[node] != now:
        return -1
    while True:
        for at in range(len(seeds)):
            if seeds[at] == node and seeds_ms[at] == dist[node]:
                return count
        best = -1
        for arc in range(first[node], first[node + 1]):
            other = arcs[2 * arc]
            if stamp[other] == now and dist[other] + arcs[2 * arc + 1] == dist[node]:
                best = arc
                break
        if best < 0 or count >= len(path):
            return -1
        path[count] = best
        count += 1
        node = arcs[2 * best]
