"""The road network as a table: noded lines with class, name, number, stakes, lanes, speed and district."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from ingest.demo.boundaries import Boundaries
from ingest.demo.corridors import Corridors
from ingest.demo.fabric import Fabric
from ingest.demo.graph import Bools, components, nodes_of
from ingest.demo.lines import noded
from ingest.demo.links import Drawn, Step, route_steps
from ingest.demo.network import Network, Route
from ingest.demo.noise import Floats, Ints
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.settlements import CENTRE, VILLAGE
from ingest.demo.streets import MOTORWAY, RESIDENTIAL, SECONDARY
from twin.city import Title

__all__ = ["CLASSES", "HALF_WIDTH_M", "Roads", "draw_roads"]

CLASSES = np.array(["motorway", "trunk", "primary", "secondary", "tertiary", "residential"], dtype=np.object_)
HALF_WIDTH_M = np.array([15.0, 12.0, 11.0, 9.0, 6.0, 4.0])
"""Half the width of the carriageway and verges of each class."""

_SPEED_KMH = np.array([[110, 80, 70, 60, 40, 20], [100, 60, 60, 50, 40, 30]])
_LANES = np.array([[4, 4, 2, 2, 2, 1], [6, 6, 6, 4, 2, 2]])
"""By class, outside and inside urban centres."""
_RAMP_SPEED_KMH, _RAMP_LANES = 40, 1
_INTERCHANGE_M, _RAMP_M = 7_000.0, 380.0
_ONE_WAY_SHARE = 0.06
_NO_CUTS: tuple[Ints, Floats] = (np.empty(0, dtype=np.int64), np.empty((0, 2)))


@dataclass(frozen=True, slots=True)
class Roads:
    """Roads in the plane: `table` as described in city.py, and of its rows `shape` (r,).

    `rank` (r,): road class; `place` (r,): settlement, -1 for none.
    `built` (l,): which surface lines (street stretches first) are part of the network; a block beside none of them
    has no access.
    """

    table: pd.DataFrame
    shape: Geometries
    rank: Ints
    place: Ints
    built: Bools


@dataclass(slots=True)
class _Pieces:
    """Noded pieces of one set of lines and what became of each."""

    shape: Geometries
    parent: Ints
    road_class: Ints
    ramp: Bools
    number: list[str | None]
    title: list[Title | None]
    stake_m: Floats
    first: Ints

    @classmethod
    def of(cls, lines: Geometries, road_class: Ints, ramp: Bools, cuts: tuple[Ints, Floats] = _NO_CUTS) -> "_Pieces":
        shape, parent = noded(lines, cuts)
        count = len(shape)
        first = np.searchsorted(parent, np.arange(len(lines) + 1))
        return cls(
            shape,
            parent,
            road_class[parent],
            ramp[parent],
            [None] * count,
            [None] * count,
            np.full(count, np.nan),
            first,
        )

    def number_along(self, route: Route, steps: list[Step]) -> None:
        """Give a route's pieces its number and stakes; a piece that bears a number already keeps it."""
        stake = route.stake_m
        for line, ahead in steps:
            own = range(int(self.first[line]), int(self.first[line + 1]))
            for piece in own if ahead else reversed(own):
                length = float(self.shape[piece].length)
                if self.number[piece] is None:
                    self.number[piece], self.title[piece], self.stake_m[piece] = route.number, route.title, stake
                    self.shape[piece] = self.shape[piece] if ahead else shapely.reverse(self.shape[piece])
                stake += length


def _bezier(start: Floats, control: Floats, end: Floats) -> shapely.LineString:
    t = np.linspace(0, 1, 9)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    curve[0], curve[-1] = start, end
    return shapely.LineString(curve)


