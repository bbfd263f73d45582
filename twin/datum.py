"""Datums: what the numbers of a coordinate refer to, and how they become the city's longitude and latitude.

Every source says its datum in one word; nothing is assumed. Coordinates are converted once, at the edge.

WGS 84 and CGCS2000 are taken as the same. CGCS2000 is ITRF97 fixed at epoch 2000.0 while WGS 84 follows the moving
plates: in eastern China the two drift apart by about 3 cm a year, so by less than 1 m until 2030, which is below the
accuracy of any source here.

PROJ falls back to a "ballpark" null shift where it knows no path between two datums, off by 100 m and more for
Xian 80 and Beijing 54. It is never allowed to: such a datum is refused until the city profile gives parameters.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import CRSError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from twin.city import City
from twin.errors import DatumError
from twin.gcj import bd09_to_gcj02, gcj02_to_bd09, gcj02_to_wgs84, paired, wgs84_to_gcj02

__all__ = [
    "DATUM_WORDS",
    "Datum",
    "bd09_to_gcj02",
    "from_city",
    "gcj02_to_bd09",
    "gcj02_to_wgs84",
    "geometries_to_city",
    "parse_datum",
    "to_city",
    "wgs84_to_gcj02",
]

Floats = NDArray[np.float64]
Geometries = NDArray[np.object_]

_PLAIN_WORDS = ("wgs84", "cgcs2000", "gcj02", "bd09", "xian80", "beijing54", "local", "none")
DATUM_WORDS = (*_PLAIN_WORDS, "cgcs2000-3deg-<75, 78, ... 135>", "epsg:<code>")
"""The datum words a contract or command may use, for people to read."""

_GLOBAL = ("wgs84", "cgcs2000")
_LOCAL_ELLIPSOIDS = {
    "xian80": "+a=6378140 +rf=298.257",  # IAG 1975
    "beijing54": "+a=6378245 +rf=298.3",  # Krassowsky 1940
    "local": "+ellps=GRS80",  # the ellipsoid of CGCS2000
}
_HELMERT_NAMES = ("x", "y", "z", "rx", "ry", "rz", "s")
_ZONE_WORD = re.compile(r"cgcs2000-3deg-([1-9]\d{1,2})")
_EPSG_WORD = re.compile(r"epsg:([1-9]\d{3,5})")
_CENTRAL_MERIDIANS_DEG = range(75, 136, 3)
_CITY_SRIDS = (4490, 4326)


@dataclass(frozen=True, slots=True)
class Datum:
    """A datum word that `parse_datum` has understood."""

    word: str
    central_meridian_deg: int | None = None
    epsg: int | None = None


def parse_datum(word: str) -> Datum:
    """Understand a datum word (case does not matter).

    Raises DatumError, naming the words there are, for any other word, for a central meridian that no zone has, and for
    an EPSG code that PROJ does not know or that has no horizontal coordinates.
    """
    name = word.strip().lower()
    if match := _ZONE_WORD.fullmatch(name):
        meridian = int(match.group(1))
        if meridian in _CENTRAL_MERIDIANS_DEG:
            return Datum(f"cgcs2000-3deg-{meridian}", central_meridian_deg=meridian)
    elif match := _EPSG_WORD.fullmatch(name):
        code = int(match.group(1))
        _horizontal_crs(code)
        return Datum(f"epsg:{code}", epsg=code)
    elif name in _PLAIN_WORDS:
        return Datum(name)
    raise DatumError(f"no datum is called {word!r}.", remedy=f"Use one of: {', '.join(DATUM_WORDS)}.")


def to_city(x: ArrayLike, y: ArrayLike, datum: Datum, city: City) -> tuple[Floats, Floats]:
    """Convert coordinates (n,) to longitude and latitude (n,) in degrees of the city's SRID.

    `x` is longitude or easting, `y` latitude or northing. Zone coordinates are read with or without the zone's number
    before the easting (39,529,554 or 529,554). A row that cannot be converted becomes NaN: not finite, degrees out of
    range, another zone's number, northing and easting swapped. The geometry guard then names it.

    Raises DatumError when no row could be converted rightly: datum `none`, no parameters, or no exact path.
    """
    return _path(datum, city).to_city(*paired(x, y))


def from_city(lon: ArrayLike, lat: ArrayLike, datum: Datum, city: City) -> tuple[Floats, Floats]:
    """Convert longitude and latitude (n,) of the city's SRID to `datum`: the inverse of `to_city`.

    Eastings come without zone number. The way back over Helmert parameters is exact within 1 cm (heights are taken
    as zero on both sides), all others within 1e-6 m. Rows and errors as in `to_city`.
    """
    return _path(datum, city).from_city(*paired(lon, lat))


def geometries_to_city(geometries: Geometries, datum: Datum, city: City) -> Geometries:
    """Convert geometries (n,) to the city's SRID, vertex by vertex; heights are dropped, missing ones stay None.

    A geometry with a vertex that cannot be converted becomes POINT (NaN NaN), which the geometry guard names.
    Raises DatumError as `to_city` does.
    """
    converted = shapely.force_2d(np.array(geometries, dtype=object, ndmin=1))
    xy, owner = shapely.get_coordinates(converted, return_index=True)
    lonlat = np.column_stack(to_city(xy[:, 0], xy[:, 1], datum, city))
    # GEOS refuses a ring whose ends differ, and NaN differs from itself: such geometries are replaced as a whole.
    lost = np.unique(owner[np.isnan(lonlat[:, 0])])
    converted[lost] = None
    converted = shapely.set_coordinates(converted, lonlat[~np.isin(owner, lost)])
    converted[lost] = shapely.points(np.nan, np.nan)
    return converted


class _Path(NamedTuple):
    """The two directions between a datum and the city's SRID, both over arrays (n,) that are NaN in pairs."""

    to_city: Callable[[Floats, Floats], tuple[Floats, Floats]]
    from_city: Callable[[Floats, Floats], tuple[Floats, Floats]]


