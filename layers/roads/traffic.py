"""Traffic: what the arcs of a network take now. Closures and speeds come and go, and each is visible at once."""

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from layers.roads.network import SHUT_MS, Network

__all__ = ["Traffic"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Answer = TypeVar("Answer")


class Traffic:
    """The travel times on a network under all closures and speeds that hold.

    `ms` (m,): what each arc takes, SHUT_MS where it is closed. `forth` (2m,): (head, ms) pairs of the arcs; `home`
    (2m,): (tail, ms) pairs of the arcs of the reverse graph, whose rows `home_first` (n+1,) counts. They change in
    place; `consistent` gives an answer that no change cut in two. `number` grows with every change. `open_ms` (m,): as
    if nothing was closed. `edge_first` (e+1,), `edge_arcs`: all arcs along each edge. `home_arc` (m,): the arcs in the
    order of the reverse graph.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.number = 0
        self._changing = threading.Lock()
        self.ms: Ints = network.free_ms.copy()
        # Times as if nothing was closed: by them one leaves a closure, or comes to an incident within.
        self.open_ms: Ints = network.free_ms.copy()
        self._speeds: dict[str, Floats] = {}
        self._closed: NDArray[np.int16] = np.zeros(network.edges, dtype=np.int16)
        order = np.lexsort((network.tail, network.head))
        self.home_arc: Ints = order.astype(np.int32)
        self._home_at: Ints = np.empty_like(self.home_arc)
        self._home_at[order] = np.arange(network.arcs, dtype=np.int32)
        counts = np.bincount(network.head, minlength=network.nodes)
        self.home_first: Ints = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self.forth, self.home = np.empty(2 * network.arcs, np.int32), np.empty(2 * network.arcs, np.int32)
        self.forth[0::2], self.home[0::2] = network.head, network.tail[order]
        self.forth[1::2], self.home[1::2] = self.ms, self.ms[order]
        by_edge = np.argsort(network.edge, kind="stable")
        self.edge_arcs: Ints = by_edge.astype(np.int32)
        self.edge_first: Ints = np.searchsorted(network.edge[by_edge], np.arange(network.edges + 1)).astype(np.int32)

    def is_closed(self, edges: Ints) -> NDArray[np.bool_]:
        """Whether edges (q,) are closed."""
        return self._closed[edges] > 0

    def is_closed_edge(self, edge: int) -> bool:
        """Whether one edge is closed."""
        return bool(self._closed[edge] > 0)

    def close(self, edges: Ints) -> None:
        """Close edges (q,), each named once. Those closed twice have to be opened twice."""
        self._closed[edges] += 1
        self._write(edges)

    def open(self, edges: Ints) -> None:
        """Undo one closing of edges (q,)."""
        self._closed[edges] -= 1
        self._write(edges)

    def slow(self, source: str, edges: Ints, factor: Floats) -> None:
        """Let `source` say that edges (q,) are driven at `factor` (q,) of the usual speed.

        What it said of other edges stays. Where several sources speak, their factors are multiplied.
        """
        said = self._speeds.setdefault(source, np.ones(self.network.edges))
        said[edges] = factor
        self._retime(edges)

    def forget(self, source: str) -> None:
        """Undo all that `source` has said of speeds."""
        said = self._speeds.pop(source, None)
        if said is not None:
            self._retime(np.flatnonzero(said != 1.0).astype(np.int32))

    def factor(self, edges: Ints) -> Floats:
        """The share of its usual speed at which each of edges (q,) is driven."""
        found = np.ones(len(edges))
        for said in self._speeds.values():
            found *= said[edges]
        return found

    def consistent(self, ask: Callable[[], Answer]) -> tuple[Answer, int]:
        """The answer of `ask` under one state of the network, and the number of that; asked again where it changed."""
        while True:
            before = self.number
            answer = ask()
            if before % 2 == 0 and self.number == before:
                return answer, before

    def _retime(self, edges: Ints) -> None:
        arcs = _all_arcs(self.edge_first, self.edge_arcs, edges)
        usual = self.network.free_ms[arcs]
        slowed = np.rint(usual / np.repeat(self.factor(edges), np.diff(self.edge_first)[edges]))
        self.open_ms[arcs] = np.clip(slowed, 1, SHUT_MS - 1).astype(np.int32)
        self._write(edges)

    def _write(self, edges: Ints) -> None:
        # Odd while it changes: who asks meanwhile asks again.
        with self._changing:
            self.number += 1
            _write(edges, self.edge_first, self.edge_arcs, self._closed, self.open_ms, self._home_at, self.ms,
                   self.forth, self.home)  # fmt: skip
            self.number += 1


@njit(cache=True, nogil=True)
def _all_arcs(first: Ints, arcs: Ints, edges: Ints) -> Ints:
    count = 0
    for edge in edges:
        count += first[edge + 1] - first[edge]
    found = np.empty(count, dtype=np.int32)
    at = 0
    for edge in edges:
        for one in range(first[edge], first[edge + 1]):
            found[at] = arcs[one]
            at += 1
    return found


@njit(cache=True, nogil=True)
def _write(
    edges: Ints, first: Ints, arcs: Ints, closed: NDArray[np.int16], open_ms: Ints, home_at: Ints, ms: Ints,
    forth: Ints, home: Ints,
) -> None:  # fmt: skip
    """Write what the arcs of edges take into all three arrays."""
    for edge in edges:
        for one in range(first[edge], first[edge + 1]):
            arc = arcs[one]
            ms[arc] = SHUT_MS if closed[edge] > 0 else open_ms[arc]
            forth[2 * arc + 1] = ms[arc]
            home[2 * home_at[arc] + 1] = ms[arc]
