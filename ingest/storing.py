"""Judged records into their dataset: rows, quarantine, and the account of what became of each."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from ingest.codecs.records import ROW
from ingest.judge import Judged
from ingest.private import Protection
from ingest.rows import rows_of
from ingest.writer import write
from layers import inbox
from layers.contract import Contract
from layers.indicators import Dirty
from twin.city import City
from twin.pseudonyms import Pseudonyms

__all__ = ["Stored", "store"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of the records of a batch, those that were refused, and of a stream what was read, and when."""

    counts: inbox.Counts
    refused: pl.DataFrame
    keys: pl.DataFrame


def store(
    connection: sa.Connection,
    contract: Contract,
    city: City,
    home: Path,
    judged: Judged,
    batch: int,
    changed: Callable[[Dirty | None], None],
    *,
    superseding: bool = False,
) -> Stored:
    """Write judged records, in the transaction of `connection`.

    `changed` hears of the cells in which rows changed, before anything else is written. Of two records with one key and
    other content the second is refused; with `superseding` it takes the first one's place, as if it had come later.
    """
    private = Protection(contract, Pseudonyms(home, dt.datetime.now(dt.UTC)))
    rows = rows_of(private.records(judged.frame), judged.placed, contract, city.srid)
    keys = rows.select("subject", "observed_at") if contract.is_stream else pl.DataFrame()
    inserted = revised = unchanged = 0
    while True:
        written = write(connection, contract, city, rows, batch, dt.datetime.now(dt.UTC))
        inserted, revised, unchanged = (
            inserted + written.inserted, revised + written.revised, unchanged + written.unchanged
        )  # fmt: skip
        changed(written.dirty)
        if not superseding or written.conflicts.is_empty():
            break
        rows = rows.join(written.conflicts.select(ROW), on=ROW, how="semi", maintain_order="left")
    conflicts = judged.refused.clear() if superseding else judged.conflicts(written)
    refused = private.refused(pl.concat([judged.refused, conflicts]))
    counts = inbox.Counts(
        received=judged.received, duplicate=unchanged, quarantined=refused.height, inserted=inserted, revised=revised
    )
    return Stored(counts, refused, keys)
