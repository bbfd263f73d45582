"""The demonstration city: a seeded, synthetic city drawn from a profile (合成数据).

`DemoCity.generate(city)` draws outlines, water, roads, parcels, buildings, residents, facilities, firms, buses and
devices. It is pure numpy and shapely, repeats to the last byte for the same profile, seed and scale, and knows no
city by name.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ingest.demo.areas import draw_areas, draw_fields
from ingest.demo.boundaries import Boundaries
from ingest.demo.buildings import build
from ingest.demo.enterprises import found_firms, outlets_of
from ingest.demo.fabric import Fabric, weave
from ingest.demo.facilities import DistrictOf, place_facilities
from ingest.demo.junctions import find_junctions
from ingest.demo.parcels import lay_parcels
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.population import in_cells, with_residents
from ingest.demo.roads import draw_roads
from ingest.demo.sensors import Sites, place_sensors
from ingest.demo.settlements import CENTRE, TOWN
from ingest.demo.spots import find_spots
from ingest.demo.transit import draw_transit
from ingest.demo.water import with_ponds
from twin.city import City

__all__ = ["DemoCity"]


@dataclass(frozen=True, slots=True)
class DemoCity:
    """All of the city, one frame a theme, in the city's CRS. Lengths in metres, areas in the unit their name carries.

    Codes of `district`, `town` (9 digits) and `community` (12) are those of the profile; `name_zh` and `name_en` go
    together.

    - `districts` (polygon): code, name_zh, name_en, population (published), area_km2 (drawn), published_km2
    - `towns` (polygon): code, name_zh, name_en, district, area_km2
    - `reporting_units` (polygon, over districts): code, name_zh, name_en, area_km2, within (district codes, comma
      between)
    - `settlements` (point): settlement_id, kind (centre, town, village), name_zh, name_en, residents, district, town
    - `water` (polygon): water_id, name_zh, name_en, kind (river, canal, lake, reservoir, pond), area_ha, district
    - `watercourses` (line): water_id, name_zh, name_en, kind, width_m, length_m
    - `railways` (line): railway_id, name_zh, name_en, kind (high_speed, mainline, branch), tracks, speed_kmh, length_m
    - `roads` (line, noded): road_id, name_zh, name_en, number (G104), road_class, ramp, length_m, stake_start_m,
      stake_end_m (numbered roads; the line runs with the stakes), lanes (both directions), speed_kmh, oneway (along
      the line), bridge, surface, district, from_node, to_node
    - `junctions` (point): node_id, degree, signals, name_zh, name_en, district
    - `bus_lines` (line), `bus_stops` (point): see transit.py
    - `parcels` (polygon): parcel_id (19), grid_code (15), community, land_use, name_zh, name_en (of an estate),
      street_zh, street_en, address, area_m2, district, town
    - `fields` (polygon): farm parcels, see areas.py
    - `areas` (polygon): parks, scenic areas, industrial parks, building sites, subsidence, see areas.py
    - `buildings` (polygon): building_id (28), parcel_id, name_zh, name_en, address, use, floors, height_m,
      year_built, structure, footprint_m2, floor_area_m2, community, district, town, dwellings, households, residents
      (personal: publish as cells only)
    - `population` (point, centre of an H3 cell): see population.py
    - `facilities` (point): facility_id, kind, kind_zh, kind_en, name_zh, name_en, code, credit_code, address,
      district, town, community, building_id, parcel_id, road_id, level, capacity, capacity_unit, used, opened
    - `enterprises`, `outlets` (point): see enterprises.py
    - `sensors` (point): see sensors.py
    """

    districts: GeoDataFrame
    towns: GeoDataFrame
    reporting_units: GeoDataFrame
    settlements: GeoDataFrame
    water: GeoDataFrame
    watercourses: GeoDataFrame
    railways: GeoDataFrame
    roads: GeoDataFrame
    junctions: GeoDataFrame
    bus_lines: GeoDataFrame
    bus_stops: GeoDataFrame
    parcels: GeoDataFrame
    fields: GeoDataFrame
    areas: GeoDataFrame
    buildings: GeoDataFrame
    population: GeoDataFrame
    facilities: GeoDataFrame
    enterprises: GeoDataFrame
    outlets: GeoDataFrame
    sensors: GeoDataFrame

    @classmethod
    def generate(cls, city: City, seed: int = 1616, scale: float = 1.0) -> "DemoCity":
        """Draw the city. `scale` in (0, 1] shrinks all counts (not the land), for tests.

        Raises InvalidRequest for a scale or seed out of range, SetupError when the profile cannot be drawn.
        """
        plan = Plan.of(city, seed, scale)
        fabric = weave(plan)
        return cls(**_drawn(plan, fabric))

    def frames(self) -> dict[str, GeoDataFrame]:
        """All frames by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


def _district_codes(plan: Plan, bounds: Boundaries) -> DistrictOf:
    codes = np.array([*(district.code for district in plan.city.districts), None], dtype=np.object_)

    def of(points: Geometries) -> NDArray[np.object_]:
        return codes[bounds.district_of(points)]

    return of


