import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from twin import geometry as guard
from twin.geometry import GeometryFault, Limits, RepairOutcome, check, fault_detail, inside, repair

BOUNDS = (116.6, 34.3, 118.05, 35.5)
BOW_TIE = shapely.from_wkt("POLYGON ((117.1 34.8, 117.2 34.9, 117.2 34.8, 117.1 34.9, 117.1 34.8))")
HOUSE = shapely.box(117.3, 34.8, 117.3002, 34.8002)
STREET = shapely.LineString([(117.3, 34.8), (117.31, 34.81)])
PLACE = shapely.Point(117.3, 34.8)


def array(*geometries: shapely.Geometry | None) -> NDArray[np.object_]:
    return np.array([*geometries], dtype=object)


def circle(vertices: int) -> shapely.Polygon:
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    return shapely.Polygon(np.column_stack([117.3 + 0.1 * np.cos(angle), 34.8 + 0.1 * np.sin(angle)]))


def knot(vertices: int) -> shapely.Polygon:
    """A polygon through random points: it crosses itself about vertices^2 / 6 times."""
    return shapely.Polygon(np.random.default_rng(4).uniform((117, 34.5), (117.5, 35), (vertices, 2)))


# --- check ----------------------------------------------------------------------------------------------------------


def test_good_geometries_have_no_fault() -> None:
    multi = [
        shapely.MultiPoint([(117.3, 34.8), (117.4, 34.9)]),
        shapely.MultiLineString([STREET]),
        shapely.MultiPolygon([HOUSE]),
        shapely.LinearRing([(117, 34.5), (117.1, 34.5), (117.1, 34.6)]),
        shapely.Point(117.3, 34.8, 60),
        shapely.box(*BOUNDS),
    ]
    assert check(array(PLACE, STREET, HOUSE, *multi), BOUNDS).tolist() == [""] * 9
    assert check(array(), BOUNDS).shape == (0,)


@pytest.mark.parametrize(
    ("geometry", "fault"),
    [
        (None, GeometryFault.MISSING),
        (shapely.Polygon(), GeometryFault.MISSING),
        (shapely.from_wkt("MULTIPOINT EMPTY"), GeometryFault.MISSING),
        (shapely.points(np.nan, np.nan), GeometryFault.NOT_FINITE),
        (shapely.Point(np.inf, 34.8), GeometryFault.NOT_FINITE),
        (shapely.LineString([(117.3, 34.8), (117.3, np.nan)]), GeometryFault.NOT_FINITE),
        (shapely.GeometryCollection([PLACE, HOUSE]), GeometryFault.WRONG_TYPE),
        (circle(100_000), GeometryFault.TOO_MANY_VERTICES),
        (shapely.Point(0, 0), GeometryFault.NULL_ISLAND),
        (shapely.Point(-0.0065, -0.006), GeometryFault.NULL_ISLAND),
        (shapely.LineString([(117.3, 34.8), (0, 0)]), GeometryFault.NULL_ISLAND),
        (shapely.Point(34.8, 117.3), GeometryFault.SWAPPED_AXES),
        (shapely.LineString([(34.8, 117.3), (34.9, 117.4)]), GeometryFault.SWAPPED_AXES),
        (shapely.Point(529_554, 3_853_562), GeometryFault.OUT_OF_RANGE),
        (shapely.Point(117.3, 91), GeometryFault.OUT_OF_RANGE),
        (shapely.Point(121.47, 31.23), GeometryFault.OUTSIDE_CITY),
        (shapely.LineString([(117.3, 34.8), (118.3, 34.8)]), GeometryFault.OUTSIDE_CITY),
        (shapely.LineString([(34.8, 117.3), (117.4, 34.9)]), GeometryFault.OUT_OF_RANGE),
        (shapely.Point(34.8, -117.3), GeometryFault.OUT_OF_RANGE),
        (BOW_TIE, GeometryFault.INVALID),
        (shapely.LineString([(117.3, 34.8), (117.3, 34.8)]), GeometryFault.INVALID),
        (shapely.from_wkt("POLYGON ((117 34.5, 117.1 34.5, 117 34.5, 117 34.5))"), GeometryFault.INVALID),
    ],
)
def test_fault(geometry: shapely.Geometry | None, fault: GeometryFault) -> None:
    faults = check(array(PLACE, geometry, STREET), BOUNDS)
    assert faults.tolist() == ["", fault, ""]
    assert GeometryFault(faults[1]) is fault


