"""From ways to a network: where lines meet is a node, what lies between two is an edge, each direction of it an arc."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from layers.roads.network import SHUT_MS, Network, Report
from layers.roads.profiles import Profile
from layers.roads.turns import Arcs, Exploded, explode
from layers.roads.ways import Ways
from twin.errors import SourceError

__all__ = ["build"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FEW = 20
_LOOP_PARTS = 3
_SEMI_MAJOR_M, _ECCENTRICITY2 = 6378137.0, 0.00669438002290  # GRS 80, of CGCS2000 and, within 0.1 mm, of WGS 84


def build(ways: Ways, profile: Profile) -> Network:
    """The network on which `profile` travels. Raises SourceError when no two places are connected on it.

    Kept is the largest part in which every node reaches every other; the report says what was left out.
    """
    drawn = _drawn(ways, profile)
    ends, drawn = _simple(drawn)
    nodes, node = np.unique(ends, return_inverse=True)
    tail_of, head_of = node.reshape(-1, 2).T.astype(np.int64)
    arcs, edge, against = _arcs(drawn, tail_of, head_of, profile, ways)
    mine = [one for one in ways.restrictions if one.modes & profile.bit]
    via = {node for one in mine if not one.via_ways for node in one.via}
    exploded = explode(arcs, len(nodes), mine, {name: at for at, name in enumerate(nodes.tolist()) if name in via})
    graph, pieces = _largest(_Graph.of(exploded, edge, against, _positions(drawn, tail_of, head_of)), profile)
    there = np.unique(graph.edge)
    return _written(ways, profile, drawn, graph, _report(ways, drawn, there, len(mine), exploded.used, pieces, graph))


@dataclass(slots=True)
class _Drawn:
    """The vertices of the ways that may be travelled, and where they are cut into edges.

    `node`, `lon`, `lat`, `way` (v,); `onward` (v,): as `node`, but of a vertex that cannot be passed the place behind
    it. `starts`, `ends` (e,): the first and the last vertex of each edge.
    """

    node: Ints
    onward: Ints
    lon: Floats
    lat: Floats
    way: Ints
    starts: Ints
    ends: Ints
    too_small: int
    barriers: int


@dataclass(frozen=True, slots=True)
class _Graph:
    """Arcs (m,) and nodes (n,): of each arc its edge and direction; of each node its place and whether it is a copy."""

    tail: Ints
    head: Ints
    edge: Ints
    against: Bools
    lon: Floats
    lat: Floats
    owner: Ints
    is_copy: Bools

    @classmethod
    def of(cls, exploded: Exploded, edge: Ints, against: Bools, xy: Floats) -> "_Graph":
        owner, arc = exploded.owner, exploded.arc
        return cls(exploded.tail, exploded.head, edge[arc], against[arc], xy[owner, 0], xy[owner, 1], owner,
                   np.arange(len(owner)) >= len(xy))  # fmt: skip


def _drawn(ways: Ways, profile: Profile) -> _Drawn:
    """Cut what may be travelled where lines meet."""
    open_to = ((ways.ahead | ways.back) & profile.bit) != 0
    fits = profile.fits(ways)
    kept = np.flatnonzero(open_to & fits)
    counts = np.diff(ways.first)[kept]
    vertex = np.repeat(ways.first[kept] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    way = np.repeat(kept, counts)
    node, lon, lat = ways.node[vertex], ways.lon[vertex], ways.lat[vertex]
    # A vertex said twice is one; a way that turns back to where it was a moment ago still has an end there.
    double = np.zeros(len(node), dtype=np.bool_)
    double[1:] = (node[1:] == node[:-1]) & (way[1:] == way[:-1])
    way, node, lon, lat = way[~double], node[~double], lon[~double], lat[~double]
    barred = _barred(node, ways, profile)
    barriers = len(np.unique(node[barred]))
    begins, finishes = _ends(way)
    used = np.unique(node, return_inverse=True)[1]
    is_cut = (np.bincount(used)[used] > 1) | begins | finishes | barred
    # Each occurrence of what cannot be passed is a place of its own, and so is what lies behind it.
    onward = node.copy()
    beyond = node.min(initial=0) - 1 - np.arange(2 * barred.sum())
    node[barred], onward[barred] = beyond.reshape(2, -1)
    starts, ends = np.flatnonzero(is_cut & ~finishes), np.flatnonzero(is_cut & ~begins)
    return _Drawn(node, onward, lon, lat, way, starts, ends, int((open_to & ~fits).sum()), barriers)


def _ends(way: Ints) -> tuple[Bools, Bools]:
    """Which vertices are the first and the last of their way."""
    begins, finishes = np.ones(len(way), dtype=np.bool_), np.ones(len(way), dtype=np.bool_)
    begins[1:] = way[1:] != way[:-1]
    finishes[:-1] = begins[1:]
    return begins, finishes


def _barred(node: Ints, ways: Ways, profile: Profile) -> Bools:
    """Which vertices cannot be passed."""
    shut = [
        one.node
        for one in ways.barriers
        if one.modes & profile.bit or (profile.height_m is not None and one.height_m < profile.height_m)
    ]
    return np.isin(node, np.array(shut, dtype=np.int64))


def _simple(drawn: _Drawn) -> tuple[Ints, _Drawn]:
    """The nodes of each edge (e, 2), with loops cut in three and the further edges between two nodes in two.

    So there is at most one arc from a node to another. Of straight lines that lie upon each other the first is kept.
    """
    node, onward, starts, ends = drawn.node, drawn.onward, drawn.starts, drawn.ends
    pairs = np.sort(np.stack([onward[starts], node[ends]], axis=1), axis=1)
    loop = pairs[:, 0] == pairs[:, 1]
    _, group = np.unique(pairs, axis=0, return_inverse=True)
    group = group.ravel()
    order = np.lexsort((ends - starts, group))
    again = np.zeros(len(group), dtype=np.bool_)
    again[order[1:]] = group[order[1:]] == group[order[:-1]]
    room = ends - starts
    gone = (again & ~loop & (room < 2)) | (loop & (room < _LOOP_PARTS))
    halved = np.flatnonzero(again & ~loop & ~gone)
    thirds = np.flatnonzero(loop & ~gone)
    cuts = np.concatenate([
        starts[halved] + room[halved] // 2,
        starts[thirds] + room[thirds] // _LOOP_PARTS,
        starts[thirds] + 2 * room[thirds] // _LOOP_PARTS,
    ])  # fmt: skip
    starts = np.sort(np.concatenate([starts[~gone], cuts]))
    ends = np.sort(np.concatenate([ends[~gone], cuts]))
    drawn.starts, drawn.ends = starts, ends
    return np.stack([onward[starts], node[ends]], axis=1), drawn


def _arcs(drawn: _Drawn, tail_of: Ints, head_of: Ints, profile: Profile, ways: Ways) -> tuple[Arcs, Ints, Bools]:
    """The arcs of all edges: those along the lines first, then those against them."""
    way = drawn.way[drawn.starts]
    along = np.flatnonzero(ways.ahead[way] & profile.bit)
    against = np.flatnonzero(ways.back[way] & profile.bit)
    edge = np.concatenate([along, against])
    arc_along, arc_against = (np.full(len(way), -1, dtype=np.int64) for _ in range(2))
    arc_along[along] = np.arange(len(along))
    arc_against[against] = len(along) + np.arange(len(against))
    arcs = Arcs(
        np.concatenate([tail_of[along], head_of[against]]),
        np.concatenate([head_of[along], tail_of[against]]),
        way[edge],
        np.concatenate([arc_against[along], arc_along[against]]),
    )
    return arcs, edge, np.arange(len(edge)) >= len(along)


def _positions(drawn: _Drawn, tail_of: Ints, head_of: Ints) -> Floats:
    """Longitude and latitude (n, 2) of the nodes."""
    xy = np.empty((int(max(tail_of.max(), head_of.max())) + 1, 2))
    for node, vertex in ((tail_of, drawn.starts), (head_of, drawn.ends)):
        xy[node, 0], xy[node, 1] = drawn.lon[vertex], drawn.lat[vertex]
    return xy


def _largest(graph: _Graph, profile: Profile) -> tuple[_Graph, int]:
    """The largest part in which all nodes reach each other, and how many parts there are.

    Its nodes follow each other along a curve that fills the plane, so that what is near in the city is near in memory.
    """
    nodes = len(graph.owner)
    links = csr_array((np.ones(len(graph.tail), np.int8), (graph.tail, graph.head)), shape=(nodes, nodes))
    pieces, piece = connected_components(links, connection="strong")
    kept = piece == np.bincount(piece).argmax()
    inside = kept[graph.tail] & kept[graph.head]
    if not inside.any():
        raise SourceError(
            f"no two places are connected for {profile.id}.", remedy="See whether lines that meet share a vertex."
        )
    order = _along_a_curve(graph.lon, graph.lat)
    order = order[kept[order]]
    number = np.full(nodes, -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    tail, head = number[graph.tail[inside]], number[graph.head[inside]]
    by_tail = np.lexsort((head, tail))
    place = np.unique(graph.owner[order], return_inverse=True)[1]
    return _Graph(
        tail[by_tail], head[by_tail], graph.edge[inside][by_tail], graph.against[inside][by_tail], graph.lon[order],
        graph.lat[order], place, graph.is_copy[order],
    ), int(pieces)  # fmt: skip


def _along_a_curve(lon: Floats, lat: Floats) -> Ints:
    """The order of points along a Z-order curve (Morton 1966)."""
    spread = np.zeros(len(lon), dtype=np.uint64)
    for shift, values in enumerate((lon, lat)):
        width = float(np.ptp(values)) or 1.0
        bits = ((values - values.min()) / width * 0xFFFF).astype(np.uint64)
        for step, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
            bits = (bits | (bits << np.uint64(step))) & np.uint64(mask)
        spread |= bits << np.uint64(shift)
    return np.argsort(spread, kind="stable")


def _along_m(drawn: _Drawn) -> Floats:
    """How far along its way each vertex lies, in metres on the ellipsoid, by its radii of curvature at each step.

    Counted on from way to way; only differences within one mean something.
    """
    middle = np.radians((drawn.lat[1:] + drawn.lat[:-1]) / 2)
    root = 1 - _ECCENTRICITY2 * np.sin(middle) ** 2
    north = np.radians(np.diff(drawn.lat)) * _SEMI_MAJOR_M * (1 - _ECCENTRICITY2) / root**1.5
    east = np.radians(np.diff(drawn.lon)) * _SEMI_MAJOR_M / np.sqrt(root) * np.cos(middle)
    step = np.where(drawn.way[1:] == drawn.way[:-1], np.hypot(east, north), 0.0)
    return np.concatenate([[0.0], np.cumsum(step)])


def _written(ways: Ways, profile: Profile, drawn: _Drawn, graph: _Graph, report: Report) -> Network:
    there, edge = np.unique(graph.edge, return_inverse=True)
    starts, ends = drawn.starts[there], drawn.ends[there]
    counts = ends - starts + 1
    shape_first = np.concatenate([[0], np.cumsum(counts)])
    vertex = np.repeat(starts - shape_first[:-1], counts) + np.arange(shape_first[-1])
    metres = _along_m(drawn)
    length_m = metres[ends] - metres[starts]
    kept, way = np.unique(drawn.way[starts], return_inverse=True)
    speed_kmh = profile.speed_kmh(ways)[kept]
    free_ms = np.clip(np.rint(length_m / speed_kmh[way] * 3600), 1, SHUT_MS - 1)
    from_km, to_km = _stakes(ways, drawn, metres, starts, ends)
    texts, (record, name, number) = _texts([ways.record, ways.name, ways.number], kept)
    ahead, back = (np.full(len(there), -1) for _ in range(2))
    # Copies of a node have arcs of their own along the same edge; the edge's is the one from the node itself.
    for copies in (True, False):
        mine = np.flatnonzero(graph.is_copy[graph.tail] == copies)
        for arc_of, some in ((ahead, mine[~graph.against[mine]]), (back, mine[graph.against[mine]])):
            arc_of[edge[some]] = some
    first_out = np.concatenate([[0], np.cumsum(np.bincount(graph.tail, minlength=len(graph.lon)))])
    whole = (graph.owner, first_out, graph.tail, graph.head, free_ms[edge], edge)
    owner, first_out, tail, head, free, edge_of_arc = (one.astype(np.int32) for one in whole)
    return Network(
        graph.lon, graph.lat, owner, first_out, tail, head, free, edge_of_arc, graph.against,
        ahead.astype(np.int32), back.astype(np.int32), length_m, way.astype(np.int32), shape_first.astype(np.int32),
        drawn.lon[vertex], drawn.lat[vertex], from_km, to_km, speed_kmh, record, name, number, texts, report,
    )  # fmt: skip


def _stakes(ways: Ways, drawn: _Drawn, metres: Floats, starts: Ints, ends: Ints) -> tuple[Floats, Floats]:
    """The stakes at the ends of edges: each lies at its share of the length of its way."""
    begins, finishes = _ends(drawn.way)
    low, high = np.zeros(len(ways)), np.zeros(len(ways))
    low[drawn.way[begins]], high[drawn.way[finishes]] = metres[begins], metres[finishes]
    way = drawn.way[starts]
    with np.errstate(invalid="ignore"):
        per_m = (ways.end_km[way] - ways.start_km[way]) / (high[way] - low[way])
        from_km, to_km = (ways.start_km[way] + (metres[vertex] - low[way]) * per_m for vertex in (starts, ends))
    return from_km, to_km


def _texts(columns: Iterable[Sequence[str | None]], kept: Ints) -> tuple[list[str], list[NDArray[np.int32]]]:
    """All texts of columns once, and for each column which of them its kept rows hold, -1 for none."""
    known: dict[str | None, int] = {None: -1}
    found = [
        np.array([known.setdefault(column[row] or None, len(known) - 1) for row in kept.tolist()], dtype=np.int32)
        for column in columns
    ]
    return [text for text in known if text is not None], found


def _report(ways: Ways, drawn: _Drawn, there: Ints, restrictions: int, used: int, pieces: int, graph: _Graph) -> Report:
    metres = _along_m(drawn)
    length_m = metres[drawn.ends] - metres[drawn.starts]
    outside = np.ones(len(length_m), dtype=np.bool_)
    outside[there] = False
    lost = np.unique(drawn.way[drawn.starts[outside]])
    return Report(
        ways=len(np.unique(drawn.way)), nodes=len(graph.lon), arcs=len(graph.tail),
        length_km=round(float(length_m[~outside].sum()) / 1000, 3), restrictions=restrictions, restrictions_used=used,
        barriers=drawn.barriers, too_small_ways=drawn.too_small, pieces=pieces,
        left_out_km=round(float(length_m[outside].sum()) / 1000, 3),
        left_out=tuple(ways.record[int(way)] for way in lost[:_FEW]), unusable=tuple(ways.unusable[:_FEW]),
    )  # fmt: skip
