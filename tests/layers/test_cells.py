"""Cells: sums that stay the same at every resolution, windows, other times, and where a number comes from."""

import datetime as dt
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers import cells as module
from layers.cellfiles import explain, to_arrow, to_geojson, to_json
from layers.cells import CellsQuery, CellTable, cells
from layers.indicators import refresh
from layers.query import Box
from tests.layers.conftest import NOON, Park
from tests.layers.park import CITY
from twin.access import Audience
from twin.errors import InvalidRequest, LimitExceeded, NotAllowed
from twin.grid import cell_area_m2, cell_polygons, cell_to_text, cells_of_points, parents, resolution_of
from twin.view import Span, View

HOUR = dt.timedelta(hours=1)


def scattered(number: int, **more: Any) -> list[dict[str, Any]]:
    random = np.random.default_rng(7)
    lon, lat = random.uniform(117.2, 117.5, number), random.uniform(34.7, 34.9, number)
    height = random.gamma(2, 5, number).round(3)
    return [
        {
            "id": f"t{at}",
            "tree_id": f"t{at}",
            "height_m": float(height[at]),
            "kind": "oak" if at % 3 else "elm",
            "healthy": at % 4 != 0,
            "wkt": f"POINT({lon[at]} {lat[at]})",
            **more,
        }
        for at in range(number)
    ]


def counted(park: Park, *datasets: str) -> None:
    """Compute the indicators, as the writer does at the end of a batch."""
    for dataset in datasets:
        with park.database.writing() as connection:
            refresh(connection, park.catalog[dataset], CITY, None)


@pytest.fixture(scope="module")
def grove(shared_park: Park) -> Park:
    # One tree is known only to its town: a cell of resolution 7.
    coarse = int(parents(cells_of_points([117.35], [34.8], 10), 7)[0])
    town = {"id": "town", "tree_id": "town", "height_m": 1.5, "kind": "oak", "healthy": True, "cell": coarse}
    shared_park.put("parks.trees", *scattered(4_000), town)
    counted(shared_park, "parks.trees")
    return shared_park


def table(
    park: Park, indicator: str, resolution: int, *, box: Box | None = None, view: View | None = None
) -> CellTable:
    contract, found = park.catalog.indicator(indicator)
    asked = CellsQuery(resolution, box, view or View())
    return park.ask(lambda c: cells(c, contract, found, asked, CITY), asked.view.audience)


@pytest.mark.parametrize("indicator", ["parks.tree_count", "parks.height_sum"])
def test_sums_are_the_same_at_every_resolution(grove: Park, indicator: str) -> None:
    rows = scattered(4_000)
    finest = table(grove, indicator, 9)
    for resolution in (9, 8, 7, 6):
        found = table(grove, indicator, resolution)
        assert (resolution_of(found.cell) == resolution).all()
        assert len(set(found.cell.tolist())) == len(found.cell)
        assert found.coarser == (1 if resolution > 7 else 0)
        assert found.n.sum() + found.coarser == 4_001, "every tree is in a cell or counted beside them"
        summed = dict.fromkeys(found.cell.tolist(), 0.0)
        for parent, value in zip(parents(finest.cell, resolution).tolist(), finest.value.tolist(), strict=True):
            summed[parent] += value
        extra = 0.0 if resolution > 7 else (1.0 if indicator == "parks.tree_count" else 1.5)
        assert sum(found.value.tolist()) == pytest.approx(sum(summed.values()) + extra, abs=1e-9)
        differing = [
            cell for cell, value in zip(found.cell, found.value, strict=True) if abs(summed[cell] - value) > 1e-9
        ]
        assert len(differing) == (0 if resolution > 7 else 1)
    total = sum(row["height_m"] for row in rows) if indicator == "parks.height_sum" else len(rows)
    assert finest.value.sum() == pytest.approx(total)