def test_null_island_is_a_place_where_the_city_is_there() -> None:
    assert check(array(shapely.Point(0, 0)), (-1, -1, 1, 1)).tolist() == [""]


def test_types_of_a_contract() -> None:
    everything = array(
        PLACE,
        shapely.MultiPoint([PLACE]),
        STREET,
        shapely.MultiLineString([STREET]),
        HOUSE,
        shapely.MultiPolygon([HOUSE]),
    )
    for number, kind in enumerate(("point", "line", "polygon")):
        right = check(everything, BOUNDS, Limits(kind=kind)) == ""
        np.testing.assert_array_equal(right, np.arange(6) // 2 == number)


def test_vertices_are_limited() -> None:
    square = array(HOUSE)
    assert check(square, BOUNDS, Limits(max_vertices=5)).tolist() == [""]
    assert check(square, BOUNDS, Limits(max_vertices=4)).tolist() == [GeometryFault.TOO_MANY_VERTICES]


def test_a_million_vertices_are_refused_without_looking_closer() -> None:
    assert check(array(circle(1_000_000)), BOUNDS).tolist() == [GeometryFault.TOO_MANY_VERTICES]


def test_every_row_gets_its_own_fault() -> None:
    rng = np.random.default_rng(5)
    good = np.asarray(shapely.points(rng.uniform(116.7, 118, 10_000), rng.uniform(34.4, 35.4, 10_000)), dtype=object)
    bad = {17: shapely.Point(0, 0), 4000: None, 9999: shapely.Point(34.8, 117.3), 5: BOW_TIE}
    for row, geometry in bad.items():
        good[row] = geometry
    faults = check(good, BOUNDS)
    assert dict(zip(np.flatnonzero(faults).tolist(), faults[faults != ""].tolist(), strict=True)) == {
        5: "invalid",
        17: "null_island",
        4000: "missing",
        9999: "swapped_axes",
    }


def test_details_say_what_exactly() -> None:
    assert "117.15 34.85" in fault_detail(BOW_TIE, GeometryFault.INVALID)
    assert fault_detail(HOUSE, GeometryFault.TOO_MANY_VERTICES) == "5"
    assert fault_detail(STREET, GeometryFault.WRONG_TYPE) == "LineString"
    assert fault_detail(shapely.Point(34.8, 117.3), GeometryFault.SWAPPED_AXES) == "34.8 117.3 34.8 117.3"
    assert fault_detail(None, GeometryFault.MISSING) == ""


def test_inside() -> None:
    x, y = np.array([116.6, 116.599, 118.05, 117, np.nan]), np.array([34.3, 34.3, 35.5, 36, 35])
    np.testing.assert_array_equal(inside(x, y, BOUNDS), [True, False, True, False, False])


# --- repair ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_worker() -> Iterator[None]:
    """No repair process before or after the test."""
    guard._repairer.stop()
    yield
    guard._repairer.stop()


def worker_id() -> int:
    process = guard._repairer._process
    assert process is not None
    return process.pid


def test_a_bow_tie_becomes_two_triangles() -> None:
    result = repair(array(BOW_TIE))
    assert result.outcomes.tolist() == [RepairOutcome.REPAIRED]
    assert result.repaired.tolist() == [True]
    two = result.geometries[0]
    assert two.is_valid
    assert two.geom_type == "MultiPolygon"
    assert two.area == pytest.approx(0.005)


def test_a_hole_across_the_edge_cuts_it_and_one_outside_becomes_a_part() -> None:
    shell = [(117, 34.5), (117.2, 34.5), (117.2, 34.7), (117, 34.7)]
    across = [(117.1, 34.6), (117.3, 34.6), (117.3, 34.65), (117.1, 34.65)]
    far = [(117.5, 35), (117.6, 35), (117.6, 35.1)]
    result = repair(array(shapely.Polygon(shell, [across]), shapely.Polygon(shell, [far])))
    assert result.repaired.all()
    assert [shape.area for shape in result.geometries] == pytest.approx([0.035, 0.04 + 0.005])


def test_what_is_valid_stays_and_what_cannot_be_repaired_goes() -> None:
    spike = shapely.from_wkt("POLYGON ((117 34.5, 117.1 34.5, 117 34.5, 117 34.5))")
    point_line = shapely.LineString([(117.3, 34.8), (117.3, 34.8)])
    broken = shapely.from_wkt("POLYGON ((117 34.5, 117.1 34.5, NaN 34.6, 117 34.5))")
    result = repair(array(HOUSE, PLACE, spike, point_line, None, knot(10_001), BOW_TIE, broken))
    assert result.outcomes.tolist() == [
        RepairOutcome.VALID,
        RepairOutcome.VALID,
        RepairOutcome.NOTHING_LEFT,
        RepairOutcome.NOT_A_POLYGON,
        RepairOutcome.NOT_A_POLYGON,
        RepairOutcome.TOO_MANY_VERTICES,
        RepairOutcome.REPAIRED,
        RepairOutcome.NOTHING_LEFT,
    ]
    assert [shape is not None for shape in result.geometries] == [True, True, *[False] * 4, True, False]
    assert result.geometries[0] is HOUSE
    assert repair(array()).geometries.size == 0


@pytest.mark.usefixtures("fresh_worker")
def test_a_thousand_repairs_share_one_process() -> None:
    repair(array(BOW_TIE))
    first = worker_id()
    shifted = np.array(
        [shapely.transform(BOW_TIE, lambda xy, step=step: xy + step) for step in np.linspace(0, 0.1, 1000)]
    )
    result = repair(shifted)
    assert worker_id() == first
    assert result.repaired.all()
    # Each answer belongs to its own question.
    np.testing.assert_allclose(shapely.bounds(result.geometries), shapely.bounds(shifted))


@pytest.mark.usefixtures("fresh_worker")
def test_a_knot_is_given_up_and_the_next_is_repaired() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = repair(array(BOW_TIE, knot(5000), BOW_TIE))
    assert result.outcomes.tolist() == [RepairOutcome.REPAIRED, RepairOutcome.TOO_SLOW, RepairOutcome.REPAIRED]
    assert result.geometries[1] is None
    assert result.geometries[2].equals(result.geometries[0])
    # Processor time that the killed process had: what it may take, and its start.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < guard.REPAIR_LIMIT_S + 5


@pytest.mark.usefixtures("fresh_worker")
def test_a_killed_process_is_started_again() -> None:
    repair(array(BOW_TIE))
    first = worker_id()
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert repair(array(BOW_TIE)).repaired.all()
    assert worker_id() != first


@pytest.mark.usefixtures("fresh_worker")
def test_a_forked_child_has_its_own_process() -> None:
    repair(array(BOW_TIE))
    parents = worker_id()
    child = os.fork()
    if child == 0:
        good = repair(array(BOW_TIE)).repaired.all() and worker_id() != parents
        guard._repairer.stop()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert repair(array(BOW_TIE)).repaired.all()
    assert worker_id() == parents


SCRIPT = """
import numpy as np, shapely
from twin import geometry
print(geometry.repair(np.array([shapely.from_wkt("POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))")])).outcomes[0])
print(geometry._repairer._process.pid)
{end}
"""


@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_any_script_in_any_folder_may_repair_and_leaves_no_process(end: str, tmp_path: Path) -> None:
    # A script without a main guard, beside modules with the names of others.
    (tmp_path / "shapely.py").write_text("raise SystemExit(3)")
    script = tmp_path / "script" / "repair.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(end=end))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    outcome, pid = done.stdout.split()
    assert outcome == "repaired"
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "geometry_worker" not in Path(f"/proc/{pid}/cmdline").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the repair process outlived its parent")
