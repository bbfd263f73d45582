"""Parameters of OGC API Features: coordinate reference systems and boxes."""

from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

from layers.query import Box
from twin.city import City
from twin.errors import InvalidRequest

__all__ = ["CRS84", "Crs", "crs_list", "parse_box", "parse_crs", "storage_crs"]

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
_WEB_MERCATOR = 3857
_WGS84 = 4326


@dataclass(frozen=True, slots=True)
class Crs:
    """A coordinate reference system of an answer: its URI, EPSG code, and whether its first axis is latitude."""

    uri: str
    srid: int
    latitude_first: bool = False


def _offered(city: City) -> dict[str, Crs]:
    # The city's datum and WGS 84 differ by less than the accuracy of anything here, so CRS84 is the stored numbers.
    stored = Crs(f"{_EPSG}{city.srid}", city.srid, latitude_first=True)
    wgs84 = Crs(f"{_EPSG}{_WGS84}", city.srid, latitude_first=True)
    mercator = Crs(f"{_EPSG}{_WEB_MERCATOR}", _WEB_MERCATOR)
    return {crs.uri: crs for crs in (Crs(CRS84, city.srid), stored, wgs84, mercator)}


def crs_list(city: City) -> list[str]:
    """The URIs of the coordinate reference systems that are offered."""
    return list(_offered(city))


def storage_crs(city: City) -> str:
    """The URI of the one that is stored."""
    return f"{_EPSG}{city.srid}"


def parse_crs(uri: str | None, city: City, name: str = "crs") -> Crs:
    """The system of a URI; CRS84 when there is none. Raises InvalidRequest for one that is not offered."""
    offered = _offered(city)
    crs = offered.get((uri or CRS84).strip("[]"))
    if crs is None:
        raise InvalidRequest(f"{name} {uri!r} is not offered.", remedy=f"Use one of: {', '.join(offered)}.")
    return crs


def parse_box(text: str, crs: Crs) -> Box:
    """The box of a `bbox` parameter: four numbers, or six with heights, which are not looked at.

    Raises InvalidRequest when it is none, or out of range.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[0:2], *numbers[3:5]]
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise InvalidRequest(f"bbox={text[:80]} is no box.", remedy="Write west,south,east,north.")
    west, south, east, north = numbers
    if crs.latitude_first:
        west, south, east, north = south, west, north, east
    if crs.srid == _WEB_MERCATOR:
        to_degrees = Transformer.from_crs(_WEB_MERCATOR, _WGS84, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(west, south, east, north)
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise InvalidRequest(
            f"bbox={text[:80]} lies outside the earth or ends before it starts.",
            remedy="Write west,south,east,north in the order of bbox-crs's axes.",
        )
    return Box(west, south, east, north)
