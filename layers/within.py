"""An indicator over an area that somebody drew: whole cells only, so that areas can be compared and nobody found."""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from layers.cells import CellTable
from twin.grid import cell_area_m2, cell_polygons
from twin.privacy import snapped

__all__ = ["Within", "within"]


@dataclass(frozen=True, slots=True)
class Within:
    """The value over an area, the records (or people) behind it, the cells (n,) it is made of, and their outline."""

    value: float
    n: int
    cell: NDArray[np.int64]
    outline: BaseGeometry


def within(table: CellTable, area: BaseGeometry) -> Within:
    """The value of an indicator over the cells whose middle lies in an area (degrees)."""
    chosen = snapped(area, table.cell)
    cell, value, n = table.cell[chosen], table.value[chosen], table.n[chosen]
    return Within(_value(table, cell, value, n), int(n.sum()), cell, shapely.union_all(cell_polygons(cell)))


def _value(table: CellTable, cell: NDArray[np.int64], value: NDArray[np.float64], n: NDArray[np.int64]) -> float:
    """The measure over several cells: added, averaged by number or by area, or the smallest or largest of them."""
    if not len(cell):
        return 0.0 if table.indicator.parsed.how in {"count", "sum"} else math.nan
    if table.indicator.per_km2:
        return float(np.average(value, weights=cell_area_m2(cell)))
    match table.indicator.parsed.how:
        case "count" | "sum":
            return float(value.sum())
        case "min":
            return float(np.nanmin(value))
        case "max":
            return float(np.nanmax(value))
        case _:
            return float(np.average(value, weights=n))
