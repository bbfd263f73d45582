"""Datum conversion of a million points against what people use."""

import numpy as np
from numpy.typing import NDArray

from tests.bench.harness import Case, Measured, measure
from twin.city import load_city
from twin.datum import bd09_to_gcj02, gcj02_to_wgs84, parse_datum, to_city, wgs84_to_gcj02

__all__ = ["run"]

Floats = NDArray[np.float64]

_N = 1_000_000
_PACKAGES = ("numba", "numpy", "pyproj")


def _cases() -> list[Case]:
    """GCJ-02 both ways, BD-09 back, and a CGCS2000 zone."""
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(116.8, 117.9, _N), rng.uniform(34.4, 35.3, _N)
    city = load_city("zaozhuang")
    zone = parse_datum("cgcs2000-3deg-117")
    east, north = rng.uniform(4e5, 6e5, _N), rng.uniform(3.8e6, 3.9e6, _N)
    return [
        Case(
            "GCJ-02 -> WGS 84, 1 M points, < 1e-6 m",
            lambda: gcj02_to_wgs84(lon, lat),
            {"numpy, 3 iterations (0.06 mm)": lambda: _numpy_inverse(lon, lat, 3)},
            _N,
            "points",
            "<= 200 ms",
            packages=_PACKAGES,
        ),
        Case(
            "WGS 84 -> GCJ-02, 1 M points",
            lambda: wgs84_to_gcj02(lon, lat),
            {"numpy": lambda: _numpy_forward(lon, lat)},
            _N,
            "points",
            "-",
            packages=_PACKAGES,
        ),
        Case("BD-09 -> GCJ-02, 1 M points", lambda: bd09_to_gcj02(lon, lat), {}, _N, "points", "-", packages=_PACKAGES),
        Case(
            "CGCS2000 zone 39 -> 4490, 1 M points",
            lambda: to_city(east, north, zone, city),
            {},
            _N,
            "points",
            "-",
            packages=_PACKAGES,
        ),
    ]


def run() -> list[Measured]:
    """Measure all cases."""
    return [measure(case) for case in _cases()]


def _numpy_forward(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    x, y = lon - 105, lat - 35
    pi, sin = np.pi, np.sin
    both = 20 * sin(6 * x * pi) + 20 * sin(2 * x * pi)
    root = np.sqrt(np.abs(x))
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north += (both + 20 * sin(y * pi) + 40 * sin(y / 3 * pi) + 160 * sin(y / 12 * pi) + 320 * sin(y / 30 * pi)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east += (both + 20 * sin(x * pi) + 40 * sin(x / 3 * pi) + 150 * sin(x / 12 * pi) + 300 * sin(x / 30 * pi)) * 2 / 3
    phi = np.radians(lat)
    w2 = 1 - 0.00669342162296594323 * sin(phi) ** 2
    w = np.sqrt(w2)
    east *= 180 / (6378245.0 / w * np.cos(phi) * pi)
    north *= 180 / (6378245.0 * (1 - 0.00669342162296594323) / (w2 * w) * pi)
    return lon + east, lat + north


def _numpy_inverse(lon: Floats, lat: Floats, iterations: int) -> tuple[Floats, Floats]:
    x, y = lon, lat
    for _ in range(iterations):
        x2, y2 = _numpy_forward(x, y)
        x, y = x + lon - x2, y + lat - y2
    return x, y
