"""Parcels: the blocks between streets, what they are used for, and the codes and addresses they bear."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from ingest.demo.codes import community_code, grid_code, parcel_code
from ingest.demo.fabric import Fabric
from ingest.demo.graph import Bools
from ingest.demo.names import estate_names
from ingest.demo.noise import Floats, Ints, fractal
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at, polygons_of
from ingest.demo.roads import HALF_WIDTH_M, Roads
from ingest.demo.settlements import CENTRE, TOWN, VILLAGE
from ingest.demo.streets import SECONDARY, Lattice

__all__ = ["Parcels", "lay_parcels"]

_SETBACK_M = {CENTRE: 7.0, TOWN: 4.0, VILLAGE: 2.5}
_INNER_M = 3.0
_COMMUNITY_BLOCKS = {CENTRE: 5, TOWN: 7, VILLAGE: 100}
_LARGEST_INSET = 0.38


@dataclass(frozen=True, slots=True)
class Parcels:
    """Parcels in the plane.

    `table`: parcel_id, grid_code, community, land_use (residential, commercial, office, education, medical,
    industrial, construction, park, rural), name_zh, name_en, street_zh, street_en, address, area_m2, district, town;
    `shape` (p,) polygons; `quads` (p, 4, 2): their corners from the south-west, anticlockwise, behind the building
    line; `kind` and `settlement` (p,); `reach` (p,): distance from the middle of the settlement in its radii.
    """

    table: pd.DataFrame
    shape: Geometries
    quads: Floats
    kind: Ints
    settlement: Ints
    reach: Floats


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Blocks of all lattices.

    `place` (p, 2): line numbers (i, j); class and name of the four streets (p, 4): south, east, north, west.
    """

    quads: Floats
    settlement: Ints
    kind: Ints
    place: Ints
    side_class: Ints
    side_street: Ints


def _blocks_of(lattice: Lattice, line_class: Ints, built: Bools) -> _Blocks:
    row, i, j = np.nonzero(lattice.blocks)
    ids = np.stack([lattice.along_id[row, i, j], lattice.across_id[row, i + 1, j],
                    lattice.along_id[row, i, j + 1], lattice.across_id[row, i, j]], axis=1)  # fmt: skip
    half_i, half_j = (i >= lattice.middle[0]).astype(np.int64), (j >= lattice.middle[1]).astype(np.int64)
    along, across = lattice.along_street, lattice.across_street
    street = np.stack([along[row, j, half_i], across[row, i + 1, half_j],
                       along[row, j + 1, half_i], across[row, i, half_j]], axis=1)  # fmt: skip
    there = (ids >= 0) & built[ids]
    # A block that no street reaches is not built on.
    reached = there.any(1)
    return _Blocks(
        quads=lattice.quads()[row, i, j][reached],
        settlement=lattice.settlement[row][reached],
        kind=np.full(int(reached.sum()), lattice.kind),
        place=np.column_stack([i, j])[reached],
        side_class=np.where(there, line_class[ids], len(HALF_WIDTH_M))[reached],
        side_street=np.where(there, street, -1)[reached],
    )


def _inset(blocks: _Blocks) -> Floats:
    """Block corners (p, 4, 2) drawn in behind the building line of each side."""
    setback = np.array([_SETBACK_M[kind] for kind in (CENTRE, TOWN, VILLAGE)])[blocks.kind]
    depth = np.append(HALF_WIDTH_M, _INNER_M)[blocks.side_class] + np.where(
        blocks.side_class < len(HALF_WIDTH_M), setback[:, None], 0
    )
    q = blocks.quads
    side = np.hypot(*(np.roll(q, -1, axis=1) - q).transpose(2, 0, 1))
    across, along = (side[:, 1] + side[:, 3]) / 2, (side[:, 0] + side[:, 2]) / 2
    share = np.minimum(depth / np.stack([across, along, across, along], axis=1), _LARGEST_INSET)
    low_v, high_u, high_v, low_u = share[:, 0], 1 - share[:, 1], 1 - share[:, 2], share[:, 3]
    u = np.stack([low_u, high_u, high_u, low_u], axis=1)[..., None]
    v = np.stack([low_v, low_v, high_v, high_v], axis=1)[..., None]
    south, north = q[:, None, 0] * (1 - u) + q[:, None, 1] * u, q[:, None, 3] * (1 - u) + q[:, None, 2] * u
    return south * (1 - v) + north * v


