import subprocess
import sys
from functools import partial

import h3
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry.base import BaseGeometry

from twin.errors import GeometryError, InvalidRequest, LimitExceeded
from twin.grid import (
    cell_area_m2,
    cell_of_geometry,
    cell_polygons,
    cell_to_text,
    cells_at_honest_resolution,
    cells_of_geometries,
    cells_of_points,
    finest_resolution,
    joined_cells,
    parents,
    resolution_of,
    text_to_cell,
)

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]

BOUNDS = (116.8, 34.4, 117.9, 35.3)


def in_city(n: int, *, seed: int = 1) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.uniform(BOUNDS[0], BOUNDS[2], n), rng.uniform(BOUNDS[1], BOUNDS[3], n)


def on_earth(n: int, *, seed: int = 2) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-180, 180, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def h3_cells(lon: Floats, lat: Floats, resolution: int) -> Cells:
    """One call of the reference library per point."""
    texts = [h3.latlng_to_cell(y, x, resolution) for x, y in zip(lon.tolist(), lat.tolist(), strict=True)]
    return np.array([h3.str_to_int(text) for text in texts], dtype=np.int64)


def touched(geometry: BaseGeometry, resolution: int) -> set[int]:
    """All cells whose outline meets the geometry, by brute force over the cells around its box."""
    west, south, east, north = geometry.bounds
    edge_deg = h3.average_hexagon_edge_length(resolution, unit="m") / 111_000
    xs = np.arange(west - 3 * edge_deg, east + 3 * edge_deg, edge_deg / 2)
    ys = np.arange(south - 3 * edge_deg, north + 3 * edge_deg, edge_deg / 2)
    around = {h3.latlng_to_cell(y, x, resolution) for x in xs for y in ys}
    outlines = {cell: shapely.Polygon([(x, y) for y, x in h3.cell_to_boundary(cell)]) for cell in around}
    return {h3.str_to_int(cell) for cell, outline in outlines.items() if outline.intersects(geometry)}


def cells_by_geometry(geometries: list[BaseGeometry], resolution: int) -> list[set[int]]:
    index, cells = cells_of_geometries(np.array(geometries, dtype=object), resolution)
    return [set(cells[index == i].tolist()) for i in range(len(geometries))]


# --- points ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [0, 5, 9, 10, 15])
def test_points_as_the_reference_library(resolution: int) -> None:
    for lon, lat in (in_city(2000), on_earth(2000)):
        found = cells_of_points(lon, lat, resolution)
        np.testing.assert_array_equal(found, h3_cells(lon, lat, resolution))
        assert (found > 0).all()


def test_many_points_keep_their_order() -> None:
    lon, lat = in_city(150_001)
    cells = cells_of_points(lon, lat, 9)
    some = np.arange(0, 150_001, 977)
    np.testing.assert_array_equal(cells[some], h3_cells(lon[some], lat[some], 9))
    np.testing.assert_array_equal(cells[::2], cells_of_points(lon[::2], lat[::2], 9))


@pytest.mark.parametrize(
    ("lon", "lat"), [(34.8, 117.5), (117.5, 91.0), (181.0, 0.0), (np.nan, 34.8), (117.5, np.inf), (-181.0, 0.0)]
)
def test_no_place_on_earth_has_a_cell(lon: float, lat: float) -> None:
    with pytest.raises(GeometryError, match="point 1"):
        cells_of_points([117.5, lon], [34.8, lat], 9)


def test_points_must_pair_and_resolutions_exist() -> None:
    with pytest.raises(GeometryError):
        cells_of_points([117.5, 117.6], [34.8], 9)
    for resolution in (-1, 16):
        with pytest.raises(InvalidRequest):
            cells_of_points([117.5], [34.8], resolution)
    assert cells_of_points([], [], 9).shape == (0,)


# --- geometries -----------------------------------------------------------------------------------------------------


def random_shapes(n: int, size_deg: float, *, seed: int) -> list[BaseGeometry]:
    """Lines, bands around lines, areas with a hole and small boxes, a few `size_deg` across."""
    rng = np.random.default_rng(seed)
    lon, lat = in_city(n, seed=seed)
    shapes: list[BaseGeometry] = []
    for i, place in enumerate(np.column_stack([lon, lat])):
        line = shapely.LineString(place + rng.normal(0, size_deg, (int(rng.integers(2, 6)), 2)))
        area = shapely.Point(place).buffer(size_deg)
        box = shapely.box(*place, *(place + rng.uniform(0.01, 0.5, 2) * size_deg))
        shapes.append([line, line.buffer(size_deg / 50), area - area.buffer(-size_deg / 3), box][i % 4])
    return shapes


