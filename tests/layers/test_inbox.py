"""The inbox: bytes are kept before anything reads them, and every record of a batch is accounted for."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from layers import inbox
from layers.inbox import REFUSED, Counts
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.errors import NotFound, SourceError

SMALL, LARGE = b"id,lon,lat\n1,117.3,34.8\n", bytes(range(256)) * 4_000
DATASET = "parks.trees"


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Database:
    made = private_database(cluster, "inbox")
    made.migrate()
    return made


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """A connection whose transaction never commits."""
    with database.engine.connect() as opened:
        yield opened
        opened.rollback()


def file_of(folder: Path, content: bytes, name: str = "trees.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def received(connection: sa.Connection, home: Path, content: bytes = SMALL, **more: Any) -> int:
    path = file_of(home / "given", content, more.get("name", "trees.csv"))
    return inbox.receive_file(connection, home, more.get("dataset", DATASET), path, "file")


def opened(connection: sa.Connection, home: Path) -> int:
    entry = received(connection, home)
    said = {"datum": "gcj02", "reading": {}}
    return inbox.open_batch(connection, entry, DATASET, "digest", source="file", synthetic=True, options=said)


def refused(*records: dict[str, Any]) -> pl.DataFrame:
    plain = {"row_number": 1, "stage": "contract", "reason": "wrong-type", "detail": "height", "record": "{}"}
    return pl.DataFrame([plain | record for record in records], schema=REFUSED, orient="row")


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_arrived_is_what_is_opened(connection: sa.Connection, tmp_path: Path, content: bytes) -> None:
    entry = received(connection, tmp_path, content, name="名.csv")
    dataset, kept = inbox.stored_file(connection, tmp_path, entry)
    assert dataset == DATASET
    with kept as path:
        assert (path.name, path.read_bytes()) == ("名.csv", content)
    assert not path.exists()
    row = connection.execute(sa.select(inbox.inbox)).one()
    assert (row.sha256, row.size) == (hashlib.sha256(content).digest(), len(content))
    assert (row.raw is None) == (content is LARGE)
    assert (row.blob is None) == (content is not LARGE)


def test_a_large_file_lies_under_its_digest_and_alone(connection: sa.Connection, tmp_path: Path) -> None:
    received(connection, tmp_path, LARGE)
    files = [path for path in (tmp_path / "inbox").rglob("*") if path.is_file()]
    digest = hashlib.sha256(LARGE).hexdigest()
    assert files == [tmp_path / "inbox" / digest[:2] / digest]
    assert files[0].read_bytes() == LARGE


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_the_same_bytes_are_one_entry_of_a_dataset(connection: sa.Connection, tmp_path: Path, content: bytes) -> None:
    first = received(connection, tmp_path, content)
    assert received(connection, tmp_path, content, name="again.csv") == first
    assert received(connection, tmp_path, content, dataset="parks.beds") != first
    assert received(connection, tmp_path, content + b"\n") != first


def test_a_file_that_cannot_be_read_is_refused(connection: sa.Connection, tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(SourceError, match="cannot be read"):
            inbox.receive_file(connection, tmp_path, DATASET, path, "file")


@pytest.mark.parametrize("harm", ["tampered", "gone", "row"])
def test_bytes_that_are_not_those_that_arrived_are_refused(
    connection: sa.Connection, tmp_path: Path, harm: str
) -> None:
    entry = received(connection, tmp_path, SMALL if harm == "row" else LARGE)
    blob = next((path for path in (tmp_path / "inbox").rglob("*") if path.is_file()), None)
    if blob is None:
        connection.execute(sa.update(inbox.inbox).values(raw=SMALL[::-1]))
    elif harm == "gone":
        blob.unlink()
    else:
        with blob.open("r+b") as file:
            file.seek(len(LARGE) // 2)
            file.write(b"!")
    _, kept = inbox.stored_file(connection, tmp_path, entry)
    with pytest.raises(SourceError, match="gone" if harm == "gone" else "not those that arrived"), kept:
        pytest.fail("it was opened")


def test_a_name_cannot_lead_out_of_the_inbox(connection: sa.Connection, tmp_path: Path) -> None:
    entry = received(connection, tmp_path)
    connection.execute(sa.update(inbox.inbox).values(name="../../../escaped.csv"))
    _, kept = inbox.stored_file(connection, tmp_path, entry)
    with kept as path:
        assert path.resolve().is_relative_to(tmp_path / "inbox")


def test_an_entry_that_is_not_there(connection: sa.Connection, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="entry 12345"):
        inbox.stored_file(connection, tmp_path, 12345)


def test_a_batch_says_what_became_of_its_records(connection: sa.Connection, tmp_path: Path) -> None:
    batch = opened(connection, tmp_path)
    inbox.quarantine(connection, batch, refused({"row_number": 4}, {"row_number": None}))
    inbox.close_batch(connection, batch, Counts(received=10, duplicate=3, quarantined=2, inserted=4, revised=1))
    row = connection.execute(sa.select(inbox.batches)).one()
    assert (row.received, row.accepted, row.duplicate, row.quarantined) == (10, 5, 3, 2)
    assert (row.inserted, row.revised, row.synthetic) == (4, 1, True)
    assert row.options == {"datum": "gcj02", "reading": {}}
    assert row.finished_at >= row.started_at


FITTING = Counts(received=10, duplicate=3, quarantined=2, inserted=4, revised=1)


@pytest.mark.parametrize(
    "counts",
    [
        replace(FITTING, received=11),
        replace(FITTING, duplicate=2),
        replace(FITTING, inserted=5),
        replace(FITTING, revised=0),
        replace(FITTING, quarantined=1, duplicate=4),
        replace(FITTING, quarantined=3, duplicate=2),
    ],
    ids=["lost", "fewer duplicates", "more inserted", "fewer revised", "unnamed refusals", "named ones missing"],
)
def test_counts_that_do_not_add_up_are_refused(connection: sa.Connection, tmp_path: Path, counts: Counts) -> None:
    batch = opened(connection, tmp_path)
    inbox.quarantine(connection, batch, refused({}, {}))
    with pytest.raises(ValueError, match=f"batch {batch} "):
        inbox.close_batch(connection, batch, counts)
    assert connection.execute(sa.select(inbox.batches.c.finished_at)).scalar() is None


def test_a_batch_that_is_not_there_cannot_end(connection: sa.Connection) -> None:
    with pytest.raises(ValueError, match="no batch 12345"):
        inbox.close_batch(connection, 12345, Counts(0, 0, 0, 0, 0))


def test_a_record_stands_in_quarantine_as_it_was(connection: sa.Connection, tmp_path: Path) -> None:
    batch = opened(connection, tmp_path)
    record = {"name": '一\t"引"\\n', "path": "C:\\u0000", "nothing": None, "nul": "a\0b"}
    inbox.quarantine(
        connection,
        batch,
        refused({"row_number": 7, "detail": "a\0b\tc\\", "record": json.dumps(record)}, {"record": None}),
    )
    first, second = inbox.quarantine_rows(connection)
    assert (first.batch_id, first.dataset, first.row_number, first.stage) == (batch, DATASET, 7, "contract")
    assert (first.reason, first.detail, first.status) == ("wrong-type", "a␀b\tc\\", "open")
    assert first.contract_digest == "digest"
    assert first.record == record | {"nul": "a␀b"}
    assert second.record is None


def test_quarantine_is_counted_narrowed_and_paged(connection: sa.Connection, tmp_path: Path) -> None:
    batch = opened(connection, tmp_path)
    reasons = ["wrong-type"] * 5 + ["null-island"] * 2
    records = [{"row_number": number, "reason": reason} for number, reason in enumerate(reasons)]
    inbox.quarantine(connection, batch, refused(*records))
    rows = inbox.quarantine_rows(connection, DATASET)
    assert inbox.set_status(connection, [rows[0].id, rows[6].id], "replayed") == 2

    def counted(dataset: str | None) -> list[tuple[str, str, int]]:
        return [(line.reason, line.status, line.count) for line in inbox.quarantine_counts(connection, dataset)]

    found = [("wrong-type", "open", 4), ("null-island", "open", 1), ("null-island", "replayed", 1)]
    assert counted(None) == counted(DATASET) == [*found, ("wrong-type", "replayed", 1)]
    assert counted("parks.beds") == []
    assert [row.row_number for row in inbox.quarantine_rows(connection, reason="wrong-type")] == [1, 2, 3, 4]
    assert [row.row_number for row in inbox.quarantine_rows(connection, status=None, batch=batch)] == list(range(7))
    assert inbox.quarantine_rows(connection, batch=batch + 1) == []
    page = inbox.quarantine_rows(connection, limit=2)
    assert [row.row_number for row in page] == [1, 2]
    assert [row.row_number for row in inbox.quarantine_rows(connection, after=page[-1].id, limit=2)] == [3, 4]


def test_the_flow_of_the_hours_adds_up(connection: sa.Connection, tmp_path: Path) -> None:
    for _ in range(2):
        batch = opened(connection, tmp_path)
        inbox.close_batch(connection, batch, Counts(received=10, duplicate=3, quarantined=0, inserted=6, revised=1))
    old = opened(connection, tmp_path)
    inbox.close_batch(connection, old, Counts(received=1, duplicate=1, quarantined=0, inserted=0, revised=0))
    past = sa.func.now() - sa.text("interval '3 hours'")
    connection.execute(sa.update(inbox.batches).where(inbox.batches.c.id == old).values(started_at=past))
    opened(connection, tmp_path)  # not over yet: says nothing so far

    newest, before = inbox.flow(connection)
    assert (newest.received, newest.accepted, newest.duplicate, newest.quarantined) == (20, 14, 6, 0)
    assert (newest.inserted, newest.revised, before.received) == (12, 2, 1)
    assert newest.hour > before.hour
    assert inbox.flow(connection, hours=2) == [newest]
    assert inbox.flow(connection, "parks.beds") == []
