"""The partition that nothing can be subtracted from, and rounding that tells nothing twice."""

from collections import defaultdict
from itertools import pairwise

import h3
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.grid import cells_of_points, parents, resolution_of
from twin.privacy import BASE, K, partition, rounded, snapped

KEY = b"k" * 32
ROOT = h3.latlng_to_cell(34.8, 117.3, 6)


def oracle(counted: dict[int, int], coarsest: int, k: int) -> tuple[dict[int, int], int]:  # noqa: C901
    """The same partition, by recursion over the tree of cells."""
    finest = max((h3.get_resolution(h3.int_to_str(cell)) for cell in counted), default=coarsest)
    start = min([coarsest, *(h3.get_resolution(h3.int_to_str(cell)) for cell in counted)])
    total: dict[str, int] = defaultdict(int)
    children: dict[str, set[str]] = defaultdict(set)
    for cell, people in counted.items():
        text = h3.int_to_str(cell)
        if people:
            while True:
                total[text] += people
                if h3.get_resolution(text) == start:
                    break
                parent = h3.cell_to_parent(text)
                children[parent].add(text)
                text = parent
    published: dict[int, int] = {}
    withheld = 0

    def publish(text: str, people: int) -> None:
        nonlocal withheld
        if people >= k:
            published[h3.str_to_int(text)] = people
        else:
            withheld += people

    def down(text: str) -> None:
        own = counted.get(h3.str_to_int(text), 0)
        deeper = children.get(text, set())
        if deeper and all(total[child] >= k for child in deeper) and (own == 0 or own >= k):
            if own:
                publish(text, own)
            for child in deeper:
                down(child)
        else:
            publish(text, total[text])

    assert finest >= start
    for text in [text for text in total if h3.get_resolution(text) == start]:
        down(text)
    return published, withheld


def descendants(depth: int) -> list[int]:
    return [h3.str_to_int(cell) for cell in h3.cell_to_children(ROOT, 6 + depth)]


FINE, MIDDLE = descendants(3), descendants(1)


@settings(max_examples=300, deadline=None)
@given(
    fine=st.dictionaries(st.sampled_from(FINE), st.integers(0, 40), max_size=80),
    coarse=st.dictionaries(st.sampled_from(MIDDLE), st.integers(0, 30), max_size=4),
    coarsest=st.sampled_from([5, 6, 7]),
)
def test_it_agrees_with_recursion(fine: dict[int, int], coarse: dict[int, int], coarsest: int) -> None:
    counted = fine | coarse
    cells = np.array(list(counted), dtype=np.int64)
    people = np.array(list(counted.values()), dtype=np.int64)
    found = partition(cells, people, coarsest=coarsest)
    expected, withheld = oracle(counted, coarsest, K)
    assert dict(zip(found.cells.tolist(), found.people.tolist(), strict=True)) == expected
    assert found.withheld == withheld
    assert found.people.sum() + found.withheld == people.sum()
    for at in range(len(cells)):
        if people[at]:
            own = found.source[at]
            expected_in = (
                cells[at] if own < 0 else parents(cells[at : at + 1], resolution_of(found.cells[own : own + 1]))[0]
            )
            assert own < 0 or expected_in == found.cells[own]
    assert not len(found.people) or found.people.min() >= K


def test_no_published_cell_lies_within_another_that_counts_its_people() -> None:
    chance = np.random.default_rng(3)
    lon, lat = 117.3 + chance.normal(0, 0.06, 60_000), 34.8 + chance.normal(0, 0.06, 60_000)
    cells, people = np.unique(cells_of_points(lon, lat, 9), return_counts=True)
    found = partition(cells, people.astype(np.int64), coarsest=6)
    assert found.people.sum() >= 0.99 * 60_000
    for resolution in range(6, 9):
        finer = found.cells[resolution_of(found.cells) > resolution]
        above = parents(finer, np.full(len(finer), resolution))
        assert not np.isin(above, found.cells).any()


def test_fewer_than_ten_hide_nobody() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        partition(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), coarsest=6, k=9)
    with pytest.raises(ValueError, match="negative"):
        partition(np.array(FINE[:1]), np.array([-1]), coarsest=6)
    nothing = partition(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), coarsest=6)
    assert (len(nothing.cells), nothing.withheld) == (0, 0)


def test_rounding_is_unbiased_steady_and_keyed() -> None:
    cells = np.array(descendants(5), dtype=np.int64)
    people = np.full(len(cells), 13)
    once = rounded(KEY, "a", cells, people)
    assert set(once.tolist()) == {10, 15}
    assert abs(once.mean() - 13) < 0.1
    assert (rounded(KEY, "a", cells, people) == once).all()
    assert (rounded(KEY, "b", cells, people) != once).mean() > 0.3
    assert (rounded(b"z" * 32, "a", cells, people) != once).mean() > 0.3
    more = rounded(KEY, "a", cells, people + 1)
    assert (more == once).mean() > 0.7, "one arrival is hidden nearly always"
    assert (more >= once).all()
    exact = rounded(KEY, "a", cells, np.full(len(cells), 20))
    assert set((exact % BASE).tolist()) == {0}
    assert set(exact.tolist()) == {20}


def test_a_drawn_area_stands_for_whole_cells() -> None:
    cells = np.array(MIDDLE, dtype=np.int64)
    everything = shapely.box(116, 34, 118, 36)
    nothing = shapely.box(110, 30, 111, 31)
    assert snapped(everything, cells).all()
    assert not snapped(nothing, cells).any()
    chance = np.random.default_rng(1)
    lon, lat = 117.3 + chance.normal(0, 0.06, 20_000), 34.8 + chance.normal(0, 0.06, 20_000)
    fine, counts = np.unique(cells_of_points(lon, lat, 9), return_counts=True)
    published = partition(fine, counts.astype(np.int64), coarsest=6)
    drawn = [
        snapped(shapely.Point(117.3, 34.8).buffer(0.01 + 0.0005 * number, quad_segs=4), published.cells)
        for number in range(120)
    ]
    steps = [int(published.people[one ^ other].sum()) for one, other in pairwise(drawn)]
    assert min(step for step in steps if step) >= K
    assert 0 in steps
