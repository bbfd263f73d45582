"""Rung: the H3 cell with this index."""

import h3
import numpy as np
import polars as pl
import shapely
from numpy.typing import NDArray

from layers.places.fix import ABSENT, Fix, Site
from layers.reasons import Reason
from layers.rungs import CellRung
from twin.errors import GeometryError
from twin.geometry import inside
from twin.grid import cell_polygons, resolution_of, text_to_cell

__all__ = ["fix"]


def fix(frame: pl.DataFrame, rung: CellRung, site: Site) -> Fix:
    """Places by the cell `rung.id` (15 hexadecimal digits), as accurate as the cell is large."""
    text = frame[rung.id].cast(pl.String)
    cells = _cells(text.fill_null("").to_list())
    known = cells != 0
    lon, lat, accuracy_m = (np.full(len(cells), np.nan) for _ in range(3))
    shapes = np.full(len(cells), None, dtype=object)
    shapes[known] = cell_polygons(cells[known])
    centres = shapely.centroid(shapes[known])
    lon[known], lat[known] = shapely.get_x(centres), shapely.get_y(centres)
    accuracy_m[known] = [h3.average_hexagon_edge_length(int(r), unit="m") for r in resolution_of(cells[known])]
    reasons = np.full(len(cells), None, dtype=object)
    reasons[known & ~inside(lon, lat, site.city.bounds)] = Reason.OUTSIDE_CITY
    reasons[~known] = Reason.BAD_COORDINATE
    reasons[text.is_null().to_numpy()] = ABSENT
    return Fix(lon, lat, shapes, accuracy_m, reasons, "h3", cells=cells)


def _cells(texts: list[str]) -> NDArray[np.int64]:
    """The cells of n texts; 0 for a text that is none."""
    try:
        return text_to_cell(texts)
    except GeometryError:
        return np.concatenate([_cell(text) for text in texts])


def _cell(text: str) -> NDArray[np.int64]:
    try:
        return text_to_cell([text])
    except GeometryError:
        return np.zeros(1, dtype=np.int64)
