"""The inbox: what arrived, raw, before anything parses it, and what became of it.

Bytes are kept first: few of them in a row, a large file under its SHA-256 below `<home>/inbox`. A batch is one reading
of one arrival and accounts for every record of it: received = accepted + duplicate + quarantined. A record that could
not enter a layer stands in the quarantine with its reason.
"""

import datetime as dt
import mimetypes
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from layers import blobs
from layers.copying import copy_rows
from twin.errors import NotFound

__all__ = [
    "REFUSED",
    "SEALS",
    "Counts",
    "Flow",
    "QuarantineCount",
    "Quarantined",
    "Status",
    "batches",
    "close_batch",
    "flow",
    "inbox",
    "open_batch",
    "quarantine",
    "quarantine_counts",
    "quarantine_rows",
    "quarantined",
    "receive_file",
    "set_status",
    "stored_file",
]

Status = Literal["open", "replayed", "dismissed"]

REFUSED = {
    "row_number": pl.Int64(),
    "stage": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "record": pl.String(),
}
"""Columns of a frame of records for the quarantine: number in the source (null: none), the step that refused it, why
(`layers.reasons.Reason`), which field and value in words, and the record as JSON text (null: it cannot be read)."""

SEALS = "inbox"
"""The keys of sealed arrivals are called `inbox-<dataset>-<day>`."""

_MOMENT = sa.DateTime(timezone=True)
_IN_ROW_BYTES = 256 * 1024
_NUL, _NUL_IN_JSON = re.compile("()\0"), re.compile(r"(\\\\)|\\u0000")  # an escaped backslash before u0000 is none

_metadata = sa.MetaData(schema="twin")

