"""Each contract's demo section writes a file whose every record passes that contract and lies in the city."""

import datetime as dt
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
import shapely

from ingest.codecs.records import GEOMETRY, Records
from ingest.demo.records import Maker
from ingest.demo.sources import Source, in_order, write_sources
from ingest.reading import open_records
from ingest.validation import Validator
from layers.catalog import Catalog, catalog
from layers.contract import Contract, Demo
from layers.places.fix import Register, Site, is_none
from layers.places.resolver import Placed, place
from tests.ingest.demo.city import CITY, SCALE, SEED, small_city
from tests.layers.places import town
from twin.errors import ContractError, SetupError

NOW = dt.datetime(2026, 1, 14, 10, 7, 30, tzinfo=dt.UTC)
DATASETS = [contract.id for contract in in_order(catalog())]


@pytest.fixture(scope="module")
def sources() -> Iterator[dict[str, Source]]:
    with TemporaryDirectory(prefix="citytwin-test-") as folder:
        written = write_sources(small_city(), catalog(), CITY, Path(folder), seed=SEED, scale=SCALE, now=NOW)
        yield {source.dataset: source for source in written}


@pytest.fixture(scope="module")
def registers(sources: dict[str, Source]) -> Any:
    """Reads a register from the source of its dataset instead of the database."""

    @cache
    def register(dataset: str) -> Register:
        contract = catalog()[dataset]
        frames, placed = zip(*placed_records(contract, sources[dataset], register), strict=True)
        ids = pl.concat(frames)[contract.key[0]]
        lon, lat, cell, accuracy_m = (
            np.concatenate([getattr(part, name) for part in placed]) for name in ("lon", "lat", "cell", "accuracy_m")
        )
        frame = pl.DataFrame({"id": ids, "cell": cell, "place_accuracy_m": accuracy_m, "lon": lon, "lat": lat})
        return Register(frame, np.concatenate([part.shapes for part in placed]))

    return register


def read(contract: Contract, source: Source) -> Iterator[Records]:
    return open_records(source.path, contract)


def placed_records(contract: Contract, source: Source, registers: Any) -> Iterator[tuple[pl.DataFrame, Placed]]:
    for records in read(contract, source):
        frame = Validator(contract, CITY.zone).check(records, now=NOW).frame
        yield frame, place(frame, contract, Site(CITY, registers, town.gazetteer, records.crs, source.datum))


def make(dataset: str, maker: Maker | None = None, **section: Any) -> pl.DataFrame:
    """Records of a dataset, its demo section changed."""
    contract = catalog()[dataset]
    assert contract.demo
    demo = contract.demo.model_copy(update=section)
    maker = maker or Maker(small_city(), catalog(), CITY, SEED, SCALE, NOW)
    return maker.records(contract.model_copy(update={"demo": demo})).frame


def test_every_contract_has_a_demo_section() -> None:
    assert sorted(DATASETS) == [contract.id for contract in catalog()]


def test_registers_come_before_those_that_refer_to_them() -> None:
    for contract in catalog():
        for rung in contract.place.rungs:
            if rung.by in {"device", "area"}:
                assert DATASETS.index(rung.register_) < DATASETS.index(contract.id)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_record_passes_its_contract(sources: dict[str, Source], dataset: str) -> None:
    contract = catalog()[dataset]
    found = 0
    for records in read(contract, sources[dataset]):
        checked = Validator(contract, CITY.zone).check(records, now=NOW)
        assert checked.details.filter(checked.reasons.is_not_null()).to_list() == []
        assert not records.unreadable
        assert not checked.unknown_columns
        assert checked.frame.select(contract.key).is_unique().all()
        found += records.frame.height
    assert found > 0


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_record_lies_in_the_city(sources: dict[str, Source], registers: Any, dataset: str) -> None:
    contract = catalog()[dataset]
    for _, placed in placed_records(contract, sources[dataset], registers):
        assert is_none(placed.reasons).all(), set(placed.reasons.tolist())
        assert not any("repaired" in str(source) for source in placed.source)


def test_datum_is_undone_exactly(sources: dict[str, Source], registers: Any) -> None:
    """The districts are written in GCJ-02, which lies about half a kilometre off."""
    contract, source = catalog()["sharing.boundaries"], sources["sharing.boundaries"]
    (records,) = read(contract, source)
    ((_, placed),) = placed_records(contract, source, registers)
    drawn = small_city().districts.geometry.to_numpy()
    written = shapely.from_wkb(records.frame[GEOMETRY].to_numpy())
    assert source.datum == "gcj02"
    assert shapely.hausdorff_distance(written, drawn).min() > 0.003
    assert shapely.hausdorff_distance(placed.shapes, drawn).max() < 1e-6


