"""The dirty city: every row of a spoilt file is near its true place, as coarse as it says, or flagged; none is lost."""

import datetime as dt
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from ingest.demo.city import DemoCity
from ingest.demo.dirt import Score, dirty, score
from ingest.demo.records import Maker
from ingest.demo.sources import Source, in_order, write_source, write_sources
from ingest.pipeline import Loader, LoadOptions
from layers.catalog import catalog
from layers.inbox import quarantine_rows
from layers.store import apply
from tests.layers.park import CITY
from twin.database import Database
from twin.errors import DatumError, InvalidRequest, SourceError

DATASET = "sharing.legal_entities"
BASE = ("sharing.boundaries", "sharing.towns", "sharing.place_names", "transport.roads", "sharing.standard_addresses")
SCALE, SEED = 0.02, 5
NOW = dt.datetime(2026, 11, 20, 8, tzinfo=dt.UTC)


@pytest.fixture
def loader(database: Database, tmp_path: Path) -> Loader:
    """A city that knows its names, and holds no firms yet."""
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    return Loader(database, catalog(), CITY, tmp_path / "home")


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker(DemoCity.generate(CITY, SEED, SCALE), catalog(), CITY, SEED, SCALE, NOW)


def spoilt(maker: Maker, dataset: str, folder: Path, **how: str | None) -> tuple[Source, Path]:
    contract = catalog()[dataset]
    return dirty(contract, maker.records(contract), CITY, folder, share=0.3, datum=how.get("datum"), seed=SEED)


def scored(loader: Loader, dataset: str, truth: Path) -> Score:
    return score(loader.database, catalog(), CITY, loader.home, dataset, truth)


@pytest.mark.parametrize("datum", [None, "wgs84"])
def test_a_dirty_file_is_placed_or_flagged(loader: Loader, maker: Maker, tmp_path: Path, datum: str | None) -> None:
    for source in write_sources(maker.demo, catalog(), CITY, tmp_path, seed=SEED, scale=SCALE, now=NOW, datasets=BASE):
        loader.load(source.dataset, source.path, LoadOptions(source.datum))
    source, truth = spoilt(maker, DATASET, tmp_path, datum=datum)
    loaded = loader.load(DATASET, source.path, LoadOptions(source.datum))
    assert loaded.received == loaded.accepted + loaded.duplicate + loaded.quarantined
    assert loaded.unknown_columns == ("备注",)
    found = scored(loader, DATASET, truth)
    kinds = Counter(pl.read_csv(truth)["dirt"].fill_null("").to_list())
    assert found.rows == sum(kinds.values()) > 100
    assert found.lost == 0
    if datum is not None:
        with loader.database.writing() as connection:
            waiting = quarantine_rows(connection, DATASET, reason="wrong-datum", limit=100_000)
        assert found.near == found.wrong == 0, "the whole batch waits for a person"
        assert f"fit {datum}" in waiting[0].detail
        with pytest.raises(DatumError, match="mars"):
            loader.replay(waiting, datum="mars")
        assert scored(loader, DATASET, truth) == found, "they still wait"
        replayed = loader.replay(waiting, datum=datum)
        assert replayed.accepted > 0.8 * len(waiting)
        return
    assert found.silent.keys() <= {"misplaced"}, "but for what no address contradicts, nothing is wrong"
    assert (found.near + found.coarse + found.flagged) / found.rows >= 0.95
    assert found.near / found.rows > 0.6


def test_every_dataset_can_be_dirty(loader: Loader, maker: Maker, tmp_path: Path) -> None:
    """Whatever the kind, place rule and format, no record is lost, and only what nothing contradicts is wrong."""
    unnoticed: dict[str, Counter[str]] = {}
    dirty_folder = tmp_path / "dirty"
    dirty_folder.mkdir()
    for contract in in_order(catalog()):
        # What others refer to is loaded as it is, so that their records have something to be found by.
        clean = write_source(contract, maker, tmp_path)
        if contract.kind != "coverage":
            source, truth = spoilt(maker, contract.id, dirty_folder)
            loader.load(contract.id, source.path, LoadOptions(source.datum))
            found = scored(loader, contract.id, truth)
            kinds = Counter(pl.read_csv(truth)["dirt"].fill_null("").to_list())
            assert found.rows == sum(kinds.values())
            assert found.lost == 0, contract.id
            unnoticed[contract.id] = Counter(found.silent)
        loader.load(contract.id, clean.path, LoadOptions(clean.datum))
    assert {name: kinds for name, kinds in unnoticed.items() if kinds.keys() - {"misplaced", "wrong code"}} == {}


def test_a_file_without_the_truth_says_so(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("key,other\n1,2\n")
    for name in ("other.csv", "none.csv"):
        with pytest.raises(SourceError, match="no file with the truth"):
            scored(loader, DATASET, tmp_path / name)


def test_what_cannot_be_made_dirty_says_so(maker: Maker, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is a raster"):
        dirty(catalog()["sharing.elevation"], maker.records(catalog()[DATASET]), CITY, tmp_path,
              share=0.1, datum=None, seed=1)  # fmt: skip
    with pytest.raises(InvalidRequest, match="no position of their own"):
        spoilt(maker, "education.pupils", tmp_path, datum="wgs84")