def _rank_in(settlement: Ints, reach: Floats) -> Ints:
    """Rank (p,) of each block in its settlement by distance from the middle."""
    order = np.lexsort((reach, settlement))
    first = np.searchsorted(settlement[order], settlement[order])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - first
    return rank


def _land_use(
    plan: Plan, blocks: _Blocks, middle: Floats, reach: Floats
) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """What each block is for, by distance from the middle, main streets and chance; each place has a school."""
    rng = plan.rng("land use")
    on_main = (blocks.side_class <= SECONDARY).any(1)
    works = fractal(middle, 2_600.0, 2, plan.seed + 41) > 0.2
    core = np.exp(-((reach / 0.2) ** 2))
    centre, town = blocks.kind == CENTRE, blocks.kind == TOWN
    shares = {
        "commercial": np.where(centre, 0.62 * core + 0.04 + 0.09 * on_main, 0.30 * core + 0.02),
        "industrial": np.where(works & (reach > 0.58), np.where(centre, 0.72, 0.30), 0.01),
        "office": np.where(centre, 0.04 + 0.05 * core, 0.02),
        "education": np.where(centre, 0.055, 0.02),
        "medical": np.where(centre, 0.018, 0.0),
        "park": np.where(centre, 0.06, 0.03),
        "construction": np.where(centre, 0.05 * np.minimum(reach, 1), 0.01),
    }
    edges = np.cumsum(np.stack(list(shares.values()), axis=1), axis=1)
    pick = (rng.random(len(reach))[:, None] > edges).sum(1)
    use = np.array([*shares, "residential"], dtype=np.object_)[np.minimum(pick, len(shares))]
    use[blocks.kind == VILLAGE] = "rural"
    rank = _rank_in(blocks.settlement, reach)
    for k, word in enumerate(("office", "commercial", "medical", "education", "residential", "park")):
        use[(rank == k + 1) & (centre | town)] = word
    use[(rank == 0) & (centre | town)] = "commercial"
    return use


