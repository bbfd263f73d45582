"""Buildings: footprints on the plots of every parcel, aligned with its streets, with floors, age, address and use."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from ingest.demo.codes import unit_code
from ingest.demo.fabric import Fabric
from ingest.demo.graph import Bools
from ingest.demo.noise import Floats, Ints
from ingest.demo.parcels import Parcels
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, polygons_of
from ingest.demo.roads import HALF_WIDTH_M, Roads
from ingest.demo.settlements import VILLAGE
from ingest.demo.templates import OUTLINES, TEMPLATES, Template

__all__ = ["Buildings", "build"]

_KINDS = ("centre", "town", "village")
_FLOOR_M = 3.0
_TALL, _SHED = 8, "industrial"
_RAIL_M = 18.0


@dataclass(frozen=True, slots=True)
class Buildings:
    """Buildings in the plane: `table` as described in city.py, and of its rows `shape` (b,).

    `at` (b,): a point on each; `parcel` (b,): its parcel; `capacity` (b,): households it could house.
    """

    table: pd.DataFrame
    shape: Geometries
    at: Geometries
    parcel: Ints
    capacity: Floats


@dataclass(frozen=True, slots=True)
class _Built:
    shape: Geometries
    parcel: Ints
    floors: Ints
    year: Ints
    dwelling_m2: Floats
    use: list[str]


def _placed(template: Template, quads: Floats, parcel: Ints, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Middle and half size of each building in its parcel's unit square (k, 4), and that parcel (k,)."""
    columns, rows = template.columns, template.rows
    u, v = (part.ravel() for part in np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows))
    shape = (len(quads), len(u))
    built = rng.random(shape) < template.built
    width = template.fill[0] * rng.uniform(0.84, 1.06, shape) / columns / 2
    depth = template.fill[1] * rng.uniform(0.86, 1.08, shape) / rows / 2
    slack_u, slack_v = 0.5 / columns - width, 0.5 / rows - depth
    middle_u = u + slack_u * rng.uniform(-0.5, 0.5, shape)
    # Yards lie to the south of a house.
    middle_v = v + slack_v * rng.uniform(0.2, 0.6, shape)
    boxes = np.stack([middle_u, middle_v, width, depth], axis=-1)[built]
    return boxes, np.broadcast_to(parcel[:, None], shape)[built]


def _polygons(boxes: Floats, quads: Floats, outline: Floats, flip: Bools) -> Geometries:
    """Footprints (k,): an outline laid into boxes (k, 4) of the unit squares of quads (k, 4, 2)."""
    sign = np.where(flip, -1.0, 1.0)[:, None]
    u = boxes[:, 0, None] + sign * outline[:, 0] * boxes[:, 2, None]
    v = boxes[:, 1, None] + outline[:, 1] * boxes[:, 3, None]
    u, v = u[..., None], v[..., None]
    q = quads[:, None]
    ring = (q[:, :, 0] * (1 - u) + q[:, :, 1] * u) * (1 - v) + (q[:, :, 3] * (1 - u) + q[:, :, 2] * u) * v
    return polygons_of(ring)


def _raised(template: Template, parcels: Parcels, chosen: Ints, rng: np.random.Generator) -> list[_Built]:
    """The buildings of one template on the chosen parcels, one group for each outline."""
    boxes, parcel = _placed(template, parcels.quads[chosen], chosen, rng)
    outline = rng.integers(0, len(template.outlines), len(boxes))
    # A housing estate is built at once: one age, and floors that differ little.
    year = np.zeros(len(parcels.quads), dtype=np.int64)
    year[chosen] = rng.integers(template.years[0], template.years[1] + 1, len(chosen))
    usual = np.zeros(len(parcels.quads), dtype=np.int64)
    usual[chosen] = rng.choice(np.array(template.floors), len(chosen))
    floors = np.where(rng.random(len(boxes)) < 0.7, usual[parcel], rng.choice(np.array(template.floors), len(boxes)))
    flip = rng.random(len(boxes)) < 0.5
    groups: list[_Built] = []
    for k, name in enumerate(template.outlines):
        own = np.flatnonzero(outline == k)
        shape = _polygons(boxes[own], parcels.quads[parcel[own]], OUTLINES[name], flip[own])
        groups.append(
            _Built(
                shape,
                parcel[own],
                floors[own],
                year[parcel[own]],
                np.full(len(own), template.dwelling_m2),
                [template.use] * len(own),
            )
        )
    return groups


