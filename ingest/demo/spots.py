"""Spots: every place where something could stand, with the words its name and address are made of."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from ingest.demo.buildings import Buildings
from ingest.demo.fabric import Fabric
from ingest.demo.graph import Bools
from ingest.demo.noise import Floats, Ints
from ingest.demo.parcels import Parcels
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.roads import HALF_WIDTH_M, Roads
from ingest.demo.settlements import VILLAGE
from ingest.demo.streets import MOTORWAY, TERTIARY

__all__ = ["Spots", "beside_roads", "find_spots"]

_FIELD_TRIES = 4
_FIELD_M = (330.0, 640.0)
_CLEAR_M = 40.0
_VERGE_M = 3.0


@dataclass(frozen=True, slots=True)
class Spots:
    """Candidate places, one row each.

    `table`: use (a building's use, "park", "street" or "field"), district, town, community, address, street_zh,
    street_en, place_zh, place_en, building_id, parcel_id, road_id, floor_area_m2; `points` (p,) in the plane;
    `settlement` (p,) and `kind` (p,) of it; `weight` (p,): how likely something comes here; `building` (p,) row of
    the building, -1 for none.
    """

    table: pd.DataFrame
    points: Geometries
    settlement: Ints
    kind: Ints
    weight: Floats
    building: Ints


def beside_roads(roads: Roads, chosen: Ints, share: Floats, side: Floats) -> Floats:
    """Positions (k, 2) just off the carriageway, at a share of the road's length, right (-1) or left (1) of it."""
    lines = roads.shape[chosen]
    at = shapely.get_coordinates(shapely.line_interpolate_point(lines, share, normalized=True))
    ahead = shapely.get_coordinates(shapely.line_interpolate_point(lines, np.minimum(share + 0.02, 1), normalized=True))
    behind = shapely.get_coordinates(
        shapely.line_interpolate_point(lines, np.maximum(share - 0.02, 0), normalized=True)
    )
    way = ahead - behind
    way = way / np.maximum(np.hypot(*way.T), 1e-9)[:, None]
    aside = np.column_stack([-way[:, 1], way[:, 0]]) * side[:, None]
    return at + aside * (HALF_WIDTH_M[roads.rank[chosen]] + _VERGE_M)[:, None]


def _open_land(plan: Plan, fabric: Fabric, taken: Geometries) -> tuple[Floats, Ints]:
    """Positions (k, 2) on open land around villages and their settlement (k,)."""
    rng = plan.rng("open land")
    village = np.repeat(fabric.settlements.of(VILLAGE), _FIELD_TRIES)
    angle, reach = rng.uniform(0, 2 * np.pi, len(village)), rng.uniform(*_FIELD_M, len(village))
    xy = fabric.settlements.xy[village] + np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
    points = points_at(xy)
    free = fabric.bounds.district_of(points) == fabric.settlements.district[village]
    free[shapely.STRtree(taken).query(points, predicate="dwithin", distance=_CLEAR_M)[0]] = False
    return xy[free], village[free]


def _places(plan: Plan, fabric: Fabric, settlement: Ints, town: Ints) -> pd.DataFrame:
    """Names of the place a spot is in: its subdistrict in a centre, else its town or village."""
    towns = [(part, town) for part in plan.city.districts for town in part.towns]
    places = fabric.settlements
    titles = [
        towns[t][1].title if t >= 0 and places.kind[s] != VILLAGE else places.titles[s]
        for s, t in zip(settlement, town, strict=True)
    ]
    return pd.DataFrame({"place_zh": [title.zh for title in titles], "place_en": [title.en for title in titles]})


def _codes(plan: Plan, district: Ints, town: Ints) -> pd.DataFrame:
    districts = np.array([part.code for part in plan.city.districts], dtype=np.object_)
    towns = np.array([*(town.code for part in plan.city.districts for town in part.towns), None], dtype=np.object_)
    return pd.DataFrame({"district": districts[district], "town": towns[town]})


def _ground(
    plan: Plan, fabric: Fabric, at: Geometries, settlement: Ints, extra: dict[str, object]
) -> tuple[pd.DataFrame, Bools]:
    """Rows of spots without a building, and which of them lie in the city at all."""
    district, town = fabric.bounds.district_of(at), fabric.bounds.town_of(at)
    table = pd.concat([_codes(plan, district, town), _places(plan, fabric, settlement, town)], axis=1).assign(**extra)
    names = {part.code: part.title.zh for part in plan.city.districts}
    table["address"] = [
        plan.city.title.zh + names[code] + place
        for code, place in zip(table["district"], table["place_zh"], strict=True)
    ]
    return table, district >= 0


def find_spots(plan: Plan, fabric: Fabric, parcels: Parcels, roads: Roads, buildings: Buildings) -> Spots:
    """All buildings, parks, places beside main streets and open land."""
    rng = plan.rng("spots")
    own = parcels.table.iloc[buildings.parcel].reset_index(drop=True)
    settlement = parcels.settlement[buildings.parcel]
    town = fabric.bounds.town_of(buildings.at)
    built = buildings.table[
        ["use", "district", "town", "community", "address", "building_id", "parcel_id", "floor_area_m2"]
    ].assign(street_zh=own["street_zh"], street_en=own["street_en"], **_places(plan, fabric, settlement, town))
    park = np.flatnonzero((parcels.table["land_use"] == "park").to_numpy())
    green = parcels.table.iloc[park].reset_index(drop=True)
    park_at = points_at(parcels.quads[park].mean(1))
    street = np.flatnonzero(
        (roads.rank > MOTORWAY)
        & (roads.rank <= TERTIARY)
        & (roads.place >= 0)
        & roads.table["name_zh"].notna().to_numpy()
    )
    side = np.where(rng.random(len(street)) < 0.5, -1.0, 1.0)
    street_at = points_at(beside_roads(roads, street, rng.uniform(0.25, 0.75, len(street)), side))
    named = roads.table.iloc[street].reset_index(drop=True)
    field_xy, village = _open_land(
        plan, fabric, np.concatenate([roads.shape, buildings.shape, fabric.water.areas_shape])
    )
    field_at = points_at(field_xy)
    parts = [
        _ground(plan, fabric, park_at, parcels.settlement[park], {
            "use": "park", "parcel_id": green["parcel_id"], "community": green["community"],
            "street_zh": green["street_zh"], "street_en": green["street_en"]}),
        _ground(plan, fabric, street_at, roads.place[street], {
            "use": "street", "road_id": named["road_id"],
            "street_zh": named["name_zh"], "street_en": named["name_en"]}),
        _ground(plan, fabric, field_at, village, {"use": "field"}),
    ]  # fmt: skip
    kept = np.concatenate([np.ones(len(built), dtype=np.bool_), *(inside for _, inside in parts)])
    table = pd.concat([built, *(part for part, _ in parts)], ignore_index=True)
    everywhere = np.concatenate([settlement, parcels.settlement[park], roads.place[street], village])[kept]
    return Spots(
        table=table.loc[kept].reset_index(drop=True),
        points=np.concatenate([buildings.at, park_at, street_at, field_at])[kept],
        settlement=everywhere,
        kind=fabric.settlements.kind[everywhere],
        weight=np.sqrt(table["floor_area_m2"].fillna(400.0).to_numpy(dtype=np.float64))[kept],
        building=np.concatenate([np.arange(len(built)), np.full(len(table) - len(built), -1)])[kept],
    )