def _path(datum: Datum, city: City) -> _Path:
    if city.datum not in _GLOBAL:
        raise DatumError(
            f"the city's own datum is {city.datum!r}.", where=city.id, remedy=f"Set it to {' or '.join(_GLOBAL)}."
        )
    if datum.word in _SHIFTS:
        return _SHIFTS[datum.word]
    if datum.central_meridian_deg is not None:
        return _zone_path(datum.central_meridian_deg)
    if datum.epsg is not None:
        return _epsg_path(datum.epsg, city)
    if datum.word in _LOCAL_ELLIPSOIDS:
        return _helmert_path(datum.word, city)
    raise DatumError(
        "the datum is 'none', yet there are coordinates.",
        remedy="Say their datum, or place the records by other means.",
    )


def _same(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    return lon, lat


def _bd09_to_wgs84(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    return gcj02_to_wgs84(*bd09_to_gcj02(lon, lat))


def _wgs84_to_bd09(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    return gcj02_to_bd09(*wgs84_to_gcj02(lon, lat))


_SHIFTS = {
    "wgs84": _Path(_same, _same),
    "cgcs2000": _Path(_same, _same),
    "gcj02": _Path(gcj02_to_wgs84, wgs84_to_gcj02),
    "bd09": _Path(_bd09_to_wgs84, _wgs84_to_bd09),
}


def _zone_path(central_meridian_deg: int) -> _Path:
    """CGCS2000 / 3-degree Gauss-Krueger (EPSG:4534 to 4554; with zone number: EPSG:4513 to 4533)."""
    transformer = _pipeline(
        f"+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0={central_meridian_deg} +k=1 +x_0=500000 +y_0=0 "
        "+ellps=GRS80 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    unprefixed = _both_ways(transformer, lambda _x, y: (y >= 0) & (y <= 1e7))
    zone = central_meridian_deg // 3

    def to_city(easting_m: Floats, northing_m: Floats) -> tuple[Floats, Floats]:
        number = np.floor(easting_m / 1e6)
        fits = (number == 0) | (number == zone)
        return unprefixed.to_city(np.where(fits, easting_m - 1e6 * number, np.nan), northing_m)

    return _Path(to_city, unprefixed.from_city)


def _helmert_path(word: str, city: City) -> _Path:
    """Longitude and latitude of a local datum over the city's seven parameters (position vector, EPSG method 9606)."""
    parameters = city.datums.get(word, ())
    if len(parameters) != 7:
        raise DatumError(
            f"{word} cannot be converted: the city profile gives {len(parameters)} of the seven parameters it takes.",
            where=city.id,
            remedy=f"Add datums.{word} = [dx, dy, dz (m), rx, ry, rz (arc seconds), scale (ppm)] to the profile, "
            "or have the file converted to CGCS2000 by whoever holds them.",
        )
    named = " ".join(f"+{name}={value!r}" for name, value in zip(_HELMERT_NAMES, parameters, strict=True))
    transformer = _pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
        f"+step +proj=push +v_3 +step +proj=cart {_LOCAL_ELLIPSOIDS[word]} "
        f"+step +proj=helmert {named} +convention=position_vector "
        "+step +inv +proj=cart +ellps=GRS80 +step +proj=pop +v_3 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    return _both_ways(transformer, _in_degrees)


def _epsg_path(code: int, city: City) -> _Path:
    """The best path PROJ has for the city's area; a path to either global datum counts, as the two are one here."""
    source = _horizontal_crs(code)
    transformer = _exact_transformer(code, city.bounds)
    if not source.is_geographic:
        return _both_ways(transformer, lambda x, _y: np.isfinite(x))
    radians = source.axis_info[0].unit_conversion_factor

    def in_range(x: Floats, y: Floats) -> NDArray[np.bool_]:
        return _in_degrees(np.degrees(x * radians), np.degrees(y * radians))

    return _both_ways(transformer, in_range)


@lru_cache
def _horizontal_crs(code: int) -> CRS:
    """The CRS of an EPSG code without heights. Raises DatumError when there is none."""
    try:
        crs = CRS.from_epsg(code)
    except CRSError as error:
        raise DatumError(f"no coordinate reference system has the code EPSG:{code}.", remedy="Look it up.") from error
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    crs = crs.to_2d()
    if not (crs.is_geographic or crs.is_projected):
        raise DatumError(
            f"EPSG:{code} ({crs.name}) has no horizontal coordinates on the ground.",
            remedy="Name the system of the longitudes and latitudes or eastings and northings.",
        )
    return crs


@lru_cache
def _exact_transformer(code: int, bounds: tuple[float, float, float, float]) -> Transformer:
    source = _horizontal_crs(code)
    groups = [_paths(source, srid, bounds) for srid in _CITY_SRIDS]
    best = [
        group.transformers[0]
        for group in groups
        if group.transformers and group.best_available and group.transformers[0].accuracy >= 0
    ]
    if not best:
        raise DatumError(
            f"EPSG:{code} ({source.name}) cannot be converted exactly here: "
            "PROJ knows no path, or lacks the grid of the best one.",
            remedy="Have the file converted to WGS 84 or CGCS2000 by whoever made it; "
            "for Xian 80 and Beijing 54 say xian80 or beijing54 and add the city's parameters.",
        )
    # By its definition, as a transformer made from one may be shared by threads and always takes this path.
    return _pipeline(min(best, key=lambda path: path.accuracy).definition)


def _paths(source: CRS, srid: int, bounds: tuple[float, float, float, float]) -> TransformerGroup:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a missing grid: `best_available` says so too
        return TransformerGroup(
            source,
            CRS.from_epsg(srid),
            always_xy=True,
            allow_ballpark=False,
            area_of_interest=AreaOfInterest(*bounds),
        )


@lru_cache
def _pipeline(definition: str) -> Transformer:
    return Transformer.from_pipeline(definition)


def _both_ways(transformer: Transformer, in_range: Callable[[Floats, Floats], NDArray[np.bool_]]) -> _Path:
    def to_city(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return _transformed(transformer, x, y, in_range(x, y))

    def from_city(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        return _transformed(transformer, lon, lat, _in_degrees(lon, lat), inverse=True)

    return _Path(to_city, from_city)


def _in_degrees(lon: Floats, lat: Floats) -> NDArray[np.bool_]:
    """Whether these are degrees at all: PROJ would wrap 400 to 40 without a word."""
    return (np.abs(lon) <= 180) & (np.abs(lat) <= 90)


def _transformed(
    transformer: Transformer, x: Floats, y: Floats, fits: NDArray[np.bool_], *, inverse: bool = False
) -> tuple[Floats, Floats]:
    direction = TransformDirection.INVERSE if inverse else TransformDirection.FORWARD
    x_out, y_out = transformer.transform(np.where(fits, x, np.nan), y, direction=direction, errcheck=False)
    return paired(x_out, y_out)
