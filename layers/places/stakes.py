"""Linear referencing: a road's number and a stake to a point on its line.

The sections of a road carry the stakes of their ends, so each is a calibrated measure of its own: a stake lies at its
share of the section's length, and what is between two sections lies on neither (ISO 19148, interpolative method).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.places.named import Geometries

__all__ = ["Stake", "Stakes"]

_LINE = 1
_JOINT_KM = 0.0005
"""Sections end and begin at rounded stakes."""


class Stake(NamedTuple):
    """A point of a section: longitude, latitude, and the section's number."""

    lon: float
    lat: float
    section: int


@dataclass(frozen=True, slots=True)
class _Road:
    sections: NDArray[np.int64]
    low_km: NDArray[np.float64]
    high_km: NDArray[np.float64]


class Stakes:
    """The stakes of all numbered roads.

    `road` (n,) numbers such as G104, `start_km` and `end_km` (n,) the stakes at
    the first and the last vertex of `lines` (n,); sections without any are left out.
    """

    def __init__(
        self,
        road: Sequence[str | None],
        start_km: NDArray[np.float64],
        end_km: NDArray[np.float64],
        lines: Geometries,
    ) -> None:
        self._start_km, self._end_km, self._lines = start_km, end_km, lines
        measured = np.isfinite(start_km) & np.isfinite(end_km) & (shapely.get_type_id(lines) == _LINE)
        found: defaultdict[str, list[int]] = defaultdict(list)
        for section in np.flatnonzero(measured).tolist():
            name = road[section]
            if name:
                found[name.upper()].append(section)
        self._roads = {
            name: _Road(
                np.array(sections),
                np.minimum(start_km[sections], end_km[sections]),
                np.maximum(start_km[sections], end_km[sections]),
            )
            for name, sections in found.items()
        }

    def range_km(self, road: str) -> tuple[float, float] | None:
        """The least and the greatest stake of a road; None of one without stakes."""
        known = self._roads.get(road)
        return None if known is None else (float(known.low_km.min()), float(known.high_km.max()))

    def at(self, road: str, km: float) -> list[Stake]:
        """The points of a road with this stake: two where its carriageways are apart, none where no section has it."""
        known = self._roads.get(road)
        if known is None:
            return []
        here = known.sections[(known.low_km - _JOINT_KM <= km) & (km <= known.high_km + _JOINT_KM)]
        return [self._on(int(section), km) for section in here]

    def _on(self, section: int, km: float) -> Stake:
        length_km = self._end_km[section] - self._start_km[section]
        share = float(np.clip((km - self._start_km[section]) / length_km, 0, 1)) if length_km else 0.0
        line = self._lines[section]
        # Shares are of the length in metres: a degree of longitude is shorter than one of latitude.
        narrow = math.cos(math.radians(float(shapely.bounds(line)[1])))
        flat = shapely.transform(line, lambda xy: xy * (narrow, 1.0))
        point = shapely.line_interpolate_point(flat, share, normalized=True)
        return Stake(float(shapely.get_x(point)) / narrow, float(shapely.get_y(point)), section)
