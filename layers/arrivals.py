"""Messages of running sources: kept as they arrive, many to a row of the inbox, then read once and in order.

Who receives messages acknowledges them when `receive` has committed. Who reads a source claims it, so that no two
do, and says how far it has come in the transaction that writes what the messages brought.
"""

import datetime as dt
import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from layers.inbox import SEALS, inbox
from twin.database import Database
from twin.keys import sealed_key
from twin.sealing import sealed_bytes

__all__ = [
    "ARRIVALS_CHANNEL",
    "MEDIA",
    "Arrival",
    "Piece",
    "Reading",
    "add_piece",
    "claim",
    "contact",
    "drop_pieces",
    "empty",
    "finish",
    "keep",
    "lag",
    "pack",
    "pieces",
    "pieces_of",
    "position_of",
    "receive",
    "sources",
    "unpack",
    "waiting",
]

ARRIVALS_CHANNEL = "twin_arrivals"
"""PostgreSQL's channel on which the name of a source is told when messages of it have committed."""

MEDIA = "application/x-citytwin-messages"
_LENGTH = struct.Struct(">I")
_MOMENT = sa.DateTime(timezone=True)
_metadata = sa.MetaData(schema="twin")
_COUNTS = ("messages", "records", "control", "pieces", "unused", "broken")

sources = sa.Table(
    "sources",
    _metadata,
    sa.Column("source", sa.Text(), primary_key=True),
    sa.Column("done", sa.BigInteger(), nullable=False, server_default="0"),
    *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in _COUNTS),
    sa.Column("received_at", _MOMENT),
    sa.Column("read_at", _MOMENT),
    sa.Column("position", sa.Text()),
    sa.Column("contact_at", _MOMENT),
    sa.Column("fault", sa.Text()),
    sa.Column("fault_at", _MOMENT),
)
"""One row a source: its last arrival that was read, what its messages were, and how contact with it stands."""

pieces = sa.Table(
    "pieces",
    _metadata,
    sa.Column("source", sa.Text(), primary_key=True),
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("number", sa.Integer(), primary_key=True),
    sa.Column("total", sa.Integer(), nullable=False),
    sa.Column("message", pg.BYTEA(), nullable=False),
    sa.Column("inbox_id", sa.BigInteger(), nullable=False),
    sa.Column("row", sa.Integer(), nullable=False),
    sa.Column("arrived", _MOMENT, nullable=False),
)
"""One row a piece of a message whose other pieces have not arrived yet."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Messages that arrived together: the id of their row in the inbox, when, the bytes, and the key they need."""

    id: int
    received_at: dt.datetime
    raw: bytes
    sealed: str | None


class Piece(NamedTuple):
    """A piece of a message: which of how many with the same key, the message that carried it, and where it arrived."""

    key: str
    number: int
    total: int
    message: bytes
    inbox_id: int
    row: int
    arrived: dt.datetime


@dataclass(slots=True)
class Reading:
    """What the messages of one reading were: each is in exactly one of `data`, `control`, `pieces`, `unused`, `broken`.

    `data` brought records that a dataset takes, `unused` only such that none does.
    """

    messages: int = 0
    data: int = 0
    records: int = 0
    control: int = 0
    pieces: int = 0
    unused: int = 0
    broken: int = 0


def pack(messages: Iterable[bytes]) -> bytes:
    """Messages as one row of the inbox holds them: each behind its length."""
    return b"".join(part for message in messages for part in (_LENGTH.pack(len(message)), message))


def unpack(raw: bytes) -> list[bytes]:
    """The messages of a row. Raises ValueError when these are not its bytes."""
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise ValueError("the messages of an arrival are cut off")
        found.append(raw[at : at + length])
        at += length
    return found


def receive(connection: sa.Connection, source: str, raw: bytes, messages: int, *, sealed: str | None = None) -> int:
    """Keep packed messages of a source; its readers hear of them when the transaction commits. Returns the row's id.

    The rows of a source commit in the order of their ids: who reads them in that order misses none.
    """
    connection.execute(
        sa.text("select pg_advisory_xact_lock(hashtextextended(:source, 1))"), {"source": f"twin:{source}"}
    )
    values = {
        "source": source,
        "name": source,
        "media": MEDIA,
        "sha256": hashlib.sha256(raw).digest(),
        "size": len(raw),
        "raw": raw,
        "messages": messages,
        "sealed": sealed,
        "received_at": sa.func.clock_timestamp(),
    }
    entry = connection.execute(sa.insert(inbox).values(values).returning(inbox.c.id)).scalar_one()
    connection.execute(sa.text("select pg_notify(:channel, :source)"), {"channel": ARRIVALS_CHANNEL, "source": source})
    return int(entry)


def keep(
    database: Database, home: Path, source: str, messages: Sequence[bytes], *, seal: bool, position: str | None = None
) -> None:
    """Keep messages of a source, on disk when this returns. `seal`: with a key of the day, since they name somebody.

    `position`: where to go on when a source is asked again; it stands with the messages or not at all. Raises
    DatabaseUnavailable as `Database.writing` does: then nothing was kept.
    """
    raw, key = pack(messages), None
    if seal:
        key = f"{SEALS}-feed_{source}-{dt.datetime.now(dt.UTC):%Y%m%d}"
        raw = sealed_bytes(raw, sealed_key(home, key))
    with database.writing() as connection:
        if messages:
            receive(connection, source, raw, len(messages), sealed=key)
        if position is not None:
            _note(connection, source, position=position)


