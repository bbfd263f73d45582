"""GCJ-02 and BD-09, the shifted coordinates of Chinese online maps, to and from WGS 84.

Neither shift has an official formula. GCJ-02 here is the one published since 2013 as `transform` of *eviltransform*
and its many ports; BD-09 is the one published with it. Both are checked against published pairs of those ports.
How far they stand from what the map providers compute is not known: nobody has published surveyed pairs.

All functions take longitudes and latitudes in degrees, arrays (n,), and return two new float64 arrays (n,). Where a
coordinate is not finite, both results are NaN. The inverses are exact: what they return, shifted again, is the input
within 1e-6 m.
"""

import math
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from twin.errors import GeometryError
from twin.parallel import in_chunks

__all__ = [
    "bd09_to_gcj02",
    "gcj02_to_bd09",
    "gcj02_to_wgs84",
    "paired",
    "wgs84_to_gcj02",
]

Floats = NDArray[np.float64]

_SEMI_MAJOR_M = 6378245.0  # Krassowsky 1940
_ECCENTRICITY2 = 0.00669342162296594323
_WEST, _SOUTH, _EAST, _NORTH = 72.004, 0.8293, 137.8347, 55.8271

# Between two places the shift differs by at most 1 % (GCJ-02) and 4 % (BD-09) of their distance, and each iteration of
# the inverse shrinks the error as much. Five bring it from 1 km below 1e-7 m, but on the meridian of 105 degrees, where
# a square root in the formula has an infinite slope: the sixth is for that.
_GCJ_ITERATIONS = 6
_BD_ITERATIONS = 6
_ROUNDING_DEG = 1e-9  # by which a place on the very edge of the box may come back outside it


