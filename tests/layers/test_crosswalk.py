"""Cells shared among areas: every sum conserved to the last digit, by surface and by people."""

from decimal import Decimal

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers.contract import Indicator
from layers.crosswalk import OUTSIDE, AreaUnits, People, apportion, shares_of_cells, totals
from twin.grid import cell_polygons, cells_of_geometries, cells_of_points

WHOLE = shapely.box(117.30, 34.75, 117.40, 34.85)


def areas(*shapes: shapely.Geometry, partition: bool = True) -> AreaUnits:
    names = [f"A{k}" for k in range(len(shapes))]
    return AreaUnits("test", names, list(names), np.array(shapes, dtype=object), partition)


def halves(*, partition: bool = True, at: float = 117.351) -> AreaUnits:
    return areas(shapely.box(117.30, 34.75, at, 34.85), shapely.box(at, 34.75, 117.40, 34.85), partition=partition)


def cells(resolution: int = 8) -> np.ndarray:
    return np.unique(cells_of_geometries(np.array([WHOLE], dtype=object), resolution)[1])


def indicator(measure: str, **more: object) -> Indicator:
    return Indicator.model_validate(
        {"id": "test.one", "title": {"zh": "数", "en": "One"}, "measure": measure, "resolution": 8, **more}
    )


@given(
    st.integers(-(10**20), 10**20),
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=8).filter(lambda w: sum(w) > 0),
)
def test_nothing_is_lost_in_handing_out(amount: int, weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    found = apportion(amount, shares)
    assert sum(found) == amount
    if abs(amount) < 10**12:
        assert all(abs(one - share * amount) <= 1.001 for one, share in zip(found, shares, strict=True))


@pytest.mark.parametrize("partition", [True, False])
def test_shares_of_a_cell_add_up_to_one(*, partition: bool) -> None:
    found = shares_of_cells(cells(), halves(partition=partition))
    held = np.bincount(found.cell, found.share)
    assert held == pytest.approx(np.ones(len(cells())), abs=1e-12)
    assert (OUTSIDE in found.area) != partition


def test_shares_by_surface_are_those_of_the_polygons() -> None:
    """Oracle: each cell intersected with each area, one by one."""
    found = shares_of_cells(cells(), halves(partition=False))
    for at, polygon in enumerate(cell_polygons(cells())):
        for area, shape in enumerate(halves().shapes):
            expected = shape.intersection(polygon).area / polygon.area
            got = found.share[(found.cell == at) & (found.area == area)].sum()
            assert got == pytest.approx(expected, abs=1e-9)


def test_shares_by_people_are_where_they_live() -> None:
    cell = cells_of_points([117.351], [34.80], 8)
    middle = shapely.centroid(cell_polygons(cell)[0])
    units = halves(at=middle.x)
    small = cells_of_points(middle.x + np.array([-0.002, -0.001, 0.001]), np.full(3, middle.y), 11)
    people = People(small, np.array([1.0, 2.0, 9.0]))
    found = shares_of_cells(cell, units, people)
    by_area = dict(zip(found.area.tolist(), found.share.tolist(), strict=True))
    assert by_area == {0: pytest.approx(0.25), 1: pytest.approx(0.75)}
    nobody = shares_of_cells(cell, units, People(cells_of_points([117.31], [34.76], 11), np.array([1.0])))
    assert nobody.share.tolist() == pytest.approx(shares_of_cells(cell, units).share.tolist())


def test_a_cell_beyond_the_edge_belongs_to_the_nearest_area() -> None:
    lost = cells_of_points([117.45], [34.80], 8)
    assert shares_of_cells(lost, halves()).area.tolist() == [1]
    assert shares_of_cells(lost, halves(partition=False)).area.tolist() == [OUTSIDE]


@pytest.mark.parametrize("partition", [True, False])
def test_sums_over_areas_are_those_of_the_cells(*, partition: bool) -> None:
    rng = np.random.default_rng(2)
    found = cells(9)
    n = rng.integers(0, 500, len(found))
    total = [Decimal(int(rng.integers(-(10**9), 10**9))).scaleb(-int(rng.integers(0, 7))) for _ in found]
    rows = list(zip(found.tolist(), n.tolist(), total, total, total, strict=True))
    units = halves(partition=partition)
    people = People(found[::3], rng.uniform(0, 10, len(found[::3])))
    for shares in (shares_of_cells(found, units), shares_of_cells(found, units, people)):
        summed = totals(indicator("sum(x)", unit="m"), rows, shares, units)
        counted = totals(indicator("count()"), rows, shares, units)
        assert sum(map(Decimal, filter(None, summed.value)), summed.outside[0] or Decimal(0)) == sum(total)
        assert summed.total[0] == sum(total)
        assert sum(counted.n) + counted.outside[1] == counted.total[1] == n.sum()
        assert [int(value or 0) for value in counted.value] == counted.n


def test_means_densities_and_extremes() -> None:
    units = halves()
    one, two = cells_of_points([117.32, 117.38], [34.80, 34.80], 9).tolist()
    rows = [(one, 4, Decimal(10), 1.0, 4.0), (two, 1, Decimal("7.5"), 7.5, 7.5)]
    shares = shares_of_cells(np.array([one, two]), units)
    found = {how: totals(indicator(f"{how}(x)", unit="m"), rows, shares, units) for how in ("mean", "min", "max")}
    assert found["mean"].value == [Decimal("2.5"), Decimal("7.5")]
    assert found["mean"].total[0] == Decimal("3.5")
    assert (found["min"].value, found["max"].value) == (
        [Decimal("1.0"), Decimal("7.5")],
        [Decimal("4.0"), Decimal("7.5")],
    )
    density = totals(indicator("count()", per_km2=True), rows, shares, units)
    assert float(density.value[0] or 0) == pytest.approx(4 / units.km2[0])
    assert float(units.km2[0]) == pytest.approx(0.051 * 91.43 * 0.1 * 111.32, rel=0.01)
    empty = totals(indicator("mean(x)", unit="m"), [], shares_of_cells(np.array([], dtype=np.int64), units), units)
    assert empty.value == [None, None]
