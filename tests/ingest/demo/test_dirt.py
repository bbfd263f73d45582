"""The dirty city: every row of a spoilt file is near its true place, as coarse as it says, or flagged; none is lost."""

import datetime as dt
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from ingest.demo.city import DemoCity
from ingest.demo.dirt import dirty, score
from ingest.demo.sources import write_sources
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


@pytest.fixture
def loader(database: Database, tmp_path: Path) -> Loader:
    """A city that knows its names, and holds no firms yet."""
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    return Loader(database, catalog(), CITY, tmp_path / "home")


@pytest.mark.parametrize("datum", [None, "wgs84"])
def test_a_dirty_file_is_placed_or_flagged(loader: Loader, tmp_path: Path, datum: str | None) -> None:
    demo = DemoCity.generate(CITY, SEED, SCALE)
    sources = write_sources(demo, catalog(), CITY, tmp_path, seed=SEED, scale=SCALE,
                            now=dt.datetime.now(dt.UTC), datasets=[*BASE, DATASET])  # fmt: skip
    for source in sources:
        if source.dataset == DATASET:
            truth = dirty(catalog()[DATASET], source.path, CITY, share=0.3, datum=datum, seed=SEED)
        loaded = loader.load(source.dataset, source.path, LoadOptions(source.datum))
        assert loaded.received == loaded.accepted + loaded.duplicate + loaded.quarantined
        if source.dataset == DATASET:
            assert loaded.unknown_columns == ("备注",)
    found = score(loader.database, catalog(), CITY, DATASET, truth)
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
        assert score(loader.database, catalog(), CITY, DATASET, truth) == found, "they still wait"
        replayed = loader.replay(waiting, datum=datum)
        assert replayed.accepted > 0.8 * len(waiting)
        return
    assert found.wrong <= kinds["misplaced"], "but for what no address contradicts, nothing is wrong"
    assert (found.near + found.coarse + found.flagged) / found.rows >= 0.95
    assert found.near / found.rows > 0.6


def test_a_file_without_the_truth_says_so(database: Database, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("key,other\n1,2\n")
    for name in ("other.csv", "none.csv"):
        with pytest.raises(SourceError, match="no file with the truth"):
            score(database, catalog(), CITY, DATASET, tmp_path / name)


def test_what_cannot_be_made_dirty_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be made dirty"):
        dirty(catalog()["sharing.boundaries"], tmp_path / "x.csv", CITY, share=0.1, datum=None, seed=1)
