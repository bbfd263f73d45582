"""From end to end: the demonstration city, loaded by the real pipeline, through every door."""

import math

import mapbox_vector_tile
import pytest

from layers.contract import Contract, Indicator
from layers.tiles import MAX_TILE_BYTES
from tests.api.city import Served
from tests.layers.park import CITY
from twin.access import Audience, department


def reader(contract: Contract) -> Audience:
    """An audience that may read everything of a dataset: its own department."""
    return department(contract.system)


def records(demo: Served, contract: Contract, condition: str = "true") -> int:
    """How many records a dataset has now, counted by PostgreSQL."""
    if contract.is_stream:
        return demo.scalar(f"SELECT count(*) FROM {contract.id}__latest WHERE {condition}")
    return demo.scalar(
        f"SELECT count(*) FROM {contract.id} WHERE upper_inf(recorded) AND valid @> now() AND {condition}"
    )


def counted(indicator: Indicator) -> str:
    """The condition that a record counts for an indicator."""
    field = indicator.parsed.field
    parts = ["cell IS NOT NULL", *([f'"{field}" IS NOT NULL'] if field else [])]
    for name, values in indicator.where.items():
        accepted = ", ".join(f"'{value}'" for value in values)
        parts.append(f'"{name}"::text IN ({accepted})')
    return " AND ".join(parts)


def test_every_dataset_holds_what_the_database_counts(demo_city: Served) -> None:
    for contract in demo_city.catalog:
        body = demo_city.json(f"/collections/{contract.id}/items", reader(contract), limit=1)
        assert body["numberMatched"] == records(demo_city, contract), contract.id


def test_every_dataset_holds_something_at_some_time(demo_city: Served) -> None:
    empty = [
        contract.id
        for contract in demo_city.catalog
        if contract.demo is not None
        and not demo_city.json(
            f"/collections/{contract.id}/items", reader(contract), limit=1, datetime="../2200-01-01T00:00:00Z"
        )["features"]
    ]
    assert not empty


def test_every_dataset_is_on_the_map(demo_city: Served) -> None:
    z = 7
    lon, lat = CITY.centre
    x = int((lon + 180) / 360 * 2**z)
    y = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z)
    for contract in demo_city.catalog:
        path = f"/collections/{contract.id}/tiles/WebMercatorQuad/{z}/{y}/{x}"
        packed = demo_city.get(path, reader(contract)).content
        assert len(packed) <= MAX_TILE_BYTES
        assert bool(packed) == bool(records(demo_city, contract)), contract.id
        assert set(mapbox_vector_tile.decode(packed) if packed else ()) <= {contract.id}


def test_sums_of_cells_are_those_of_the_records(demo_city: Served) -> None:
    total = float(demo_city.scalar("SELECT sum(floor_area_m2::text::numeric) FROM housing.buildings"))
    for resolution in (9, 8, 7, 6):
        cells = demo_city.json("/indicators/housing.floor_area/cells", resolution=resolution)["cells"]
        assert sum(cell["value"] for cell in cells) == pytest.approx(total)


def test_every_indicator_counts_the_records_of_now(demo_city: Served) -> None:
    seen = 0
    for contract, indicator in demo_city.catalog.indicators():
        if indicator.window is not None or contract.kind == "coverage":
            continue
        path = f"/indicators/{indicator.id}/cells"
        found = demo_city.json(path, reader(contract), resolution=min(8, indicator.resolution))
        number = sum(cell["n"] for cell in found["cells"]) + found["coarser"]
        stored = records(demo_city, contract, counted(indicator))
        if contract.is_personal:  # fewer where they would stand out, and rounded
            assert all(cell["n"] >= 10 and cell["n"] % 5 == 0 for cell in found["cells"]), indicator.id
            assert contract.people is not None or number <= stored + 5 * len(found["cells"]), indicator.id
        else:
            assert number == stored, indicator.id
        seen += number > 0
    assert seen > 80


def test_everything_says_that_it_is_synthetic(demo_city: Served) -> None:
    assert demo_city.json("/")["twin"]["synthetic"]
    assert "合成数据" in demo_city.get("/", f="html").text
    for contract in demo_city.catalog:
        if records(demo_city, contract):
            assert demo_city.json(f"/collections/{contract.id}", reader(contract))["twin"]["synthetic"], contract.id


def test_the_flow_accounts_for_every_record_of_the_demo(demo_city: Served) -> None:
    everything = demo_city.json("/quarantine/flow", Audience("administrator"), hours=48)["flow"]
    assert {one["dataset"] for one in everything} >= {"housing.buildings", "video.cameras"}
    assert all(one["received"] == one["accepted"] + one["duplicate"] + one["quarantined"] > 0 for one in everything)
    mine = demo_city.json("/quarantine/flow", Audience("department:video"), hours=48)["flow"]
    assert {one["dataset"].split(".")[0] for one in mine} == {"video"}
    assert demo_city.get("/quarantine/flow").status_code == 403