def _ramps(
    motorway: shapely.LineString, lines: Geometries, road_class: Ints
) -> tuple[Floats, list[shapely.LineString]]:
    """Interchanges of a motorway with roads, the larger first: where ramps leave it (k, 2), and the ramps (k,)."""
    crossed = shapely.STRtree(lines).query(motorway, predicate="crosses")
    order = np.lexsort((crossed, road_class[crossed]))
    taken: list[float] = []
    vertices: list[Floats] = []
    ramps: list[shapely.LineString] = []
    for line in lines[crossed[order]]:
        at = shapely.get_parts(motorway & line)[0]
        along = float(shapely.line_locate_point(motorway, at))
        xy = shapely.get_coordinates(line)
        gap = shapely.line_locate_point(line, points_at(xy)) - shapely.line_locate_point(line, at)
        clear = _RAMP_M < along < motorway.length - _RAMP_M and gap.min() < -_RAMP_M / 2 and gap.max() > _RAMP_M / 2
        if not clear or any(abs(along - other) < _INTERCHANGE_M for other in taken):
            continue
        taken.append(along)
        middle = shapely.get_coordinates(at)[0]
        for sign in (-1, 1):
            leave = shapely.get_coordinates(shapely.line_interpolate_point(motorway, along + sign * _RAMP_M))[0]
            join = xy[np.abs(gap - sign * _RAMP_M).argmin()]
            ramps.append(_bezier(leave, 0.78 * middle + 0.11 * (leave + join), join))
            vertices.append(leave)
    return np.array(vertices).reshape(-1, 2), ramps


def _interchanges(motorway: shapely.LineString, drawn: Drawn) -> tuple[Floats, list[shapely.LineString]]:
    """The interchanges of a motorway; one that crosses no larger road gets them at any road."""
    between = drawn.settlement < 0
    larger = between & (drawn.road_class <= SECONDARY)
    found = _ramps(motorway, drawn.lines[larger], drawn.road_class[larger])
    return found if found[1] else _ramps(motorway, drawn.lines[between], drawn.road_class[between])


def _motorways(corridors: Corridors, drawn: Drawn) -> tuple[_Pieces, Geometries]:
    """The motorways, noded among themselves, and all ramps to the surface roads."""
    lines = np.array([line for _, line, _ in corridors.motorways], dtype=np.object_)
    found = [_interchanges(line, drawn) for _, line, _ in corridors.motorways]
    leave = np.vstack([np.empty((0, 2)), *(at for at, _ in found)])
    ramps = [ramp for _, own in found for ramp in own]
    cuts = np.repeat(np.arange(len(lines)), [len(own) for _, own in found]), leave
    pieces = _Pieces.of(lines, np.full(len(lines), MOTORWAY), np.zeros(len(lines), dtype=np.bool_), cuts)
    for k, (road, _, begins_m) in enumerate(corridors.motorways):
        route = Route(road.number, road.title, MOTORWAY, 1000 * road.stake_km + begins_m, [], [])
        pieces.number_along(route, [(k, True)])
    return pieces, np.array(ramps, dtype=np.object_)


def _surface(network: Network, drawn: Drawn, ramps: Geometries) -> _Pieces:
    lines = np.concatenate([drawn.lines, ramps])
    is_ramp = np.arange(len(lines)) >= len(drawn.lines)
    road_class = np.concatenate([drawn.road_class, np.full(len(ramps), MOTORWAY)])
    pieces = _Pieces.of(lines, road_class, is_ramp)
    for route in network.routes:
        pieces.number_along(route, route_steps(drawn, route.links, route.forward))
    return pieces


def _one_way(plan: Plan, street: Ints, road_class: Ints, urban: Bools) -> Bools:
    """Some whole residential streets of the centres are one-way; both ends stay reachable through their neighbours."""
    chosen = plan.rng("one-way").random(int(street.max(initial=0)) + 1) < _ONE_WAY_SHARE
    return urban & (road_class == RESIDENTIAL) & (street >= 0) & chosen[np.maximum(street, 0)]


def _district(bounds: Boundaries, shape: Geometries) -> Ints:
    """District index of each line by its middle; a line outside the city belongs to the nearest district."""
    middle = shapely.line_interpolate_point(shape, 0.5, normalized=True)
    district = bounds.district_of(middle)
    outside = np.flatnonzero(district < 0)
    district[outside] = shapely.STRtree(bounds.districts).nearest(middle[outside])
    return district


