"""Cells of points and polygons against the reference library, one call a time."""

import h3
import h3.api.basic_int as h3_int
import numpy as np
import shapely

from tests.bench.harness import Case, Measured, measure
from twin.grid import cell_of_geometry, cells_of_geometries, cells_of_points, parents

__all__ = ["run"]

_POINTS = 1_000_000
_POLYGONS = 200_000
_FEW_POINTS = 100_000
_FEW_POLYGONS = 2_000
_PACKAGES = ("h3", "h3ronpy", "shapely")
_LOOP = "h3, one call each"


def _cases() -> list[Case]:
    """Points to cells, building-size polygons to cells, and parents."""
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(116.8, 117.9, _POINTS), rng.uniform(34.4, 35.3, _POINTS)
    size = rng.uniform(8e-5, 4e-4, (2, _POLYGONS))
    west, south = lon[:_POLYGONS], lat[:_POLYGONS]
    buildings = shapely.box(west, south, west + size[0], south + size[1])
    cells = cells_of_points(lon, lat, 9)
    few_points = list(zip(lat[:_FEW_POINTS].tolist(), lon[:_FEW_POINTS].tolist(), strict=True))
    few_shapes = [h3.geo_to_h3shape(building) for building in buildings[:_FEW_POLYGONS]]
    few_cells = cells[:_FEW_POINTS].tolist()
    _require_a_cell_each(cells_of_geometries(buildings, 9)[0])
    return [
        Case(
            "200,000 building polygons -> r9 cells they touch, none without",
            lambda: cells_of_geometries(buildings, 9),
            {_LOOP: lambda: [h3_int.h3shape_to_cells_experimental(s, 9, contain="overlap") for s in few_shapes]},
            _POLYGONS,
            "polygons",
            "<= 2.5 s",
            {_LOOP: _FEW_POLYGONS},
            _PACKAGES,
        ),
        Case(
            "200,000 building polygons -> the one r9 cell of each",
            lambda: cell_of_geometry(buildings, 9),
            {},
            _POLYGONS,
            "polygons",
            "-",
            packages=_PACKAGES,
        ),
        Case(
            "1 M points -> r9",
            lambda: cells_of_points(lon, lat, 9),
            {_LOOP: lambda: [h3_int.latlng_to_cell(y, x, 9) for y, x in few_points]},
            _POINTS,
            "points",
            "-",
            {_LOOP: _FEW_POINTS},
            _PACKAGES,
        ),
        Case(
            "1 M cells r9 -> r7",
            lambda: parents(cells, 7),
            {_LOOP: lambda: [h3_int.cell_to_parent(cell, 7) for cell in few_cells]},
            _POINTS,
            "cells",
            "-",
            {_LOOP: _FEW_POINTS},
            _PACKAGES,
        ),
    ]


def run() -> list[Measured]:
    """Measure all cases."""
    return [measure(case) for case in _cases()]


def _require_a_cell_each(index: np.ndarray) -> None:
    if np.unique(index).size != _POLYGONS:
        raise AssertionError("a polygon has no cell")
