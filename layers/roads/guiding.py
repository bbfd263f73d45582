"""A path in words and lines: its geometry, its length, the roads it takes with their stakes, and the turns between."""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.ops import substring

from layers.roads.network import Network
from layers.roads.routing import Way
from layers.roads.traffic import Traffic

__all__ = ["Guide", "Step", "guide"]

Floats = NDArray[np.float64]

_TURNS = ((20, "straight"), (60, "slight_{}"), (120, "{}"), (165, "sharp_{}"))


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch along one road: its name and number, its stakes where it has some, and the turn onto it."""

    name: str | None
    number: str | None
    from_km: float | None
    to_km: float | None
    distance_m: float
    duration_s: float
    turn: str


@dataclass(frozen=True, slots=True)
class Guide:
    """A path: `line` (k, 2) in degrees, its length, its steps, and how much of it lies in what is closed."""

    line: Floats
    distance_m: float
    steps: tuple[Step, ...]
    closed_m: float


@dataclass(slots=True)
class _Piece:
    """What is travelled of one arc."""

    edge: int
    line: Floats
    distance_m: float
    ms: float
    from_km: float
    to_km: float
    is_closed: bool


def guide(traffic: Traffic, way: Way) -> Guide:
    """Describe a path under the traffic of now."""
    network = traffic.network
    last = len(way.arcs) - 1
    pieces = [
        _piece(traffic, arc, way.enter if at == 0 else 0.0, way.leave if at == last else 1.0)
        for at, arc in enumerate(way.arcs)
    ]
    # Who stands at a crossing has passed nothing of the street before it.
    pieces = [piece for piece in pieces if piece.distance_m > 0] or pieces
    points = np.concatenate([piece.line for piece in pieces])
    kept = np.ones(len(points), dtype=np.bool_)
    kept[1:] = (points[1:] != points[:-1]).any(axis=1)
    line = points[kept] if kept.sum() > 1 else points[:2]
    return Guide(
        line,
        sum(piece.distance_m for piece in pieces),
        tuple(_steps(network, pieces)),
        sum(piece.distance_m for piece in pieces if piece.is_closed),
    )


def _piece(traffic: Traffic, arc: int, enter: float, leave: float) -> _Piece:
    network = traffic.network
    edge = int(network.edge[arc])
    line = network.shape(edge)
    from_km, to_km = float(network.from_km[edge]), float(network.to_km[edge])
    if network.against[arc]:
        line, from_km, to_km = line[::-1], to_km, from_km
    share = leave - enter
    if share < 1:
        narrow = math.cos(math.radians(float(line[0, 1])))
        flat = shapely.LineString(line * (narrow, 1.0))
        cut = substring(flat, enter, leave, normalized=True)
        line = shapely.get_coordinates(cut) / (narrow, 1.0)
        from_km, to_km = from_km + enter * (to_km - from_km), from_km + leave * (to_km - from_km)
    return _Piece(
        edge, line, float(network.length_m[edge]) * share, float(traffic.open_ms[arc]) * share, from_km, to_km,
        traffic.is_closed_edge(edge),
    )  # fmt: skip


def _steps(network: Network, pieces: list[_Piece]) -> list[Step]:
    """Pieces of one road that follow each other are one step."""
    steps: list[Step] = []
    run: list[_Piece] = []
    before: _Piece | None = None
    for piece in [*pieces, None]:
        if run and (piece is None or _road(network, piece) != _road(network, run[-1])):
            steps.append(_step(network, run, "depart" if before is None else _turn(before.line, run[0].line)))
            before, run = run[-1], []
        if piece is not None:
            run.append(piece)
    return steps


def _road(network: Network, piece: _Piece) -> tuple[str | None, str | None]:
    return network.name(piece.edge), network.number(piece.edge)


def _step(network: Network, run: list[_Piece], turn: str) -> Step:
    name, number = _road(network, run[0])
    staked = [piece for piece in run if math.isfinite(piece.from_km)]
    return Step(
        name, number, round(staked[0].from_km, 3) if staked else None, round(staked[-1].to_km, 3) if staked else None,
        round(sum(piece.distance_m for piece in run), 1), round(sum(piece.ms for piece in run) / 1000, 1), turn,
    )  # fmt: skip


def _turn(one: Floats, two: Floats) -> str:
    """The turn from the end of one line onto the beginning of another: `left`, `slight_right`, `u_turn` ..."""
    if len(one) < 2 or len(two) < 2:
        return "straight"
    angle = math.degrees(_bearing(two[0], two[1]) - _bearing(one[-2], one[-1]))
    angle = (angle + 180) % 360 - 180
    side = "right" if angle > 0 else "left"
    return next((word.format(side) for least, word in _TURNS if abs(angle) < least), "u_turn")


def _bearing(start: Floats, end: Floats) -> float:
    """Clockwise from north, radians."""
    return math.atan2((end[0] - start[0]) * math.cos(math.radians(start[1])), end[1] - start[1])
