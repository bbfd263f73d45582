"""Parameters of OGC API Features: coordinate reference systems and boxes."""

import math
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pyproj import Transformer

from layers.query import Box
from twin.city import City
from twin.errors import InvalidRequest

__all__ = [
    "CRS84",
    "BboxCrsParameter",
    "BboxParameter",
    "Crs",
    "CrsParameter",
    "crs_list",
    "parse_box",
    "parse_crs",
    "storage_crs",
]

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
_WEB_MERCATOR, _WGS84 = 3857, 4326
_MERCATOR_LIMIT_M = 20_037_508.35

BboxParameter = Annotated[
    str | None, Query(max_length=200, description="west,south,east,north; of six numbers the heights are not looked at")
]
BboxCrsParameter = Annotated[str | None, Query(alias="bbox-crs", max_length=100, description="system of bbox (URI)")]
CrsParameter = Annotated[str | None, Query(max_length=100, description="system of the coordinates (URI)")]


@dataclass(frozen=True, slots=True)
class Crs:
    """A coordinate reference system: its URI, EPSG code (None: as stored), and whether its first axis is latitude."""

    uri: str
    srid: int | None = None
    latitude_first: bool = False


def _offered(city: City) -> dict[str, Crs]:
    # The stored datum (WGS 84 or CGCS2000) and WGS 84 agree to a few centimetres, so the stored numbers serve as both.
    stored = Crs(storage_crs(city), latitude_first=True)
    wgs84 = Crs(f"{_EPSG}{_WGS84}", latitude_first=True)
    mercator = Crs(f"{_EPSG}{_WEB_MERCATOR}", _WEB_MERCATOR)
    return {crs.uri: crs for crs in (Crs(CRS84), stored, wgs84, mercator)}


def crs_list(city: City) -> list[str]:
    """The URIs of the coordinate reference systems that are offered."""
    return list(_offered(city))


def storage_crs(city: City) -> str:
    """The URI of the one that is stored."""
    return f"{_EPSG}{city.srid}"


def parse_crs(uri: str | None, city: City, name: str = "crs") -> Crs:
    """The system of a URI; CRS84 when there is none. Raises InvalidRequest for one that is not offered."""
    offered = _offered(city)
    crs = offered.get(CRS84 if uri is None else uri.strip("[]"))
    if crs is None:
        raise InvalidRequest(f"{uri!r} is not offered.", where=name, remedy=f"Use one of: {', '.join(offered)}.")
    return crs


def parse_box(text: str, crs: Crs) -> Box:
    """The box of a `bbox` parameter: four numbers, or six with heights, which are not looked at.

    Raises InvalidRequest when it is none, or does not lie on the earth.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[0:2], *numbers[3:5]]
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise InvalidRequest(f"{text[:80]!r} is no box.", where="bbox", remedy="Write west,south,east,north.")
    west, south, east, north = numbers
    if crs.latitude_first:
        west, south, east, north = south, west, north, east
    if crs.srid is not None:
        west, south, east, north = _to_degrees(west, south, east, north)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise InvalidRequest(
            f"{text[:80]!r} lies outside the earth or ends before it starts.",
            where="bbox",
            remedy="Write the least and the largest corner in the order of the axes of bbox-crs.",
        )
    return Box(west, south, east, north)


def _to_degrees(west: float, south: float, east: float, north: float) -> tuple[float, float, float, float]:
    """A box of Web Mercator in degrees; out of range where it leaves the plane, which the caller refuses."""
    if max(map(abs, (west, south, east, north))) > _MERCATOR_LIMIT_M:
        return math.nan, math.nan, math.nan, math.nan
    transformer = Transformer.from_crs(_WEB_MERCATOR, _WGS84, always_xy=True)
    (left, right), (bottom, top) = transformer.transform([west, east], [south, north])
    return left, bottom, right, top
