"""The ground of the synthetic city: a plain that rises from its largest water to hills, as a GeoTIFF."""

from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import from_bounds

from ingest.demo.city import DemoCity
from ingest.demo.noise import Floats, fractal
from ingest.demo.plane import Plane
from twin.city import City

__all__ = ["write_relief"]

_PIXEL_M = 150.0
_COARSE = 12
"""Pixels between two places whose distance from the water is measured; between them it is interpolated."""

_SHORE_M, _SLOPE = 33.0, 0.0011
_HILLS_M, _HILL_SIZE_M, _HILL_COUNTRY_M = 420.0, 14_000.0, 60_000.0
_VOID = -9999.0


def write_relief(path: Path, demo: DemoCity, city: City, seed: int) -> None:
    """Write heights in metres, float32, in the city's SRID, pixels of about 150 m; no value outside the districts."""
    plane = Plane(city)
    land = shapely.unary_union(demo.districts.geometry.to_numpy())
    west, south, east, north = shapely.bounds(land).tolist()
    corners_m = plane.to_plane(np.array([[west, south], [east, north]]))
    width, height = np.ceil((corners_m[1] - corners_m[0]) / _PIXEL_M).astype(int).tolist()
    transform = from_bounds(west, south, east, north, width, height)
    inside = ~geometry_mask([land], (height, width), transform)
    lon = west + (np.arange(width) + 0.5) * (east - west) / width
    lat = north - (np.arange(height) + 0.5) * (north - south) / height
    xy_m = plane.to_plane(np.column_stack([grid.ravel() for grid in np.meshgrid(lon, lat)])).reshape(height, width, 2)
    heights_m = _heights_m(xy_m, _from_water_m(demo, plane, xy_m), seed)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype="float32",
        nodata=_VOID,
        crs=f"EPSG:{city.srid}",
        transform=transform,
        tiled=True,
        compress="deflate",
    ) as target:
        target.write(np.where(inside, heights_m, _VOID).astype(np.float32), 1)


def _from_water_m(demo: DemoCity, plane: Plane, xy_m: Floats) -> Floats:
    """Distance (h, w) in metres of pixels at positions (h, w, 2) from the largest water."""
    waters = shapely.transform(demo.water.geometry.to_numpy(), plane.to_plane)
    largest = shapely.simplify(waters[int(np.argmax(shapely.area(waters)))], _PIXEL_M)
    height, width, _ = xy_m.shape
    rows, columns = np.arange(0, height + _COARSE, _COARSE), np.arange(0, width + _COARSE, _COARSE)
    known = xy_m[np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)]
    away_m = shapely.distance(shapely.points(known), largest)
    across = np.array([np.interp(np.arange(width), columns, line) for line in away_m])
    return np.array([np.interp(np.arange(height), rows, line) for line in across.T]).T


def _heights_m(xy_m: Floats, away_m: Floats, seed: int) -> Floats:
    """Heights (h, w) of pixels at positions (h, w, 2): higher and rougher with the distance (h, w) from the water."""
    rough = fractal(xy_m, _HILL_SIZE_M, 6, seed)
    wild = np.minimum(away_m / _HILL_COUNTRY_M, 1.0)
    return np.round(_SHORE_M + _SLOPE * away_m + wild * _HILLS_M * np.maximum(rough, 0) + 2 * rough, 1)
