"""Devices, and what they measure at a time of day."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ingest.demo.codes import camera_id, device_number, part_code
from ingest.demo.fabric import Fabric
from ingest.demo.facilities import DistrictOf
from ingest.demo.kinds import SensorKind, rhythms, sensor_kinds
from ingest.demo.noise import Floats, Ints, hashed
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.roads import Roads
from ingest.demo.spots import Spots, beside_roads
from ingest.demo.streets import MOTORWAY, RESIDENTIAL
from twin.errors import InvalidRequest

__all__ = ["Sites", "place_sensors", "value"]

_DAY_S, _HOUR_S, _STEP_S = 86_400, 3_600, 900
_YEAR_DAYS, _COLDEST_DAY = 365.2425, 15.0
_MONDAY, _SATURDAY = 4, 5
"""1970-01-01 was a Thursday; days of the week count from Monday = 0."""
_STATE_SHARE = 0.965
_VERGE_M = 14.0
_WORDS = {
    "junction": ("路口", " Junction"),
    "street": ("路段", " Section"),
    "river": ("断面", " Section"),
    "field": ("田间", " Field"),
    "cell": ("", ""),
    "building": ("", ""),
    "facility": ("", ""),
}


def value(kind: str, t: NDArray[np.datetime64], seed: int | Ints) -> Floats:
    """What a device reads: `kind` is the name of a rhythm (pm25, flow, electricity_kw ...), in the unit of that rhythm.

    `t`: local clock time, datetime64, any shape; `seed`: one device's number, or an array that broadcasts against
    `t`. The same arguments always give the same reading. Raises InvalidRequest for an unknown kind.
    """
    rhythm = rhythms().get(kind)
    if rhythm is None:
        raise InvalidRequest(f"no reading is called {kind!r}.", remedy=f"Use one of {', '.join(sorted(rhythms()))}.")
    seconds = np.asarray(t).astype("datetime64[s]").astype(np.int64)
    device = np.asarray(seed, dtype=np.int64)
    hour = (seconds % _DAY_S) / _HOUR_S
    day = seconds // _DAY_S
    reading = np.full(np.broadcast_shapes(seconds.shape, device.shape), rhythm.mean)
    for height, at, width in rhythm.bumps:
        reading = reading + height * np.exp(-(((hour - at) / width) ** 2))
    is_weekend = (day + _MONDAY - 1) % 7 >= _SATURDAY
    reading = reading * np.where(is_weekend, rhythm.weekend, 1.0)
    winter = np.cos(2 * np.pi * (day % _YEAR_DAYS - _COLDEST_DAY) / _YEAR_DAYS)
    size = abs(rhythm.mean) + sum(abs(height) for height, *_ in rhythm.bumps) / 3
    reading = reading + rhythm.season * winter * size
    reading = reading * (1 + rhythm.spread * (2 * hashed(device, 1, 5) - 1))
    step, part = seconds // _STEP_S, (seconds % _STEP_S) / _STEP_S
    # Noise that wanders between quarter hours, and another that changes from day to day.
    quick = (1 - part) * hashed(step + 0 * device, device, 11) + part * hashed(step + 1 + 0 * device, device, 11)
    slow = hashed(day + 0 * device, device, 13)
    reading = reading + rhythm.noise * size * (1.3 * (quick - 0.5) + 1.4 * (slow - 0.5))
    return np.clip(reading, *rhythm.limits)


@dataclass(frozen=True, slots=True)
class Sites:
    """Where devices can be: the roads, spots and facilities with their points."""

    fabric: Fabric
    roads: Roads
    junctions: tuple[pd.DataFrame, Geometries]
    spots: Spots
    facilities: tuple[pd.DataFrame, Geometries]


Picked = tuple[Geometries, list[str], list[str], list[str | None]]
"""Points, Chinese and English words for the place, and the id of what the device belongs to."""


def _at_junctions(sites: Sites, count: int, rng: np.random.Generator) -> Picked:
    table, at = sites.junctions
    weight = table["degree"].to_numpy() * np.where(table["signals"], 6.0, 1.0)
    chosen = rng.choice(len(table), min(count, len(table)), replace=False, p=weight / weight.sum())
    angle = rng.uniform(0, 2 * np.pi, len(chosen))
    xy = shapely.get_coordinates(at[chosen]) + _VERGE_M * np.column_stack([np.cos(angle), np.sin(angle)])
    rows = table.iloc[chosen]
    return (
        points_at(xy),
        rows["name_zh"].tolist(),
        rows["name_en"].tolist(),
        [f"N{k}" for k in rows["node_id"]],
    )


def _at_streets(sites: Sites, count: int, rng: np.random.Generator) -> Picked:
    roads = sites.roads
    pool = np.flatnonzero(
        (roads.rank > MOTORWAY) & (roads.rank < RESIDENTIAL) & roads.table["name_zh"].notna().to_numpy()
    )
    length = roads.table["length_m"].to_numpy()[pool]
    chosen = rng.choice(pool, count, p=length / length.sum())
    side = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    at = points_at(beside_roads(roads, chosen, rng.uniform(0.05, 0.95, count), side))
    rows = roads.table.iloc[chosen]
    return at, rows["name_zh"].tolist(), rows["name_en"].tolist(), rows["road_id"].tolist()


def _at_rivers(sites: Sites, count: int, rng: np.random.Generator) -> Picked:
    water = sites.fabric.water
    usable = np.flatnonzero(shapely.length(water.lines_shape) > 0)
    length = shapely.length(water.lines_shape[usable])
    chosen = usable[rng.choice(len(usable), count, p=length / length.sum())]
    at = shapely.line_interpolate_point(
        shapely.line_merge(water.lines_shape[chosen]), rng.uniform(0.04, 0.96, count), normalized=True
    )
    rows = water.lines.iloc[chosen]
    return (
        np.asarray(at, dtype=np.object_),
        rows["name_zh"].tolist(),
        rows["name_en"].tolist(),
        rows["water_id"].tolist(),
    )


def _at_spots(sites: Sites, uses: list[str], count: int, rng: np.random.Generator) -> Picked:
    pool = np.flatnonzero(np.isin(sites.spots.table["use"].to_numpy(), uses))
    if not pool.size:
        pool = np.arange(len(sites.spots.points))
    weight = sites.spots.weight[pool]
    chosen = rng.choice(pool, min(count, len(pool)), replace=False, p=weight / weight.sum())
    rows = sites.spots.table.iloc[chosen]
    on_land = rows["building_id"].isna()
    ids = rows["building_id"].where(~on_land, None).tolist()
    zh = rows["place_zh"].where(on_land, rows["address"]).tolist()
    return sites.spots.points[chosen], zh, rows["place_en"].tolist(), ids


def _at_facilities(sites: Sites, kinds: list[str], count: int, rng: np.random.Generator) -> Picked:
    table, at = sites.facilities
    pool = np.flatnonzero(table["kind"].isin(kinds).to_numpy())
    chosen = rng.choice(pool, count)
    # Several devices of one place stand a little apart, but still in its yard.
    rows = table.iloc[chosen]
    return at[chosen], rows["name_zh"].tolist(), rows["name_en"].tolist(), rows["facility_id"].tolist()


def _spread(sites: Sites, count: int, rng: np.random.Generator) -> Picked:
    west, south, east, north = sites.fabric.bounds.city.bounds
    xy = np.column_stack([rng.uniform(west, east, 6 * count), rng.uniform(south, north, 6 * count)])
    points = points_at(xy)
    at = points[sites.fabric.bounds.district_of(points) >= 0][:count]
    places = sites.fabric.settlements
    titles = [places.titles[k] for k in shapely.STRtree(points_at(places.xy)).nearest(at)]
    return at, [title.zh for title in titles], [title.en for title in titles], [None] * len(at)


def _picked(kind: SensorKind, sites: Sites, count: int, rng: np.random.Generator) -> Picked:
    where, _, rest = kind.at.partition(":")
    names = rest.split(",")
    if where == "junction":
        return _at_junctions(sites, count, rng)
    if where == "street":
        return _at_streets(sites, count, rng)
    if where == "river":
        return _at_rivers(sites, count, rng)
    if where == "facility":
        return _at_facilities(sites, names, count, rng)
    if where == "cell":
        return _spread(sites, count, rng)
    return _at_spots(sites, names if where == "building" else ["field"], count, rng)


def _code(kind: SensorKind, district: str, number: int) -> str:
    scheme, _, argument = kind.code.partition(":")
    if scheme == "camera":
        return camera_id(district, number)
    return part_code(district, argument, number) if scheme == "part" else device_number(district, number, argument)


def place_sensors(plan: Plan, sites: Sites, district_of: DistrictOf) -> tuple[pd.DataFrame, Geometries]:
    """Place all devices of sensors.toml.

    Columns: device_id, code, kind, kind_zh, kind_en, name_zh, name_en, owner_zh, owner_en, measures (names of
    rhythms, comma between), interval_s, height_m, azimuth_deg (clockwise from north), accuracy_m, installed, state
    (on, off), site_id, district.
    """
    people = sum(part.population for part in plan.city.districts) * plan.scale
    tables: list[pd.DataFrame] = []
    points: list[Geometries] = []
    for kind in sensor_kinds():
        rng = plan.rng(f"sensors {kind.kind}")
        at, zh, en, ids = _picked(kind, sites, max(2, round(people / kind.per)), rng)
        word = _WORDS[kind.at.partition(":")[0]]
        number = range(1, len(at) + 1)
        tables.append(pd.DataFrame({
            "kind": kind.kind, "kind_zh": kind.title.zh, "kind_en": kind.title.en,
            "name_zh": [f"{name}{word[0]}{kind.title.zh}{n}" for name, n in zip(zh, number, strict=True)],
            "name_en": [f"{name}{word[1]} {kind.title.en} {n}" for name, n in zip(en, number, strict=True)],
            "owner_zh": kind.owner.zh, "owner_en": kind.owner.en,
            "measures": ",".join(kind.measures), "interval_s": kind.interval_s, "height_m": kind.height_m,
            "azimuth_deg": rng.integers(0, 360, len(at)), "accuracy_m": kind.accuracy_m,
            "installed": rng.integers(2012, 2026, len(at)),
            "state": np.where(rng.random(len(at)) < _STATE_SHARE, "on", "off"),
            "site_id": pd.Series(ids, dtype=object),
        }))  # fmt: skip
        points.append(at)
    table, at = pd.concat(tables, ignore_index=True), np.concatenate(points)
    inside = district_of(at)
    table["district"] = inside
    kept = pd.notna(inside)
    table, at = table.loc[kept].reset_index(drop=True), at[kept]
    kinds = {kind.kind: kind for kind in sensor_kinds()}
    table.insert(0, "device_id", [f"D{k + 1:06d}" for k in range(len(table))])
    table.insert(
        1,
        "code",
        [
            _code(kinds[kind], district, k + 1)
            for k, (kind, district) in enumerate(zip(table["kind"], table["district"], strict=True))
        ],
    )
    return table, at
