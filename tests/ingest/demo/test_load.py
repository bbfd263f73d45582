"""The synthetic city goes through the real pipeline into a real database, once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from ingest.demo.load import load_demo
from ingest.pipeline import Loader, LoadOptions
from layers.catalog import Catalog, catalog
from layers.store import apply
from layers.tables import dataset_table
from tests.ingest.demo.city import CITY, SCALE, SEED
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.errors import SetupError


def loader_of(database: Database, home: Path) -> Loader:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    return Loader(database, catalog(), CITY, home)


@pytest.fixture(scope="module")
def loader(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    database = private_database(cluster, "test_load_demo")
    database.migrate()
    yield loader_of(database, tmp_path_factory.mktemp("home"))
    asyncio.run(database.aclose())


@pytest.fixture(scope="module")
def said(loader: Loader) -> list[str]:
    """What the first load says."""
    lines: list[str] = []
    load_demo(loader, scale=SCALE, seed=SEED, say=lines.append)
    return lines


def batches(loader: Loader) -> pl.DataFrame:
    with loader.database.engine.connect() as connection:
        return pl.read_database(sa.text("select * from twin.batches"), connection, infer_schema_length=None)


def test_every_dataset_has_rows_and_says_so(loader: Loader, said: list[str]) -> None:
    with loader.database.engine.connect() as connection:
        for contract in loader.catalog:
            table = dataset_table(contract, CITY.srid)
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) > 0, contract.id
            assert sum(line.startswith(f"{contract.id}: received ") for line in said) == 1
    assert "quarantined 0" in said[-1]
    assert "合成数据" in said[-1]


def test_nothing_is_lost_and_all_is_marked_synthetic(loader: Loader, said: list[str]) -> None:
    made = batches(loader)
    assert said
    assert (made["received"] == made["accepted"]).all()
    assert made["synthetic"].all()
    assert made["finished_at"].null_count() == 0


def test_second_run_does_nothing(loader: Loader, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before, lines = batches(loader), []
    monkeypatch.setattr("ingest.demo.city.DemoCity.generate", lambda *_: pytest.fail("the city is drawn again"))
    load_demo(loader, scale=SCALE, seed=SEED, say=lines.append)
    assert said
    assert lines == ["The synthetic city is there already (合成数据 · 仅供演示)."]
    assert batches(loader).equals(before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (LoadOptions(), r"real records.*sharing\.place_names"),
        (LoadOptions(source="demo, seed 7, scale 1", synthetic=True), "another synthetic city.*seed 7, scale 1"),
    ],
    ids=["real", "another seed"],
)
def test_the_city_is_not_mixed_with_other_records(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: LoadOptions, words: str
) -> None:
    loader = loader_of(database, tmp_path)
    path = tmp_path / "places.csv"
    path.write_text("place_id,name,kind,lon,lat\n1,薛城,district,117.26,34.79\n", encoding="utf-8")
    assert loader.load("sharing.place_names", path, options).accepted == 1
    monkeypatch.setattr("ingest.demo.city.DemoCity.generate", lambda *_: pytest.fail("the city is drawn"))
    with pytest.raises(SetupError, match=words):
        load_demo(loader, scale=SCALE, seed=SEED, say=lambda _: None)


def test_refused_records_are_told_at_the_end(database: Database, tmp_path: Path) -> None:
    contract = catalog()["sharing.place_names"]
    assert contract.demo
    demo = contract.demo.model_copy(update={"map": contract.demo.map | {"kind": "'planet'"}})
    wrong = Catalog({contract.id: contract.model_copy(update={"demo": demo})}, catalog().systems, catalog().digests)
    loader, lines = replace(loader_of(database, tmp_path), catalog=wrong), []
    with pytest.raises(SetupError, match="records of the synthetic city were refused"):
        load_demo(loader, scale=SCALE, seed=SEED, say=lines.append)
    assert "unknown_value" in lines[0].replace("-", "_")
