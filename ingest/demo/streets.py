"""Street lattices: the grid of streets and blocks of every settlement.

A lattice has n x m corners in world coordinates. Line i runs across (south to north), line j along (west to east),
both through the middle corner at their centre. Everything about streets is an array over settlements of equal shape:
no loop over villages.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import shapely

from ingest.demo.boundaries import Boundaries
from ingest.demo.graph import Bools
from ingest.demo.noise import Floats, Ints, fractal, warped
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, lines_along, points_at, polygons_of
from ingest.demo.settlements import CENTRE, TOWN, VILLAGE, Settlements

__all__ = [
    "MOTORWAY",
    "NO_ROAD",
    "PRIMARY",
    "RESIDENTIAL",
    "SECONDARY",
    "TERTIARY",
    "TRUNK",
    "Lattice",
    "Site",
    "centre_lattices",
    "numbered",
    "other_lattices",
    "stretch_ends",
    "stretch_streets",
]

MOTORWAY, TRUNK, PRIMARY, SECONDARY, TERTIARY, RESIDENTIAL, NO_ROAD = range(7)

_BLOCK_M = {CENTRE: (232.0, 204.0), TOWN: (138.0, 112.0), VILLAGE: (94.0, 66.0)}
_ARTERIAL, _COLLECTOR = 4, 2
_VILLAGE_SIZES = ((430, 3, 3), (800, 4, 4), (1_350, 5, 5), (np.inf, 6, 6))
"""Residents up to which a village has so many lines each way."""
_CLEAR_M = 34.0
_LANE_REMOVED = 0.14
_CORE = 0.3
"""Share of the radius that is built up without gaps."""


@dataclass(frozen=True, slots=True)
class Site:
    """What streets must respect: outlines, still water (never crossed), and things blocks keep clear of."""

    bounds: Boundaries
    still: Geometries
    obstacles: Geometries


def _none() -> Ints:
    return np.empty((0, 0, 0), dtype=np.int64)


@dataclass(slots=True)
class Lattice:
    """Lattices of equal shape of s settlements.

    `settlement` (s,); `corners` (s, n, m, 2) metres; `blocks` (s, n-1, m-1) whether there is a block north-east of a
    corner; `along` (s, n-1, m) and `across` (s, n, m-1) road class of each stretch, NO_ROAD where there is none;
    `along_id` and `across_id`, same shapes: the number of the stretch among those of all lattices, -1 where there is
    none; `along_street` (s, m, 2) and `across_street` (s, n, 2): the street name of each line before and after its
    middle, -1 without a name.
    """

    kind: int
    settlement: Ints
    corners: Floats
    blocks: Bools
    along: Ints
    across: Ints
    along_id: Ints = field(default_factory=_none)
    across_id: Ints = field(default_factory=_none)
    along_street: Ints = field(default_factory=_none)
    across_street: Ints = field(default_factory=_none)

    @property
    def middle(self) -> tuple[int, int]:
        """Indexes (i, j) of the middle corner."""
        return self.corners.shape[1] // 2, self.corners.shape[2] // 2

    def quads(self) -> Floats:
        """Corners of all block places, anticlockwise from south-west: (s, n-1, m-1, 4, 2)."""
        return _quads(self.corners)


def _quads(corners: Floats) -> Floats:
    c = corners
    return np.stack([c[:, :-1, :-1], c[:, 1:, :-1], c[:, 1:, 1:], c[:, :-1, 1:]], axis=3)


def _corners(plan: Plan, settlements: Settlements, which: Ints, kind: int, shape: tuple[int, int]) -> Floats:
    rng = plan.rng(f"lattice {kind} {shape} {len(which)} {which[0]}")
    offsets: list[Floats] = []
    for size, count in zip(_BLOCK_M[kind], shape, strict=True):
        steps = size * rng.uniform(0.82, 1.22, (len(which), count - 1))
        line = np.concatenate([np.zeros((len(which), 1)), np.cumsum(steps, axis=1)], axis=1)
        offsets.append(line - line[:, [count // 2]])
    x, y = np.broadcast_arrays(offsets[0][:, :, None], offsets[1][:, None, :])
    turn = settlements.turn_rad[which][:, None, None]
    local = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=-1)
    placed = local + settlements.xy[which][:, None, None]
    if kind == VILLAGE:
        return placed
    # A little bending makes a grid a town; the middle stays where it is.
    bent = warped(placed, 1.1 * _BLOCK_M[kind][0], 13 * _BLOCK_M[kind][0], 2, plan.seed + 3)
    i, j = shape[0] // 2, shape[1] // 2
    return bent - (bent[:, i, j] - placed[:, i, j])[:, None, None]


def _extent(plan: Plan, settlements: Settlements, which: Ints, middle: Floats) -> Bools:
    """Which block middles (s, n, m, 2) lie in the built-up area of their settlement, whose edge is uneven."""
    radius = settlements.radius_m[which][:, None, None]
    gap = np.hypot(*np.moveaxis(middle - settlements.xy[which][:, None, None], -1, 0))
    uneven = 1 + 0.34 * fractal(middle, 700.0, 3, plan.seed + 17)
    # Land not yet built on, more of it towards the edge.
    vacant = fractal(middle, 520.0, 2, plan.seed + 19) > 0.78 - 0.42 * gap / radius
    inside = (gap < radius * uneven) & ~(vacant & (gap > _CORE * radius))
    hubs = settlements.of(CENTRE)
    for hub in hubs:
        nearer = np.hypot(*np.moveaxis(middle - settlements.xy[hub], -1, 0)) / settlements.radius_m[hub] < gap / radius
        inside &= ~nearer | (which == hub)[:, None, None]
    return inside


def _free(site: Site, quads: Floats, wanted: Bools) -> Bools:
    """Which wanted blocks (s, n, m) keep clear of all obstacles."""
    free = wanted.copy()
    place = np.flatnonzero(wanted)
    shapes = polygons_of(quads.reshape(-1, 4, 2)[place])
    blocked = shapely.STRtree(site.obstacles).query(shapes, predicate="dwithin", distance=_CLEAR_M)[0]
    free.reshape(-1)[place[blocked]] = False
    return free


def _in_district(site: Site, corners: Floats, district: Ints) -> Bools:
    """Which corners (s, n, m, 2) lie in the district of their settlement (s,)."""
    found = site.bounds.district_of(points_at(corners.reshape(-1, 2))).reshape(corners.shape[:-1])
    return found == district[:, None, None]


def _four(inside: Bools) -> Bools:
    return inside[:, :-1, :-1] & inside[:, 1:, :-1] & inside[:, 1:, 1:] & inside[:, :-1, 1:]


def _line_class(kind: int, count: int) -> Ints:
    """Road class of each of `count` parallel lines."""
    from_middle = np.abs(np.arange(count) - count // 2)
    if kind == CENTRE:
        rank = np.full(count, RESIDENTIAL)
        rank[from_middle % _COLLECTOR == 0] = TERTIARY
        rank[from_middle % _ARTERIAL == 0] = SECONDARY
        rank[from_middle == 0] = PRIMARY
        return rank
    return np.where(from_middle == 0, TERTIARY if kind == TOWN else RESIDENTIAL, RESIDENTIAL)


def _beside(blocks: Bools) -> tuple[Bools, Bools]:
    """Which stretches along and across have a block beside them."""
    low, high = np.pad(blocks, ((0, 0), (0, 0), (1, 1))), np.pad(blocks, ((0, 0), (1, 1), (0, 0)))
    return low[:, :, 1:] | low[:, :, :-1], high[:, 1:] | high[:, :-1]


def _drawn(plan: Plan, settlements: Settlements, site: Site, which: Ints, shape: tuple[int, int]) -> Lattice:
    """The lattices of settlements of one kind and shape."""
    kind = int(settlements.kind[which[0]])
    corners = _corners(plan, settlements, which, kind, shape)
    rng = plan.rng(f"streets {kind} {shape} {which[0]}")
    quads = _quads(corners)
    inside = _in_district(site, corners, settlements.district[which])
    if kind == VILLAGE:
        wanted = _four(inside) & (rng.random(quads.shape[:3]) < 0.86)
    else:
        wanted = _four(inside) & _extent(plan, settlements, which, quads.mean(3))
    blocks = _free(site, quads, wanted)
    along, across = _beside(blocks)
    along_class, across_class = _line_class(kind, shape[1]), _line_class(kind, shape[0])
    # Lanes may be missing inside a neighbourhood; main streets go on over rivers and under motorways.
    along &= (rng.random(along.shape) > _LANE_REMOVED) | (along_class < RESIDENTIAL)
    across &= (rng.random(across.shape) > _LANE_REMOVED) | (across_class[:, None] < RESIDENTIAL)
    wide_along, wide_across = _beside(wanted)
    main = TERTIARY if kind == TOWN else SECONDARY
    along |= wide_along & (along_class <= main)
    across |= wide_across & (across_class[:, None] <= main)
    if kind == VILLAGE:
        along[:, :, shape[1] // 2], across[:, shape[0] // 2, :] = True, True
    along &= inside[:, :-1] & inside[:, 1:]
    across &= inside[:, :, :-1] & inside[:, :, 1:]
    along_rank = np.where(along, along_class, NO_ROAD)
    across_rank = np.where(across, across_class[:, None], NO_ROAD)
    lattice = Lattice(kind, which, corners, blocks, along_rank, across_rank)
    _spare_water(lattice, site)
    if kind != VILLAGE:
        _trim(lattice)
    return lattice


def _trim(lattice: Lattice) -> None:
    """Take away stretches that lead nowhere: those without blocks beside them, from their open ends inwards."""
    beside_along, beside_across = _beside(lattice.blocks)
    while True:
        along, across = lattice.along != NO_ROAD, lattice.across != NO_ROAD
        degree = np.zeros(lattice.corners.shape[:3], dtype=np.int64)
        degree[:, :-1] += along
        degree[:, 1:] += along
        degree[:, :, :-1] += across
        degree[:, :, 1:] += across
        open_along = along & ~beside_along & ((degree[:, :-1] == 1) | (degree[:, 1:] == 1))
        open_across = across & ~beside_across & ((degree[:, :, :-1] == 1) | (degree[:, :, 1:] == 1))
        if not (open_along.any() or open_across.any()):
            return
        lattice.along[open_along] = NO_ROAD
        lattice.across[open_across] = NO_ROAD


def _spare_water(lattice: Lattice, site: Site) -> None:
    """Take away the stretches that would cross still water."""
    c = lattice.corners
    tree = shapely.STRtree(site.still)
    for stretch, start, end in ((lattice.along, c[:, :-1], c[:, 1:]), (lattice.across, c[:, :, :-1], c[:, :, 1:])):
        place = np.flatnonzero(stretch != NO_ROAD)
        lines = lines_along(np.stack([start.reshape(-1, 2)[place], end.reshape(-1, 2)[place]], axis=1))
        wet = tree.query(lines, predicate="intersects")[0]
        stretch.reshape(-1)[place[wet]] = NO_ROAD


def numbered(lattices: list[Lattice], start: int = 0) -> int:
    """Number the stretches of lattices in order, from `start`; returns the next free number."""
    for lattice in lattices:
        for name, stretch in (("along_id", lattice.along), ("across_id", lattice.across)):
            there = stretch != NO_ROAD
            ids = np.where(there, start - 1 + np.cumsum(there).reshape(there.shape), -1)
            setattr(lattice, name, ids)
            start += int(there.sum())
    return start


def stretch_streets(lattices: list[Lattice]) -> Ints:
    """Street name index of all stretches (l,), in the order of their numbers."""
    found: list[Ints] = []
    for lattice in lattices:
        i, j = lattice.middle
        late_i = (np.arange(lattice.along.shape[1]) >= i).astype(np.int64)
        late_j = (np.arange(lattice.across.shape[2]) >= j).astype(np.int64)
        along = lattice.along_street[:, None, np.arange(lattice.along.shape[2])[None, :], late_i[:, None]]
        across = lattice.across_street[:, None, np.arange(lattice.across.shape[1])[:, None], late_j[None, :]]
        found += [
            along.reshape(lattice.along.shape)[lattice.along != NO_ROAD],
            across.reshape(lattice.across.shape)[lattice.across != NO_ROAD],
        ]
    return np.concatenate(found)


def stretch_ends(lattices: list[Lattice]) -> tuple[Floats, Ints]:
    """Both ends (l, 2, 2) and road class (l,) of all stretches, in the order of their numbers."""
    ends: list[Floats] = []
    classes: list[Ints] = []
    for lattice in lattices:
        c = lattice.corners
        for stretch, first, last in ((lattice.along, c[:, :-1], c[:, 1:]), (lattice.across, c[:, :, :-1], c[:, :, 1:])):
            there = stretch != NO_ROAD
            ends.append(np.stack([first[there], last[there]], axis=1))
            classes.append(stretch[there])
    return np.concatenate(ends), np.concatenate(classes)


def _odd(reach_m: Floats, block_m: float) -> Ints:
    return (2 * np.ceil(reach_m / block_m).astype(np.int64)) + 1


def centre_lattices(plan: Plan, settlements: Settlements, site: Site) -> list[Lattice]:
    """One lattice for each urban centre."""
    drawn: list[Lattice] = []
    for index in settlements.of(CENTRE):
        reach = settlements.radius_m[[index]] * 1.3
        shape = tuple(int(_odd(reach, block)[0]) for block in _BLOCK_M[CENTRE])
        drawn.append(_drawn(plan, settlements, site, np.array([index]), (shape[0], shape[1])))
    return drawn


def _groups(settlements: Settlements) -> Iterator[tuple[Ints, tuple[int, int]]]:
    towns = settlements.of(TOWN)
    reach = settlements.radius_m[towns] * 1.25
    shapes = np.column_stack([_odd(reach, block) for block in _BLOCK_M[TOWN]])
    for shape in np.unique(shapes, axis=0):
        yield towns[(shapes == shape).all(1)], (int(shape[0]), int(shape[1]))
    villages = settlements.of(VILLAGE)
    size = np.searchsorted([limit for limit, _, _ in _VILLAGE_SIZES], settlements.residents[villages])
    for index in np.unique(size):
        yield villages[size == index], _VILLAGE_SIZES[index][1:]


def other_lattices(plan: Plan, settlements: Settlements, site: Site) -> list[Lattice]:
    """The lattices of towns and villages, grouped by shape."""
    return [_drawn(plan, settlements, site, which, shape) for which, shape in _groups(settlements) if len(which)]
