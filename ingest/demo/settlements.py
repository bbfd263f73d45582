"""Where people live: urban centres, towns, villages, with their residents, sizes and names."""

from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.demo.boundaries import Boundaries
from ingest.demo.names import village_names
from ingest.demo.noise import Floats, Ints
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.water import Water
from twin.city import Title

__all__ = ["CENTRE", "TOWN", "VILLAGE", "Settlements", "settle"]

CENTRE, TOWN, VILLAGE = 0, 1, 2

_RURAL_SHARE, _RURAL_A_KM2 = 0.40, 410.0
"""Residents of villages: this share of the district, but never more than the land carries."""
_TOWN_SHARE = 0.17
_VILLAGE_RESIDENTS = 640.0
_CENTRE_A_KM2, _TOWN_A_KM2 = 10_500.0, 8_500.0
"""Residents on a built-up square kilometre."""
_CENTRE_MIN_M, _TOWN_MIN_M, _VILLAGE_M = 420.0, 170.0, 260.0
_CLEAR_M = 260.0


@dataclass(slots=True)
class Settlements:
    """One row a settlement, centres first, then towns, then villages.

    `kind` (s,) CENTRE, TOWN or VILLAGE; `xy` (s, 2) metres; `radius_m` (s,); `residents` (s,); `district`, `town`
    (s,) indexes, town -1 where there is none; `turn_rad` (s,) turn of its streets, within 45 degrees of east;
    `titles` (s,).
    """

    kind: Ints
    xy: Floats
    radius_m: Floats
    residents: Floats
    district: Ints
    town: Ints
    turn_rad: Floats
    titles: list[Title]

    def of(self, kind: int) -> Ints:
        """Indexes of the settlements of one kind."""
        return np.flatnonzero(self.kind == kind)


def _radius(residents: Floats, density_a_km2: float, scale: float) -> Floats:
    return 1000 * np.sqrt(residents * scale / density_a_km2 / np.pi)


def _centres(plan: Plan, urban: Floats) -> tuple[Floats, Floats, Floats, Ints, list[Title]]:
    city = plan.city
    index = {district.code: k for k, district in enumerate(city.districts)}
    extra = [centre for centre in plan.facts.centres if centre.district in index]
    share = np.ones(len(city.districts))
    for centre in extra:
        share[index[centre.district]] -= centre.share
    lonlat = [*(district.seat for district in city.districts), *(centre.at for centre in extra)]
    district = np.array([*range(len(city.districts)), *(index[centre.district] for centre in extra)])
    residents = urban[district] * np.concatenate([share, [centre.share for centre in extra]])
    titles = [*(district.title for district in city.districts), *(centre.title for centre in extra)]
    radius = np.maximum(_radius(residents, _CENTRE_A_KM2, plan.scale), _CENTRE_MIN_M)
    return plan.plane.to_plane(np.array(lonlat)), residents, radius, district, titles


def _apart(
    xy: Floats, centres: Floats, radius_m: Floats, margin_m: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which positions (n, 2) lie outside all discs around `centres` by the margin."""
    gap = np.hypot(*(xy[:, None] - centres).transpose(2, 0, 1)) - radius_m
    return (gap > margin_m).all(1)


def _scattered(area: BaseGeometry, count: float, free: Geometries, rng: np.random.Generator) -> Floats:
    """About `count` positions in an area, on a loose hexagonal grid, none near what must stay free."""
    inner = shapely.buffer(area, -_CLEAR_M)
    west, south, east, north = inner.bounds
    usable = 1.0
    found = np.empty((0, 2))
    for _ in range(2):
        pitch = np.sqrt(usable * inner.area / max(count, 1) * 2 / np.sqrt(3))
        row, column = (
            part.ravel() for part in np.mgrid[0 : (north - south) / pitch * 1.155 + 1, 0 : (east - west) / pitch + 1]
        )
        found = np.column_stack([west + (column + 0.5 * (row % 2)) * pitch, south + row * pitch * np.sqrt(3) / 2])
        found = found + rng.uniform(-0.3, 0.3, found.shape) * pitch
        shapely.prepare(inner)
        found = found[shapely.contains_xy(inner, found)]
        drawn = len(found)
        near = np.unique(shapely.STRtree(free).query(points_at(found), predicate="dwithin", distance=_CLEAR_M)[0])
        found = np.delete(found, near, axis=0)
        usable *= max(len(found) / max(drawn, 1), 0.05)
    return found


def settle(plan: Plan, bounds: Boundaries, water: Water, lines: Geometries) -> Settlements:
    """Place centres, towns and villages; villages keep clear of water and of `lines` (motorways, railways)."""
    rng, city, scale = plan.rng("settlements"), plan.city, plan.scale
    people = np.array([district.population for district in city.districts], dtype=np.float64)
    land = np.array([district.area_km2 for district in city.districts])
    rural = np.minimum(_RURAL_SHARE * people, _RURAL_A_KM2 * land)
    in_towns = np.array([_TOWN_SHARE if district.towns else 0.0 for district in city.districts]) * people
    centre_xy, centre_people, centre_radius, centre_district, titles = _centres(plan, people - rural - in_towns)
    wide = np.maximum(centre_radius, _radius(centre_people, _CENTRE_A_KM2, 1.0))
    towns = np.flatnonzero(_apart(bounds.town_seats, centre_xy, 1.08 * wide, 700.0))
    weight = rng.uniform(0.6, 1.5, len(towns))
    owner = bounds.town_district[towns]
    pool = np.bincount(owner, weight, minlength=len(people))
    town_people = in_towns[owner] * weight / pool[owner]
    town_radius = np.maximum(_radius(town_people, _TOWN_A_KM2, scale), _TOWN_MIN_M)
    hubs, hub_radius = np.vstack([centre_xy, bounds.town_seats[towns]]), np.concatenate([centre_radius, town_radius])
    free = np.concatenate([water.areas_shape, lines, shapely.buffer(points_at(hubs), 1.25 * hub_radius + 150)])
    spots = [
        _scattered(area, rural[k] * scale / _VILLAGE_RESIDENTS, free, rng) for k, area in enumerate(bounds.districts)
    ]
    village_xy = np.vstack(spots)
    village_district = np.repeat(np.arange(len(spots)), [len(group) for group in spots])
    size = rng.lognormal(0, 0.45, len(village_xy))
    village_people = (
        rural[village_district] * size / np.bincount(village_district, size, minlength=len(people))[village_district]
    )
    xy = np.vstack([hubs, village_xy])
    counts = [len(centre_xy), len(towns), len(village_xy)]
    town_titles = [town.title for district in city.districts for town in district.towns]
    return Settlements(
        kind=np.repeat([CENTRE, TOWN, VILLAGE], counts),
        xy=xy,
        radius_m=np.concatenate([hub_radius, np.full(len(village_xy), _VILLAGE_M)]),
        residents=np.concatenate([centre_people, town_people, village_people]),
        district=np.concatenate([centre_district, owner, village_district]),
        town=bounds.town_of(points_at(xy)),
        turn_rad=rng.normal(0, np.radians(5), len(xy)),
        titles=[*titles, *(town_titles[k] for k in towns), *village_names(len(village_xy), rng)],
    )
