"""Rung: a pair of coordinate columns."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from layers.places.datums import datum_word
from layers.places.fix import ABSENT, Fix, Site
from layers.reasons import Reason
from layers.rungs import CoordinateRung
from twin.datum import parse_datum, to_city
from twin.geometry import inside

__all__ = ["fix"]


def fix(frame: pl.DataFrame, rung: CoordinateRung, site: Site) -> Fix:
    """Places by the columns `rung.x` and `rung.y` (Float64; null is none).

    Raises DatumError when the file's datum is unsaid or contradicts the contract.
    """
    if all(name not in frame.columns or frame[name].null_count() == frame.height for name in (rung.x, rung.y)):
        # Nothing to convert: whatever the file says of its datum is about something else.
        nothing = np.full(frame.height, np.nan)
        reasons = np.full(frame.height, ABSENT, dtype=object)
        return Fix(nothing, nothing, None, np.full(frame.height, rung.accuracy_m), reasons, "coordinate")
    word = datum_word(rung.datum, site.crs, site.declared, overruled=site.overruled)
    x = frame[rung.x].cast(pl.Float64).fill_null(np.nan).to_numpy()
    y = frame[rung.y].cast(pl.Float64).fill_null(np.nan).to_numpy()
    lon, lat = to_city(x, y, parse_datum(word), site.city)
    reasons = _reasons(x, y, lon, lat, site.city.bounds)
    return Fix(lon, lat, None, np.full(frame.height, rung.accuracy_m), reasons, f"coordinate:{word}")


def _reasons(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    bounds: tuple[float, float, float, float],
) -> NDArray[np.object_]:
    """Why each of n coordinates is no place of the city, most telling reason first; None where it is one.

    Null island and swapped axes are recognised in the source's own numbers `x`, `y`.
    """
    reasons = np.full(len(x), None, dtype=object)
    fits = inside(lon, lat, bounds)
    reasons[~fits] = Reason.OUTSIDE_CITY
    reasons[~fits & inside(y, x, bounds)] = Reason.SWAPPED_AXES
    reasons[(x == 0) & (y == 0)] = Reason.NULL_ISLAND
    reasons[~(np.isfinite(x) & np.isfinite(y))] = Reason.BAD_COORDINATE
    reasons[np.isnan(x) & np.isnan(y)] = ABSENT
    return reasons