def _all_raised(plan: Plan, parcels: Parcels) -> _Built:
    groups: list[_Built] = []
    land_use = parcels.table["land_use"].to_numpy()
    for name, templates in TEMPLATES.items():
        kind, use = name.split(" ")
        rng = plan.rng(f"buildings {name}")
        chosen = np.flatnonzero((parcels.kind == _KINDS.index(kind)) & (land_use == use))
        weight = np.array([template.weight for template in templates])
        pick = rng.choice(len(templates), len(chosen), p=weight / weight.sum())
        for k, template in enumerate(templates):
            groups += _raised(template, parcels, chosen[pick == k], rng)
    parcel = np.concatenate([group.parcel for group in groups])
    order = np.argsort(parcel, kind="stable")
    uses = np.array([use for group in groups for use in group.use], dtype=np.object_)
    return _Built(
        shape=np.concatenate([group.shape for group in groups])[order],
        parcel=parcel[order],
        floors=np.concatenate([group.floors for group in groups])[order],
        year=np.concatenate([group.year for group in groups])[order],
        dwelling_m2=np.concatenate([group.dwelling_m2 for group in groups])[order],
        use=uses[order].tolist(),
    )


def _free(shape: Geometries, roads: Roads, fabric: Fabric) -> Bools:
    """Which footprints keep clear of roads, railways and water."""
    free = np.ones(len(shape), dtype=np.bool_)
    for rank, half_width in enumerate(HALF_WIDTH_M):
        tree = shapely.STRtree(roads.shape[roads.rank == rank])
        free[tree.query(shape, predicate="dwithin", distance=float(half_width))[0]] = False
    free[shapely.STRtree(fabric.corridors.railways_shape).query(shape, predicate="dwithin", distance=_RAIL_M)[0]] = (
        False
    )
    free[shapely.STRtree(fabric.water.areas_shape).query(shape, predicate="intersects")[0]] = False
    return free


def _village_halls(parcels: Parcels, parcel: Ints, use: list[str]) -> list[str]:
    """The uses, with the first building of the innermost block of every village made its village hall."""
    village = np.flatnonzero(parcels.kind[parcel] == VILLAGE)
    order = village[np.lexsort((village, parcels.reach[parcel[village]], parcels.settlement[parcel[village]]))]
    _, first = np.unique(parcels.settlement[parcel[order]], return_index=True)
    changed = np.array(use, dtype=np.object_)
    changed[order[first]] = "public"
    return changed.tolist()


def build(plan: Plan, fabric: Fabric, parcels: Parcels, roads: Roads) -> Buildings:
    """Build on all parcels; what would stand on a road, a railway, in water or outside the city is not built."""
    built = _all_raised(plan, parcels)
    at = shapely.point_on_surface(built.shape)
    district = fabric.bounds.district_of(at)
    kept = _free(built.shape, roads, fabric) & (district >= 0)
    shape, parcel, floors = built.shape[kept], built.parcel[kept], built.floors[kept]
    use = _village_halls(parcels, parcel, np.array(built.use, dtype=np.object_)[kept].tolist())
    own = parcels.table.iloc[parcel].reset_index(drop=True)
    number = own.groupby("parcel_id").cumcount() + 1
    area = shapely.area(shape)
    town = fabric.bounds.town_of(at[kept])
    towns = np.array([*(town.code for part in plan.city.districts for town in part.towns), None], dtype=np.object_)
    village = parcels.kind[parcel] == VILLAGE
    house = pd.Series(parcels.settlement[parcel]).groupby(parcels.settlement[parcel]).cumcount() + 1
    dwelling = built.dwelling_m2[kept] * np.array([word == "residential" for word in use])
    table = pd.DataFrame({
        "building_id": [unit_code(code, k) for code, k in zip(own["parcel_id"], number, strict=True)],
        "parcel_id": own["parcel_id"],
        "name_zh": [f"{name}{k}号楼" if isinstance(name, str) else None
                    for name, k in zip(own["name_zh"], number, strict=True)],
        "name_en": [f"{name}, No. {k}" if isinstance(name, str) else None
                    for name, k in zip(own["name_en"], number, strict=True)],
        "address": [f"{front}{h}号" if rural else f"{front}{k}号楼"
                    for front, h, k, rural in zip(own["address"], house, number, village, strict=True)],
        "use": use,
        "floors": floors,
        "height_m": floors * _FLOOR_M,
        "year_built": built.year[kept],
        "structure": np.select([floors >= _TALL, np.array(use) == _SHED, floors > 1],
                               ["reinforced_concrete", "steel", "brick_concrete"], "brick"),
        "footprint_m2": area.round(1),
        "floor_area_m2": (area * floors).round(1),
        "community": own["community"],
        "district": np.array([part.code for part in plan.city.districts], dtype=np.object_)[district[kept]],
        "town": towns[town],
    })  # fmt: skip
    capacity = np.divide(area * floors, dwelling, out=np.zeros(len(area)), where=dwelling > 0)
    return Buildings(table, shape, at[kept], parcel, capacity)
