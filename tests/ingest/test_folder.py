"""Watched folders: files are loaded once they stand still, moved when they are loaded, refused with the reason."""

import shutil
import threading
import time
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from ingest.pipeline import Loader
from ingest.sources.folder import FolderReader, load_folders
from layers.catalog import Catalog, catalog
from layers.feeds import FolderFeed
from layers.store import apply
from tests.ingest.test_worker import ask
from tests.layers.park import CITY
from twin.database import Database

SCHOOLS = "education.schools"


@pytest.fixture
def reader(database: Database, tmp_path: Path) -> FolderReader:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    return FolderReader(Loader(database, catalog(), CITY, tmp_path), still_s=0.2)


def feed(dataset: str = SCHOOLS, **more: object) -> FolderFeed:
    said = {"id": "drop", "transport": "folder", "folder": "drop", "datasets": [dataset], **more}
    return FolderFeed.model_validate(said)


def settle(reader: FolderReader, feed: FolderFeed) -> int:
    """What is loaded once nothing changes any more."""
    done = reader.step(feed)
    for _ in range(6):
        time.sleep(0.1)
        done += reader.step(feed)
    return done


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def contracts() -> Catalog:
    return catalog()


def a_file(contracts: Catalog, dataset: str, count: int = 2) -> str:
    """A small file for a dataset: its required fields and coordinates."""
    contract = contracts[dataset]
    needed = [name for name, spec in contract.fields.items() if spec.required]
    rows = []
    for number in range(count):
        row = [next(iter(contract.fields[name].values), f"x{number}") for name in needed]
        rows.append(",".join([*row, str(117.3 + number / 100), "34.8"]))
    return ",".join([*needed, "lon", "lat"]) + "\n" + "\n".join(rows) + "\n"


def test_a_file_is_loaded_when_it_stands_still(reader: FolderReader, contracts: Catalog, tmp_path: Path) -> None:
    dataset, drop = SCHOOLS, tmp_path / "drop"
    drop.mkdir()
    text = a_file(contracts, dataset)
    (drop / "one.csv").write_text(text[:20])
    assert reader.step(feed(dataset)) == 0
    time.sleep(0.25)
    (drop / "one.csv").write_text(text)
    (drop / "one.csv.part").write_text(text)
    (drop / ".hidden.csv").write_text(text)
    assert reader.step(feed(dataset)) == 0, "it has grown meanwhile"
    assert settle(reader, feed(dataset)) == 1
    assert names(drop) == [".hidden.csv", "loaded/one.csv", "one.csv.part"]
    assert ask(reader.loader.database, "SELECT source, dataset, received FROM twin.batches") == [("drop", dataset, 2)]
    (drop / "one.csv").write_text(text)
    assert settle(reader, feed(dataset)) == 1
    assert names(drop / "loaded") == ["one-2.csv", "one.csv"]


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(reader: FolderReader, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "bad.csv").write_bytes(b"\x00\x01\x02")
    (drop / "empty.csv").write_bytes(b"")
    assert settle(reader, feed()) == 2
    assert names(drop) == [
        "refused/bad.csv", "refused/bad.csv.reason.txt", "refused/empty.csv", "refused/empty.csv.reason.txt",
    ]  # fmt: skip
    assert "empty" in (drop / "refused" / "empty.csv.reason.txt").read_text()


def test_a_shapefile_comes_with_its_parts(reader: FolderReader, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    frame = gpd.GeoDataFrame({"x": [1]}, geometry=[shapely.Point(117.3, 34.8)], crs=4490)
    frame.to_file(drop / "a.shp")
    parts = names(drop)
    assert settle(reader, feed()) == 1
    assert [name.partition("/")[2] for name in names(drop) if not name.endswith(".txt")] == parts


def test_files_that_name_somebody_do_not_stay(reader: FolderReader, contracts: Catalog, tmp_path: Path) -> None:
    dataset = next(
        one.id
        for one in contracts.contracts.values()
        if one.names_somebody and any(rung.by == "coordinate" for rung in one.place.rungs)
    )
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "people.csv").write_text(a_file(contracts, dataset))
    assert settle(reader, feed(dataset)) == 1
    assert names(drop) == []
    assert ask(reader.loader.database, "SELECT count(*), count(sealed) FROM twin.inbox") == [(1, 1)]


def test_folders_are_watched_and_a_full_disk_leaves_files_where_they_are(
    reader: FolderReader, contracts: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.sources.folder._IDLE_S", 0.05)
    room = [False]
    monkeypatch.setattr("twin.disk.has_room", lambda _: room[0])
    drop, stop = tmp_path / "drop", threading.Event()
    drop.mkdir()
    (drop / "one.csv").write_text(a_file(contracts, SCHOOLS))
    watching = threading.Thread(target=load_folders, args=(reader, [feed()], stop))
    watching.start()

    def told() -> list[tuple[str | None]]:
        return ask(reader.loader.database, "SELECT left(fault, 30) FROM twin.sources WHERE source = 'drop'")

    try:
        deadline = time.monotonic() + 20
        while not told() or told()[0][0] is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert names(drop) == ["one.csv"]
        room[0] = True
        while names(drop) != ["loaded/one.csv"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while told() != [(None,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        stop.set()
        watching.join()
        shutil.rmtree(drop)