inbox = sa.Table(
    "inbox",
    _metadata,
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("dataset", sa.Text()),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("media", sa.Text(), nullable=False),
    sa.Column("sha256", pg.BYTEA(), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("received_at", _MOMENT, nullable=False, server_default=sa.func.now()),
    sa.Column("raw", pg.BYTEA()),
    sa.Column("blob", sa.Text()),
    sa.Column("sealed", sa.Text()),
    sa.Column("messages", sa.Integer()),
)
"""One row an arrival: its bytes in `raw`, or in the file that `blob` names; `sealed` names the key they need.

`messages` says how many messages of a running source they are (see `layers.arrivals`); then no `dataset` is known yet.
"""

batches = sa.Table(
    "batches",
    _metadata,
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("inbox_id", sa.BigInteger(), nullable=False),
    sa.Column("inbox_last", sa.BigInteger()),
    sa.Column("dataset", sa.Text(), nullable=False),
    sa.Column("contract_digest", sa.Text(), nullable=False),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("synthetic", sa.Boolean(), nullable=False),
    sa.Column("options", pg.JSONB(), nullable=False),
    sa.Column("started_at", _MOMENT, nullable=False, server_default=sa.func.now()),
    sa.Column("finished_at", _MOMENT),
    *(
        sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        for name in ("received", "accepted", "duplicate", "quarantined", "inserted", "revised")
    ),
)
"""One row a batch."""

quarantined = sa.Table(
    "quarantine",
    _metadata,
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("batch_id", sa.BigInteger()),
    sa.Column("inbox_id", sa.BigInteger(), nullable=False),
    sa.Column("dataset", sa.Text(), nullable=False),
    sa.Column("row_number", sa.BigInteger()),
    sa.Column("stage", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("detail", sa.Text(), nullable=False),
    sa.Column("record", pg.JSONB()),
    sa.Column("status", sa.Text(), nullable=False, server_default="open"),
    sa.Column("contract_digest", sa.Text()),
    sa.Column("created_at", _MOMENT, nullable=False, server_default=sa.func.now()),
)
"""One row a refused record."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records of a batch. `duplicate`: they say what the twin knew already."""

    received: int
    duplicate: int
    quarantined: int
    inserted: int
    revised: int

    @property
    def accepted(self) -> int:
        """Records that made a new version of a row."""
        return self.inserted + self.revised


@dataclass(frozen=True, slots=True)
class Flow:
    """What became of the records that a dataset received in one hour, which starts at `hour`."""

    dataset: str
    hour: dt.datetime
    received: int
    accepted: int
    duplicate: int
    quarantined: int
    inserted: int
    revised: int


@dataclass(frozen=True, slots=True)
class QuarantineCount:
    """How many records of a dataset stand in quarantine for one reason, and since when the newest does."""

    dataset: str
    reason: str
    status: Status
    count: int
    newest_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record in quarantine; the columns of the table."""

    id: int
    batch_id: int | None
    inbox_id: int
    dataset: str
    row_number: int | None
    stage: str
    reason: str
    detail: str
    record: dict[str, Any] | None
    status: Status
    contract_digest: str | None
    created_at: dt.datetime


def receive_file(
    connection: sa.Connection, home: Path, dataset: str, path: Path, source: str, *, sealed: bool = False
) -> int:
    """Keep the bytes of a file, safely on disk before the transaction commits. Returns the id of the inbox entry.

    The same bytes for the same dataset are the same entry. `sealed`: they can be read with the key of the dataset and
    day only, which retention destroys. Raises SourceError when the file cannot be read.
    """
    key = f"{SEALS}-{dataset}-{dt.datetime.now(dt.UTC):%Y%m%d}" if sealed else None
    kept = blobs.keep(home, path, in_memory_bytes=_IN_ROW_BYTES, key=key)
    same = sa.select(inbox.c.id).where(inbox.c.sha256 == kept.sha256, inbox.c.dataset == dataset)
    known = connection.scalar(same.order_by(inbox.c.id).limit(1))
    if known is not None:
        return known
    values = {
        "dataset": dataset,
        "source": source,
        "name": path.name,
        "media": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "sealed": key,
        **asdict(kept),
    }
    return int(connection.execute(sa.insert(inbox).values(values).returning(inbox.c.id)).scalar_one())


def stored_file(connection: sa.Connection, home: Path, entry: int) -> tuple[str, AbstractContextManager[Path]]:
    """The dataset of an inbox entry, and its bytes as a file of the name it arrived with while the context is open.

    Raises NotFound when there is no such entry; opening the context raises SourceError when the bytes are gone or not
    those that arrived.
    """
    row = connection.execute(sa.select(inbox).where(inbox.c.id == entry)).one_or_none()
    if row is None:
        raise NotFound(f"the inbox has no entry {entry}.", remedy="See `twin quarantine list`.")
    return row.dataset, blobs.opened(
        home, row.name, blobs.Kept(row.sha256, row.size, row.raw, row.blob), key=row.sealed
    )


def open_batch(
    connection: sa.Connection,
    entry: int,
    dataset: str,
    contract_digest: str,
    *,
    source: str,
    synthetic: bool,
    options: Mapping[str, object],
    last: int | None = None,
) -> int:
    """Begin a batch over an inbox entry, or over those of a source up to `last`. Returns its id.

    Until `close_batch` it has no counts.
    """
    values = {
        "inbox_id": entry,
        "inbox_last": last,
        "dataset": dataset,
        "contract_digest": contract_digest,
        "source": source,
        "synthetic": synthetic,
        "options": dict(options),
    }
    return int(connection.execute(sa.insert(batches).values(values).returning(batches.c.id)).scalar_one())


def close_batch(connection: sa.Connection, batch: int, counts: Counts) -> None:
    """End a batch with what became of its records.

    Raises ValueError when they do not add up (received = accepted + duplicate + quarantined) or when as many records
    do not stand in the quarantine: something was lost, and the transaction must not commit.
    """
    if counts.received != counts.accepted + counts.duplicate + counts.quarantined:
        raise ValueError(f"batch {batch} does not account for every record: {counts}")
    standing = sa.select(sa.func.count()).where(quarantined.c.batch_id == batch)
    if (found := connection.scalar(standing)) != counts.quarantined:
        raise ValueError(f"batch {batch} has {found} records in quarantine: {counts}")
    values = {**asdict(counts), "accepted": counts.accepted, "finished_at": sa.func.clock_timestamp()}
    closed = connection.execute(sa.update(batches).where(batches.c.id == batch).values(values))
    if closed.rowcount != 1:
        raise ValueError(f"there is no batch {batch}")


def quarantine(connection: sa.Connection, batch: int, refused: pl.DataFrame) -> None:
    """Put the records of a batch that were refused, a frame with the columns REFUSED, into the quarantine.

    Where the batch read several arrivals, `inbox_id` says which one a record came in. The character NUL, which
    PostgreSQL cannot hold, becomes its symbol; the inbox has the bytes as they were.
    """
    if refused.is_empty():
        return
    common = ("dataset", "contract_digest")
    own = connection.execute(
        sa.select(batches.c.inbox_id, *(batches.c[name] for name in common)).where(batches.c.id == batch)
    ).one()
    if "inbox_id" not in refused.columns:
        refused = refused.with_columns(pl.lit(own.inbox_id).alias("inbox_id"))
    rows = (
        (batch, *own[1:], entry, number, stage, reason, _without_nul(detail, _NUL), _without_nul(record, _NUL_IN_JSON))
        for entry, number, stage, reason, detail, record in refused.select("inbox_id", *REFUSED).iter_rows()
    )
    copy_rows(connection, "twin.quarantine", ("batch_id", *common, "inbox_id", *REFUSED), rows)


def set_status(connection: sa.Connection, ids: Sequence[int], status: Status) -> int:
    """Mark records of the quarantine. Returns how many there are of these ids."""
    chosen = sa.update(quarantined).where(quarantined.c.id == sa.any_(sa.literal(list(ids), pg.ARRAY(sa.BigInteger()))))
    return connection.execute(chosen.values(status=status)).rowcount


def quarantine_counts(connection: sa.Connection, dataset: str | None = None) -> list[QuarantineCount]:
    """How many records stand in quarantine, by dataset, reason and status; most first."""
    c = quarantined.c
    count = sa.func.count().label("count")
    query = sa.select(c.dataset, c.reason, c.status, count, sa.func.max(c.created_at)).group_by(
        c.dataset, c.reason, c.status
    )
    if dataset is not None:
        query = query.where(c.dataset == dataset)
    query = query.order_by(c.dataset, count.desc(), c.reason, c.status)
    return [QuarantineCount(*row) for row in connection.execute(query)]


def quarantine_rows(
    connection: sa.Connection,
    dataset: str | None = None,
    *,
    reason: str | None = None,
    status: Status | None = "open",
    batch: int | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Quarantined]:
    """Records in quarantine in order of their ids, at most `limit` of those whose id is larger than `after`.

    `dataset`, `reason`, `status` and `batch` narrow them; None does not.
    """
    wanted = {"dataset": dataset, "reason": reason, "status": status, "batch_id": batch}
    query = sa.select(quarantined).where(quarantined.c.id > after).order_by(quarantined.c.id).limit(limit)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(quarantined.c[name] == value)
    return [Quarantined(**row) for row in connection.execute(query).mappings()]


def flow(connection: sa.Connection, dataset: str | None = None, hours: int = 24) -> list[Flow]:
    """What became of the records of the last hours, by dataset and hour; newest hour first."""
    c = batches.c
    hour = sa.func.date_trunc("hour", c.started_at, type_=_MOMENT).label("hour")
    counts = [
        sa.cast(sa.func.sum(c[name]), sa.BigInteger())
        for name in ("received", "accepted", "duplicate", "quarantined", "inserted", "revised")
    ]
    query = (
        sa.select(c.dataset, hour, *counts)
        .where(c.finished_at.is_not(None), c.started_at > sa.func.now() - dt.timedelta(hours=hours))
        .group_by(c.dataset, hour)
        .order_by(hour.desc(), c.dataset)
    )
    if dataset is not None:
        query = query.where(c.dataset == dataset)
    return [Flow(*row) for row in connection.execute(query)]


def _without_nul(text: str | None, nul: re.Pattern[str]) -> str | None:
    return text and nul.sub(lambda match: match.group(1) or "\N{SYMBOL FOR NULL}", text)
