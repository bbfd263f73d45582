"""Turn restrictions over nodes and ways, alone and together, against a search that remembers the last arcs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.roads.building import build
from layers.roads.network import SHUT_MS, Network
from layers.roads.osm import read_osm
from layers.roads.profiles import profile
from layers.roads.routing import Router
from layers.roads.spots import Spots
from layers.roads.turns import Arcs, explode
from layers.roads.ways import Restriction, Ways
from tests.layers.roads.networks import drawn, walk_times

MOTOR = 1
OVER_NODE, OVER_WAYS = False, True
CROSS = {0: (0, 0), 1: (1, 0), 2: (-1, 0), 3: (0, 1), 4: (0, -1), 5: (1, 1), 6: (1, -1)}


def seconds(network: Network, start: str, end: str) -> float:
    """From the middle of one record to the middle of another."""
    router = Router(network)
    edges = [next(e for e in range(network.edges) if network.record(e) == name) for name in (start, end)]
    spots = [Spots(np.array([e], np.int32), np.array([0.5]), *np.zeros((3, 1))) for e in edges]
    return int(router.matrix(*spots)[0, 0]) / 1000


def cross(*restrictions: Restriction) -> Ways:
    """A crossing at 0 with arms to the east, west, north, south; east, north and south are also joined around."""
    return drawn([(2, 0), (0, 1), (0, 3), (0, 4), (1, 5, 3), (1, 6, 4)], CROSS, restrictions=restrictions)


def test_a_forbidden_turn_costs_the_way_around() -> None:
    free = seconds(build(cross(), profile("car")), "r0", "r2")
    no_left = cross(Restriction("no", 0, (0,), OVER_NODE, 2, MOTOR))
    assert seconds(build(no_left, profile("car")), "r0", "r2") > 2 * free
    assert seconds(build(no_left, profile("car")), "r2", "r0") == free, "the other way it is allowed"
    assert seconds(build(no_left, profile("walking")), "r0", "r2") == seconds(
        build(cross(), profile("walking")), "r0", "r2"
    )


def test_an_only_turn_forbids_all_others() -> None:
    only_right = build(cross(Restriction("only", 0, (0,), OVER_NODE, 3, MOTOR)), profile("car"))
    free = build(cross(), profile("car"))
    assert seconds(only_right, "r0", "r3") == seconds(free, "r0", "r3")
    for other in ("r1", "r2"):
        assert seconds(only_right, "r0", other) > seconds(free, "r0", other)


def test_who_is_excepted_may_turn() -> None:
    excepted = cross(Restriction("no", 0, (0,), OVER_NODE, 2, MOTOR))  # of MOTOR only: an ambulance is not meant
    assert build(excepted, profile("ambulance")).report.restrictions == 0
    assert build(excepted, profile("car")).report.restrictions_used == 1


def test_no_u_turn_over_a_way() -> None:
    """From the west carriageway over the link back on the east one: forbidden only to who comes that way."""
    at = {0: (0, 0), 1: (1, 0), 2: (2, 0), 3: (0, 1), 4: (1, 1), 5: (2, 1)}
    lines = [(0, 1), (1, 2), (5, 4), (4, 3), (1, 4), (2, 5), (3, 0)]
    ban = Restriction("no", 0, (4,), OVER_WAYS, 3, MOTOR)
    one_way = [0, 1, 2, 3]
    free, banned = (
        build(drawn(lines, at, one_way=one_way, restrictions=some), profile("car")) for some in ((), (ban,))
    )
    assert seconds(banned, "r0", "r3") > seconds(free, "r0", "r3")
    assert seconds(banned, "r4", "r3") == seconds(free, "r4", "r3"), "who comes out of the link turns freely"
    assert banned.report.restrictions_used == 1


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_any_sequences(data: st.DataObject, seed: int) -> None:
    """Restrictions over nodes and over ways, overlapping as they like."""
    random = np.random.default_rng(seed)
    nodes = 6
    pairs = [(a, b) for a in range(nodes) for b in range(a) if random.random() < 0.6]
    arcs: list[tuple[int, int]] = [p for a, b in pairs for p in ((a, b), (b, a))]
    way = np.repeat(np.arange(len(pairs)), 2)
    if len(pairs) < 3:
        return
    tail, head = np.array(arcs, dtype=np.int64).T
    opposite = np.arange(len(arcs)) ^ 1
    ms = random.integers(1, 50, len(arcs))
    given_arcs = Arcs(tail, head, way, opposite)
    restrictions = [
        drawn_restriction(data, pairs, random) for _ in range(data.draw(st.integers(0, 4), label="restrictions"))
    ]
    found = explode(given_arcs, nodes, restrictions, {k: k for k in range(nodes)})
    forbidden = set().union(*(sequences(one, arcs, way.tolist()) for one in restrictions)) if restrictions else set()
    for start in range(nodes):
        ours = walk_times(
            list(zip(found.tail.tolist(), found.head.tolist(), ms[found.arc].tolist(), strict=True)), set(), start
        )
        best: dict[int, int] = {}
        for node, time in ours.items():
            place = int(found.owner[node])
            best[place] = min(time, best.get(place, SHUT_MS))
        wanted = walk_times([(*arc, int(m)) for arc, m in zip(arcs, ms, strict=True)], forbidden, start)
        assert best == wanted


def drawn_restriction(data: st.DataObject, pairs: list[tuple[int, int]], random: np.random.Generator) -> Restriction:
    kind = data.draw(st.sampled_from(["no", "only"]))
    start, end = (int(k) for k in random.integers(0, len(pairs), 2))
    if data.draw(st.booleans()):
        via = int(random.integers(0, len(pairs)))
        return Restriction(kind, start, (via,), OVER_WAYS, end, MOTOR)
    return Restriction(kind, start, (int(random.integers(0, 6)),), OVER_NODE, end, MOTOR, bool(random.random() < 0.3))


def sequences(one: Restriction, arcs: list[tuple[int, int]], way: list[int]) -> set[tuple[int, ...]]:  # noqa: C901, PLR0912
    """What a restriction forbids, written out from its meaning; ways are single edges here."""
    found: set[tuple[int, ...]] = set()
    for a, (_, via) in enumerate(arcs):
        if way[a] != one.start:
            continue
        if not one.via_ways:
            if via != one.via[0]:
                continue
            for b, (tail, _) in enumerate(arcs):
                if tail == via:
                    same = way[b] == one.end and (not one.u_turn or b == a ^ 1)
                    if one.kind == "no" and same and not (b == a ^ 1 and one.start == one.end and not one.u_turn):
                        found.add((a, b))
                    if one.kind == "only" and not same:
                        found.add((a, b))
            continue
        middle = [b for b, (tail, _) in enumerate(arcs) if way[b] == one.via[0] and tail == via]
        if one.kind == "only" and middle:
            found |= {(a, b) for b, (tail, _) in enumerate(arcs) if tail == via and way[b] != one.via[0]}
        for b in middle:
            if b == a ^ 1:
                continue
            leaving = [c for c, (tail, _) in enumerate(arcs) if tail == arcs[b][1]]
            if not any(way[c] == one.end for c in leaving):
                continue
            for c in leaving:
                same = way[c] == one.end and (not one.u_turn or c == b ^ 1)
                back = c == b ^ 1 and one.start == one.end and not one.u_turn
                if (one.kind == "no" and same and not back) or (one.kind == "only" and not same):
                    found.add((a, b, c))
    return found


def test_the_turn_that_r5_forbids(shared: Callable[[str], Path]) -> None:
    """The extract around a cathedral whose restrictions are tagged; each that is used lengthens some way."""
    ways = read_osm(shared("turn_restrictions/cathedral-no-left.pbf"))
    with_them = build(ways, profile("car"))
    assert with_them.report.restrictions_used > 100
    used, longer = 0, 0
    without = build(_without(ways), profile("car"))
    known = (
        {with_them.record(e): e for e in range(with_them.edges)},
        {without.record(e): e for e in range(without.edges)},
    )
    routers = Router(with_them), Router(without)
    for one in ways.restrictions:
        names = ways.record[one.start], ways.record[one.end]
        if one.kind != "no" or any(name not in some for name in names for some in known) or names[0] == names[1]:
            continue
        times = []
        for some, router in zip(known, routers, strict=True):
            spots = [Spots(np.array([some[name]], np.int32), np.array([0.5]), *np.zeros((3, 1))) for name in names]
            times.append(int(router.matrix(*spots)[0, 0]))
        used += 1
        longer += times[0] > times[1]
        assert times[0] >= times[1]
    assert used > 50
    assert longer > used / 3


def _without(ways: Ways) -> Ways:
    kept = {name: getattr(ways, name) for name in Ways.__slots__}
    return Ways(**{**kept, "restrictions": []})


@pytest.mark.parametrize("text", ["no_left_turn", "only_straight_on"])
def test_restrictions_of_a_file(tmp_path: Path, text: str) -> None:
    """A relation of a file, via node and via way."""
    path = written(tmp_path / "cross.osm.pbf", text)
    ways = read_osm(path)
    assert [(one.kind, one.via_ways) for one in ways.restrictions] == [(text.split("_", maxsplit=1)[0], False)]
    assert any("without from" in line for line in ways.unusable)


def written(path: Path, restriction: str) -> Path:
    """A crossing as OpenStreetMap writes it, with a restriction and one that lacks a member."""
    import osmium  # noqa: PLC0415

    with osmium.SimpleWriter(str(path)) as writer:
        for node, (x, y) in CROSS.items():
            writer.add_node(osmium.osm.mutable.Node(id=node + 1, version=1, location=(117 + x / 1000, 35 + y / 1000)))
        for number, line in enumerate([(2, 0), (0, 1), (0, 3), (0, 4)]):
            nodes = [node + 1 for node in line]
            writer.add_way(osmium.osm.mutable.Way(id=number + 1, version=1, nodes=nodes, tags={"highway": "primary"}))
        members = [("w", 1, "from"), ("n", 1, "via"), ("w", 3, "to")]
        for number, some in enumerate((members, members[:2])):
            tags = {"type": "restriction", "restriction": restriction}
            writer.add_relation(osmium.osm.mutable.Relation(id=number + 1, version=1, members=some, tags=tags))
    return path
