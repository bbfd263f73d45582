"""Vehicles of the synthetic city: each goes up and down its line at its own speed; what has no line stands still."""

from typing import NamedTuple

import numpy as np
import shapely

from ingest.demo.noise import Floats, Ints
from ingest.demo.plane import Geometries, points_at
from twin.geometry import METRES_PER_DEGREE

__all__ = ["Motion", "travel"]

_SPEED_KMH = (18.0, 46.0)
_STEP_M = 5.0


class Motion(NamedTuple):
    """Where things are (n,) points in degrees, how fast (n,) km/h, and heading (n,) degrees clockwise from north."""

    points: Geometries
    speed_kmh: Floats
    heading_deg: Floats


def travel(lines: Geometries, vehicle: Ints, epoch_s: Ints, rng: np.random.Generator) -> Motion:
    """Where vehicles are at times.

    `lines` (m,) are the lines or points of m vehicles in degrees; `vehicle` (n,) says of which one each of n fixes is,
    `epoch_s` (n,) when. Lengths are taken on a cylinder that touches at the lines' middle latitude.
    """
    middle_deg = float(np.nanmean(shapely.bounds(lines)[:, [1, 3]]))
    scale = np.array([np.cos(np.radians(middle_deg)), 1.0]) * METRES_PER_DEGREE
    flat = shapely.transform(
        np.where(shapely.get_dimensions(lines) == 1, lines, shapely.point_on_surface(lines)), lambda xy: xy * scale
    )
    length_m, count = shapely.length(flat), len(lines)
    moves = length_m > _STEP_M
    speed_kmh = np.where(moves, rng.uniform(*_SPEED_KMH, count), 0.0)
    start_m = rng.uniform(0, 2, count) * length_m
    gone_m = start_m[vehicle] + speed_kmh[vehicle] / 3.6 * (epoch_s - epoch_s.min())
    turn_m = np.maximum(2 * length_m[vehicle], _STEP_M)
    there = np.mod(gone_m, turn_m)
    back = there > length_m[vehicle]
    along_m = np.where(back, turn_m - there, there)
    rows = flat[vehicle]
    here, ahead, behind = rows.copy(), rows.copy(), rows.copy()
    on = moves[vehicle]
    here[on] = shapely.line_interpolate_point(rows[on], along_m[on])
    ahead[on] = shapely.line_interpolate_point(rows[on], along_m[on] + _STEP_M)
    behind[on] = shapely.line_interpolate_point(rows[on], np.maximum(along_m[on] - _STEP_M, 0))
    way = shapely.get_coordinates(ahead) - shapely.get_coordinates(behind)
    way = np.where(back[:, None], -way, way)
    heading = np.degrees(np.arctan2(way[:, 0], way[:, 1])) % 360
    return Motion(points_at(shapely.get_coordinates(here) / scale), speed_kmh[vehicle], heading)
