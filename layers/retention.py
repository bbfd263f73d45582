"""Retention: what a contract of personal data says is not kept longer, everywhere it stands, and the proof of it.

Records go whose observation, validity or knowledge ended longer ago than the contract's retention; their numbers; what
was refused of them; and what arrived, whose keys are destroyed so that copies of the bytes can be read no more either.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from layers.arrivals import empty
from layers.branching.registry import version_key
from layers.catalog import Catalog
from layers.contract import Contract, seconds
from layers.feeds import OWN_FEEDS, Feed
from layers.inbox import SEALS, inbox, quarantined
from layers.indicators import refresh
from layers.tables import branch_table, dataset_table, indicator_table, latest_table, published_table
from layers.versions import lock_dataset, mark_changed
from twin.access import Caller
from twin.audit import Entry, append
from twin.city import City
from twin.database import Database
from twin.keys import forget_keys
from twin.view import MAIN

__all__ = ["Expired", "due", "expire", "expire_feeds", "forget_devices"]

Column = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Expired:
    """What went of a dataset: the moment before which nothing is kept, rows by table, and keys destroyed."""

    dataset: str
    cut_off: dt.datetime
    deleted: dict[str, int]
    keys: int


def due(connection: sa.Connection, contract: Contract, city: City, now: dt.datetime) -> dict[str, int]:
    """How many rows of a dataset are to go, by table; empty for one without a retention."""
    if contract.retention is None:
        return {}
    places = _places(contract, city, _cut_off(contract, now))
    counts = {
        table.fullname: connection.scalar(sa.select(sa.func.count()).select_from(table).where(old)) or 0
        for table, old in places
    }
    return {name: number for name, number in counts.items() if number}


def expire(
    database: Database, catalog: Catalog, city: City, home: Path, caller: Caller, *, now: dt.datetime | None = None
) -> list[Expired]:
    """Delete what is kept for too long of every dataset with a retention, and put the proof on record.

    Each dataset is one transaction. Raises RuntimeError, and deletes nothing of the dataset, when anything would be
    left.
    """
    moment = now or dt.datetime.now(dt.UTC)
    found: list[Expired] = []
    for contract in catalog:
        if contract.retention is not None:
            gone = _expire(database, contract, city, home, caller, moment)
            if gone is not None:
                found.append(gone)
    forget_devices(home, moment)
    return found


def expire_feeds(
    database: Database, catalog: Catalog, home: Path, feeds: Sequence[Feed], *, now: dt.datetime | None = None
) -> dict[str, int]:
    """Forget the raw messages of feeds that are kept for long enough, by feed how many arrivals these were.

    They are kept as long as the feed says, and no longer than any of its datasets may be. What has not been read stays.
    """
    moment = now or dt.datetime.now(dt.UTC)
    found: dict[str, int] = {}
    for feed in (*feeds, *OWN_FEEDS):
        lasting = [feed.keep, *(catalog[dataset].retention for dataset in feed.datasets)]
        cut_off = moment - dt.timedelta(seconds=min(seconds(one) for one in lasting if one is not None))
        with database.writing() as connection:
            number = empty(connection, feed.id, cut_off)
        if number:
            found[feed.id] = number
        forget_keys(home, f"{SEALS}-feed_{feed.id}", cut_off.date())
    return found


def forget_devices(home: Path, now: dt.datetime) -> list[str]:
    """Destroy the keys of devices' pseudonyms of the days before yesterday: nobody can link those days any more."""
    return forget_keys(home, "mac", (now - dt.timedelta(days=1)).date())


def _expire(
    database: Database, contract: Contract, city: City, home: Path, caller: Caller, now: dt.datetime
) -> Expired | None:
    cut_off = _cut_off(contract, now)
    with database.writing() as connection:
        lock_dataset(connection, contract.id)
        blobs = _blobs(connection, contract, cut_off)
        deleted: dict[str, int] = {}
        for table, old in _places(contract, city, cut_off):
            emptied = {"raw": b"", "blob": None, "size": 0}
            statement = table.update().where(old).values(emptied) if table is inbox else table.delete().where(old)
            number = connection.execute(statement).rowcount
            deleted |= {table.fullname: number} if number else {}
        if not deleted:
            return None
        refresh(connection, contract, city, None)
        mark_changed(connection, version_key(contract.id, MAIN), dt.datetime.now(dt.UTC))
        left = due(connection, contract, city, now)
        if left:
            raise RuntimeError(f"{contract.id}: {left} would be left after retention")
        keys = forget_keys(home, f"{SEALS}-{contract.id}", cut_off.date())
        said = {"cut_off": cut_off.isoformat(), "deleted": deleted, "keys": keys, "left": 0}
        append(connection, [Entry("retention", caller, contract.id, purpose=contract.retention or "", detail=said)])
    for blob in blobs:
        (home / "inbox" / blob).unlink(missing_ok=True)
    return Expired(contract.id, cut_off, deleted, len(keys))


def _cut_off(contract: Contract, now: dt.datetime) -> dt.datetime:
    return now - dt.timedelta(seconds=seconds(contract.retention or "0 s"))


def _places(contract: Contract, city: City, cut_off: dt.datetime) -> Iterator[tuple[sa.Table, Column]]:
    """Every table in which something of a dataset stands, and which of its rows are too old."""
    rows = dataset_table(contract, city.srid)
    tables = (
        (rows, latest_table(contract, city.srid)) if contract.is_stream else (rows, branch_table(contract, city.srid))
    )
    for table in tables:
        ended = [sa.func.upper(table.c.recorded) < cut_off]
        if contract.is_stream:
            ended.append(table.c.observed_at < cut_off)
        else:
            ended.append(
                sa.and_(sa.func.isfinite(sa.func.upper(table.c.valid)), sa.func.upper(table.c.valid) < cut_off)
            )
        yield table, sa.or_(*ended)
    for indicator in contract.indicators:
        for table in (indicator_table(indicator), published_table(indicator)) if contract.is_personal else ():
            yield table, sa.and_(sa.func.isfinite(table.c.bucket), table.c.bucket < cut_off)
    yield quarantined, sa.and_(quarantined.c.dataset == contract.id, quarantined.c.created_at < cut_off)
    bytes_left = sa.or_(inbox.c.blob.is_not(None), sa.func.length(inbox.c.raw) > 0)
    yield inbox, sa.and_(inbox.c.dataset == contract.id, inbox.c.received_at < cut_off, bytes_left)


def _blobs(connection: sa.Connection, contract: Contract, cut_off: dt.datetime) -> list[str]:
    """Files of the inbox that only what is too old still needs."""
    old = sa.and_(inbox.c.dataset == contract.id, inbox.c.received_at < cut_off)
    others = sa.select(inbox.c.blob).where(sa.not_(old), inbox.c.blob.is_not(None))
    wanted = sa.select(inbox.c.blob).where(old, inbox.c.blob.is_not(None), inbox.c.blob.not_in(others))
    return [str(blob) for blob in connection.scalars(wanted)]