def test_means_and_shares_are_of_the_parts(grove: Park) -> None:
    rows = scattered(4_000)
    cell = cells_of_points(
        [float(row["wkt"][6:-1].split()[0]) for row in rows], [float(row["wkt"][6:-1].split()[1]) for row in rows], 10
    )
    for indicator, resolution, chosen, number in (
        ("parks.oak_mean", 8, [row["kind"] == "oak" for row in rows], [row["height_m"] for row in rows]),
        ("parks.healthy_share", 8, [True] * len(rows), [float(row["healthy"]) for row in rows]),
    ):
        found = table(grove, indicator, resolution)
        parent = parents(cell, resolution)
        for one, value, n in zip(found.cell[:50], found.value[:50], found.n[:50], strict=True):
            here = np.array(chosen) & (parent == one)
            assert n == here.sum()
            assert value == pytest.approx(np.array(number)[here].mean())


def test_a_density_divides_by_the_true_area(grove: Park) -> None:
    found = table(grove, "parks.trees_per_km2", 7)
    assert found.value == pytest.approx(found.n / (cell_area_m2(found.cell) / 1e6))


def test_a_box_chooses_the_cells_that_meet_it(grove: Park) -> None:
    box = Box(117.3, 34.78, 117.34, 34.82)
    everything = table(grove, "parks.tree_count", 8)
    meets = shapely.intersects(cell_polygons(everything.cell), shapely.box(117.3, 34.78, 117.34, 34.82))
    found = table(grove, "parks.tree_count", 8, box=box)
    assert found.cell.tolist() == everything.cell[meets].tolist()
    assert 0 < len(found.cell) < len(everything.cell)
    assert len(table(grove, "parks.tree_count", 8, box=Box(0, 0, 1, 1)).cell) == 0


@pytest.mark.parametrize("resolution", [0, 5, 10, 15])
def test_there_is_no_such_resolution(grove: Park, resolution: int) -> None:
    with pytest.raises(InvalidRequest, match="resolutions 6 to 9"):
        table(grove, "parks.tree_count", resolution)


