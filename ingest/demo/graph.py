"""Small graph tools on arrays: connected components, the Delaunay family of neighbourhood graphs, shortest paths."""

import heapq
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest.demo.noise import Floats, Ints

__all__ = [
    "Adjacency",
    "Bools",
    "components",
    "delaunay",
    "gabriel_and_urquhart",
    "neighbours_of",
    "nodes_of",
    "shortest_path",
    "spanning_tree",
    "tree_flow",
]

Bools = NDArray[np.bool_]
Adjacency = list[list[tuple[int, int]]]


def components(count: int, a: Ints, b: Ints) -> Ints:
    """Connected components of an undirected graph: for every node the smallest node of its component, shape (count,).

    Hooking and pointer jumping on whole arrays (Shiloach and Vishkin 1982).
    """
    parent = np.arange(count)
    while True:
        low, high = np.minimum(parent[a], parent[b]), np.maximum(parent[a], parent[b])
        if np.array_equal(low, high):
            return parent
        np.minimum.at(parent, high, low)
        while not np.array_equal(jumped := parent[parent], parent):
            parent = jumped


def nodes_of(ends: Floats) -> tuple[Ints, int]:
    """Number the distinct positions among (n, 2): node of each position, and how many nodes there are.

    Positions are one node only when they are equal to the last bit.
    """
    _, node = np.unique(ends[:, 0] + 1j * ends[:, 1], return_inverse=True)
    return node, int(node.max()) + 1 if node.size else 0


def delaunay(xy: Floats) -> Ints:
    """Triangles of the Delaunay triangulation as indexes into `xy` (n, 2), shape (t, 3). Positions must be distinct."""
    triangles = shapely.get_parts(shapely.delaunay_triangles(shapely.multipoints(xy)))
    corners = shapely.get_coordinates(triangles).reshape(-1, 4, 2)[:, :3]
    key = xy[:, 0] + 1j * xy[:, 1]
    order = np.argsort(key)
    return order[np.searchsorted(key[order], corners[..., 0] + 1j * corners[..., 1])]


def gabriel_and_urquhart(xy: Floats) -> tuple[Ints, Bools, Bools]:
    """Delaunay edges (e, 2) of positions (n, 2), and which of them are in the Gabriel and in the Urquhart graph.

    Gabriel: no other position in the circle over the edge; Urquhart: not the longest edge of a triangle. Both hold the
    minimum spanning tree and cross nowhere.
    """
    triangle = delaunay(xy)
    sides = np.stack([triangle[:, [1, 2]], triangle[:, [2, 0]], triangle[:, [0, 1]]], axis=1)
    length2 = ((xy[sides[..., 0]] - xy[sides[..., 1]]) ** 2).sum(-1)
    obtuse = length2 > length2.sum(1, keepdims=True) - length2
    longest = length2 == length2.max(1, keepdims=True)
    flat = np.sort(sides.reshape(-1, 2), axis=1)
    edges, edge = np.unique(flat, axis=0, return_inverse=True)
    not_gabriel = np.bincount(edge.ravel(), weights=obtuse.ravel(), minlength=len(edges)) > 0
    not_urquhart = np.bincount(edge.ravel(), weights=longest.ravel(), minlength=len(edges)) > 0
    return edges, ~not_gabriel, ~not_urquhart


def neighbours_of(count: int, edges: Ints) -> Adjacency:
    """For every node its (neighbour, edge) pairs, of undirected edges (e, 2)."""
    found: Adjacency = [[] for _ in range(count)]
    for index, (a, b) in enumerate(edges.tolist()):
        found[a].append((b, index))
        found[b].append((a, index))
    return found


def shortest_path(neighbours: Adjacency, cost: Sequence[float], start: int, goal: int) -> list[int]:
    """The edges of the cheapest path, in order (Dijkstra 1959); empty when there is none or start is the goal."""
    best = {start: 0.0}
    came: dict[int, tuple[int, int]] = {}
    queue = [(0.0, start)]
    while queue:
        reached, node = heapq.heappop(queue)
        if node == goal:
            break
        if reached > best[node]:
            continue
        for other, edge in neighbours[node]:
            total = reached + cost[edge]
            if total < best.get(other, np.inf):
                best[other] = total
                came[other] = (node, edge)
                heapq.heappush(queue, (total, other))
    path: list[int] = []
    while goal in came and goal != start:
        goal, edge = came[goal]
        path.append(edge)
    return path[::-1]


def tree_flow(neighbours: Adjacency, cost: Sequence[float], sources: Sequence[int], edges: int) -> Ints:
    """How many nodes reach their nearest source over each edge (edges,): a shortest-path forest from many sources."""
    best = dict.fromkeys(sources, 0.0)
    came: dict[int, tuple[int, int]] = {}
    queue = [(0.0, source) for source in sources]
    order: list[int] = []
    while queue:
        reached, node = heapq.heappop(queue)
        if reached > best[node]:
            continue
        order.append(node)
        for other, edge in neighbours[node]:
            total = reached + cost[edge]
            if total < best.get(other, np.inf):
                best[other] = total
                came[other] = (node, edge)
                heapq.heappush(queue, (total, other))
    load = [1] * len(neighbours)
    flow = np.zeros(edges, dtype=np.int64)
    for node in reversed(order):
        if node in came:
            parent, edge = came[node]
            flow[edge] += load[node]
            load[parent] += load[node]
    return flow


def spanning_tree(count: int, edges: Ints, cost: Floats) -> Bools:
    """Which edges (e, 2) are in the minimum spanning forest (Kruskal 1956); edges of infinite cost never are."""
    root = list(range(count))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    chosen = np.zeros(len(edges), dtype=np.bool_)
    for index in np.argsort(cost, kind="stable").tolist():
        if not np.isfinite(cost[index]):
            break
        a, b = find(int(edges[index, 0])), find(int(edges[index, 1]))
        if a != b:
            root[a] = b
            chosen[index] = True
    return chosen
