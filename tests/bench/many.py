"""A seeded city of a million points, 200,000 buildings and 100,000 roads, as the rows of three datasets.

Six clusters with a wide scatter around each; buildings are turned rectangles and L shapes of 8 to 60 m, roads wind
through 5 to 19 vertices. Longitude and latitude in degrees.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from layers.contract import Contract
from layers.copying import driver
from layers.tables import dataset_table
from twin.city import City
from twin.grid import cells_of_points

__all__ = ["BUILDINGS", "POINTS", "ROADS", "fill", "spots"]

POINTS, BUILDINGS, ROADS = "sharing.standard_addresses", "housing.buildings", "transport.roads"

Floats = NDArray[np.float64]
Shapes = NDArray[np.object_]

_NUMBERS = {POINTS: 1_000_000, BUILDINGS: 200_000, ROADS: 100_000}
_PART = 100_000
_LON_M, _LAT_M = 91_300.0, 111_200.0
_CLUSTERS = np.array(
    [
        (117.557, 34.865, 0.22, 4_000),
        (117.263, 34.795, 0.22, 4_000),
        (117.590, 34.772, 0.10, 3_000),
        (117.735, 34.563, 0.10, 3_000),
        (117.462, 35.100, 0.08, 4_000),
        (117.165, 35.114, 0.28, 5_000),
    ]
)
"""Longitude, latitude, share and width in metres."""


def spots(random: np.random.Generator, number: int) -> tuple[Floats, Floats]:
    """Longitude and latitude (n,) of places in the clusters: three of four near the middle."""
    lon, lat, share, width_m = _CLUSTERS.T
    of = random.choice(len(_CLUSTERS), number, p=share)
    spread_m = width_m[of] * np.where(random.random(number) < 0.75, 0.6, 3.0)
    x, y = random.normal(0, 1, (2, number)) * spread_m
    return lon[of] + x / _LON_M, lat[of] + y / _LAT_M


def fill(connection: sa.Connection, contract: Contract, city: City) -> None:
    """Write the rows of one of the three datasets, current since 2026, and count them."""
    random = np.random.default_rng(7)
    table = dataset_table(contract, city.srid)
    for start in range(0, _NUMBERS[contract.id], _PART):
        lon, lat = spots(random, _PART)
        shapes, fields = _MAKERS[contract.id](random, lon, lat)
        frame = pl.DataFrame(
            {
                "id": [f"{at:012}" for at in range(start, start + _PART)],
                "valid": "[-infinity,)",
                "recorded": "[2026-01-01,)",
                "geom": shapely.to_wkb(shapely.set_srid(shapes, city.srid), hex=True, include_srid=True).tolist(),
                "cell": cells_of_points(lon, lat, city.resolutions.finest),
                "place_method": "geometry",
                "place_accuracy_m": 5.0,
                **fields,
            }
        )
        names = ", ".join(f'"{name}"' for name in frame.columns)
        question = f"COPY {table.fullname} ({names}) FROM STDIN (FORMAT csv)".encode()
        with driver(connection).cursor() as cursor, cursor.copy(question) as sink:
            sink.write(frame.write_csv(include_header=False).encode())


Made = tuple[Shapes, dict[str, object]]


def _points(random: np.random.Generator, lon: Floats, lat: Floats) -> Made:
    number = random.integers(1, 999, len(lon))
    fields: dict[str, object] = {
        "address_id": [f"DZ{at:09}" for at in range(len(lon))],
        "address": [f"解放路 {at} 号" for at in number],
        "number": number.astype(str),
        "town": [f"镇 {at}" for at in random.integers(0, 65, len(lon))],
    }
    return shapely.points(lon, lat), fields


def _buildings(random: np.random.Generator, lon: Floats, lat: Floats) -> Made:
    number = len(lon)
    width_m, depth_m = random.uniform(4, 30, number), random.uniform(4, 12, number)
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)], [(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)]
    shapes = np.empty(number, dtype=np.object_)
    angled = random.random(number) < 0.4
    turn = random.uniform(-0.3, 0.3, number)
    for outline, chosen in zip(corners, (~angled, angled), strict=True):
        x = np.array([x for x, _ in outline]) * width_m[chosen, None]
        y = np.array([y for _, y in outline]) * depth_m[chosen, None]
        sin, cos = np.sin(turn[chosen, None]), np.cos(turn[chosen, None])
        east, north = (x * cos - y * sin) / _LON_M, (x * sin + y * cos) / _LAT_M
        shapes[chosen] = shapely.polygons(np.stack([lon[chosen, None] + east, lat[chosen, None] + north], axis=2))
    uses = np.array(["residential", "commercial", "office", "industrial", "public", "other"])
    fields: dict[str, object] = {
        "building_id": [f"B{at}" for at in range(number)],
        "name": [f"楼 {at}" for at in range(number)],
        "use": uses[random.integers(0, len(uses), number)],
        "floors": random.integers(1, 33, number).astype(float),
        "height_m": random.gamma(3, 6, number).round(1),
    }
    return shapes, fields


def _roads(random: np.random.Generator, lon: Floats, lat: Floats) -> Made:
    number = len(lon)
    lines = list(_winding(random, lon, lat))
    classes = np.array(["motorway", "primary", "secondary", "tertiary", "residential", "service"])
    fields: dict[str, object] = {
        "road_id": [f"R{at}" for at in range(number)],
        "name": [f"路 {at}" for at in range(number)],
        "class": random.choice(classes, number, p=[0.02, 0.05, 0.1, 0.2, 0.3, 0.33]),
        "speed_limit_kmh": random.choice([20, 30, 40, 60, 80], number),
    }
    return np.array(lines, dtype=np.object_), fields


def _winding(random: np.random.Generator, lon: Floats, lat: Floats) -> Iterator[shapely.LineString]:
    for x, y in zip(lon, lat, strict=True):
        heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.15, random.integers(5, 20)))
        step_m = random.uniform(20, 80)
        east, north = np.cumsum(np.cos(heading)) * step_m / _LON_M, np.cumsum(np.sin(heading)) * step_m / _LAT_M
        yield shapely.LineString(np.stack([x + east, y + north], axis=1))


_MAKERS = {POINTS: _points, BUILDINGS: _buildings, ROADS: _roads}