@pytest.mark.parametrize(
    ("dataset", "heading"), [("egov.counters", "窗口数"), ("housing.pipes", "管径"), ("housing.buildings", "floors")]
)
def test_headings_are_those_of_the_format(sources: dict[str, Source], dataset: str, heading: str) -> None:
    (records,) = read(catalog()[dataset], sources[dataset])
    assert heading in records.frame.columns


def test_histories_end_at_the_last_full_step(sources: dict[str, Source]) -> None:
    contract = catalog()["transport.counts"]
    (records,) = read(contract, sources[contract.id])
    at = Validator(contract, CITY.zone).check(records, now=NOW).frame["observed_at"]
    assert at.max() == dt.datetime(2026, 1, 14, 10, 0, tzinfo=dt.UTC)
    assert at.n_unique() == 24 * 4


def test_traffic_follows_the_clock_of_the_city() -> None:
    mean = (
        make("transport.counts", hours=72)
        .group_by(hour=pl.col("observed_at").dt.convert_time_zone(CITY.zone).dt.hour())
        .agg(pl.col("vehicles").mean())
    )
    rush, night = (mean.filter(pl.col("hour") == hour)["vehicles"].item() for hour in (18, 3))
    assert rush > 2 * night


def test_names_made_before_do_not_hide_columns_of_the_frame() -> None:
    """The boundaries have a field `level` too, and `speed` is also what traffic counters measure."""
    frame = make("operations.warnings", count=400)
    colour = {"2": "橙色", "3": "黄色", "4": "蓝色"}
    assert (frame["headline"].str.slice(-4, 2) == frame["level"].replace_strict(colour)).all()
    assert make("transport.vehicles")["speed_kmh"].max() < 46


def test_vehicles_move_along_their_lines() -> None:
    contract = catalog()["transport.buses"]
    table = Maker(small_city(), catalog(), CITY, SEED, SCALE, NOW).records(contract)
    lines = shapely.unary_union(small_city().bus_lines.geometry.to_numpy())
    one = (table.frame["vehicle_id"] == "13900000001").to_numpy()
    assert shapely.distance(table.shapes, lines).max() < 1e-6
    assert len(np.unique(shapely.to_wkb(table.shapes[one]))) == 60, "one a minute, for an hour"
    moved_m = np.hypot(*(np.diff(shapely.get_coordinates(table.shapes[one]), axis=0) * [91_300, 111_320]).T)
    assert np.median(moved_m) / 60 * 3.6 == pytest.approx(table.frame["speed_kmh"][0], rel=0.1)


def test_events_end_after_they_began_or_are_open() -> None:
    frame = make("operations.events")
    assert (frame["closed_at"] > frame["opened_at"]).all()
    assert frame.filter(pl.col("closed_at").is_null())["state"].is_in(["open", "assigned"]).all()
    assert frame["opened_at"].max() < NOW
    assert 0 < frame["closed_at"].null_count() < frame.height


def test_same_seed_makes_the_same_records() -> None:
    other = Maker(small_city(), catalog(), CITY, SEED + 1, SCALE, NOW)
    for dataset in ("environment.air_stations", "services.hotline_tickets", "transport.buses", "data_centre.sites"):
        assert make(dataset).equals(make(dataset))
        assert not make(dataset).equals(make(dataset, other))


def test_records_refer_to_records_that_there_are() -> None:
    assert set(make("transport.counts")["detector_id"]) <= set(make("transport.detectors")["detector_id"])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"frame": "moons"}, "has no frame 'moons'"),
        ({"map": {"site_id": "orbit"}}, "cannot be worked out"),
        ({"map": {"racks": "'many'"}}, "does not make the type integer"),
    ],
)
def test_wrong_section_is_refused_in_words(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        make("data_centre.sites", **section)


def test_frame_without_the_geometry_of_the_contract_is_refused() -> None:
    with pytest.raises(ContractError, match="no polygons"):
        make("work_safety.major_hazards", radius_m=None)


def test_city_too_small_for_a_dataset_is_refused() -> None:
    with pytest.raises(SetupError, match=r"nothing to make data_centre\.sites of"):
        make("data_centre.sites", where="kind = 'observatory'")


def test_fields_without_expression_are_made_by_chance() -> None:
    frame = make("operations.resources", map=Demo(frame="", map={"resource_id": "facility_id", "name": "name_zh"}).map)
    assert frame["kind"].n_unique() > 3
    assert frame["capacity"].is_between(0, 1_000_000).all()
    assert frame["department"].is_null().all()


def test_catalogue_in_a_circle_is_refused() -> None:
    contract = catalog()["sharing.boundaries"]
    assert contract.demo
    other = contract.model_copy(
        update={"id": "sharing.other", "demo": contract.demo.model_copy(update={"frame": contract.id})}
    )
    circle = contract.model_copy(update={"demo": contract.demo.model_copy(update={"frame": "sharing.other"})})
    with pytest.raises(ContractError, match="refer to each other"):
        in_order(Catalog({circle.id: circle, other.id: other}, catalog().systems))
