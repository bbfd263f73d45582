"""A customizable contraction hierarchy: an order of the nodes made once, new travel times in milliseconds.

After Dibbelt, Strasser and Wagner, Customizable Contraction Hierarchies (2016): nodes are ordered by nested dissection
(George 1973), which needs the places of the nodes only; the arcs of the hierarchy are those of the chordal graph of
that order; customising sets their times by looking at all triangles from below. A question then looks at the ancestors
of a node in the elimination tree alone: two lists, without a heap.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from layers.roads.dissection import nested_dissection
from layers.roads.network import SHUT_MS, Network
from twin.errors import SourceError
from twin.parallel import in_chunks

__all__ = ["Hierarchy", "Labels", "Times", "between"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_CHUNK, _BLOCK, _MANY = 64, 8, 20_000
_SHUT = np.int32(SHUT_MS)


@dataclass(frozen=True, slots=True)
class Labels:
    """The times between q places and their ancestors, in r >= q rows.

    Those of place i are the rows rows[i] to rows[i+1]; those of row j the entries first[j] to first[j+1] of `ancestor`
    and `ms`: the ancestors from the root down, by rank.
    """

    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    ancestor: Ints
    ms: Ints


@dataclass(frozen=True, slots=True)
class Times:
    """What the arcs of a hierarchy take under certain travel times: `up` towards the higher node, `down` from it."""

    up: Ints
    down: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Hierarchy:
    """The hierarchy of a network of n nodes and m arcs.

    `rank` (n,): the order of the nodes. `first` (n+1,), `heads` (h,): the arcs from a node, by rank, to higher ones.
    `parent` (n,): the lowest of these, -1 for a root. `position` (m,): the arc of the hierarchy that an arc of the
    network is; where it leads down, -1 minus that. `depth` (n,): how many ancestors, itself included.
    """

    rank: Ints
    first: Ints
    heads: Ints
    parent: Ints
    position: Ints
    depth: Ints

    @classmethod
    def of(cls, network: Network) -> "Hierarchy":
        """Make the hierarchy of a network; its travel times do not matter."""
        first, neighbours = _undirected(network)
        narrow = float(np.cos(np.radians(network.lat.mean())))
        order = nested_dissection(network.lon * narrow, network.lat.copy(), first, neighbours)
        rank = np.empty_like(order)
        rank[order] = np.arange(network.nodes, dtype=np.int32)
        up_first, heads, parent = _fill_in(order, rank, first, neighbours)
        position = _positions(up_first, heads, rank[network.tail], rank[network.head])
        return cls(rank, up_first, heads, parent, position, _depths(parent))

    def save(self, folder: Path) -> None:
        """Write it beside its network."""
        for one in fields(self):
            np.save(folder / f"hierarchy-{one.name}.npy", getattr(self, one.name))

    @classmethod
    def load(cls, folder: Path) -> "Hierarchy":
        """Read it; the arrays stay on the disk until they are touched. Raises SourceError where it is not complete."""
        try:
            return cls(
                *(np.load(folder / f"hierarchy-{one.name}.npy", mmap_mode="r").view(np.ndarray) for one in fields(cls))
            )
        except (OSError, ValueError) as error:
            raise SourceError(
                f"the hierarchy cannot be read: {error}.", where=str(folder), remedy="Delete the folder."
            ) from error

    def customise(self, ms: Ints) -> Times:
        """The times of its arcs when the arcs of the network take `ms` (m,)."""
        up, down = np.empty_like(self.heads), np.empty_like(self.heads)
        _customise(self.first, self.heads, self.position, ms, up, down)
        return Times(up, down)

    def labels(self, first: NDArray[np.int64], nodes: Ints, after_ms: Ints, times: Ints, scratch: Ints) -> Labels:
        """The times from places (q,) up to the ancestors of their nodes, when `times` are those up.

        Place i is left by the nodes first[i] to first[i+1] of `nodes`, after `after_ms`. With the times down they are
        those from the ancestors to the places. `scratch` (n,) is written over.
        """
        at = self.rank[nodes]
        rows, bases, row_of = _chains(self.parent, first, at, scratch)
        label_first = np.zeros(len(bases) + 1, dtype=np.int64)
        np.cumsum(self.depth[bases], out=label_first[1:])
        ancestor, ms = np.empty(int(label_first[-1]), dtype=np.int32), np.empty(int(label_first[-1]), dtype=np.int32)
        _label(
            self.first, self.heads, self.parent, times, bases, row_of, at, after_ms, label_first, scratch, ancestor, ms
        )
        return Labels(rows, label_first, ancestor, ms)


def between(starts: Labels, ends: Labels) -> Ints:
    """The times (q, r) from each of q places to each of r; SHUT_MS where there is no way."""
    found = np.empty((len(starts.rows) - 1, len(ends.rows) - 1), dtype=np.int32)

    def some(part: slice) -> None:
        rows = starts.rows[part.start : part.stop + 1]
        _between(
            rows, starts.first, starts.ancestor, starts.ms, ends.rows, ends.first, ends.ancestor, ends.ms, found[part]
        )

    # For few pairs threads cost more than they save.
    in_chunks(some, len(found), _CHUNK if found.size > _MANY else max(len(found), 1))
    return found


def _undirected(network: Network) -> tuple[Ints, Ints]:
    """The neighbours of each node in either direction, each once."""
    count = network.nodes
    pair = np.concatenate([
        network.tail.astype(np.int64) * count + network.head,
        network.head.astype(np.int64) * count + network.tail,
    ])  # fmt: skip
    pair = np.unique(pair)
    pair = pair[pair // count != pair % count]
    first = np.searchsorted(pair, np.arange(count + 1, dtype=np.int64) * count)
    return first.astype(np.int32), (pair % count).astype(np.int32)


@njit(cache=True, nogil=True)
def _fill_in(order: Ints, rank: Ints, first: Ints, neighbours: Ints) -> tuple[Ints, Ints, Ints]:
    """The arcs to higher nodes in the chordal graph of an order, by rank, and the lowest head of each node.

    A node's heads are its own higher neighbours and those of its children in the elimination tree (as in a symbolic
    Cholesky factorisation; George and Liu 1981).
    """
    count = len(order)
    parent = np.full(count, -1, dtype=np.int32)
    child, sibling = np.full(count, -1, dtype=np.int32), np.full(count, -1, dtype=np.int32)
    up_first = np.zeros(count + 1, dtype=np.int32)
    heads = np.empty(4 * len(neighbours) + 16, dtype=np.int32)
    seen = np.full(count, -1, dtype=np.int32)
    total = 0
    for low in range(count):
        begin = total
        node = order[low]
        for arc in range(first[node], first[node + 1]):
            high = rank[neighbours[arc]]
            if high > low and seen[high] != low:
                seen[high] = low
                heads, total = _appended(heads, total, high)
        one = child[low]
        while one >= 0:
            for arc in range(up_first[one], up_first[one + 1]):
                high = heads[arc]
                if high > low and seen[high] != low:
                    seen[high] = low
                    heads, total = _appended(heads, total, high)
            one = sibling[one]
        heads[begin:total] = np.sort(heads[begin:total])
        up_first[low + 1] = total
        if total > begin:
            lowest = heads[begin]
            parent[low] = lowest
            sibling[low] = child[lowest]
            child[lowest] = low
    return up_first, heads[:total].copy(), parent


@njit(inline="always")
def _appended(array: Any, size: int, value: Any) -> Any:  # noqa: ANN401  (numba's)
    if size == len(array):
        longer = np.empty(2 * size, dtype=np.int32)
        longer[:size] = array
        array = longer
    array[size] = value
    return array, size + 1


@njit(cache=True, nogil=True)
def _positions(first: Ints, heads: Ints, tail: Ints, head: Ints) -> Ints:
    found = np.empty(len(tail), dtype=np.int32)
    for arc in range(len(tail)):
        low, high = min(tail[arc], head[arc]), max(tail[arc], head[arc])
        at = first[low] + np.searchsorted(heads[first[low] : first[low + 1]], high)
        found[arc] = at if tail[arc] < head[arc] else -1 - at
    return found


@njit(cache=True, nogil=True)
def _depths(parent: Ints) -> Ints:
    depth = np.ones(len(parent), dtype=np.int32)
    for node in range(len(parent) - 1, -1, -1):
        if parent[node] >= 0:
            depth[node] = depth[parent[node]] + 1
    return depth


@njit(cache=True, nogil=True)
def _customise(first: Ints, heads: Ints, position: Ints, ms: Ints, up: Ints, down: Ints) -> None:
    """The times of all arcs: the network's own, and over every lower node that both ends of an arc have."""
    up[:] = _SHUT
    down[:] = _SHUT
    for arc in range(len(position)):
        at = position[arc]
        if at >= 0:
            up[at] = min(up[at], ms[arc])
        else:
            down[-1 - at] = min(down[-1 - at], ms[arc])
    for node in range(len(first) - 1):
        for one in range(first[node], first[node + 1]):
            here = first[heads[one]]
            in_ms, out_ms = down[one], up[one]
            for two in range(one + 1, first[node + 1]):
                other = heads[two]
                while heads[here] != other:
                    here += 1
                up[here] = min(up[here], np.int32(in_ms + up[two]))
                down[here] = min(down[here], np.int32(down[two] + out_ms))


