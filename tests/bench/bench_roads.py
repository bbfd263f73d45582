"""Roads: the nearest by travel time, matrix, closures, isochrones on the streets of Porto, next to graph libraries.

All read the same arcs and the same milliseconds, between nodes; each answer is compared with scipy's before anything is
timed. The peer with a limit doubles it until it has found enough.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import igraph
import networkit
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from layers.roads.building import build
from layers.roads.hierarchy import Hierarchy
from layers.roads.isochrone import Cells, area_of, reached
from layers.roads.network import Network
from layers.roads.osm import read_osm
from layers.roads.profiles import profile
from layers.roads.routing import Fleet, Router
from layers.roads.spots import Spots
from tests.bench.harness import Case, Figure, Measured, measure
from tests.shared_data import shared

__all__ = ["run"]

_EXTRACT = "porto/porto_portugal.osm.pbf"
_PACKAGES = ("scipy", "networkit", "igraph", "numba", "osmium")
_QUESTIONS, _MANY, _FEW, _MOST = 1000, 500, 12, 5
_LIMIT_MS, _MINUTES = 60_000.0, 15
_SLOW = 20


def run() -> list[Measured]:
    """Measure all cases."""
    path = shared(_EXTRACT)
    network = build(read_osm(path), profile("car"))
    router = Router(network, Hierarchy.of(network))
    router.customise()
    random = np.random.default_rng(1616)
    places = _at_nodes(network, random, _QUESTIONS)
    many, few = (_at_nodes(network, random, count) for count in (_MANY, _FEW))
    return [
        *_nearest(router, places, many, few),
        _matrix(router, places.where(np.arange(_MANY)), many),
        *_changing(router),
        *_isochrones(router, places),
        *_loading(path),
    ]


def _at_nodes(network: Network, random: np.random.Generator, count: int) -> Spots:
    """Places at the ends of two-way edges: they are left and reached by a node, after no time."""
    two_way = np.flatnonzero((network.ahead >= 0) & (network.back >= 0))
    # A node where turns are restricted has copies, and is reached by any of them.
    alone = (np.bincount(network.owner) == 1)[network.owner[network.tail[network.ahead[two_way]]]]
    two_way = two_way[alone]
    one_a_node = two_way[np.unique(network.tail[network.ahead[two_way]], return_index=True)[1]]
    edge = random.choice(one_a_node, count, replace=False).astype(np.int32)
    return Spots(edge, np.zeros(count), *np.zeros((3, count)))


def _nodes(network: Network, spots: Spots) -> NDArray[np.int32]:
    return network.tail[network.ahead[spots.edge]]


def _graph(network: Network) -> csr_array:
    """From each node to those from which it is reached."""
    ms = network.free_ms.astype(np.float64)
    return csr_array((ms, (network.head, network.tail)), shape=(network.nodes,) * 2)


def _each(ask: Callable[[int], object], count: int) -> tuple[float, float]:
    """Median and 95th percentile of single questions, microseconds."""
    for at in range(min(count, 50)):
        ask(at)
    times = []
    for at in range(count):
        started = time.perf_counter()
        ask(at)
        times.append(time.perf_counter() - started)
    half, most = np.percentile(times, (50, 95)) * 1e6
    return float(half), float(most)


def _nearest(router: Router, places: Spots, many: Spots, few: Spots) -> list[Measured]:
    network = router.network
    graph, asked = _graph(network), _nodes(network, places)
    answers: list[Measured] = []
    for spots, name, target in (
        (many, "5 nearest of 500", "<= 45 / 105 us"),
        (few, "5 nearest of 12", "p95 <= 120 us"),
    ):
        fleet, resources = router.fleet(spots), _nodes(network, spots)

        def doubling(at: int, resources: NDArray[np.int32] = resources) -> NDArray[np.float64]:
            limit = _LIMIT_MS
            while True:
                found = np.sort(dijkstra(graph, indices=asked[at], limit=limit)[resources])[:_MOST]
                if np.isfinite(found[-1]) or limit > 1e8:
                    return found
                limit *= 2

        def ours(at: int, fleet: Fleet = fleet) -> object:
            return router.nearest(places[at], fleet, _MOST)

        for at in range(0, _QUESTIONS, 10):
            assert [one.ms for one in router.nearest(places[at], fleet, _MOST)] == doubling(at).tolist()
        for who, ask, count in (("ours", ours, _QUESTIONS), ("scipy, limit doubled", doubling, _QUESTIONS // 5)):
            half, most = _each(ask, count)
            answers.append(Figure(f"{name}, one question: {who}, median", half, "us", target if who == "ours" else ""))
            answers.append(Figure(f"{name}, one question: {who}, 95th percentile", most, "us", ""))
        peers = {"scipy, limit doubled": lambda: [doubling(at) for at in range(_SLOW * 5)]}
        peers |= _libraries(network, asked, resources)
        answers.append(measure(Case(
            name, lambda: [ours(at) for at in range(_QUESTIONS)], peers, _QUESTIONS, "questions", target,
            {"scipy, limit doubled": _SLOW * 5, "networkit": _SLOW, "igraph": _SLOW}, _PACKAGES,
        )))  # fmt: skip
    return answers


def _libraries(
    network: Network, asked: NDArray[np.int32], resources: NDArray[np.int32]
) -> dict[str, Callable[[], object]]:
    """All nodes from a place, of which the nearest are taken: these libraries stop at no number of targets."""
    pairs = np.stack([network.head, network.tail], axis=1)
    other = igraph.Graph(n=network.nodes, edges=pairs.tolist(), directed=True)
    weights = network.free_ms.tolist()
    kit = networkit.GraphFromCoo(
        (network.free_ms.astype(np.float64), (network.head, network.tail)),
        n=network.nodes,
        weighted=True,
        directed=True,
    )
    wanted = resources.tolist()

    def with_igraph() -> object:
        return [sorted(other.distances(int(asked[at]), wanted, weights)[0])[:_MOST] for at in range(_SLOW)]

    def with_networkit() -> object:
        found = []
        for at in range(_SLOW):
            search = networkit.distance.Dijkstra(kit, int(asked[at]), storePaths=False)
            search.run()
            found.append(np.sort(np.asarray(search.getDistances())[wanted])[:_MOST])
        return found

    return {"networkit": with_networkit, "igraph": with_igraph}


def _matrix(router: Router, starts: Spots, ends: Spots) -> Measured:
    network = router.network
    graph, nodes, others = _graph(network), _nodes(network, ends), _nodes(network, starts)
    assert np.array_equal(router.matrix(starts, ends)[:, :5], dijkstra(graph, indices=nodes[:5])[:, others].T)
    peers = {"scipy": lambda: dijkstra(graph, indices=nodes[: _SLOW * 5])}
    return measure(Case(
        "matrix of 500 x 500", lambda: router.matrix(starts, ends), peers, _MANY, "rows", "<= 65 ms",
        {"scipy": _SLOW * 5}, _PACKAGES,
    ))  # fmt: skip


def _changing(router: Router) -> list[Measured]:
    traffic, network = router.traffic, router.network
    half = np.arange(0, network.edges, 2, dtype=np.int32)
    random = np.random.default_rng(1)
    factors = [random.uniform(0.3, 1.2, len(half)) for _ in range(2)]
    turn = iter(range(10_000))

    def retime() -> None:
        traffic.slow("probes", half, factors[next(turn) % 2])
        router.customise()

    def close(at: int) -> None:
        traffic.close(half[at : at + 1])

    closing, _ = _each(close, _QUESTIONS)
    name = "half of all edges re-timed, with the hierarchy"
    whole = measure(Case(name, retime, {}, 1, "cities", "<= 60 ms", packages=_PACKAGES))
    traffic.open(half[:50])
    traffic.open(half[:_QUESTIONS])
    traffic.forget("probes")
    router.customise()
    fleet = router.fleet(_at_nodes(network, random, _MANY))
    ours = lambda: router.table(fleet, _MOST)  # noqa: E731
    name = "5 nearest of 500 for every node"
    table = measure(Case(name, ours, {}, network.nodes, "nodes", "<= 65 ms", packages=_PACKAGES))
    return [Figure("one closure, seen by the next question", closing, "us", "<= 100 us"), whole, table]


def _isochrones(router: Router, places: Spots) -> list[Measured]:
    cells = Cells(router.network, 10)
    limit_ms = _MINUTES * 60_000

    def nodes(at: int) -> object:
        node = int(router.network.tail[router.network.ahead[places.edge[at]]])
        return router.reach(np.array([node], np.int32), np.zeros(1, np.int32), limit_ms)

    def polygon(at: int) -> object:
        return area_of(reached(router, Spots.one(places[at]), limit_ms, cells)[0], 10)

    found: list[Measured] = []
    for name, ask, target in (
        ("nodes", nodes, "<= 2,000 us"),
        (
            "cells (r10) with their times",
            lambda at: reached(router, Spots.one(places[at]), limit_ms, cells),
            "<= 10,000 us",
        ),
        ("area", polygon, "<= 30,000 us"),
    ):
        half, most = _each(ask, 100)
        found.append(Figure(f"isochrone of {_MINUTES} minutes: {name}, median", half, "us", target))
        found.append(Figure(f"isochrone of {_MINUTES} minutes: {name}, 95th percentile", most, "us", ""))
    return found


def _loading(path: Path) -> list[Measured]:
    """In a process of its own, whose memory can be told."""
    program = (
        "import time\nfrom pathlib import Path\nfrom layers.roads.building import build\n"
        "from layers.roads.osm import read_osm\nfrom layers.roads.profiles import profile\n"
        "began = time.perf_counter()\n"
        f"build(read_osm(Path({str(path)!r})), profile('car'))\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
        "print(time.perf_counter() - began, int(peak) / 1024)\n"
    )
    found = []
    for _ in range(5):
        said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        found.append([float(part) for part in said.stdout.split()])
    seconds, memory = np.median(found, axis=0)
    return [
        Figure("an extract (.osm.pbf, 3.2 MB) to a network: time", float(seconds) * 1000, "ms", "<= 4,000 ms"),
        Figure("an extract (.osm.pbf, 3.2 MB) to a network: peak memory", float(memory), "MB", "<= 200 MB"),
    ]