def _drawn(plan: Plan, fabric: Fabric) -> dict[str, GeoDataFrame]:
    """All frames of a city whose fabric is drawn."""
    frame, district_of = plan.plane.frame, _district_codes(plan, fabric.bounds)
    roads = draw_roads(plan, fabric)
    parcels = lay_parcels(plan, fabric, roads)
    buildings = build(plan, fabric, parcels, roads)
    table = with_residents(plan, buildings)
    water = with_ponds(plan, fabric.bounds, fabric.water, np.concatenate([roads.shape, buildings.shape]))
    spots = find_spots(plan, fabric, parcels, roads, buildings)
    facilities, facility_at, host = place_facilities(plan, spots, district_of)
    alone = host >= 0
    for column in ("name_zh", "name_en"):
        names = table[column].to_numpy(dtype=np.object_, copy=True)
        names[host[alone]] = facilities.loc[alone, column].to_numpy()
        table[column] = pd.Series(names, dtype=object)
    junctions = find_junctions(fabric, roads, district_of)
    sensors = place_sensors(plan, Sites(fabric, roads, junctions, spots, (facilities, facility_at)), district_of)
    mines = (facilities["kind"] == "coal_mine").to_numpy()
    lines, line_shape, stops, stop_at = draw_transit(plan, fabric, district_of)
    taken = np.concatenate([roads.shape, buildings.shape, water.areas_shape, fabric.corridors.railways_shape])
    firms, firm_at = found_firms(plan, spots)
    corridors = fabric.corridors
    return {
        **_outlines(plan, fabric),
        "water": frame(water.areas, water.areas_shape),
        "watercourses": frame(water.lines, water.lines_shape),
        "railways": frame(corridors.railways, corridors.railways_shape),
        "roads": frame(roads.table, roads.shape),
        "junctions": frame(*junctions),
        "bus_lines": frame(lines, line_shape),
        "bus_stops": frame(stops, stop_at),
        "parcels": frame(parcels.table, parcels.shape),
        "fields": frame(*draw_fields(plan, fabric, taken)),
        "areas": frame(*draw_areas(plan, fabric, parcels, (facilities.loc[mines], facility_at[mines]), district_of)),
        "buildings": frame(table, buildings.shape),
        "population": frame(*in_cells(plan, table, buildings.at)),
        "facilities": frame(facilities, facility_at),
        "enterprises": frame(firms, firm_at),
        "outlets": frame(*outlets_of(plan, firms, firm_at)),
        "sensors": frame(*sensors),
    }


def _outlines(plan: Plan, fabric: Fabric) -> dict[str, GeoDataFrame]:
    """Districts, towns, reporting units and settlements."""
    bounds, city, frame = fabric.bounds, plan.city, plan.plane.frame
    towns = [(part.code, town) for part in city.districts for town in part.towns]
    districts = pd.DataFrame({
        "code": [part.code for part in city.districts],
        "name_zh": [part.title.zh for part in city.districts],
        "name_en": [part.title.en for part in city.districts],
        "population": [part.population for part in city.districts],
        "area_km2": (shapely.area(bounds.districts) / 1e6).round(3),
        "published_km2": [part.area_km2 for part in city.districts],
    })  # fmt: skip
    town_table = pd.DataFrame({
        "code": [town.code for _, town in towns],
        "name_zh": [town.title.zh for _, town in towns],
        "name_en": [town.title.en for _, town in towns],
        "district": [code for code, _ in towns],
        "area_km2": (shapely.area(bounds.towns) / 1e6).round(3),
    })  # fmt: skip
    places = fabric.settlements
    town_codes = np.array([*(town.code for _, town in towns), None], dtype=np.object_)
    settlements = pd.DataFrame({
        "settlement_id": [f"S{k + 1:05d}" for k in range(len(places.xy))],
        "kind": np.select([places.kind == CENTRE, places.kind == TOWN], ["centre", "town"], "village"),
        "name_zh": [title.zh for title in places.titles],
        "name_en": [title.en for title in places.titles],
        "residents": np.round(places.residents * plan.scale).astype(np.int64),
        "district": [city.districts[k].code for k in places.district],
        "town": town_codes[places.town],
    })  # fmt: skip
    return {
        "districts": frame(districts, bounds.districts),
        "towns": frame(town_table, bounds.towns),
        "reporting_units": frame(*_units(plan, bounds)),
        "settlements": frame(settlements, points_at(places.xy)),
    }


def _units(plan: Plan, bounds: Boundaries) -> tuple[pd.DataFrame, Geometries]:
    """Reporting units: the towns the facts name, else a disc of the published area within their districts."""
    codes = [town.code for part in plan.city.districts for town in part.towns]
    index = {part.code: k for k, part in enumerate(plan.city.districts)}
    shapes: list[BaseGeometry] = []
    for unit in plan.city.reporting_units:
        members = [codes.index(code) for code in plan.facts.unit_towns.get(unit.code, ())]
        if members:
            shapes.append(shapely.coverage_union_all(bounds.towns[members]))
            continue
        within = shapely.coverage_union_all(bounds.districts[[index[code] for code in unit.within]])
        seat = shapely.Point(plan.plane.to_plane(np.array([unit.seat]))[0])
        shapes.append(shapely.buffer(seat, 1000 * np.sqrt(unit.area_km2 / np.pi)) & within)
    shape = np.array(shapes, dtype=np.object_)
    table = pd.DataFrame({
        "code": [unit.code for unit in plan.city.reporting_units],
        "name_zh": [unit.title.zh for unit in plan.city.reporting_units],
        "name_en": [unit.title.en for unit in plan.city.reporting_units],
        "area_km2": (shapely.area(shape) / 1e6).round(3),
        "within": [",".join(unit.within) for unit in plan.city.reporting_units],
    })  # fmt: skip
    return table, shape