def paired(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Copies of `x` and `y` as float64 arrays (n,), both NaN wherever either is not finite.

    Raises GeometryError when they differ in length.
    """
    first = np.array(x, dtype=np.float64).ravel()
    second = np.array(y, dtype=np.float64).ravel()
    if first.size != second.size:
        raise GeometryError(
            f"there are {first.size} x and {second.size} y coordinates.", remedy="Give one y for each x."
        )
    bad = ~(np.isfinite(first) & np.isfinite(second))
    first[bad] = second[bad] = np.nan
    return first, second


def wgs84_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    """Shift WGS 84 to GCJ-02. Outside the algorithm's box of China the result is the input."""
    return _converted(_wgs84_to_gcj02, lon, lat)


def gcj02_to_wgs84(lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    """Undo the GCJ-02 shift by fixed-point iteration. Outside the algorithm's box of China the result is the input.

    At the edge of the box the shift is cut off, so some coordinates have two origins and some none. Inside wins: every
    WGS 84 place in the box comes back from `wgs84_to_gcj02` unchanged, and a coordinate in the box is always shifted.
    """
    return _converted(_gcj02_to_wgs84, lon, lat)


def gcj02_to_bd09(lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    """Shift GCJ-02 to BD-09. The formula has no box: it applies everywhere."""
    return _converted(_gcj02_to_bd09, lon, lat)


def bd09_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    """Undo the BD-09 shift by fixed-point iteration."""
    return _converted(_bd09_to_gcj02, lon, lat)


_Kernel = Callable[[Floats, Floats, Floats, Floats], None]


def _converted(kernel: _Kernel, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    lon_in, lat_in = paired(lon, lat)
    lon_out, lat_out = np.empty_like(lon_in), np.empty_like(lat_in)
    in_chunks(lambda part: kernel(lon_in[part], lat_in[part], lon_out[part], lat_out[part]), lon_in.size)
    return lon_out, lat_out


# Taylor coefficients of sine (x^3 to x^15) and cosine (x^2 to x^16).
_S3, _S5, _S7, _S9, _S11, _S13, _S15 = ((-1) ** k / math.factorial(2 * k + 1) for k in range(1, 8))
_C2, _C4, _C6, _C8, _C10, _C12, _C14, _C16 = ((-1) ** k / math.factorial(2 * k) for k in range(1, 9))

# The kernels are loops without branches or library calls, so that the compiler works on four places at a time.
# They read from and write to arrays of one length; `_converted` sees to that.


@njit(inline="always", error_model="numpy")
def _sin_cos(half_turns: float) -> tuple[float, float]:
    """sin(pi t) and cos(pi t) within 1e-15: Taylor series on an eighth of a turn, then the quadrant."""
    quadrant = np.floor(2.0 * half_turns + 0.5)
    x = (half_turns - 0.5 * quadrant) * math.pi
    z = x * x
    s = x * (1 + z * (_S3 + z * (_S5 + z * (_S7 + z * (_S9 + z * (_S11 + z * (_S13 + z * _S15)))))))
    c = 1 + z * (_C2 + z * (_C4 + z * (_C6 + z * (_C8 + z * (_C10 + z * (_C12 + z * (_C14 + z * _C16)))))))
    quadrant -= 4.0 * np.floor(0.25 * quadrant)
    half = np.floor(0.5 * quadrant)
    odd = quadrant - 2.0 * half
    sign = 1.0 - 2.0 * half
    return sign * (s + odd * (c - s)), sign * (c - odd * (c + s))


@njit(inline="always", error_model="numpy")
def _gcj_shift(lon: float, lat: float) -> tuple[float, float]:
    """The GCJ-02 shift in degrees. Of the ten sines of the formula four are taken, six follow by multiple angles."""
    x, y = lon - 105.0, lat - 35.0
    x12, cos_x12 = _sin_cos(x * (1 / 12))
    x30, _ = _sin_cos(x * (1 / 30))
    x6, cos_x6 = 2 * x12 * cos_x12, 1 - 2 * x12 * x12
    x3 = 2 * x6 * cos_x6
    cos_x3 = 1 - 2 * x6 * x6
    x1, cos_x1 = x3 * (3 - 4 * x3 * x3), cos_x3 * (4 * cos_x3 * cos_x3 - 3)
    x2 = 2 * x1 * cos_x1
    x_6 = x2 * (3 - 4 * x2 * x2)
    y12, cos_y12 = _sin_cos(y * (1 / 12))
    y30, _ = _sin_cos(y * (1 / 30))
    y3 = 4 * y12 * cos_y12 * (1 - 2 * y12 * y12)
    y1 = y3 * (3 - 4 * y3 * y3)
    root = math.sqrt(abs(x))
    common = 20 * x_6 + 20 * x2
    east_m = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east_m += (common + 20 * x1 + 40 * x3 + 150 * x12 + 300 * x30) * (2 / 3)
    north_m = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north_m += (common + 20 * y1 + 40 * y3 + 160 * y12 + 320 * y30) * (2 / 3)
    sin_lat, cos_lat = _sin_cos(lat * (1 / 180))
    w2 = 1 - _ECCENTRICITY2 * sin_lat * sin_lat
    w = math.sqrt(w2)
    degrees = 180 / (_SEMI_MAJOR_M * math.pi)
    return east_m * degrees * w / cos_lat, north_m * (degrees / (1 - _ECCENTRICITY2)) * w * w2


@njit(inline="always", error_model="numpy")
def _in_box(lon: float, lat: float, margin: float) -> bool:
    west, east, south, north = _WEST - margin, _EAST + margin, _SOUTH - margin, _NORTH + margin
    return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)


@njit(cache=True, nogil=True, error_model="numpy")
def _wgs84_to_gcj02(lon_in: Floats, lat_in: Floats, lon_out: Floats, lat_out: Floats) -> None:
    for i in range(lon_in.size):
        east, north = _gcj_shift(lon_in[i], lat_in[i])
        inside = _in_box(lon_in[i], lat_in[i], 0.0)
        lon_out[i] = lon_in[i] + east if inside else lon_in[i]
        lat_out[i] = lat_in[i] + north if inside else lat_in[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _gcj02_to_wgs84(lon_in: Floats, lat_in: Floats, lon_out: Floats, lat_out: Floats) -> None:
    lon_out[:] = lon_in
    lat_out[:] = lat_in
    for _ in range(_GCJ_ITERATIONS):
        for i in range(lon_in.size):
            east, north = _gcj_shift(lon_out[i], lat_out[i])
            lon_out[i] = lon_in[i] - east
            lat_out[i] = lat_in[i] - north
    for i in range(lon_in.size):
        inside = _in_box(lon_in[i], lat_in[i], 0.0) | _in_box(lon_out[i], lat_out[i], _ROUNDING_DEG)
        lon_out[i] = lon_out[i] if inside else lon_in[i]
        lat_out[i] = lat_out[i] if inside else lat_in[i]


@njit(inline="always", error_model="numpy")
def _bd_shift(lon: float, lat: float) -> tuple[float, float]:
    """The BD-09 shift in degrees.

    The formula lengthens the vector (lon, lat), read as plane coordinates, by 2e-5 sin(3000 lat) and turns it by
    3e-6 cos(3000 lon) rad. It is written here as that scaling and rotation, which needs no polar coordinates.
    """
    sin_lat, _ = _sin_cos(lat * (50 / 3))
    _, cos_lon = _sin_cos(lon * (50 / 3))
    length = math.sqrt(lon * lon + lat * lat)
    stretch = 2e-5 * sin_lat / length if length > 0 else 0.0
    turn = 3e-6 * cos_lon
    shrink = 0.5 * turn * turn
    scale = 1 + stretch
    east = lon * stretch - scale * (lon * shrink + lat * turn) + 0.0065
    north = lat * stretch - scale * (lat * shrink - lon * turn) + 0.006
    return east, north


@njit(cache=True, nogil=True, error_model="numpy")
def _gcj02_to_bd09(lon_in: Floats, lat_in: Floats, lon_out: Floats, lat_out: Floats) -> None:
    for i in range(lon_in.size):
        east, north = _bd_shift(lon_in[i], lat_in[i])
        lon_out[i] = lon_in[i] + east
        lat_out[i] = lat_in[i] + north


@njit(cache=True, nogil=True, error_model="numpy")
def _bd09_to_gcj02(lon_in: Floats, lat_in: Floats, lon_out: Floats, lat_out: Floats) -> None:
    lon_out[:] = lon_in
    lat_out[:] = lat_in
    for _ in range(_BD_ITERATIONS):
        for i in range(lon_in.size):
            east, north = _bd_shift(lon_out[i], lat_out[i])
            lon_out[i] = lon_in[i] - east
            lat_out[i] = lat_in[i] - north
