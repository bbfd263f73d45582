"""The guard: which geometries may enter the twin, and the repair of those that can be repaired.

`check` names what is wrong with each geometry and changes nothing. It is fast (0.4 s for a million vertices) and safe
on every path. `repair` is neither: making a polygon valid takes from microseconds to hours, whatever its size in bytes,
and no library call can be interrupted. It runs in another process under a time limit, and only when data is loaded.
"""

import atexit
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from twin import geometry_worker
from twin.errors import SetupError

__all__ = [
    "MAX_REPAIR_VERTICES",
    "METRES_PER_DEGREE",
    "REPAIR_LIMIT_S",
    "GeometryFault",
    "GeometryKind",
    "Limits",
    "RepairOutcome",
    "Repairs",
    "check",
    "fault_detail",
    "inside",
    "metres_apart",
    "repair",
]

Geometries = NDArray[np.object_]
GeometryKind = Literal["point", "line", "polygon", "any"]

METRES_PER_DEGREE = 111_320.0
"""Of longitude at the equator, and within half a per cent of latitude everywhere."""

MAX_REPAIR_VERTICES = 10_000
REPAIR_LIMIT_S = 2.0
"""Processor time one repair may take."""

# Null island is a small box, as converting (0, 0) from another datum moves it by up to a kilometre.
_NULL_ISLAND_DEG = 0.01
_TYPES: dict[GeometryKind, tuple[int, ...]] = {"point": (0, 4), "line": (1, 2, 5), "polygon": (3, 6)}
_TYPES["any"] = tuple(number for numbers in _TYPES.values() for number in numbers)


class GeometryFault(StrEnum):
    """What is wrong with a geometry. The first that applies, in this order, is named."""

    MISSING = "missing"
    NOT_FINITE = "not_finite"
    WRONG_TYPE = "wrong_type"
    TOO_MANY_VERTICES = "too_many_vertices"
    NULL_ISLAND = "null_island"
    SWAPPED_AXES = "swapped_axes"
    OUT_OF_RANGE = "out_of_range"
    OUTSIDE_CITY = "outside_city"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a dataset allows: the type of geometry (single or multi; never a mixed collection) and its vertices."""

    kind: GeometryKind = "any"
    max_vertices: int = 100_000


_NO_LIMITS = Limits()


def check(
    geometries: Geometries, bounds: tuple[float, float, float, float], limits: Limits = _NO_LIMITS
) -> NDArray[np.str_]:
    """What is wrong with each geometry (n,): a GeometryFault (n,), or the empty string where nothing is.

    Coordinates are longitude and latitude in degrees; `bounds` are the city's west, south, east, north. One vertex
    outside them is enough to refuse: that is how a broken vertex shows. Axes are called swapped when every vertex
    would be in the city with x and y exchanged. Heights are not looked at.
    """
    array = np.array(geometries, dtype=object, ndmin=1)
    xy, owner = shapely.get_coordinates(array, return_index=True)
    x, y = xy[:, 0], xy[:, 1]

    def any_vertex(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.bincount(owner[flags], minlength=array.size) > 0

    outside = any_vertex(~inside(x, y, bounds))
    at_zero = any_vertex((np.abs(x) < _NULL_ISLAND_DEG) & (np.abs(y) < _NULL_ISLAND_DEG))
    faults = np.select(
        [
            shapely.is_missing(array) | shapely.is_empty(array),
            any_vertex(~(np.isfinite(x) & np.isfinite(y))),
            ~np.isin(shapely.get_type_id(array), _TYPES[limits.kind]),
            shapely.get_num_coordinates(array) > limits.max_vertices,
            outside & at_zero,
            outside & ~any_vertex(~inside(y, x, bounds)),
            any_vertex((np.abs(x) > 180) | (np.abs(y) > 90)),
            outside,
        ],
        [fault.value for fault in GeometryFault if fault is not GeometryFault.INVALID],
        default="",
    )
    good = np.flatnonzero(faults == "")
    faults[good[~shapely.is_valid(array[good])]] = GeometryFault.INVALID.value
    return faults


def fault_detail(geometry: BaseGeometry | None, fault: GeometryFault) -> str:
    """What exactly is wrong with a geometry that `check` named `fault`: where it crosses itself, how large it is ..."""
    if geometry is None or geometry.is_empty:
        return ""
    if fault is GeometryFault.INVALID:
        return shapely.is_valid_reason(geometry)
    if fault is GeometryFault.WRONG_TYPE:
        return geometry.geom_type
    if fault is GeometryFault.TOO_MANY_VERTICES:
        return f"{shapely.get_num_coordinates(geometry):,}"
    return " ".join(f"{number:.7g}" for number in geometry.bounds)


def inside(
    x: NDArray[np.float64], y: NDArray[np.float64], bounds: tuple[float, float, float, float]
) -> NDArray[np.bool_]:
    """Which points (n,) lie in `bounds` (west, south, east, north), edges included. NaN lies nowhere."""
    west, south, east, north = bounds
    return (x >= west) & (x <= east) & (y >= south) & (y <= north)


def metres_apart(
    lon: NDArray[np.float64], lat: NDArray[np.float64], other_lon: NDArray[np.float64], other_lat: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance (n,) of points in degrees, on a plane that touches at the other ones: within 1 % over a city."""
    with np.errstate(invalid="ignore"):  # where a conversion went out of its bounds
        east = (lon - other_lon) * np.cos(np.radians(other_lat))
        return np.hypot(east, lat - other_lat) * METRES_PER_DEGREE


