"""Turn restrictions as a plain directed graph: where it matters by which way one came, a node has a copy for each.

A restriction forbids a sequence of arcs. The copies are the states of the automaton that finds such sequences (Aho and
Corasick 1975): one for each beginning of a forbidden sequence, in which the arcs that would complete one are missing.
So restrictions over a node and over several ways are one thing, overlap as they like, and every library can search the
graph that comes out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.roads.ways import Restriction

__all__ = ["Arcs", "Exploded", "explode"]

Ints = NDArray[np.int64]
Sequence = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arcs:
    """Arcs (m,) between nodes: `tail` to `head`, the way of each, and the arc of the other direction, -1 for none."""

    tail: Ints
    head: Ints
    way: Ints
    opposite: Ints


@dataclass(frozen=True, slots=True)
class Exploded:
    """The graph after restrictions.

    `tail`, `head`, `arc` (a,): the arcs, and which of the given ones each is; the given ones come first, in order.
    `owner` (n,): of each node the given node that it is or copies. `used`: restrictions that forbid something.
    """

    tail: Ints
    head: Ints
    arc: Ints
    owner: Ints
    used: int


def explode(arcs: Arcs, nodes: int, restrictions: Iterable[Restriction], node_of: Mapping[int, int]) -> Exploded:
    """Apply restrictions to a graph of `nodes` nodes. `node_of`: the source's number of a node to the graph's."""
    around = _Around(arcs, restrictions, node_of)
    forbidden: set[Sequence] = set()
    used = 0
    for one in around.restrictions:
        found = set(around.forbidden(one))
        used += bool(found)
        forbidden |= found
    states = {sequence[:length] for sequence in forbidden for length in range(1, len(sequence))}
    number = {state: nodes + at for at, state in enumerate(sorted(states))}
    head = arcs.head.copy()
    for state, node in number.items():
        if len(state) == 1:
            head[state[0]] = node
    tails, heads, kinds = [], [], []
    for state, node in number.items():
        for arc in around.leaving(int(arcs.head[state[-1]])):
            longer = (*state, arc)
            endings = [longer[begin:] for begin in range(len(longer))]
            if any(ending in forbidden for ending in endings):
                continue
            tails.append(node)
            heads.append(next((number[one] for one in endings if one in number), int(arcs.head[arc])))
            kinds.append(arc)
    owner = np.concatenate([np.arange(nodes), np.array([arcs.head[state[-1]] for state in number], dtype=np.int64)])
    return Exploded(
        np.concatenate([arcs.tail, np.array(tails, dtype=np.int64)]),
        np.concatenate([head, np.array(heads, dtype=np.int64)]),
        np.concatenate([np.arange(len(head)), np.array(kinds, dtype=np.int64)]),
        owner,
        used,
    )


class _Around:
    """The arcs around the nodes and on the ways that restrictions name."""

    def __init__(self, arcs: Arcs, restrictions: Iterable[Restriction], node_of: Mapping[int, int]) -> None:
        self._arcs = arcs
        self.restrictions = list(restrictions)
        self._node_of = node_of
        named = {way for one in self.restrictions for way in (one.start, one.end, *(one.via if one.via_ways else ()))}
        on_named = np.flatnonzero(np.isin(arcs.way, np.fromiter(named, dtype=np.int64, count=len(named))))
        self._on: defaultdict[int, list[int]] = defaultdict(list)
        for arc in on_named.tolist():
            self._on[int(arcs.way[arc])].append(arc)
        order = np.argsort(arcs.tail, kind="stable")
        self._order, self._tails = order, arcs.tail[order]

    def leaving(self, node: int) -> list[int]:
        """The arcs that leave a node."""
        low, high = np.searchsorted(self._tails, (node, node + 1))
        return self._order[low:high].tolist()

    def forbidden(self, one: Restriction) -> Iterable[Sequence]:
        """The sequences of arcs that a restriction forbids."""
        arcs = self._arcs
        for begun in self._begun(one):
            node = int(arcs.head[begun[-1]])
            back = int(arcs.opposite[begun[-1]])
            for arc in self.leaving(node):
                is_end = int(arcs.way[arc]) == one.end and (not one.u_turn or arc == back)
                # Where a way ends and begins at the node, a restriction of turns does not mean the way back on it.
                turns_back = arc == back and one.start == one.end and not one.u_turn
                if (one.kind == "no" and is_end and not turns_back) or (one.kind == "only" and not is_end):
                    yield (*begun, arc)
        if one.kind == "only" and one.via_ways:
            yield from self._astray(one)

    def _begun(self, one: Restriction) -> list[Sequence]:
        """The sequences that lead from the first way to where the last may be entered."""
        arcs = self._arcs
        starts = [(arc,) for arc in self._on[one.start]]
        if not one.via_ways:
            via = self._node_of.get(one.via[0], -1)
            return [start for start in starts if arcs.head[start[0]] == via]
        begun: list[Sequence] = starts
        for way in one.via:
            begun = [longer for start in begun for longer in self._along(start, way)]
        ends = {int(arcs.tail[arc]) for arc in self._on[one.end]}
        return [sequence for sequence in begun if int(arcs.head[sequence[-1]]) in ends]

    def _along(self, begun: Sequence, way: int) -> Iterable[Sequence]:
        """A sequence, gone on along a way to each of the nodes on it."""
        arcs = self._arcs
        ahead = [begun]
        while ahead:
            sequence = ahead.pop()
            for arc in self._on[way]:
                if arcs.tail[arc] == arcs.head[sequence[-1]] and arc != arcs.opposite[sequence[-1]]:
                    longer = (*sequence, arc)
                    if len(longer) <= len(begun) + len(self._on[way]):
                        yield longer
                        ahead.append(longer)

    def _astray(self, one: Restriction) -> Iterable[Sequence]:
        """Where only one path is allowed, what leaves the first way for another than the first of that path."""
        arcs = self._arcs
        wanted = set(self._on[one.via[0]])
        for start in self._on[one.start]:
            leaving = self.leaving(int(arcs.head[start]))
            if wanted & set(leaving):
                yield from ((start, arc) for arc in leaving if arc not in wanted)
