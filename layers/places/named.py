"""Named places as their datasets list them: what the gazetteer is built from."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import shapely
from numpy.typing import NDArray

from layers.contract import Names

__all__ = ["Areas", "Geometries", "NamedPlaces"]

Geometries = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class NamedPlaces:
    """The records of one dataset that address texts may mention.

    `frame` (n rows) has `id`, `place_accuracy_m` and the fields that `names` tells of; `shapes` (n,) in degrees of the
    city's datum.
    """

    dataset: str
    names: Names
    frame: pl.DataFrame
    shapes: Geometries


class Areas:
    """Districts and towns by their codes: which of them a point lies in. The finest that is known counts."""

    def __init__(self, codes: list[str], shapes: Geometries) -> None:
        order = np.argsort([len(code) for code in codes], kind="stable")
        self.codes = [codes[k] for k in order.tolist()]
        self.shapes: Geometries = shapes[order]
        shapely.prepare(self.shapes)
        self._by_code = dict(zip(self.codes, range(len(codes)), strict=True))

    def shape(self, code: str) -> shapely.Geometry | None:
        """The area of a code."""
        at = self._by_code.get(code)
        return None if at is None else self.shapes[at]

    def code_at(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> list[str]:
        """The longest code of an area around each of n points; empty where there is none."""
        found = np.full(len(lon), -1, dtype=np.int64)
        if len(self.codes) and len(lon):
            # The tree holds the points: it is the geometries asked for whose preparation counts.
            points: Geometries = np.asarray(shapely.points(lon, lat))
            area, point = shapely.STRtree(points).query(self.shapes, predicate="intersects")
            # Towns stand behind districts, so that the greatest index is the finest area.
            np.maximum.at(found, point, area)
        return [self.codes[k] if k >= 0 else "" for k in found.tolist()]