def test_too_many_cells_are_refused_with_the_resolution_to_ask_for(
    grove: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {resolution: len(table(grove, "parks.tree_count", resolution).cell) for resolution in (9, 8, 7)}
    monkeypatch.setattr(module, "MOST_CELLS", sizes[8])
    with pytest.raises(LimitExceeded, match="Ask for resolution 8"):
        table(grove, "parks.tree_count", 9)
    monkeypatch.setattr(module, "_COARSE_ROWS", 1)
    with pytest.raises(LimitExceeded, match=f"{sizes[9] + 1:,} cells.*Ask for resolution 8"):
        table(grove, "parks.tree_count", 9)
    assert len(table(grove, "parks.tree_count", 8).cell) == sizes[8]
    with pytest.raises(LimitExceeded):
        table(grove, "parks.tree_count", 9, box=Box(117, 34, 118, 35))
    assert len(table(grove, "parks.tree_count", 9, box=Box(117.3, 34.78, 117.32, 34.8)).cell) > 0


def test_other_times_are_computed_from_the_rows(park: Park) -> None:
    past = f"[-infinity,{NOON.isoformat()})"
    park.put("parks.trees", *scattered(300), *(row | {"id": f"p{row['id']}"} for row in scattered(200, valid=past)))
    counted(park, "parks.trees")
    now = table(park, "parks.height_sum", 8)
    then = table(park, "parks.height_sum", 8, view=View(valid_at=Span.instant(NOON - HOUR)))
    same = table(park, "parks.height_sum", 8, view=View(valid_at=Span.instant(dt.datetime.now(dt.UTC))))
    assert (now.n.sum(), then.n.sum(), same.n.sum()) == (300, 500, 300)
    assert (now.cell.tolist(), now.value.tolist()) == (same.cell.tolist(), same.value.tolist()), "kept or computed"
    assert table(park, "parks.height_sum", 8, view=View(known_at=NOON.replace(year=2020))).n.sum() == 0
    with pytest.raises(InvalidRequest, match="not for an interval"):
        table(park, "parks.height_sum", 8, view=View(valid_at=Span(NOON, None)))


def reading(sensor: str, at: dt.datetime, dust: float, **more: Any) -> dict[str, Any]:
    own = {"subject": sensor, "sensor": sensor, "observed_at": at, "dust": dust, "wkt": "POINT(117.3 34.8)"}
    return {"id": f"{sensor}:{at.isoformat()}", **own, **more}


def test_an_indicator_with_windows_answers_for_the_newest_that_is_over(park: Park) -> None:
    hour = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    park.put(
        "parks.air",
        reading("a", hour + dt.timedelta(minutes=1), 900.0),
        reading("a", hour - dt.timedelta(minutes=50), 10.0),
        reading("b", hour - dt.timedelta(minutes=10), 20.0),
        reading("a", hour - dt.timedelta(minutes=90), 70.0),
    )
    counted(park, "parks.air")
    newest = table(park, "parks.dust_mean", 8)
    assert (newest.bucket, newest.value.tolist(), newest.n.tolist()) == (hour - HOUR, [15.0], [2])
    before = table(park, "parks.dust_mean", 8, view=View(valid_at=Span.instant(hour - dt.timedelta(minutes=61))))
    assert (before.bucket, before.value.tolist()) == (hour - 2 * HOUR, [70.0])
    running = table(park, "parks.dust_mean", 8, view=View(valid_at=Span.instant(hour + dt.timedelta(seconds=5))))
    assert running.value.tolist() == [900.0], "who asks for the hour that runs gets it"
    nothing = table(park, "parks.dust_mean", 8, view=View(valid_at=Span.instant(hour - 9 * HOUR)))
    assert len(nothing.cell) == 0


def test_a_window_as_it_was_known_then(park: Park) -> None:
    known = f"[{(NOON + HOUR).isoformat()},)"
    late = f"[{(NOON + 5 * HOUR).isoformat()},)"
    park.put("parks.air", reading("a", NOON, 10.0, recorded=known), reading("b", NOON, 50.0, recorded=late))
    counted(park, "parks.air")
    at_noon = Span.instant(NOON)
    assert table(park, "parks.dust_mean", 8, view=View(valid_at=at_noon)).value.tolist() == [30.0]
    then = table(park, "parks.dust_mean", 8, view=View(valid_at=at_noon, known_at=NOON + 2 * HOUR))
    assert (then.bucket, then.value.tolist()) == (NOON, [10.0])
    default = table(park, "parks.dust_mean", 8, view=View(known_at=NOON + HOUR))
    assert (default.bucket, default.value.tolist()) == (NOON, [10.0]), "the window that was over then"


def test_the_files_say_the_same(grove: Park) -> None:
    found = table(grove, "parks.height_sum", 8)
    plain = json.loads(to_json(found))
    assert {"indicator", "unit", "resolution", "datetime", "count", "coarser", "legend", "cells"} == set(plain)
    assert plain["count"] == len(plain["cells"]) == len(found.cell)
    assert [cell["cell"] for cell in plain["cells"]] == cell_to_text(found.cell)
    geo = json.loads(to_geojson(found))
    assert geo["legend"] == plain["legend"]
    for feature, cell in zip(geo["features"], plain["cells"], strict=True):
        properties = feature["properties"]
        assert (properties["cell"], properties["value"], properties["n"]) == (cell["cell"], cell["value"], cell["n"])
        classes = [one for one in plain["legend"] if one["from"] <= cell["value"]]
        assert properties["colour"] == classes[-1]["colour"]
        assert shapely.from_geojson(json.dumps(feature["geometry"])).is_valid
    stream = pa.ipc.open_stream(io.BytesIO(to_arrow(found))).read_all()
    assert stream.column("cell").to_pylist() == found.cell.tolist()
    assert stream.column("value").to_pylist() == found.value.tolist()
    assert json.loads(stream.schema.metadata[b"twin"])["count"] == len(found.cell)
    empty = table(grove, "parks.height_sum", 8, box=Box(0, 0, 1, 1))
    assert json.loads(to_geojson(empty))["features"] == json.loads(to_json(empty))["cells"] == []


def explained(park: Park, indicator: str, cell: str, view: View | None = None) -> dict[str, Any]:
    contract, found = park.catalog.indicator(indicator)
    asked = view or View()
    return park.ask(lambda c: explain(c, contract, found, cell, asked, CITY), asked.audience)


def test_a_number_is_explained_down_to_its_records(grove: Park) -> None:
    found = table(grove, "parks.oak_mean", 9)
    at = int(np.argmax(found.n))
    said = explained(grove, "parks.oak_mean", cell_to_text(found.cell[at : at + 1])[0])
    assert said["value"] == pytest.approx(found.value[at])
    assert said["parts"]["n"] == found.n[at] == len(said["records"])
    rows = {row["id"]: row for row in scattered(4_000)}
    assert all(rows[fid]["kind"] == "oak" for fid in said["records"])
    assert float(said["parts"]["total"]) == pytest.approx(sum(rows[fid]["height_m"] for fid in said["records"]))
    assert said["rule"] == {"measure": "mean(height_m)", "where": {"kind": ["oak"]}, "window": None, "per_km2": False}
    assert said["newest_record_at"].year == 2026
    coarse = table(grove, "parks.tree_count", 6)
    fullest = int(np.argmax(coarse.n))
    whole = explained(grove, "parks.tree_count", cell_to_text(coarse.cell[fullest : fullest + 1])[0])
    assert whole["parts"]["n"] == coarse.n[fullest]
    assert len(whole["records"]) == 100, "not more"


def test_an_empty_cell_is_explained_too(grove: Park) -> None:
    nowhere = cell_to_text(cells_of_points([116.7], [34.4], 8))[0]
    said = explained(grove, "parks.tree_count", nowhere)
    assert (said["value"], said["parts"]["n"], said["records"]) == (0.0, 0, [])


@pytest.mark.parametrize("cell", ["", "x", "88", "8f2830828052d25", "ffffffffffffffff", "../../etc", "' OR 1=1"])
def test_what_is_no_cell_of_the_indicator_is_refused(grove: Park, cell: str) -> None:
    with pytest.raises(InvalidRequest):
        explained(grove, "parks.tree_count", cell)


def test_who_may_not_read_the_records_is_told_none(park: Park) -> None:
    """An open indicator over a dataset of one department: the number is for all, the records are not."""
    contract, indicator = park.catalog.indicator("parks.tree_count")
    hidden = contract.model_copy(update={"data_class": "security"})
    park.put("parks.trees", *scattered(50))
    counted(park, "parks.trees")
    with park.database.writing() as connection:
        connection.exec_driver_sql("REVOKE ALL ON parks.trees FROM twin_public")
    asked = CellsQuery(8, None, View())
    found = park.ask(lambda c: cells(c, hidden, indicator, asked, CITY))
    assert found.n.sum() == 50
    cell = cell_to_text(found.cell[:1])[0]
    said = park.ask(lambda c: explain(c, hidden, indicator, cell, View(), CITY))
    assert (said["parts"]["n"], said["records"], said["newest_record_at"]) == (found.n[0], None, None)
    past = CellsQuery(8, None, View(known_at=NOON))
    with pytest.raises(NotAllowed, match="may not read"):
        park.ask(lambda c: cells(c, hidden, indicator, past, CITY))
    department = Audience("department:parks")
    own = CellsQuery(8, None, View(known_at=NOON, audience=department))
    assert park.ask(lambda c: cells(c, hidden, indicator, own, CITY), department).n.sum() == 50
