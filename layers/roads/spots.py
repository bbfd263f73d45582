"""Spots: where a place lies on the network, as an edge and a share of its length; found through a grid of the lines."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from layers.roads.network import Network
from twin.geometry import METRES_PER_DEGREE

__all__ = ["Locator", "Spot", "Spots"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_SQUARE_M = 150.0


class Spot(NamedTuple):
    """A place on the network: the edge, the share of its length from its start, and how far the place is from it."""

    edge: int
    share: float
    away_m: float
    lon: float
    lat: float


@dataclass(frozen=True, slots=True)
class Spots:
    """Places on the network (q,): as `Spot`; `edge` is -1 where no road is near enough."""

    edge: Ints
    share: Floats
    away_m: Floats
    lon: Floats
    lat: Floats

    @classmethod
    def one(cls, spot: Spot) -> "Spots":
        """A single place."""
        edge, *others = (np.array([value]) for value in spot)
        return cls(edge.astype(np.int32), *others)

    def __len__(self) -> int:
        return len(self.edge)

    def __getitem__(self, at: int) -> Spot:
        return Spot(int(self.edge[at]), float(self.share[at]), float(self.away_m[at]), float(self.lon[at]),
                    float(self.lat[at]))  # fmt: skip

    def where(self, mask: NDArray[np.bool_] | NDArray[np.int64]) -> "Spots":
        """Some of them."""
        return Spots(self.edge[mask], self.share[mask], self.away_m[mask], self.lon[mask], self.lat[mask])


class Locator:
    """Finds the nearest edge of places. Made in some tens of milliseconds when a network is opened."""

    def __init__(self, network: Network) -> None:
        lon, lat = np.asarray(network.shape_lon), np.asarray(network.shape_lat)
        self._narrow = math.cos(math.radians(float(lat.mean())))
        # A plane in metres that touches in the middle: within 1 % over a city.
        self._x, self._y = lon * METRES_PER_DEGREE * self._narrow, lat * METRES_PER_DEGREE
        first = np.asarray(network.shape_first)
        self._edge = np.repeat(np.arange(network.edges, dtype=np.int32), np.diff(first))
        self._first = first
        self._west, self._south = float(self._x.min()), float(self._y.min())
        self._columns = int((self._x.max() - self._west) // _SQUARE_M) + 1
        self._rows = int((self._y.max() - self._south) // _SQUARE_M) + 1
        self._squares, self._steps = _listed(
            self._x, self._y, self._edge, self._west, self._south, self._columns, self._rows
        )
        self._along_m = _along(self._x, self._y, self._edge)

    def near(self, lon: Floats, lat: Floats, within_m: float) -> Spots:
        """The nearest point of the network to each place (q,) in degrees, no further than `within_m`."""
        x, y = np.asarray(lon) * METRES_PER_DEGREE * self._narrow, np.asarray(lat) * METRES_PER_DEGREE
        count = len(x)
        edge, share = np.empty(count, dtype=np.int32), np.empty(count)
        away_m, at_x, at_y = np.empty(count), np.empty(count), np.empty(count)
        _nearest(
            self._x, self._y, self._edge, self._first, self._along_m, self._squares, self._steps, self._west,
            self._south, self._columns, self._rows, x, y, within_m, edge, share, away_m, at_x, at_y,
        )  # fmt: skip
        return Spots(edge, share, away_m, at_x / METRES_PER_DEGREE / self._narrow, at_y / METRES_PER_DEGREE)


@njit(cache=True, nogil=True)
def _along(x: Floats, y: Floats, edge: Ints) -> Floats:
    """How far along its edge each vertex lies, in metres of the plane."""
    along = np.zeros(len(x))
    for at in range(1, len(x)):
        if edge[at] == edge[at - 1]:
            along[at] = along[at - 1] + math.hypot(x[at] - x[at - 1], y[at] - y[at - 1])
    return along


@njit(cache=True, nogil=True)
def _listed(x: Floats, y: Floats, edge: Ints, west: float, south: float, columns: int, rows: int) -> tuple[Ints, Ints]:
    """The steps of lines (by their first vertex) whose box meets each square of the grid, as a compressed row."""
    first = np.zeros(columns * rows + 1, dtype=np.int32)
    steps = np.empty(0, dtype=np.int32)
    for filling in range(2):
        for at in range(len(x) - 1):
            if edge[at] != edge[at + 1]:
                continue
            left, right = min(x[at], x[at + 1]), max(x[at], x[at + 1])
            low, high = min(y[at], y[at + 1]), max(y[at], y[at + 1])
            for row in range(int((low - south) // _SQUARE_M), int((high - south) // _SQUARE_M) + 1):
                for column in range(int((left - west) // _SQUARE_M), int((right - west) // _SQUARE_M) + 1):
                    square = row * columns + column
                    if filling == 0:
                        first[square + 1] += 1
                    else:
                        steps[first[square]] = at
                        first[square] += 1
        if filling == 0:
            for square in range(columns * rows):
                first[square + 1] += first[square]
            steps = np.empty(first[-1], dtype=np.int32)
        else:
            for square in range(columns * rows, 0, -1):
                first[square] = first[square - 1]
            first[0] = 0
    return first, steps


@njit(cache=True, nogil=True)
def _nearest(
    x: Floats, y: Floats, edge: Ints, edge_first: Ints, along: Floats, first: Ints, steps: Ints, west: float,
    south: float, columns: int, rows: int, place_x: Floats, place_y: Floats, within_m: float,
    found: Ints, share: Floats, away_m: Floats, found_x: Floats, found_y: Floats,
) -> None:  # fmt: skip
    """Rings of squares around each place, until none further out can hold anything nearer."""
    most = int(within_m // _SQUARE_M) + 1
    for number in range(len(place_x)):
        px, py = place_x[number], place_y[number]
        found[number], away_m[number], share[number] = -1, np.nan, np.nan
        found_x[number], found_y[number] = np.nan, np.nan
        best = within_m
        column, row = int((px - west) // _SQUARE_M), int((py - south) // _SQUARE_M)
        for ring in range(most + 1):
            # What lies in this ring is at least so far away.
            if (ring - 1) * _SQUARE_M > best:
                break
            for other_row in range(max(row - ring, 0), min(row + ring, rows - 1) + 1):
                inner = abs(other_row - row) < ring
                for other_column in range(column - ring, column + ring + 1, 2 * ring if inner and ring else 1):
                    if other_column < 0 or other_column >= columns:
                        continue
                    square = other_row * columns + other_column
                    for at in range(first[square], first[square + 1]):
                        step = steps[at]
                        dx, dy = x[step + 1] - x[step], y[step + 1] - y[step]
                        length = dx * dx + dy * dy
                        t = ((px - x[step]) * dx + (py - y[step]) * dy) / length if length > 0 else 0.0
                        t = min(max(t, 0.0), 1.0)
                        qx, qy = x[step] + t * dx, y[step] + t * dy
                        away = math.hypot(px - qx, py - qy)
                        # Of lines that are equally near the first is taken, so that a question has one answer.
                        if away < best or (away == best and (found[number] < 0 or edge[step] < found[number])):
                            best = away
                            whole = along[edge_first[edge[step] + 1] - 1]
                            found[number], away_m[number] = edge[step], away
                            share[number] = (along[step] + t * math.sqrt(length)) / whole if whole > 0 else 0.0
                            found_x[number], found_y[number] = qx, qy