@njit(cache=True, nogil=True)
def _chains(
    parent: Ints, first: NDArray[np.int64], ranks: Ints, scratch: Ints
) -> tuple[NDArray[np.int64], Ints, NDArray[np.int64]]:
    """Sort the nodes of places into rows: in one stand the lowest and those of its ancestors that are nodes too.

    The ends of an edge are always in one: the higher is an ancestor of the lower.
    """
    rows = np.zeros(len(first), dtype=np.int64)
    bases, row_of = np.empty(len(ranks), dtype=np.int32), np.full(len(ranks), -1, dtype=np.int64)
    count = 0
    for place in range(len(first) - 1):
        begin, end = first[place], first[place + 1]
        left = end - begin
        while left > 0:
            base = np.int32(1 << 30)
            for at in range(begin, end):
                if row_of[at] < 0:
                    base = min(base, ranks[at])
                    scratch[ranks[at]] = -1
            node = base
            while node >= 0:
                if scratch[node] == -1:
                    scratch[node] = -2
                node = parent[node]
            for at in range(begin, end):
                if row_of[at] < 0 and scratch[ranks[at]] == -2:
                    row_of[at] = count
                    left -= 1
            for at in range(begin, end):
                scratch[ranks[at]] = 0
            bases[count] = base
            count += 1
        rows[place + 1] = count
    return rows, bases[:count].copy(), row_of


