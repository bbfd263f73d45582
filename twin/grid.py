"""The H3 grid: places to cells, on numpy int64 arrays.

A cell is H3's 64-bit index as signed integer, as PostgreSQL's `bigint` stores it (the sign bit is never set); 0 is no
cell. Coarser cells come from `parents` only: indexing a point directly at a coarser resolution gives another cell for
6 to 7 % of points, and sums would not add up.

H3 accepts any number as a latitude, so nothing here indexes a coordinate outside +-180, +-90 degrees. Whether a place
is in the city is the geometry guard's question and comes first.

Index layout and hierarchy: https://h3geo.org/docs/core-library/h3Indexing
"""

from collections.abc import Sequence

import h3
import h3ronpy
import numpy as np
import shapely
from arro3.core import Array, DataType, list_flatten, list_offsets
from h3ronpy import ContainmentMode, vector
from numpy.typing import ArrayLike, NDArray

from twin.errors import GeometryError, InvalidRequest, LimitExceeded
from twin.parallel import in_chunks

__all__ = [
    "MAX_CELLS",
    "cell_area_m2",
    "cell_of_geometry",
    "cell_polygons",
    "cell_to_text",
    "cells_at_honest_resolution",
    "cells_of_geometries",
    "cells_of_points",
    "finest_resolution",
    "joined_cells",
    "parents",
    "resolution_of",
    "text_to_cell",
]

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]
Geometries = NDArray[np.object_]

MAX_CELLS = 50_000
"""Cells one geometry may have unless the caller says otherwise: about half the city at resolution 9."""

_MODE_SHIFT, _RESOLUTION_SHIFT, _RESOLUTION_BITS = 59, 52, 0xF
_CELL_MODE = 1
_FINEST = 15
_DIGIT_BITS = 3
_EDGE_M = np.array([h3.average_hexagon_edge_length(resolution, unit="m") for resolution in range(_FINEST + 1)])
_METRES_PER_DEGREE = 6_371_007.181 * np.pi / 180  # on H3's sphere
_LINE_TYPES = (1, 2)  # shapely's type numbers: line, ring
_COLLECTION_TYPE = 7


