"""How large a place is: the radius within which a record that is known only by this geometry may lie."""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.places.named import Geometries
from twin.geometry import METRES_PER_DEGREE

__all__ = ["extent_m"]

_FIRST_LINE, _FIRST_AREA = 1, 2


def extent_m(shapes: Geometries) -> NDArray[np.float64]:
    """Radius (n,) in metres of each geometry (n,) in degrees: of the circle of a polygon's area, half a line's length.

    Points have none. Lengths are taken on a cylinder that touches at the geometry's middle latitude: within 1 % for
    anything the size of a city.
    """
    bounds = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        stretch = np.cos(np.radians((bounds[:, 1] + bounds[:, 3]) / 2))
    dimension = shapely.get_dimensions(shapes)
    extent = np.zeros(len(shapes))
    area = dimension == _FIRST_AREA
    extent[area] = np.sqrt(shapely.area(shapes[area]) * stretch[area] / np.pi) * METRES_PER_DEGREE
    for line in np.flatnonzero(dimension == _FIRST_LINE):
        scale = (stretch[line], 1.0)
        flat = shapely.transform(shapes[line], lambda xy, scale=scale: xy * scale)
        extent[line] = shapely.length(flat) * METRES_PER_DEGREE / 2
    return extent