@njit(cache=True, nogil=True)
def _label(
    first: Ints, heads: Ints, parent: Ints, times: Ints, bases: Ints, row_of: NDArray[np.int64], ranks: Ints,
    after_ms: Ints, label_first: NDArray[np.int64], scratch: Ints, ancestor: Ints, ms: Ints,
) -> None:  # fmt: skip
    seed_order = np.argsort(row_of)
    seed = 0
    for row in range(len(bases)):
        # From the root down, so that what two places share stands at the beginning of both lists.
        node, last = bases[row], label_first[row + 1] - 1
        while node >= 0:
            ancestor[last] = node
            scratch[node] = _SHUT
            last -= 1
            node = parent[node]
        while seed < len(seed_order) and row_of[seed_order[seed]] == row:
            at = seed_order[seed]
            scratch[ranks[at]] = min(scratch[ranks[at]], after_ms[at])
            seed += 1
        for one in range(label_first[row + 1] - 1, label_first[row] - 1, -1):
            node = ancestor[one]
            time = scratch[node]
            ms[one] = time
            if time < _SHUT:
                for arc in range(first[node], first[node + 1]):
                    later = time + times[arc]
                    scratch[heads[arc]] = min(scratch[heads[arc]], later)


@njit(cache=True, nogil=True)
def _between(
    start_rows: NDArray[np.int64], start_first: NDArray[np.int64], start_ancestor: Ints, start_ms: Ints,
    end_rows: NDArray[np.int64], end_first: NDArray[np.int64], end_ancestor: Ints, end_ms: Ints, found: Ints,
) -> None:  # fmt: skip
    # A few starts at a time, so that their lists stay in the cache while those of the ends go by.
    for block in range(0, len(start_rows) - 1, _BLOCK):
        for end in range(len(end_rows) - 1):
            for start in range(block, min(block + _BLOCK, len(start_rows) - 1)):
                best = _SHUT
                for row in range(start_rows[start], start_rows[start + 1]):
                    begin = start_first[row]
                    length = start_first[row + 1] - begin
                    for column in range(end_rows[end], end_rows[end + 1]):
                        other = end_first[column]
                        low, high = 0, min(length, end_first[column + 1] - other)
                        while low < high:
                            middle = (low + high) // 2
                            if start_ancestor[begin + middle] == end_ancestor[other + middle]:
                                low = middle + 1
                            else:
                                high = middle
                        mine, its = start_ms[begin : begin + low], end_ms[other : other + low]
                        for at in range(low):
                            # Cast back at once: then the compiler works on eight sums at a time.
                            best = min(best, np.int32(mine[at] + its[at]))
                found[start, end] = best
