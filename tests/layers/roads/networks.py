"""Networks for tests: drawn by hand, grids with some streets missing, real ones; and oracles that share no code."""

import heapq
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from layers.roads.building import build
from layers.roads.network import SHUT_MS, Network
from layers.roads.osm import read_osm
from layers.roads.profiles import class_speed_kmh, profile
from layers.roads.routing import Router
from layers.roads.spots import Spots
from layers.roads.ways import Barrier, Restriction, Ways

CLASSES = list(class_speed_kmh())
STEP_DEG = 0.001
BOTH, ALL = 7, 7
REAL = ("porto/porto_portugal.osm.pbf", "porto_alegre/poa_osm.pbf")


def drawn(
    lines: Sequence[Sequence[int]],
    at: dict[int, tuple[float, float]],
    *,
    one_way: Iterable[int] = (),
    road_class: str = "residential",
    restrictions: Sequence[Restriction] = (),
    barriers: Sequence[Barrier] = (),
    names: Sequence[str | None] | None = None,
    stakes: Sequence[tuple[float, float]] | None = None,
) -> Ways:
    """Ways along nodes; `at` is where each node lies, in steps of about 100 m from 117 degrees east, 35 north."""
    first = np.cumsum([0, *map(len, lines)])
    node = np.array([one for line in lines for one in line], dtype=np.int64)
    back = np.full(len(lines), BOTH, dtype=np.uint8)
    back[list(one_way)] = 4  # on foot
    unknown = np.full(len(lines), np.nan)
    km = np.array(stakes if stakes is not None else [(np.nan, np.nan)] * len(lines), dtype=np.float64)
    return Ways(
        first, node, np.array([117 + STEP_DEG * at[one][0] for one in node]),
        np.array([35 + STEP_DEG * at[one][1] for one in node]), np.full(len(lines), BOTH, np.uint8), back, CLASSES,
        np.full(len(lines), CLASSES.index(road_class)), unknown, unknown.copy(), unknown.copy(), unknown.copy(),
        [f"r{k}" for k in range(len(lines))], list(names or [None] * len(lines)), [None] * len(lines), *km.T,
        restrictions=list(restrictions), barriers=list(barriers),
    )  # fmt: skip


def grid(size: int, seed: int, missing: float = 0.15, one_way: float = 0.2) -> Ways:
    """Streets of `size` x `size` crossings, bent and of various speeds; some are missing, some go one way only."""
    random = np.random.default_rng(seed)
    at = {k: (k % size + random.normal(0, 0.15), k // size + random.normal(0, 0.15)) for k in range(size * size)}
    lines = [(k, k + 1) for k in at if k % size < size - 1] + [(k, k + size) for k in at if k // size < size - 1]
    lines = [line for line in lines if random.random() > missing]
    ways = drawn(lines, at, one_way=np.flatnonzero(random.random(len(lines)) < one_way).tolist())
    ways.road_class[:] = random.integers(0, CLASSES.index("residential") + 1, len(lines))
    return ways


@cache
def real(path: Path, name: str = "car") -> Network:
    """The network of an extract, made once a test process."""
    return build(read_osm(path), profile(name))


def distances(router: Router, nodes: Sequence[int], ms: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
    """Times (q, n) from nodes to all nodes by scipy's Dijkstra under the router's traffic; SHUT_MS where no way is."""
    network = router.network
    times = router.traffic.ms if ms is None else ms
    kept = times < SHUT_MS
    graph = csr_array(
        (times[kept].astype(np.float64), (network.tail[kept], network.head[kept])), shape=(network.nodes,) * 2
    )
    assert graph.nnz == kept.sum(), "two arcs between the same nodes"
    found = dijkstra(graph, indices=np.asarray(nodes))
    return np.where(np.isfinite(found), found, SHUT_MS).astype(np.int64)


def times_between(router: Router, starts: Spots, ends: Spots) -> NDArray[np.int64]:
    """Times (q, r) between spots on open edges, by scipy: the oracle of nearest, matrix and hierarchy."""
    network, ms = router.network, router.traffic.ms
    on = {int(e): np.flatnonzero(network.edge == e) for e in {*starts.edge.tolist(), *ends.edge.tolist()}}
    leaving = [
        [(int(network.head[a]), round((1 - passed(network, a, float(share))) * int(ms[a]))) for a in on[int(edge)]]
        for edge, share in zip(starts.edge, starts.share, strict=True)
    ]
    reaching = [
        [(int(network.tail[a]), round(passed(network, a, float(share)) * int(ms[a]))) for a in on[int(edge)]]
        for edge, share in zip(ends.edge, ends.share, strict=True)
    ]
    nodes = sorted({node for some in leaving for node, _ in some})
    row = {node: k for k, node in enumerate(nodes)}
    dist = distances(router, nodes)
    found = np.full((len(starts), len(ends)), SHUT_MS, dtype=np.int64)
    for i, j, u, after, v, before in _combined(leaving, reaching, row):
        np.minimum.at(found, (i, j), dist[u, v] + after + before)
    for i, j in zip(*np.nonzero(starts.edge[:, None] == ends.edge[None, :]), strict=True):
        for a in on[int(starts.edge[i])]:
            ahead = passed(network, a, float(ends.share[j])) - passed(network, a, float(starts.share[i]))
            if ahead >= 0:
                found[i, j] = min(found[i, j], round(ahead * int(ms[a])))
    return np.minimum(found, SHUT_MS)


def _combined(leaving: list, reaching: list, row: dict[int, int]) -> Iterable[tuple[np.ndarray, ...]]:
    """All pairs of ways out of a start and ways into an end, as arrays."""
    out = np.array([(i, row[node], after) for i, some in enumerate(leaving) for node, after in some])
    into = np.array([(j, node, before) for j, some in enumerate(reaching) for node, before in some])
    for i, u, after in out:
        yield (np.full(len(into), i), into[:, 0], np.full(len(into), u), after, into[:, 1], into[:, 2])


def passed(network: Network, arc: int, share: float) -> float:
    """The share of an arc that lies behind a share of its edge."""
    return 1 - share if network.against[arc] else share


def some_spots(network: Network, count: int, random: np.random.Generator) -> Spots:
    """Spots anywhere on a network."""
    edge = random.integers(0, network.edges, count).astype(np.int32)
    unused = np.zeros(count)
    return Spots(edge, random.random(count), unused, unused, unused)


def walk_times(arcs: Sequence[tuple[int, int, int]], forbidden: set[tuple[int, ...]], start: int) -> dict[int, int]:
    """Times to nodes from `start` over arcs (tail, head, ms), along no forbidden sequence of arcs.

    The oracle of turn restrictions: a search over (node, the last arcs), with no automaton.
    """
    longest = max(map(len, forbidden), default=1)
    best: dict[int, int] = {}
    seen: set[tuple[int, tuple[int, ...]]] = set()
    queue: list[tuple[int, int, tuple[int, ...]]] = [(0, start, ())]
    while queue:
        time, node, last = heapq.heappop(queue)
        if (node, last) in seen:
            continue
        seen.add((node, last))
        best.setdefault(node, time)
        for arc, (tail, head, ms) in enumerate(arcs):
            longer = (*last, arc)
            if tail == node and not any(longer[k:] in forbidden for k in range(len(longer))):
                heapq.heappush(queue, (time + ms, head, longer[-(longest - 1) :] if longest > 1 else ()))
    return best
