"""Motorways and railways: drawn first, because towns and streets keep clear of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.demo.boundaries import Boundaries
from ingest.demo.facts import Road
from ingest.demo.lines import course
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries

__all__ = ["Corridors", "draw_corridors"]

_SPEED_KMH = {"high_speed": 300, "mainline": 160, "branch": 100}
_BORDER_M, _JOIN_M = 500.0, 5_000.0
_TRACKS = {"high_speed": 2, "mainline": 2, "branch": 1}


@dataclass(frozen=True, slots=True)
class Corridors:
    """Lines in the plane, cut off at the city's border.

    `motorways`: a road, a line of it, and how far from the road's start the line begins, metres (a road that leaves
    the city and returns has several lines); `railways` with columns railway_id, name_zh, name_en, kind (high_speed,
    mainline, branch), tracks, speed_kmh, length_m.
    """

    motorways: list[tuple[Road, shapely.LineString, float]]
    railways: pd.DataFrame
    railways_shape: Geometries

    @property
    def lines(self) -> Geometries:
        """All lines, as things to keep clear of."""
        return np.array([*(line for _, line, _ in self.motorways), *self.railways_shape], dtype=np.object_)


def _inside(line: shapely.LineString, city: BaseGeometry) -> list[shapely.LineString]:
    return [part for part in shapely.get_parts(line & city) if isinstance(part, shapely.LineString)]


def _joined(lines: list[shapely.LineString], city: BaseGeometry) -> list[shapely.LineString]:
    """The lines, where one that ends inside the city is led to the nearest other one."""
    inner = shapely.buffer(city, -_BORDER_M)
    joined: list[shapely.LineString] = []
    for k, line in enumerate(lines):
        others = shapely.union_all([*joined, *lines[k + 1 :]])
        xy = shapely.get_coordinates(line)
        for end in (0, -1):
            point = shapely.Point(xy[end])
            if not others.is_empty and inner.contains(point) and others.distance(point) < _JOIN_M:
                onto = shapely.get_coordinates(shapely.shortest_line(others, point))[:1]
                xy = np.vstack([onto, xy] if end == 0 else [xy, onto])
        joined.append(shapely.LineString(xy))
    return joined


def _motorways(plan: Plan, city: BaseGeometry) -> list[tuple[Road, shapely.LineString, float]]:
    roads = [road for road in plan.facts.roads if road.road_class == "motorway"]
    vias = [[position for position in road.via if not isinstance(position, str)] for road in roads]
    lines = _joined([course(plan.plane.to_plane(np.array(via)), 260, 9_000, 160, plan.seed) for via in vias], city)
    return [(road, part, float(shapely.line_locate_point(line, shapely.get_point(part, 0))))
            for road, line in zip(roads, lines, strict=True) for part in _inside(line, city)]  # fmt: skip


def draw_corridors(plan: Plan, bounds: Boundaries) -> Corridors:
    """Draw the motorways and railways of the facts."""
    motorways = _motorways(plan, bounds.city)
    lines = [course(plan.plane.to_plane(np.array(railway.via)), 200, 11_000, 200, plan.seed)
             for railway in plan.facts.railways]  # fmt: skip
    tracks = [(railway, part) for railway, line in zip(plan.facts.railways, lines, strict=True)
              for part in _inside(line, bounds.city)]  # fmt: skip
    railways = pd.DataFrame({
        "railway_id": [f"R{k:03d}" for k in range(len(tracks))],
        "name_zh": [railway.title.zh for railway, _ in tracks],
        "name_en": [railway.title.en for railway, _ in tracks],
        "kind": [railway.kind for railway, _ in tracks],
        "tracks": [_TRACKS[railway.kind] for railway, _ in tracks],
        "speed_kmh": [_SPEED_KMH[railway.kind] for railway, _ in tracks],
        "length_m": [round(float(part.length), 1) for _, part in tracks],
    })  # fmt: skip
    return Corridors(motorways, railways, np.array([part for _, part in tracks], dtype=np.object_))