def _joined(fast: _Pieces, slow: _Pieces, fabric: Fabric) -> tuple[pd.DataFrame, Geometries]:
    """One table of all pieces with what their lines say; `place` and `street` are -1 where there is none."""
    shape = np.concatenate([fast.shape, slow.shape])
    none = np.full(len(slow.first), -1)
    place = np.concatenate([none[: len(fast.shape)], np.concatenate([fabric.drawn.settlement, none])[slow.parent]])
    street = np.concatenate([none[: len(fast.shape)], np.concatenate([fabric.streets, none])[slow.parent]])
    names = fabric.street_titles
    titles = [names[k] if k >= 0 else title for k, title in zip(street, fast.title + slow.title, strict=True)]
    table = pd.DataFrame({
        "name_zh": [title.zh if title else None for title in titles],
        "name_en": [title.en if title else None for title in titles],
        "number": fast.number + slow.number,
        "rank": np.concatenate([fast.road_class, slow.road_class]),
        "ramp": np.concatenate([fast.ramp, slow.ramp]),
        "length_m": shapely.length(shape).round(2),
        "stake_start_m": np.concatenate([fast.stake_m, slow.stake_m]).round(1),
        "place": place,
        "street": street,
    })  # fmt: skip
    return table, shape


def _connected(shape: Geometries) -> tuple[Ints, Bools]:
    """End nodes (r, 2) of lines, and which lines belong to the largest connected part."""
    ends = np.stack([shapely.get_coordinates(shapely.get_point(shape, k)) for k in (0, -1)], axis=1)
    node, count = nodes_of(ends.reshape(-1, 2))
    pairs = node.reshape(-1, 2)
    part = components(count, pairs[:, 0], pairs[:, 1])[pairs[:, 0]]
    return pairs, part == np.bincount(part, shapely.length(shape)).argmax()


def draw_roads(plan: Plan, fabric: Fabric) -> Roads:
    """Node all roads and describe them. Roads cut off from the network, by water for instance, are left out."""
    fast, ramps = _motorways(fabric.corridors, fabric.drawn)
    slow = _surface(fabric.network, fabric.drawn, ramps)
    table, shape = _joined(fast, slow, fabric)
    nodes, main = _connected(shape)
    built = np.zeros(len(slow.first) - 1, dtype=np.bool_)
    built[slow.parent[main[len(fast.shape) :]]] = True
    table, shape = table.loc[main].reset_index(drop=True), shape[main]
    nodes = np.unique(nodes[main], return_inverse=True)[1]
    rank, place = table.pop("rank").to_numpy(), table.pop("place").to_numpy()
    kind = np.where(place >= 0, fabric.settlements.kind[place], VILLAGE)
    urban = (kind == CENTRE) & (place >= 0)
    ramp = table["ramp"].to_numpy()
    wet = np.zeros(len(shape), dtype=np.bool_)
    wet[shapely.STRtree(fabric.water.areas_shape).query(shape, predicate="intersects")[0]] = True
    codes = np.array([district.code for district in plan.city.districts], dtype=np.object_)
    street = table.pop("street").to_numpy()
    table.insert(0, "road_id", [f"RD{k:07d}" for k in range(len(table))])
    table["stake_end_m"] = (table["stake_start_m"] + table["length_m"]).round(1)
    table["road_class"] = CLASSES[rank]
    table["lanes"] = np.where(ramp, _RAMP_LANES, _LANES[urban.astype(np.int64), rank])
    table["speed_kmh"] = np.where(ramp, _RAMP_SPEED_KMH, _SPEED_KMH[urban.astype(np.int64), rank])
    table["oneway"] = _one_way(plan, street, rank, urban)
    table["bridge"] = wet
    table["surface"] = np.where((rank == RESIDENTIAL) & (kind == VILLAGE), "concrete", "asphalt")
    table["district"] = codes[_district(fabric.bounds, shape)]
    table["from_node"], table["to_node"] = nodes.reshape(-1, 2).T
    return Roads(table, shape, rank, place, built)