@pytest.mark.parametrize(("resolution", "size_deg"), [(8, 0.01), (9, 0.004), (10, 0.002)])
def test_geometries_have_exactly_the_cells_they_touch(resolution: int, size_deg: float) -> None:
    shapes = random_shapes(60, size_deg, seed=resolution)
    for shape, found in zip(shapes, cells_by_geometry(shapes, resolution), strict=True):
        assert found == touched(shape, resolution), shape.wkt


def test_multi_geometries_have_the_cells_of_their_parts_once() -> None:
    shapes = random_shapes(12, 0.004, seed=3)
    lines, boxes = shapes[0::4], shapes[3::4]
    points: list[BaseGeometry] = [
        shapely.Point(117.3, 34.8),
        shapely.Point(117.300001, 34.8),
        shapely.Point(117.4, 34.9),
    ]
    for parts, multi in (
        (lines, shapely.multilinestrings(lines)),
        (boxes, shapely.multipolygons(boxes)),
        (points, shapely.multipoints(points)),
    ):
        index, cells = cells_of_geometries(np.array([multi]), 9)
        assert set(cells.tolist()) == set().union(*cells_by_geometry(parts, 9))
        assert len(set(cells.tolist())) == cells.size
        assert not index.any()


def test_pairs_are_sorted() -> None:
    index, cells = cells_of_geometries(np.array(random_shapes(40, 0.01, seed=5)), 9)
    order = np.lexsort((cells, index))
    np.testing.assert_array_equal(order, np.arange(order.size))


def test_nothing_small_is_without_a_cell() -> None:
    lon, lat = in_city(3000)
    step = np.geomspace(1e-9, 1e-3, 3000)
    boxes = shapely.box(lon, lat, lon + step, lat + step)
    lines = np.asarray(
        shapely.linestrings(np.stack([np.column_stack([lon, lat]), np.column_stack([lon + step, lat])], axis=1))
    )
    flat = shapely.LineString([(117.3, 34.8), (117.3, 34.8)])
    for geometries in (boxes, lines, np.array([flat, shapely.Point(117.3, 34.8), shapely.Point(117.3, 34.8, 50)])):
        for resolution in (6, 9, 12):
            index, _ = cells_of_geometries(geometries, resolution)
            np.testing.assert_array_equal(np.unique(index), np.arange(len(geometries)))


def test_heights_do_not_matter() -> None:
    flat = shapely.LineString([(117.3, 34.8), (117.35, 34.85)])
    high = shapely.force_3d(flat, 100.0)
    assert len(set(map(frozenset, cells_by_geometry([flat, high], 9)))) == 1


def test_the_cell_that_stands_for_a_geometry_is_one_of_its_cells() -> None:
    shapes = random_shapes(80, 0.004, seed=7)
    own = cell_of_geometry(np.array(shapes), 9)
    assert own.shape == (80,)
    for cell, cells in zip(own.tolist(), cells_by_geometry(shapes, 9), strict=True):
        assert cell in cells


@pytest.mark.parametrize(
    "shape",
    [shapely.box(117.0, 34.5, 117.5, 35.0), shapely.LineString([(117, 34.5), (117.6, 35.0), (117.0, 35.2)])],
)
def test_the_cap_counts_cells(shape: shapely.Geometry) -> None:
    cells = cells_of_geometries(np.array([shape]), 9)[1].size
    with pytest.raises(LimitExceeded, match="geometry 1"):
        cells_of_geometries(np.array([shapely.Point(117, 35), shape]), 9, max_cells=int(cells * 0.7))
    assert cells_of_geometries(np.array([shape]), 9, max_cells=int(cells * 1.3))[1].size == cells


def test_the_cap_counts_the_parts_of_one_geometry_together() -> None:
    boxes = [shapely.box(x, 34.5, x + 0.1, 34.6) for x in (117.0, 117.2, 117.4)]
    one = cells_of_geometries(np.array(boxes[:1]), 9)[1].size
    assert cells_of_geometries(np.array(boxes), 9, max_cells=2 * one)[0].max() == 2
    with pytest.raises(LimitExceeded):
        cells_of_geometries(np.array([shapely.MultiPolygon(boxes)]), 9, max_cells=2 * one)


