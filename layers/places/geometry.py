"""Rung: the geometry the file itself carries."""

import numpy as np
import polars as pl
import shapely
from numpy.typing import NDArray

from layers.contract import GeometryType
from layers.places.datums import datum_word
from layers.places.extent import extent_m
from layers.places.fix import ABSENT, GEOMETRY, Fix, Geometries, Site
from layers.reasons import Reason
from layers.rungs import GeometryRung
from twin.datum import geometries_to_city, parse_datum
from twin.geometry import GeometryFault, Limits, check, repair
from twin.grid import cells_at_honest_resolution

__all__ = ["fix"]

_REASONS = {
    GeometryFault.MISSING: ABSENT,
    GeometryFault.NOT_FINITE: Reason.BAD_COORDINATE,
    GeometryFault.WRONG_TYPE: Reason.WRONG_GEOMETRY,
    GeometryFault.TOO_MANY_VERTICES: Reason.TOO_MANY_VERTICES,
    GeometryFault.NULL_ISLAND: Reason.NULL_ISLAND,
    GeometryFault.SWAPPED_AXES: Reason.SWAPPED_AXES,
    GeometryFault.OUT_OF_RANGE: Reason.OUTSIDE_CITY,
    GeometryFault.OUTSIDE_CITY: Reason.OUTSIDE_CITY,
    GeometryFault.INVALID: Reason.INVALID_GEOMETRY,
}


def fix(frame: pl.DataFrame, rung: GeometryRung, kind: GeometryType, site: Site) -> Fix:
    """Places by the WKB column GEOMETRY. Invalid polygons are mended in another process and marked, or refused.

    Raises DatumError when the file's datum is unsaid or contradicts the contract.
    """
    n = frame.height
    if GEOMETRY not in frame.columns or frame[GEOMETRY].null_count() == n:
        nothing = np.full(n, np.nan)
        return Fix(nothing, nothing, None, nothing, np.full(n, ABSENT, dtype=object), "geometry")
    word = datum_word(rung.datum, site.crs, site.declared, overruled=site.overruled)
    read: Geometries = shapely.from_wkb(frame[GEOMETRY].to_numpy())
    shapes = geometries_to_city(read, parse_datum(word), site.city)
    limits = Limits(kind)
    faults = check(shapes, site.city.bounds, limits)
    mended = _mend(shapes, faults)
    faults[mended] = check(shapes[mended], site.city.bounds, limits)
    good = faults == ""
    lon, lat, accuracy_m = (np.full(n, np.nan) for _ in range(3))
    middles = shapely.point_on_surface(shapes[good])
    lon[good], lat[good] = shapely.get_x(middles), shapely.get_y(middles)
    accuracy_m[good] = rung.accuracy_m
    cells = np.zeros(n, dtype=np.int64)
    # A large thing is in no small cell: its cell is as large as itself.
    size_m = np.maximum(rung.accuracy_m, extent_m(shapes[good]))
    cells[good] = cells_at_honest_resolution(lon[good], lat[good], size_m, site.city.resolutions.finest)
    reasons = np.array([None if fault == "" else _REASONS[GeometryFault(fault)] for fault in faults], dtype=object)
    reasons[shapely.is_empty(read)] = Reason.EMPTY_GEOMETRY  # None is not empty: there, nothing is said at all
    return Fix(lon, lat, shapes, accuracy_m, reasons, f"geometry:{word}", repaired=mended & good, cells=cells)


def _mend(shapes: Geometries, faults: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Mend the invalid polygons of `shapes` (n,) in place; returns which were mended."""
    invalid = np.flatnonzero(faults == GeometryFault.INVALID)
    mended = np.zeros(len(shapes), dtype=bool)
    if len(invalid):
        repairs = repair(shapes[invalid])
        done = invalid[repairs.repaired]
        shapes[done] = repairs.geometries[repairs.repaired]
        mended[done] = True
    return mended