def _communities(plan: Plan, fabric: Fabric, blocks: _Blocks) -> tuple[list[str], list[str]]:
    """The 12-digit community and 15-digit grid code of every block."""
    size = np.array([_COMMUNITY_BLOCKS[kind] for kind in (CENTRE, TOWN, VILLAGE)])[blocks.kind]
    keys = np.column_stack([blocks.settlement, blocks.place[:, 0] // size, blocks.place[:, 1] // size])
    _, community = np.unique(keys, axis=0, return_inverse=True)
    town = _town_codes(plan, fabric, blocks)
    first = pd.Series(town).groupby(community.ravel()).transform("first")
    number = pd.Series(community.ravel()).groupby(first).rank(method="dense").astype(int)
    codes = [community_code(code, k) for code, k in zip(first, number, strict=True)]
    cell = pd.Series(codes).groupby(codes).cumcount() + 1
    return codes, [grid_code(code, k) for code, k in zip(codes, cell, strict=True)]


def _town_codes(plan: Plan, fabric: Fabric, blocks: _Blocks) -> list[str]:
    """Town code of every block, the district's where it has no towns."""
    towns = [town.code for district in plan.city.districts for town in district.towns]
    at = fabric.bounds.town_of(points_at(blocks.quads.mean(1)))
    district = fabric.settlements.district[blocks.settlement]
    return [towns[t] if t >= 0 else plan.city.districts[d].code for t, d in zip(at, district, strict=True)]


def _fronts(blocks: _Blocks) -> tuple[Ints, Ints]:
    """The street (p,) each block is addressed by, the best beside it (-1 for none), and its number there."""
    best = np.where(blocks.side_street >= 0, blocks.side_class, 99).argmin(1)
    step = np.where(best % 2 == 0, blocks.place[:, 0], blocks.place[:, 1])
    return blocks.side_street[np.arange(len(best)), best], 4 * step + np.where(best > 1, 1, 2)


def _addresses(plan: Plan, fabric: Fabric, blocks: _Blocks, towns: list[str]) -> list[str]:
    """The address of each block: district, town (outside the centres), street and number; villages by their name."""
    street, number = _fronts(blocks)
    district = [district.title.zh for district in plan.city.districts]
    town_names = {town.code: town.title.zh for part in plan.city.districts for town in part.towns}
    places = fabric.settlements
    found: list[str] = []
    for k, (s, code) in enumerate(zip(blocks.settlement.tolist(), towns, strict=True)):
        kind = blocks.kind[k]
        front = plan.city.title.zh + district[places.district[s]] + (town_names.get(code, "") if kind != CENTRE else "")
        if street[k] >= 0:
            found.append(f"{front}{fabric.street_titles[street[k]].zh}{number[k]}号")
        else:
            found.append(front + places.titles[s].zh if kind == VILLAGE else front)
    return found


def _estates(plan: Plan, named: Bools, settlement: Ints) -> tuple[list[str | None], list[str | None]]:
    """Chinese and English names of the estates, different within a settlement; None where a block is none."""
    rng = plan.rng("estates")
    zh: list[str | None] = [None] * len(named)
    en: list[str | None] = [None] * len(named)
    for place in np.unique(settlement[named]):
        own = np.flatnonzero(named & (settlement == place))
        for k, title in zip(own.tolist(), estate_names(len(own), rng), strict=True):
            zh[k], en[k] = title.zh, title.en
    return zh, en


def lay_parcels(plan: Plan, fabric: Fabric, roads: Roads) -> Parcels:
    """Lay out the parcels of all settlements."""
    parts = [_blocks_of(lattice, fabric.drawn.road_class, roads.built) for lattice in fabric.lattices]
    blocks = _Blocks(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Blocks.__slots__))
    middle = blocks.quads.mean(1)
    places = fabric.settlements
    reach = np.hypot(*(middle - places.xy[blocks.settlement]).T) / places.radius_m[blocks.settlement]
    use = _land_use(plan, blocks, middle, reach)
    towns = _town_codes(plan, fabric, blocks)
    community, grid = _communities(plan, fabric, blocks)
    section = [int(code[9:12]) for code in community]
    right = np.where(blocks.kind == VILLAGE, "JC", "GB")
    keys = pd.DataFrame({"town": towns, "section": section, "right": right})
    number = keys.groupby(["town", "section", "right"]).cumcount() + 1
    quads = _inset(blocks)
    shape = polygons_of(quads)
    zh, en = _estates(plan, use == "residential", blocks.settlement)
    streets = [fabric.street_titles[k] if k >= 0 else None for k in _fronts(blocks)[0]]
    table = pd.DataFrame({
        "parcel_id": [parcel_code(*row) for row in zip(towns, section, number, right, strict=True)],
        "grid_code": grid,
        "community": community,
        "land_use": use,
        "name_zh": zh,
        "name_en": en,
        "street_zh": [street.zh if street else None for street in streets],
        "street_en": [street.en if street else None for street in streets],
        "address": _addresses(plan, fabric, blocks, towns),
        "area_m2": shapely.area(shape).round(1),
        "district": [plan.city.districts[k].code for k in places.district[blocks.settlement]],
        "town": [code if fabric.bounds.towns.size else None for code in towns],
    })  # fmt: skip
    return Parcels(table, shape, quads, blocks.kind, blocks.settlement, reach)