@pytest.mark.parametrize(
    "shape", [shapely.box(-180, -90, 180, 90), shapely.box(-180, 10, 180, 10.0001), shapely.box(70, 10, 140, 55)]
)
def test_a_continent_is_refused_at_once(shape: shapely.Geometry) -> None:
    with pytest.raises(LimitExceeded):
        cells_of_geometries(np.array([shape]), 10)


@pytest.mark.parametrize(
    "shape",
    [
        None,
        shapely.Polygon(),
        shapely.Point(),
        shapely.Point(34.8, 117.5),
        shapely.LineString([(117, 34), (117, 99)]),
        shapely.GeometryCollection([shapely.Point(117.3, 34.8), shapely.box(117, 34, 118, 35)]),
    ],
)
def test_unusable_geometries_are_refused(shape: shapely.Geometry | None) -> None:
    geometries = np.array([shapely.Point(117, 35), shape], dtype=object)
    with pytest.raises(GeometryError):
        cells_of_geometries(geometries, 9)


def test_empty_parts_are_no_obstacle() -> None:
    geometry = shapely.from_wkt("MULTIPOINT (EMPTY, (117.3 34.8))")
    assert (
        cells_of_geometries(np.array([geometry]), 9)[1].tolist()
        == h3_cells(np.array([117.3]), np.array([34.8]), 9).tolist()
    )
    assert cells_of_geometries(np.array([], dtype=object), 9)[1].size == 0


# --- hierarchy ------------------------------------------------------------------------------------------------------


def test_parents_as_the_reference_library() -> None:
    cells = cells_of_points(*on_earth(1500), 10)
    for resolution in range(11):
        expected = [h3.str_to_int(h3.cell_to_parent(h3.int_to_str(cell), resolution)) for cell in cells.tolist()]
        np.testing.assert_array_equal(parents(cells, resolution), expected)
    wanted = np.arange(cells.size) % 11
    np.testing.assert_array_equal(resolution_of(parents(cells, wanted)), wanted)


def test_children_of_pentagons_have_their_parent() -> None:
    for pentagon in h3.get_pentagons(5):
        children = np.array([h3.str_to_int(child) for child in h3.cell_to_children(pentagon, 7)], dtype=np.int64)
        assert set(parents(children, 5).tolist()) == {h3.str_to_int(pentagon)}


def test_direct_indexing_is_no_substitute_for_parents() -> None:
    lon, lat = in_city(20_000)
    differ = parents(cells_of_points(lon, lat, 9), 8) != cells_of_points(lon, lat, 8)
    assert 0.03 < differ.mean() < 0.12


def test_a_coarser_cell_has_no_finer_parent() -> None:
    cells = cells_of_points([117.3, 117.4], [34.8, 34.9], 8)
    with pytest.raises(InvalidRequest, match="resolution 8, coarser than 9"):
        parents(cells, 9)
    with pytest.raises(InvalidRequest):
        parents(cells, [8, 9])
    with pytest.raises(InvalidRequest):
        parents(cells, -1)


@pytest.mark.parametrize("number", [0, -1, 1, 2**62])
def test_other_numbers_are_no_cells(number: int) -> None:
    cells = np.array([number])
    for function in (resolution_of, cell_area_m2, cell_polygons, cell_to_text, partial(parents, resolution=5)):
        with pytest.raises(InvalidRequest):
            function(cells)


# --- measures and forms ---------------------------------------------------------------------------------------------


def test_areas_as_the_reference_library_and_nearly_as_on_the_ellipsoid() -> None:
    cells = np.concatenate([cells_of_points(*on_earth(300), resolution) for resolution in (5, 9)])
    areas = cell_area_m2(cells)
    expected = [h3.cell_area(h3.int_to_str(cell), unit="m^2") for cell in cells.tolist()]
    np.testing.assert_allclose(areas, expected, rtol=1e-6)
    here = cells_of_points(*in_city(50), 7)
    geod = Geod(ellps="WGS84")
    ellipsoidal = [abs(geod.geometry_area_perimeter(outline)[0]) for outline in cell_polygons(here)]
    np.testing.assert_allclose(cell_area_m2(here), ellipsoidal, rtol=3e-4)


