"""District and town outlines: a power diagram around seats, tuned until the areas are the published ones.

Each district grows around anchors (the seats of its towns, or drawn positions). Its field is a soft minimum of
squared distances, in a space warped by noise, less a weight; a cell belongs to the district with the lowest field, or
to none where all fields are positive (power diagram: Aurenhammer 1987). The weights are then adjusted until each
district has its area.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.demo.mesh import OUTSIDE, Honeycomb, honeycomb, outlines, tidied
from ingest.demo.noise import Floats, Ints, warped
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries
from twin.errors import SetupError

__all__ = ["Boundaries", "boundaries"]

_CELLS = 45_000
_SOFT = 0.12
"""Reach of the blending of fields, in sides of a square of a district's mean area."""
_AREA_ERROR = 0.008
_ROUNDS, _COARSE_ROUNDS = 80, 20
_GAIN, _LEAST_GAIN = 0.4, 0.04
_WAY = (1 / 3, 2 / 3, 1.0)
"""Anchors on the way from a district's seat to each of its towns: they keep the district in one piece."""
_RIM_SOFT = 2.0
"""The blending at the city's outer border reaches farther, so that no wedge of foreign land divides two districts."""
_MARGIN = 0.8
"""The mesh reaches this many radii of the largest district beyond the outermost anchors."""


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Outlines in the plane, metres.

    `districts` (d,) polygons; `towns` (t,) polygons, which partition the districts that have towns; `town_district`
    (t,) district index; `town_seats` (t, 2); `seats` (d, 2); `city` the union.
    """

    districts: Geometries
    towns: Geometries
    town_district: Ints
    town_seats: Floats
    seats: Floats
    city: BaseGeometry

    def district_of(self, points: Geometries) -> Ints:
        """District index of each point (n,), -1 outside the city."""
        return _index_of(self.districts, points)

    def town_of(self, points: Geometries) -> Ints:
        """Town index of each point (n,), -1 where there is no town."""
        return _index_of(self.towns, points)


def _index_of(areas: Geometries, points: Geometries) -> Ints:
    found = np.full(len(points), -1, dtype=np.int64)
    area, point = shapely.STRtree(points).query(areas, predicate="intersects")
    # A point exactly on a border goes to the area listed first.
    found[point[::-1]] = area[::-1]
    return found


def _spread(seat: Floats, radius_m: float, count: int, taken: Floats, rng: np.random.Generator) -> Floats:
    """`count` positions (count, 2) around a seat, each as far as can be from those placed before (Mitchell 1991)."""
    placed = np.vstack([taken, seat])
    for _ in range(count - 1):
        angle, reach = rng.uniform(0, 2 * np.pi, 48), radius_m * np.sqrt(rng.uniform(0.02, 0.75, 48))
        tries = seat + np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
        gap = np.hypot(*(tries[:, None] - placed).transpose(2, 0, 1)).min(1)
        placed = np.vstack([placed, tries[gap.argmax()]])
    return placed[len(taken) :]


def _town_seats(plan: Plan, seats: Floats, rng: np.random.Generator) -> tuple[list[Floats], list[Floats]]:
    """Seats of the towns of each district, and its anchors: on the way to these, or to drawn ones without towns."""
    known = {town.code: town.at for town in plan.facts.town_seats}
    seats_of: list[Floats] = []
    anchors: list[Floats] = []
    for index, district in enumerate(plan.city.districts):
        others = np.delete(seats, index, axis=0)
        radius = 1000 * np.sqrt(district.area_km2 / np.pi)
        missing = [town.code for town in district.towns if town.code not in known]
        if missing and len(missing) < len(district.towns):
            raise SetupError(f"the facts name only some town seats of {district.code}.", where=", ".join(missing),
                             remedy="Name all of them or none.")  # fmt: skip
        if district.towns and not missing:
            found = plan.plane.to_plane(np.array([known[town.code] for town in district.towns]))
        else:
            found = _spread(seats[index], radius, max(len(district.towns), 6), others, rng)
        anchors.append(np.vstack([seats[index], *(seats[index] + share * (found - seats[index]) for share in _WAY)]))
        seats_of.append(found[: len(district.towns)])
    return seats_of, anchors


def _blend(squared: Floats, soft_m: float) -> Floats:
    """Soft minimum along the last axis of fields in m2."""
    lowest = squared.min(-1, keepdims=True)
    return lowest[..., 0] - soft_m**2 * np.log(np.exp((lowest - squared) / soft_m**2).sum(-1))


def _field(at: Floats, anchors: Floats, soft_m: float) -> Floats:
    """Soft minimum of the squared distances (m2) from positions (n, 2) to anchors (k, 2): shape (n,)."""
    return _blend(((at[:, None] - anchors) ** 2).sum(-1), soft_m)


def _labels(weighted: Floats, soft_m: float) -> Ints:
    """The label with the lowest weighted field (n, d); OUTSIDE where even the blend of all fields is positive."""
    return np.where(_blend(weighted, _RIM_SOFT * soft_m) < 0, weighted.argmin(1), OUTSIDE)


def _tuned(mesh: Honeycomb, fields: Floats, target_m2: Floats, soft_m: float) -> Ints:
    """Labels of the cells (n,) whose areas are the targets (d,), by adjusting one weight a district.

    The step of a weight grows while its error keeps its sign and shrinks when it changes (after Riedmiller and Braun
    1993).
    """
    weight = target_m2 / np.pi / 4
    gain, before = np.full(len(target_m2), _GAIN), np.zeros(len(target_m2))
    labels = np.empty(0, dtype=np.int64)
    for turn in range(_ROUNDS):
        labels = _labels(fields - weight, soft_m)
        close = turn > _COARSE_ROUNDS
        labels = tidied(mesh, labels) if close else labels
        area = np.bincount(labels[labels != OUTSIDE], mesh.area_m2[labels != OUTSIDE], minlength=len(target_m2))
        error = area / target_m2 - 1
        if close and np.abs(error).max() < _AREA_ERROR:
            return labels
        gain = np.clip(np.where(error * before < 0, 0.6 * gain, 1.25 * gain), _LEAST_GAIN, _GAIN)
        weight = weight - gain * np.clip(error, -0.6, 0.6) * target_m2 / np.pi
        before = error
    raise SetupError("the district areas cannot be reached around these seats.",
                     remedy="Check seats and areas in the city profile.")  # fmt: skip


def _town_labels(mesh: Honeycomb, at: Floats, districts: Ints, seats: list[Floats]) -> tuple[Ints, Ints]:
    """Area label of each cell (n,): its nearest town in its district, or the district itself where it has no towns.

    Also the district of each area (a,).
    """
    labels = np.full(len(at), OUTSIDE, dtype=np.int64)
    owner: list[int] = []
    for index, towns in enumerate(seats):
        own = np.flatnonzero(districts == index)
        gap = ((at[own, None] - towns) ** 2).sum(-1) if len(towns) else np.zeros((len(own), 1))
        labels[own] = len(owner) + gap.argmin(1)
        owner += [index] * max(len(towns), 1)
    return tidied(mesh, labels), np.array(owner)


def boundaries(plan: Plan) -> Boundaries:
    """Draw the districts and towns of a city.

    Raises SetupError when the areas cannot be reached, for instance because seats coincide.
    """
    rng = plan.rng("boundaries")
    districts_of = plan.city.districts
    seats = plan.plane.to_plane(np.array([district.seat for district in districts_of]))
    target = np.array([district.area_km2 for district in districts_of]) * 1e6
    town_seats, anchors = _town_seats(plan, seats, rng)
    reach = _MARGIN * np.sqrt(target.max() / np.pi)
    every = np.vstack(anchors)
    cell_m2 = target.sum() / (_CELLS * max(plan.scale, 0.25))
    mesh = honeycomb(every.min(0) - reach, every.max(0) + reach, float(np.sqrt(cell_m2 * 2 / np.sqrt(27))), rng)
    size = float(np.sqrt(target.mean()))
    at = warped(mesh.centres, 0.16 * size, 0.5 * size, 6, plan.seed)
    fields = np.column_stack([_field(at, group, _SOFT * size) for group in anchors])
    districts = _tuned(mesh, fields, target, _SOFT * size)
    labels, owner = _town_labels(mesh, at, districts, town_seats)
    areas = outlines(mesh, labels, len(owner))
    whole = np.array(
        [shapely.coverage_union_all(areas[owner == index]) for index in range(len(target))], dtype=np.object_
    )
    has_towns = np.array([len(towns) > 0 for towns in town_seats])
    return Boundaries(
        districts=whole,
        towns=areas[has_towns[owner]],
        town_district=owner[has_towns[owner]],
        town_seats=np.vstack(town_seats),
        seats=seats,
        city=shapely.coverage_union_all(whole),
    )
