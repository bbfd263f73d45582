"""Bus lines and their stops: rapid lines between seats, country lines to towns, urban lines across centres."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.demo.fabric import Fabric
from ingest.demo.facilities import DistrictOf
from ingest.demo.graph import delaunay, spanning_tree
from ingest.demo.links import route_steps
from ingest.demo.network import path_between
from ingest.demo.noise import Floats
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.settlements import CENTRE, TOWN
from twin.city import Title

__all__ = ["draw_transit"]

_SPACING_M = {"brt": 950.0, "urban": 520.0, "rural": 1_500.0}
_HEADWAY_MIN = {"brt": 8, "urban": 12, "rural": 30}
_FIRST_LAST = {"brt": ("06:00", "21:30"), "urban": ("06:10", "20:30"), "rural": ("06:30", "18:30")}
_LINES_A_CENTRE, _RESIDENTS_A_LINE = 2, 42_000.0
_TRIANGLE = 3


@dataclass(frozen=True, slots=True)
class _Line:
    kind: str
    number: str
    title: Title
    shape: BaseGeometry


def _course(fabric: Fabric, stops: list[int]) -> BaseGeometry | None:
    """The line over the roads from node to node; None where there is no way."""
    links, forward = path_between(fabric.network, stops)
    parts = [
        shapely.get_coordinates(fabric.drawn.lines[line])[:: 1 if ahead else -1]
        for line, ahead in route_steps(fabric.drawn, links, forward)
    ]
    if not parts:
        return None
    xy = np.vstack([parts[0], *(part[1:] for part in parts[1:])])
    return shapely.LineString(xy)


def _node(fabric: Fabric, xy: Floats) -> int:
    return int(np.hypot(*(fabric.network.xy - xy).T).argmin())


def _pairs_of_seats(seats: Floats) -> list[tuple[int, int]]:
    """The seats joined by their minimum spanning tree."""
    if len(seats) < _TRIANGLE:
        return [(0, 1)] if len(seats) > 1 else []
    triangle = delaunay(seats)
    edges = np.unique(
        np.sort(np.vstack([triangle[:, [0, 1]], triangle[:, [1, 2]], triangle[:, [0, 2]]]), axis=1), axis=0
    )
    length = np.hypot(*(seats[edges[:, 0]] - seats[edges[:, 1]]).T)
    return [(int(a), int(b)) for a, b in edges[spanning_tree(len(seats), edges, length)]]


def _between_seats(plan: Plan, fabric: Fabric) -> Iterator[_Line]:
    titles = [part.title for part in plan.city.districts]
    for k, (a, b) in enumerate(_pairs_of_seats(fabric.bounds.seats)):
        shape = _course(fabric, [_node(fabric, fabric.bounds.seats[a]), _node(fabric, fabric.bounds.seats[b])])
        if shape is not None:
            title = Title(
                zh=f"B{k + 1}路 {titles[a].zh}-{titles[b].zh}", en=f"BRT B{k + 1}: {titles[a].en}-{titles[b].en}"
            )
            yield _Line("brt", f"B{k + 1}", title, shape)


def _to_towns(plan: Plan, fabric: Fabric) -> Iterator[_Line]:
    places = fabric.settlements
    for k, town in enumerate(places.of(TOWN)):
        district = places.district[town]
        shape = _course(fabric, [_node(fabric, fabric.bounds.seats[district]), _node(fabric, places.xy[town])])
        if shape is not None:
            seat, place = plan.city.districts[district].title, places.titles[town]
            yield _Line(
                "rural",
                f"{201 + k}",
                Title(zh=f"{201 + k}路 {seat.zh}-{place.zh}", en=f"Line {201 + k}: {seat.en}-{place.en}"),
                shape,
            )


def _in_centres(plan: Plan, fabric: Fabric) -> Iterator[_Line]:
    """Lines across each centre, from edge to edge past its middle."""
    rng = plan.rng("urban lines")
    places = fabric.settlements
    k = 0
    for centre in places.of(CENTRE):
        count = _LINES_A_CENTRE + int(places.residents[centre] * plan.scale / _RESIDENTS_A_LINE)
        for _ in range(count):
            k += 1
            angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.8, 0.8)
            way = np.array([np.cos(angle), np.sin(angle)]) * 0.85 * places.radius_m[centre]
            aside = np.array([-way[1], way[0]]) * bend
            ends = [
                places.xy[centre] + way + 0.4 * aside,
                places.xy[centre] + 0.5 * aside,
                places.xy[centre] - way + 0.4 * aside,
            ]
            shape = _course(fabric, [_node(fabric, end) for end in ends])
            if shape is not None:
                title = places.titles[centre]
                yield _Line("urban", f"{k}", Title(zh=f"{title.zh}{k}路", en=f"{title.en} Line {k}"), shape)


def _stop_names(fabric: Fabric, at: Geometries) -> tuple[list[str], list[str]]:
    """A stop bears the name of the place it is in, or of the street in a centre."""
    places = fabric.settlements
    nearest = shapely.STRtree(points_at(places.xy)).nearest(at)
    named = np.flatnonzero(fabric.streets >= 0)
    street = named[shapely.STRtree(fabric.drawn.lines[named]).nearest(at)]
    titles = [fabric.street_titles[fabric.streets[s]] if places.kind[p] == CENTRE else places.titles[p]
              for p, s in zip(nearest, street, strict=True)]  # fmt: skip
    return [title.zh for title in titles], [title.en for title in titles]


def draw_transit(
    plan: Plan, fabric: Fabric, district_of: DistrictOf
) -> tuple[pd.DataFrame, Geometries, pd.DataFrame, Geometries]:
    """Bus lines with their shapes, and bus stops with theirs.

    Lines: line_id, number, name_zh, name_en, kind (brt, urban, rural), length_m, stops, headway_min, first, last,
    district. Stops: stop_id, line_id, sequence, along_m, name_zh, name_en, district.
    """
    lines = [*_between_seats(plan, fabric), *_in_centres(plan, fabric), *_to_towns(plan, fabric)]
    shape = np.array([line.shape for line in lines], dtype=np.object_)
    length = shapely.length(shape)
    spacing = np.array([_SPACING_M[line.kind] for line in lines])
    count = np.maximum(np.round(length / spacing).astype(np.int64), 1) + 1
    owner = np.repeat(np.arange(len(lines)), count)
    sequence = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    along = length[owner] * sequence / (count[owner] - 1)
    at = shapely.line_interpolate_point(shape[owner], along)
    zh, en = _stop_names(fabric, at)
    table = pd.DataFrame({
        "line_id": [f"L{k + 1:03d}" for k in range(len(lines))],
        "number": [line.number for line in lines],
        "name_zh": [line.title.zh for line in lines],
        "name_en": [line.title.en for line in lines],
        "kind": [line.kind for line in lines],
        "length_m": length.round(1),
        "stops": count,
        "headway_min": [_HEADWAY_MIN[line.kind] for line in lines],
        "first": [_FIRST_LAST[line.kind][0] for line in lines],
        "last": [_FIRST_LAST[line.kind][1] for line in lines],
        "district": district_of(shapely.get_point(shape, 0)),
    })  # fmt: skip
    stops = pd.DataFrame({
        "stop_id": [f"{table['line_id'].iloc[o]}-{s + 1:03d}" for o, s in zip(owner, sequence, strict=True)],
        "line_id": table["line_id"].to_numpy()[owner],
        "sequence": sequence + 1,
        "along_m": along.round(1),
        "name_zh": zh,
        "name_en": en,
        "district": district_of(at),
    })  # fmt: skip
    return table, shape, stops, np.asarray(at, dtype=np.object_)