def test_outlines_as_the_reference_library() -> None:
    cells = cells_of_points(*in_city(200), 9)
    for cell, outline in zip(cells.tolist(), cell_polygons(cells), strict=True):
        expected = shapely.Polygon([(x, y) for y, x in h3.cell_to_boundary(h3.int_to_str(cell))])
        assert outline.normalize().equals_exact(expected.normalize(), 1e-9)


def test_texts_as_the_reference_library() -> None:
    cells = cells_of_points(*on_earth(500), 9)
    texts = cell_to_text(cells)
    assert texts == [h3.int_to_str(cell) for cell in cells.tolist()]
    np.testing.assert_array_equal(text_to_cell(texts), cells)
    np.testing.assert_array_equal(text_to_cell([text.upper() for text in texts]), cells)
    assert text_to_cell([]).size == 0
    assert cell_to_text(np.array([], dtype=np.int64)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zz",
        "10.2,45.5,5",
        "617849682233131007",
        "0x8931a6d2d6bffff",
        " 8931a6d2d6bffff",
        "8931_a6d2d6bffff",
        "ffffffffffffffff",
        "000000000000000",
        "8931a6d2d6bfff",
        "1931a6d2d6bffff",
        "８931a6d2d6bffff",
        "-931a6d2d6bffff",
    ],
)
def test_other_texts_are_no_cells(text: str) -> None:
    assert text_to_cell(["8931a6d2d6bffff"]).size == 1
    with pytest.raises(GeometryError):
        text_to_cell(["8931a6d2d6bffff", text])


# --- accuracy -------------------------------------------------------------------------------------------------------


def test_finest_resolution_is_the_finest_whose_edge_covers_the_accuracy() -> None:
    edges = [h3.average_hexagon_edge_length(resolution, unit="m") for resolution in range(16)]
    accuracies = np.concatenate([edges, np.nextafter(edges, np.inf), np.geomspace(0.01, 3e6, 500), [0.0]])
    for finest in (10, 15):
        for accuracy, found in zip(accuracies, finest_resolution(accuracies, finest), strict=True):
            honest = [resolution for resolution in range(finest + 1) if edges[resolution] >= accuracy]
            assert found == max(honest, default=0)


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.integers(0, 15))
def test_worse_accuracy_never_gives_a_finer_cell(a: float, b: float, finest: int) -> None:
    better, worse = finest_resolution(sorted([a, b]), finest)
    assert finest >= better >= worse >= 0


@pytest.mark.parametrize("accuracy", [-1.0, np.nan, np.inf])
def test_accuracy_must_be_stated(accuracy: float) -> None:
    with pytest.raises(GeometryError):
        finest_resolution([10.0, accuracy], 10)


def test_honest_cells_are_parents_of_the_exact_ones() -> None:
    lon, lat = in_city(1000)
    accuracy_m = np.resize([5.0, 300.0, 3000.0, 20_000.0], 1000)
    cells = cells_at_honest_resolution(lon, lat, accuracy_m, 10)
    np.testing.assert_array_equal(resolution_of(cells)[:4], [10, 8, 6, 4])
    np.testing.assert_array_equal(cells, parents(cells_of_points(lon, lat, 10), resolution_of(cells)))
    np.testing.assert_array_equal(
        cells_at_honest_resolution(lon, lat, 300.0, 10), parents(cells_of_points(lon, lat, 10), 8)
    )


def test_a_first_cell_costs_no_import_of_pandas() -> None:
    """A second on a request path, which pyarrow would take to convert the first array."""
    code = (
        "import sys; from twin import grid; grid.cells_of_points([117.5], [34.8], 9); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_joined_cells_are_the_union_of_their_outlines() -> None:
    cells = np.array(
        [h3.str_to_int(cell) for cell in h3.grid_disk(h3.latlng_to_cell(34.8, 117.3, 9), 6)], dtype=np.int64
    )
    cells = np.delete(cells, [3, 40, 41, 77])  # with holes
    joined = shapely.union_all(joined_cells(cells))
    assert shapely.area(shapely.symmetric_difference(joined, shapely.union_all(cell_polygons(cells)))) < 1e-12
    with pytest.raises(InvalidRequest, match="not an H3 cell"):
        joined_cells(np.array([7]))
