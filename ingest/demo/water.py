"""Water: rivers and canals as lines and areas, lakes, reservoirs and village ponds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ingest.demo.boundaries import Boundaries
from ingest.demo.facts import Lake
from ingest.demo.lines import course
from ingest.demo.noise import Floats, warped
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, Plane, points_at, polygons_of

__all__ = ["Water", "draw_water", "with_ponds"]

_MEANDER_M = {"river": 520.0, "canal": 160.0}
_FRAME_M = 1_500.0
"""Lakes reach beyond the city but keep this far inside the profile's bounds."""
_PONDS_A_KM2 = 0.09


@dataclass(frozen=True, slots=True)
class Water:
    """Water in the plane.

    `areas` with columns water_id, name_zh, name_en, kind (river, canal, lake, reservoir, pond), area_ha, district;
    `lines` with water_id, name_zh, name_en, kind, width_m, length_m: the centre lines of rivers and canals.
    """

    areas: pd.DataFrame
    areas_shape: Geometries
    lines: pd.DataFrame
    lines_shape: Geometries

    @property
    def still(self) -> Geometries:
        """Shapes of lakes, reservoirs and ponds: no road crosses them."""
        return self.areas_shape[~self.areas["kind"].isin(["river", "canal"]).to_numpy()]


def _lake_shape(lake: Lake, plane: Plane, seed: int) -> BaseGeometry:
    axis = np.array(lake.axis)
    xy, reach = plane.to_plane(axis[:, :2]), axis[:, 2]
    steps = np.linspace(0, len(axis) - 1, 1 + 12 * (len(axis) - 1))
    along = np.column_stack([np.interp(steps, np.arange(len(axis)), part) for part in xy.T])
    discs = shapely.buffer(points_at(along), np.interp(steps, np.arange(len(axis)), reach))
    size = float(reach.max())
    dense = shapely.segmentize(shapely.union_all(discs), size / 24)
    shore = shapely.transform(dense, lambda at: warped(at, 0.28 * size, 1.1 * size, 5, seed))
    # Strong warping may fold a shore over itself: the lake is the largest of the loops.
    return max(shapely.get_parts(shapely.make_valid(shore, method="structure")), key=shapely.area)


def _districts(plan: Plan, bounds: Boundaries, shapes: Geometries) -> NDArray[np.object_]:
    """Code of the district each shape has a point in, None outside the city."""
    codes = np.array([*(district.code for district in plan.city.districts), None], dtype=np.object_)
    return codes[bounds.district_of(shapely.point_on_surface(shapes))]


def with_ponds(plan: Plan, bounds: Boundaries, water: Water, taken: Geometries) -> Water:
    """The water and village ponds (their number follows the scale), clear of all that is `taken`."""
    rng = plan.rng("ponds")
    west, south, east, north = bounds.city.bounds
    count = max(int(_PONDS_A_KM2 * plan.scale * (east - west) * (north - south) / 1e6), 1)
    at = np.column_stack([rng.uniform(west, east, count), rng.uniform(south, north, count)])
    reach = rng.uniform(18, 75, count)[:, None] * rng.uniform(0.75, 1.15, (count, 14))
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    ring = np.stack([np.cos(angle) * 1.3, np.sin(angle)], axis=-1) * reach[..., None]
    ponds = polygons_of(at[:, None] + ring)
    blocked = shapely.STRtree(np.concatenate([taken, water.areas_shape])).query(
        ponds, predicate="dwithin", distance=15
    )[0]
    free = bounds.district_of(points_at(at)) >= 0
    free[blocked] = False
    ponds = ponds[free]
    table = pd.DataFrame({
        "water_id": [f"W{k:05d}" for k in range(len(water.areas), len(water.areas) + len(ponds))],
        "name_zh": "坑塘", "name_en": "Pond", "kind": "pond",
        "area_ha": (shapely.area(ponds) / 1e4).round(3),
        "district": _districts(plan, bounds, ponds),
    })  # fmt: skip
    areas = pd.concat([water.areas, table], ignore_index=True)
    return Water(areas, np.concatenate([water.areas_shape, ponds]), water.lines, water.lines_shape)


def draw_water(plan: Plan, bounds: Boundaries) -> Water:
    """Draw the named water of the facts."""
    city, facts, plane = plan.city, plan.facts, plan.plane
    corners: Floats = np.array([city.bounds[:2], city.bounds[2:]])
    west, south, east, north = plane.to_plane(corners).ravel().tolist()
    frame = shapely.buffer(shapely.box(west, south, east, north), -_FRAME_M)
    lakes = [_lake_shape(lake, plane, plan.seed + k) & frame for k, lake in enumerate(facts.lakes)]
    still = shapely.union_all(lakes) if lakes else shapely.Polygon()
    courses = [course(plane.to_plane(np.array(river.via)), _MEANDER_M[river.kind], 4_200, 140, plan.seed) & bounds.city
               for river in facts.rivers]  # fmt: skip
    streams = [shapely.buffer(line, river.width_m / 2, cap_style="flat") - still
               for line, river in zip(courses, facts.rivers, strict=True)]  # fmt: skip
    named = [*facts.rivers, *facts.lakes]
    shapes = np.array([*streams, *lakes], dtype=np.object_)
    areas = pd.DataFrame({
        "water_id": [f"W{k:05d}" for k in range(len(named))],
        "name_zh": [item.title.zh for item in named],
        "name_en": [item.title.en for item in named],
        "kind": [item.kind for item in named],
        "area_ha": (shapely.area(shapes) / 1e4).round(3),
        "district": _districts(plan, bounds, shapes),
    })  # fmt: skip
    lines = pd.DataFrame({
        **areas.loc[: len(courses) - 1, ["water_id", "name_zh", "name_en", "kind"]].to_dict("list"),
        "width_m": [river.width_m for river in facts.rivers],
        "length_m": [round(float(line.length), 1) for line in courses],
    })  # fmt: skip
    kept = shapely.area(shapes) > 0
    return Water(areas.loc[kept].reset_index(drop=True), shapes[kept], lines, np.array(courses, dtype=np.object_))