def cells_of_points(lon: ArrayLike, lat: ArrayLike, resolution: int) -> Cells:
    """Cells (n,) of points given by longitude and latitude (n,) in degrees.

    Raises GeometryError when any coordinate is not finite or out of range (the first is named; nothing is indexed),
    InvalidRequest when the resolution is not 0 to 15.
    """
    _require_resolution(resolution)
    x = np.ascontiguousarray(lon, dtype=np.float64)
    y = np.ascontiguousarray(lat, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise GeometryError(f"longitudes {x.shape} and latitudes {y.shape} do not pair.")
    good = (np.abs(x) <= 180) & (np.abs(y) <= 90)
    if not good.all():
        first = int(np.argmin(good))
        raise GeometryError(
            f"longitude {x[first]}, latitude {y[first]} is no place on earth ({np.sum(~good)} of {x.size} are not).",
            where=f"point {first}",
            remedy="Pass the points through the geometry guard first.",
        )
    cells = np.empty(x.size, dtype=np.int64)

    def index(part: slice) -> None:
        found = vector.coordinates_to_cells(Array.from_numpy(y[part]), Array.from_numpy(x[part]), resolution)
        cells[part] = found.to_numpy().view(np.int64)

    in_chunks(index, x.size)
    return cells


def cell_of_geometry(geometries: Geometries, resolution: int) -> Cells:
    """The one cell (n,) that stands for each geometry (n,): the cell of a point on its surface or line.

    Raises GeometryError for a missing or empty geometry and as `cells_of_points` does.
    """
    xy = shapely.get_coordinates(shapely.point_on_surface(_require_geometries(geometries)))
    return cells_of_points(xy[:, 0], xy[:, 1], resolution)


def cells_of_geometries(
    geometries: Geometries, resolution: int, *, max_cells: int = MAX_CELLS
) -> tuple[NDArray[np.int64], Cells]:
    """All cells that each geometry (n,) touches: pairs of geometry index (m,) and cell (m,), sorted, each pair once.

    Points, lines and polygons, single or multi, in degrees. A cell counts when it overlaps the geometry, so the
    smallest building and the shortest street have one. A shape across +-180 degrees must be split there.

    Raises LimitExceeded, before indexing it, when a geometry is expected to have more than `max_cells` cells;
    GeometryError for a missing or empty geometry, for a collection of mixed types, and for coordinates as in
    `cells_of_points`.
    """
    _require_resolution(resolution)
    parts, owner = shapely.get_parts(_require_geometries(geometries), return_index=True)
    kept = ~shapely.is_empty(parts)
    parts, owner = parts[kept], owner[kept].astype(np.int64)

    bounds = shapely.bounds(parts)
    corners = np.stack(
        [cells_of_points(bounds[:, x], bounds[:, y], resolution) for x, y in ((0, 1), (2, 1), (0, 3), (2, 3))]
    )
    # A cell is convex: a box with its corners in one cell lies in that cell. Most buildings end here. (Below 1 degree,
    # as the corners of a box around the globe would fall together. The 0.1 % of cells that an edge of H3's icosahedron
    # crosses are dented by up to 2 % of their area: a shape that reaches into a dent counts for the one cell only.)
    wide = (corners != corners[0]).any(axis=0) | (bounds[:, 2] - bounds[:, 0] >= 1)
    _require_few_cells(parts[wide], owner[wide], corners[0, wide], max_cells)

    part_of_cell, cells = _overlapping(parts[wide], resolution)
    index = np.concatenate([owner[~wide], owner[wide][part_of_cell]])
    cells = np.concatenate([corners[0, ~wide], cells])
    order = np.lexsort((cells, index))
    index, cells = index[order], cells[order]
    new = np.ones(index.size, dtype=np.bool_)
    new[1:] = (np.diff(index) != 0) | (np.diff(cells) != 0)
    return index[new], cells[new]


def parents(cells: Cells, resolution: ArrayLike) -> Cells:
    """The ancestors (n,) of `cells` (n,) at a coarser or the same resolution, one for all or one for each (n,).

    Raises InvalidRequest when a cell is coarser than asked (it has children, not a parent) or not a cell.
    """
    own = resolution_of(cells)
    wanted = np.broadcast_to(np.asarray(resolution, dtype=np.int64), cells.shape)
    _require_resolution(*np.unique(wanted).tolist())
    if (own < wanted).any():
        first = int(np.argmax(own < wanted))
        raise InvalidRequest(
            f"cell {cells[first]:x} has resolution {own[first]}, coarser than {wanted[first]}.",
            remedy="Ask for its own resolution or a coarser one.",
        )
    # Unused digits are all ones, so a parent is its child with more digits set and another resolution.
    unused = (np.int64(1) << (_DIGIT_BITS * (_FINEST - wanted))) - 1
    cleared = cells & ~np.int64(_RESOLUTION_BITS << _RESOLUTION_SHIFT)
    return cleared | (wanted << _RESOLUTION_SHIFT) | unused


def resolution_of(cells: Cells) -> NDArray[np.int64]:
    """Resolutions (n,) of `cells` (n,), 0 to 15. Raises InvalidRequest when one is not a cell."""
    wrong = (cells >> _MODE_SHIFT) != _CELL_MODE
    if wrong.any():
        raise InvalidRequest(f"{int(cells[np.argmax(wrong)])} is not an H3 cell.", remedy="Cells come from twin.grid.")
    return (cells >> _RESOLUTION_SHIFT) & _RESOLUTION_BITS


def cell_area_m2(cells: Cells) -> Floats:
    """True area (n,) in m2 of each cell, which differs from H3's published mean by up to 40 % either way.

    H3 works on a sphere whose surface equals that of the WGS 84 ellipsoid (radius 6,371.007 km), reading geodetic
    latitudes as spherical ones. Against the ellipsoid the areas are right to 0.02 % around 35 degrees, 0.5 % too large
    at the equator and 0.4 % too small at 55 degrees. Raises InvalidRequest when one is not a cell.
    """
    resolution_of(cells)
    return h3ronpy.cells_area_m2(_arrow(cells)).to_numpy()


def cell_polygons(cells: Cells) -> Geometries:
    """Outlines (n,) of `cells` (n,), polygons in longitude and latitude.

    Raises InvalidRequest when one is not a cell.
    """
    resolution_of(cells)
    wkb = vector.cells_to_wkb_polygons(_arrow(cells)).to_pylist()
    return shapely.from_wkb(np.array(wkb, dtype=object))


def joined_cells(cells: Cells) -> Geometries:
    """The areas (k,) that `cells` (n,) of one resolution make up together, polygons in longitude and latitude.

    Raises InvalidRequest when one is not a cell.
    """
    resolution_of(cells)
    wkb = vector.cells_to_wkb_polygons(_arrow(cells), link_cells=True).to_pylist()
    return shapely.from_wkb(np.array(wkb, dtype=object))


def cell_to_text(cells: Cells) -> list[str]:
    """H3's text form of each cell: 15 hexadecimal digits. Raises InvalidRequest when one is not a cell."""
    resolution_of(cells)
    return [str(text) for text in h3ronpy.cells_to_string(_arrow(cells)).to_pylist()]


def text_to_cell(texts: Sequence[str]) -> Cells:
    """Cells (n,) of their text forms, in either case. Raises GeometryError when one is not the text of a cell."""
    cells = np.array([_parsed(text) for text in texts], dtype=np.int64)
    valid = h3ronpy.cells_valid(_arrow(cells), booleanarray=True).to_numpy()
    if not valid.all():
        raise GeometryError(
            f"{texts[int(np.argmin(valid))]!r} is not an H3 cell.", remedy="Write it as 15 hexadecimal digits."
        )
    return cells


def finest_resolution(accuracy_m: ArrayLike, finest: int) -> NDArray[np.int64]:
    """The finest resolution (n,), at most `finest`, whose cell is not smaller than the circle of accuracy (n,) in m.

    A regular hexagon's circumradius is its edge. The resolution is the finest whose mean edge, from H3's table, is at
    least `accuracy_m`: 20 m gives 11 (28.7 m), 76 m gives 9, 300 m gives 8, 5 km gives 5. It never gets finer as the
    accuracy gets worse. Worse than any cell (1,281 km) gives 0. Raises GeometryError for an accuracy that is negative
    or not finite.
    """
    _require_resolution(finest)
    accuracy = np.asarray(accuracy_m, dtype=np.float64)
    if not (np.isfinite(accuracy) & (accuracy >= 0)).all():
        raise GeometryError("an accuracy is negative or not a number.", remedy="State it in metres.")
    edges_rising = _EDGE_M[::-1]
    wide_enough = np.searchsorted(edges_rising, accuracy, side="left")
    return np.clip(_FINEST - wide_enough, 0, finest).astype(np.int64)


def cells_at_honest_resolution(lon: ArrayLike, lat: ArrayLike, accuracy_m: ArrayLike, finest: int) -> Cells:
    """Cells (n,) of points, each as fine as its accuracy (n,) or one for all allows: parents of its cell at `finest`.

    Raises as `cells_of_points` and `finest_resolution` do.
    """
    cells = cells_of_points(lon, lat, finest)
    return parents(cells, finest_resolution(np.broadcast_to(accuracy_m, cells.shape), finest))


def _arrow(cells: Cells) -> Array:
    return Array.from_numpy(np.ascontiguousarray(cells).view(np.uint64))


def _parsed(text: str) -> int:
    """The number of 15 hexadecimal digits; 0, which is no cell, for any other text (int() alone takes ' 0x8_9')."""
    digits = text.lower()
    return int(digits, 16) if len(digits) == 15 and set(digits) <= set("0123456789abcdef") else 0


def _require_resolution(*resolutions: int) -> None:
    for resolution in resolutions:
        if not 0 <= resolution <= _FINEST:
            raise InvalidRequest(f"{resolution} is not an H3 resolution.", remedy="Use 0 (coarsest) to 15 (finest).")


def _require_geometries(geometries: Geometries) -> Geometries:
    array = np.array(geometries, dtype=object, ndmin=1)
    mixed = shapely.get_type_id(array) == _COLLECTION_TYPE
    unusable = mixed | shapely.is_missing(array) | shapely.is_empty(array)
    if unusable.any():
        raise GeometryError(
            f"{np.sum(unusable)} of {array.size} geometries are missing, empty or collections.",
            where=f"geometry {int(np.argmax(unusable))}",
            remedy="Pass them through the geometry guard first.",
        )
    return array


def _require_few_cells(parts: Geometries, owner: NDArray[np.int64], cells: Cells, max_cells: int) -> None:
    """Refuse geometries expected to have more cells than allowed.

    A shape of area A and perimeter P meets A/a + P p/(2 pi a) + 1 cells of area a and perimeter p on average over all
    positions (Santalo, Integral Geometry and Geometric Probability, 1976); for a line P is twice its length.
    """
    if not parts.size:
        return
    bounds = shapely.bounds(parts)
    cell_m2 = cell_area_m2(cells)
    edge_m = np.sqrt(cell_m2 * 2 / (3 * np.sqrt(3)))
    area_m2 = shapely.area(parts) * np.cos(np.radians((bounds[:, 1] + bounds[:, 3]) / 2)) * _METRES_PER_DEGREE**2
    length_m = shapely.length(parts) * _METRES_PER_DEGREE
    perimeter_m = np.where(_is_line(parts), 2 * length_m, length_m)
    expected = np.bincount(owner, area_m2 / cell_m2 + perimeter_m * 6 * edge_m / (2 * np.pi * cell_m2) + 1)
    largest = int(np.argmax(expected))
    if expected[largest] > max_cells:
        raise LimitExceeded(
            f"it would have about {expected[largest]:,.0f} cells; {max_cells:,} are allowed.",
            where=f"geometry {largest}",
            remedy="Use a coarser resolution or cut it into pieces.",
        )


def _overlapping(parts: Geometries, resolution: int) -> tuple[NDArray[np.int64], Cells]:
    """Pairs of part index (m,) and cell (m,) for single points, lines and polygons (n,)."""
    shapes = parts.copy()
    is_line = _is_line(parts)
    shapes[is_line] = _as_polygons(parts[is_line])
    wkb = Array(shapely.to_wkb(shapes, output_dimension=2).tolist(), type=DataType.binary())
    lists = vector.wkb_to_cells(wkb, resolution, containment_mode=ContainmentMode.IntersectsBoundary)
    counts = np.diff(list_offsets(lists).to_numpy())
    return np.repeat(np.arange(parts.size), counts), list_flatten(lists).to_numpy().view(np.int64)


def _is_line(parts: Geometries) -> NDArray[np.bool_]:
    return np.isin(shapely.get_type_id(parts), _LINE_TYPES)


def _as_polygons(lines: Geometries) -> Geometries:
    """Lines (n,) as polygons without area, there and back: h3ronpy's own lines miss a fifth of the cells they cross."""
    there, line = shapely.get_coordinates(lines, return_index=True)
    back, _ = shapely.get_coordinates(shapely.reverse(lines), return_index=True)
    order = np.argsort(np.concatenate([line, line]), kind="stable")
    rings = shapely.linearrings(np.concatenate([there, back])[order], indices=np.concatenate([line, line])[order])
    return np.asarray(shapely.polygons(rings), dtype=object)
