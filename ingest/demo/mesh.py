"""A jittered honeycomb: the clay the districts are made of.

Every corner of a honeycomb belongs to three cells, so areas made of whole cells share their borders exactly and no
four-country corner can arise. Borders are smoothed as arcs between such corners, once for both sides.
"""

from dataclasses import dataclass

import numpy as np
import shapely

from ingest.demo.graph import components
from ingest.demo.lines import rounded_line
from ingest.demo.noise import Floats, Ints
from ingest.demo.plane import Geometries, points_at

__all__ = ["OUTSIDE", "Honeycomb", "honeycomb", "outlines", "tidied"]

OUTSIDE = -1
"""Label of the cells that belong to no area."""

_JITTER = 0.28
_CORNER_X, _CORNER_Y = np.array([1, 0, -1, -1, 0, 1]), np.array([1, 2, 1, -1, -2, -1])
_ACROSS_X, _ACROSS_Y = np.array([1, -1, -2, -1, 1, 2]), np.array([3, 3, 0, -3, -3, 0])
"""Corners, and the neighbour across the side from corner k to corner k + 1, in half widths and half radii."""


@dataclass(frozen=True, slots=True)
class Honeycomb:
    """Cells with shared corners.

    `corners` (m, 2) metres; `cells` (n, 6) corner indexes, anticlockwise; `neighbours` (n, 6): cell across the side
    that starts at that corner, -1 at the rim; `centres` (n, 2) metres; `area_m2` (n,).
    """

    corners: Floats
    cells: Ints
    neighbours: Ints
    centres: Floats
    area_m2: Floats


def honeycomb(low: Floats, high: Floats, radius_m: float, rng: np.random.Generator) -> Honeycomb:
    """A honeycomb over the box from `low` (2,) to `high` (2,), corners moved by up to 0.28 radii."""
    half_width, half_radius = radius_m * np.sqrt(3) / 2, radius_m / 2
    columns, rows = np.ceil((high - low) / np.array([2 * half_width, 3 * half_radius])).astype(np.int64) + 1
    row, column = (part.ravel() for part in np.mgrid[0:rows, 0:columns])
    x, y = 2 * column + (row & 1), 3 * row
    keys = (x[:, None] + _CORNER_X + 2) * (3 * rows + 8) + y[:, None] + _CORNER_Y + 2
    unique, cells = np.unique(keys, return_inverse=True)
    cells = cells.reshape(-1, 6)
    whole = np.column_stack([unique // (3 * rows + 8) - 2, unique % (3 * rows + 8) - 2])
    corners = low + whole * np.array([half_width, half_radius])
    corners = corners + rng.uniform(-_JITTER, _JITTER, corners.shape) * radius_m
    next_row = row[:, None] + _ACROSS_Y // 3
    next_column = (x[:, None] + _ACROSS_X - (next_row & 1)) // 2
    inside = (next_row >= 0) & (next_row < rows) & (next_column >= 0) & (next_column < columns)
    shape = corners[cells]
    turned = np.roll(shape, -1, axis=1)
    area = 0.5 * (shape[..., 0] * turned[..., 1] - turned[..., 0] * shape[..., 1]).sum(1)
    return Honeycomb(corners, cells, np.where(inside, next_row * columns + next_column, -1), shape.mean(1), area)


def tidied(mesh: Honeycomb, labels: Ints) -> Ints:
    """The labels (n,) with every area in one piece and no hole: stray cells go to the neighbour they touch most."""
    cell, side = np.nonzero(mesh.neighbours >= 0)
    other = mesh.neighbours[cell, side]
    same = labels[cell] == labels[other]
    piece = components(len(labels), cell[same], other[same])
    size = np.bincount(piece, minlength=len(labels))
    rim = (mesh.neighbours < 0).any(1)
    good = np.isin(piece, np.unique(piece[rim & (labels == OUTSIDE)]))
    for label in np.unique(labels[labels != OUTSIDE]):
        own = np.flatnonzero(labels == label)
        good |= piece == piece[own[np.argmax(size[piece[own]])]]
    settled = np.where(good, labels, OUTSIDE - 1)
    while (open_cells := np.flatnonzero(settled == OUTSIDE - 1)).size:
        around = mesh.neighbours[open_cells]
        seen = np.where(around >= 0, settled[around], OUTSIDE - 1)
        votes = (seen[:, :, None] == seen[:, None, :]).sum(2) * (seen > OUTSIDE - 1)
        winner = votes.argmax(1)
        settled[open_cells] = seen[np.arange(len(open_cells)), winner]
    return settled


def outlines(mesh: Honeycomb, labels: Ints, count: int, smoothing: int = 2) -> Geometries:
    """One polygon for each label 0..count-1 of the cells (n,), with exactly shared, rounded borders.

    A label without cells gives an empty polygon.
    """
    across = np.where(mesh.neighbours >= 0, labels[mesh.neighbours], OUTSIDE)
    cell, side = np.nonzero((labels[:, None] != across) & (labels[:, None] > across))
    ends = np.stack([mesh.cells[cell, side], mesh.cells[cell, (side + 1) % 6]], axis=1)
    merged = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(mesh.corners[ends])))
    arcs = [shapely.LineString(rounded_line(shapely.get_coordinates(arc), smoothing)) for arc in merged]
    faces = shapely.get_parts(shapely.polygonize(arcs))
    face, point = shapely.STRtree(points_at(mesh.centres)).query(faces, predicate="contains")
    votes = np.zeros((len(faces), count + 1), dtype=np.int64)
    np.add.at(votes, (face, labels[point]), 1)
    owner = votes.argmax(1)
    return np.array([shapely.union_all(faces[owner == label]) for label in range(count)], dtype=np.object_)