class RepairOutcome(StrEnum):
    """How a repair ended. Only the first two leave a geometry."""

    VALID = "valid"
    REPAIRED = "repaired"
    NOT_A_POLYGON = "not_a_polygon"
    TOO_MANY_VERTICES = "too_many_vertices"
    TOO_SLOW = "too_slow"
    CRASHED = "crashed"
    NOTHING_LEFT = "nothing_left"


class Repairs(NamedTuple):
    """What `repair` made of geometries (n,): valid ones, None where it failed, and a RepairOutcome for each."""

    geometries: Geometries
    outcomes: NDArray[np.str_]

    @property
    def repaired(self) -> NDArray[np.bool_]:
        """Which geometries (n,) are not what the source said: to be recorded with the row."""
        return self.outcomes == RepairOutcome.REPAIRED.value


def repair(geometries: Geometries) -> Repairs:
    """Make polygons (n,) valid, for the ingest worker only: never on a request path.

    A valid geometry stays as it is. A polygon of up to 10,000 vertices is repaired by GEOS's structure method (rings
    are made valid, shells united, holes cut out; a hole outside its shell becomes a part; what has no area goes) in
    another process, which is killed after 2 s of processor time for one polygon and started again for the next.

    Raises SetupError when that process cannot start.
    """
    array = np.array(geometries, dtype=object, ndmin=1)
    results = np.full(array.size, None, dtype=object)
    outcomes: list[str] = []
    valid = shapely.is_valid(array)
    types, sizes = shapely.get_type_id(array), shapely.get_num_coordinates(array)
    for i in range(array.size):
        if valid[i]:
            results[i], outcome = array[i], RepairOutcome.VALID
        elif types[i] not in _TYPES["polygon"]:
            outcome = RepairOutcome.NOT_A_POLYGON
        elif sizes[i] > MAX_REPAIR_VERTICES:
            outcome = RepairOutcome.TOO_MANY_VERTICES
        else:
            results[i], outcome = _repairer.make_valid(array[i])
        outcomes.append(outcome.value)
    return Repairs(results, np.array(outcomes, dtype=np.str_))


class _Repairer:
    """Talks to the one repair process of this process, which starts at first use and again after it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def make_valid(self, polygon: BaseGeometry) -> tuple[BaseGeometry | None, RepairOutcome]:
        """A valid polygon, or None and why."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = _start_worker()
            try:
                answer = _ask(self._process, shapely.to_wkb(polygon, output_dimension=2))
            except BaseException:
                self.stop()  # the answer may still come, and would be taken for that to the next question
                raise
            if answer is None:
                return None, _cause_of_end(self._process)
        return (shapely.from_wkb(answer), RepairOutcome.REPAIRED) if answer else (None, RepairOutcome.NOTHING_LEFT)

    def stop(self) -> None:
        """End the repair process if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Leave the repair process to the parent after a fork: two may not talk through one pipe."""
        self._lock = threading.Lock()
        self._process = None


def _start_worker() -> subprocess.Popen[bytes]:
    # By path, so that it starts from any folder; -P keeps that path's neighbours from hiding other modules.
    worker = [sys.executable, "-P", geometry_worker.__file__, str(REPAIR_LIMIT_S)]
    return subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603


def _ask(process: subprocess.Popen[bytes], wkb: bytes) -> bytes | None:
    """The worker's answer; None when it ended instead."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the worker has no pipes")
    length = geometry_worker.LENGTH
    try:
        process.stdin.write(length.pack(len(wkb)) + wkb)
        process.stdin.flush()
    except BrokenPipeError:
        return None
    header = process.stdout.read(length.size)
    return process.stdout.read(*length.unpack(header)) if len(header) == length.size else None


def _cause_of_end(process: subprocess.Popen[bytes]) -> RepairOutcome:
    code = process.wait()
    if code >= 0:
        raise SetupError(
            "the process that repairs polygons does not start.", remedy=f"Run: {sys.executable} -c 'import shapely'"
        )
    return RepairOutcome.TOO_SLOW if code == -signal.SIGPROF else RepairOutcome.CRASHED


_repairer = _Repairer()
atexit.register(_repairer.stop)
os.register_at_fork(after_in_child=_repairer.forget)
