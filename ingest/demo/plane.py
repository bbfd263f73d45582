"""The local plane in which the demo city is drawn: equal area, metres, centred on the city."""

import geopandas
import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import LambertAzimuthalEqualAreaConversion

from ingest.demo.noise import Floats
from twin.city import City

__all__ = ["Geometries", "Plane", "lines_along", "points_at", "polygons_of"]

Geometries = NDArray[np.object_]

_DECIMALS = {True: 7, False: 2}
"""Decimals kept in a CRS in degrees or in metres: about a centimetre."""


def points_at(xy: Floats) -> Geometries:
    """Points (n,) at positions (n, 2)."""
    return np.asarray(shapely.points(xy), dtype=np.object_)


def lines_along(xy: Floats) -> Geometries:
    """Lines (n,) along positions (n, k, 2)."""
    return np.asarray(shapely.linestrings(xy), dtype=np.object_)


def polygons_of(rings: Floats) -> Geometries:
    """Polygons (n,) of rings (n, k, 2), closed or not."""
    return np.asarray(shapely.polygons(rings), dtype=np.object_)


class Plane:
    """Lambert azimuthal equal-area plane on the city's own datum, so that no datum shift enters (Snyder 1987)."""

    def __init__(self, city: City) -> None:
        self.crs = CRS.from_epsg(city.srid)
        geodetic = self.crs.geodetic_crs
        lon, lat = city.centre
        conversion = LambertAzimuthalEqualAreaConversion(latitude_natural_origin=lat, longitude_natural_origin=lon)
        plane = ProjectedCRS(conversion, geodetic_crs=geodetic)
        self._in = Transformer.from_crs(geodetic, plane, always_xy=True)
        self._degrees = Transformer.from_crs(plane, geodetic, always_xy=True)
        self._out = Transformer.from_crs(plane, self.crs, always_xy=True)
        self._decimals = _DECIMALS[bool(self.crs.is_geographic)]

    def to_plane(self, lonlat: Floats) -> Floats:
        """Degrees (n, 2) to metres (n, 2)."""
        return np.column_stack(self._in.transform(lonlat[:, 0], lonlat[:, 1]))

    def to_degrees(self, xy: Floats) -> Floats:
        """Metres (n, 2) to degrees (n, 2)."""
        return np.column_stack(self._degrees.transform(xy[:, 0], xy[:, 1]))

    def frame(self, table: pd.DataFrame, geometry: Geometries) -> GeoDataFrame:
        """The table with geometries of the plane brought into the city's CRS, rounded to about 1 cm."""
        placed = shapely.transform(geometry, self._to_city)
        return GeoDataFrame(table, geometry=geopandas.GeoSeries(placed, index=table.index), crs=self.crs)

    def _to_city(self, xy: Floats) -> Floats:
        return np.column_stack(self._out.transform(xy[:, 0], xy[:, 1])).round(self._decimals)
