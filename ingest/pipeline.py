"""From a file to placed rows: inbox, decode, contract, place, guard, write, indicators.

The raw bytes are durable before anything parses them. Each batch is one transaction: rows, quarantine, indicators and
the count of what became of every record stand together or not at all.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import sqlalchemy as sa

from ingest.bundle import bundled
from ingest.codecs.records import ROW, ReadOptions, Records
from ingest.reading import open_records
from ingest.registers import Registers
from ingest.rows import rows_of
from ingest.validation import Checked, Validator
from ingest.writer import Written, write
from layers import inbox
from layers.catalog import Catalog
from layers.contract import Contract
from layers.indicators import refresh
from layers.places.fix import Site
from layers.places.resolver import place
from layers.reasons import Reason
from twin.city import City
from twin.database import Database
from twin.progress import Task

__all__ = ["Loaded", "Loader", "LoadOptions"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a person says with a file: its datum (a word of `twin.datum`), how to read it, and whether it is made up."""

    datum: str | None = None
    reading: ReadOptions = ReadOptions()
    source: str = "file"
    synthetic: bool = False


@dataclass(slots=True)
class Loaded:
    """What became of the records of a load: received = accepted + duplicate + quarantined."""

    received: int = 0
    inserted: int = 0
    revised: int = 0
    duplicate: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    unknown_columns: tuple[str, ...] = ()

    @property
    def accepted(self) -> int:
        """Records that made a new version of a row."""
        return self.inserted + self.revised


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads files into the datasets of one city."""

    database: Database
    catalog: Catalog
    city: City
    home: Path

    def load(
        self, dataset: str, path: Path, options: LoadOptions = LoadOptions(), *, task: Task | None = None
    ) -> Loaded:
        """Load a file into a dataset. Loading it again changes nothing.

        Raises SourceError when the file cannot be read as a whole, DatumError when its datum is unsaid or contradicts
        the contract, NotFound when there is no such dataset. Batches before the error stay.
        """
        contract = self.catalog[dataset]
        with bundled(path) as raw:
            with self.database.writing() as connection:
                entry = inbox.receive_file(connection, self.home, dataset, raw, options.source)
            return self._read(contract, raw, entry, options, task=task)

    def replay(self, entry: int, rows: frozenset[int], options: LoadOptions = LoadOptions()) -> Loaded:
        """Read some records of an inbox entry again: those that stood in quarantine.

        Those that pass now are marked replayed there; those that fail again stay as they are.
        """
        with self.database.writing() as connection:
            dataset, raw_file = inbox.stored_file(connection, self.home, entry)
        with raw_file as raw:
            return self._read(self.catalog[dataset], raw, entry, options, only=rows)

    def _read(
        self,
        contract: Contract,
        raw: Path,
        entry: int,
        options: LoadOptions,
        *,
        only: frozenset[int] | None = None,
        task: Task | None = None,
    ) -> Loaded:
        loaded = Loaded()
        validator = Validator(contract, self.city.zone)
        registers = Registers(self.database, self.catalog, self.city)
        for records in open_records(raw, contract, options.reading):
            chosen = records if only is None else _only(records, only)
            site = Site(self.city, registers, chosen.crs, options.datum)
            self._store(contract, entry, options, _judged(chosen, validator.check(chosen), contract, site), loaded)
            if task is not None:
                task.advance(chosen.frame.height + len(chosen.unreadable))
        return loaded

    def _store(self, contract: Contract, entry: int, options: LoadOptions, judged: "_Judged", loaded: Loaded) -> None:
        """Write one batch in one transaction, and add what became of it to `loaded`."""
        with self.database.writing() as connection:
            batch = inbox.open_batch(
                connection,
                entry,
                contract.id,
                self.catalog.digests[contract.id],
                source=options.source,
                synthetic=options.synthetic,
                options={"datum": options.datum},
            )
            rows = rows_of(judged.frame, judged.placed, contract, self.city.srid)
            written = write(connection, contract, self.city, rows, batch, dt.datetime.now(dt.UTC))
            refused = pl.concat([judged.refused, judged.conflicts(written)])
            refresh(connection, contract, self.city, written.dirty)
            inbox.quarantine(connection, batch, refused)
            counts = inbox.Counts(
                received=judged.received,
                duplicate=written.unchanged,
                quarantined=refused.height,
                inserted=written.inserted,
                revised=written.revised,
            )
            inbox.close_batch(connection, batch, counts)
        loaded.add(counts, refused, judged.unknown_columns)


def _only(records: Records, rows: frozenset[int]) -> Records:
    return replace(
        records,
        frame=records.frame.filter(pl.col(ROW).is_in(list(rows))),
        unreadable=tuple(item for item in records.unreadable if item.row in rows),
    )