def position_of(connection: sa.Connection, source: str) -> str | None:
    """Where to go on when a source is asked again; None: at its beginning."""
    return connection.scalar(sa.select(sources.c.position).where(sources.c.source == source))


def contact(database: Database, source: str, fault: str | None) -> None:
    """Note that a source was reached, or why nothing can be received of it."""
    now = sa.func.clock_timestamp()
    with database.writing() as connection:
        if fault is None:
            _note(connection, source, contact_at=now, fault=None, fault_at=None)
        else:
            _note(connection, source, fault=fault, fault_at=now)


def _note(connection: sa.Connection, source: str, **values: object) -> None:
    said = pg.insert(sources).values(source=source, **values)
    connection.execute(said.on_conflict_do_update(index_elements=["source"], set_=values))


def claim(connection: sa.Connection, source: str) -> int | None:
    """The last arrival of the source that was read, held until the end of the transaction; None: another reads it."""
    mine = sa.text("select pg_try_advisory_xact_lock(hashtextextended(:source, 2))")
    if not connection.scalar(mine, {"source": f"twin:{source}"}):
        return None
    connection.execute(pg.insert(sources).values(source=source).on_conflict_do_nothing())
    return connection.scalar(sa.select(sources.c.done).where(sources.c.source == source))


def waiting(connection: sa.Connection, source: str, after: int, *, messages: int, span: dt.timedelta) -> list[Arrival]:
    """The next arrivals of a source: at least one, further ones up to so many messages and so long after the first."""
    columns = (inbox.c.id, inbox.c.received_at, inbox.c.raw, inbox.c.sealed, inbox.c.messages)
    chosen = (
        sa.select(*columns)
        .where(inbox.c.source == source, inbox.c.messages.is_not(None), inbox.c.id > after)
        .order_by(inbox.c.id)
        .limit(256)
    )
    found: list[Arrival] = []
    count = 0
    with connection.execute(chosen.execution_options(yield_per=16)) as rows:
        for row in rows:
            count += row.messages
            if found and (count > messages or row.received_at - found[0].received_at > span):
                break
            found.append(Arrival(row.id, row.received_at, bytes(row.raw or b""), row.sealed))
    return found


def finish(connection: sa.Connection, source: str, arrivals: Sequence[Arrival], reading: Reading) -> None:
    """Say that these arrivals have been read, and what their messages were. The caller holds the claim."""
    c = sources.c
    added = {name: c[name] + getattr(reading, name) for name in _COUNTS}
    moved = {"done": arrivals[-1].id, "received_at": arrivals[-1].received_at, "read_at": sa.func.clock_timestamp()}
    connection.execute(sa.update(sources).where(c.source == source).values({**moved, **added}))


def empty(connection: sa.Connection, source: str, before: dt.datetime) -> int:
    """Forget the bytes of arrivals that were read and came before a moment. Returns how many these were."""
    c = inbox.c
    done = sa.select(sources.c.done).where(sources.c.source == source).scalar_subquery()
    old = (c.source == source, c.messages.is_not(None), c.id <= done, c.received_at < before, c.size > 0)
    return connection.execute(sa.update(inbox).where(*old).values(raw=b"", size=0)).rowcount


def lag(connection: sa.Connection, source: str) -> int:
    """How many messages of a source wait to be read."""
    done = sa.select(sources.c.done).where(sources.c.source == source).scalar_subquery()
    left = sa.select(sa.func.coalesce(sa.func.sum(inbox.c.messages), 0)).where(
        inbox.c.source == source, inbox.c.messages.is_not(None), inbox.c.id > sa.func.coalesce(done, 0)
    )
    return int(connection.scalar(left) or 0)


def add_piece(connection: sa.Connection, source: str, piece: Piece) -> None:
    """Keep a piece until the others arrive; one that arrives again takes the place of the first."""
    fresh = pg.insert(pieces).values({**piece._asdict(), "source": source})
    again = {name: fresh.excluded[name] for name in ("total", "message", "inbox_id", "row", "arrived")}
    connection.execute(fresh.on_conflict_do_update(index_elements=["source", "key", "number"], set_=again))


def pieces_of(
    connection: sa.Connection, source: str, *, key: str | None = None, before: dt.datetime | None = None
) -> list[Piece]:
    """The pieces with a key, or those that arrived before a moment, in order of their keys and numbers."""
    c = pieces.c
    chosen = (
        sa.select(*(c[name] for name in Piece._fields)).where(*_chosen(source, key, before)).order_by(c.key, c.number)
    )
    return [Piece(*row) for row in connection.execute(chosen)]


def drop_pieces(
    connection: sa.Connection, source: str, *, key: str | None = None, before: dt.datetime | None = None
) -> None:
    """Forget the pieces with a key, or those that arrived before a moment."""
    connection.execute(sa.delete(pieces).where(*_chosen(source, key, before)))


def _chosen(source: str, key: str | None, before: dt.datetime | None) -> list[sa.ColumnElement[bool]]:
    chosen = [pieces.c.source == source]
    if key is not None:
        chosen.append(pieces.c.key == key)
    if before is not None:
        chosen.append(pieces.c.arrived < before)
    return chosen
