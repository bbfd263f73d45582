"""What a rung answers, and what it is told."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from layers.places.gazetteer import Gazetteer
from layers.places.named import Geometries
from twin.city import City

__all__ = ["ABSENT", "GEOMETRY", "Fix", "Geometries", "Register", "Site", "is_none"]

GEOMETRY = "__geometry"
"""Column of the geometry that a file itself carries: WKB, two dimensions, no SRID; null is none."""

_NONE: Geometries = np.array(None, dtype=object)

ABSENT = "absent"
"""The reason of a rung that found nothing to look at: the next rung is asked, and its reason counts."""


@dataclass(frozen=True, slots=True)
class Register:
    """The current places of a dataset whose ids other records refer to.

    `frame` has `id`, `cell`, `place_accuracy_m` and `lon`, `lat` of a point on each geometry; `shapes` (n,) holds the
    geometries, None for points.
    """

    frame: pl.DataFrame
    shapes: Geometries


@dataclass(frozen=True, slots=True)
class Site:
    """What the rungs know beside the records.

    `register` gives a register by its dataset, `gazetteer` the city's named places; both are read when they are needed.
    `crs` is what the file says of itself (`EPSG:4490`), `declared` is the datum word that a person gave with it;
    `overruled` says that they know better than the contract and the detective.
    """

    city: City
    register: Callable[[str], Register]
    gazetteer: Callable[[], Gazetteer]
    crs: str | None = None
    declared: str | None = None
    overruled: bool = False


@dataclass(frozen=True, slots=True)
class Fix:
    """The answer of one rung for n records.

    `lon`, `lat` (n,) degrees in the city's datum, NaN where there is no fix. `shapes` (n,) the geometries, or None when
    all are the points themselves; an entry None is a point too. `accuracy_m` (n,). `reasons` (n,) texts: None where the
    fix holds, ABSENT or a value of `layers.reasons.Reason` where it does not. `source` says where the fix comes from,
    for provenance; `repaired` (n,) marks geometries that were mended. `cells` (n,) where the rung knows them itself.
    `hints` (n,) say of refused records what would fit, None where nothing does; of those in `final` (n,) no
    further rung is asked, since they contradict themselves.
    """

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    shapes: Geometries | None
    accuracy_m: NDArray[np.float64]
    reasons: NDArray[np.object_]
    source: str
    repaired: NDArray[np.bool_] | None = None
    cells: NDArray[np.int64] | None = None
    hints: NDArray[np.object_] | None = None
    final: NDArray[np.bool_] | None = None


def is_none(values: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which entries (n,) are None."""
    return np.equal(values, _NONE).astype(bool)
