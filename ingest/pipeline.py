"""From a file to placed rows: inbox, decode, contract, place, guard, write, indicators.

The raw bytes are durable before anything parses them. Each batch is one transaction: rows, quarantine, indicators and
the count of what became of every record stand together or not at all.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from ingest.bundle import bundled
from ingest.codecs.records import ROW, ReadOptions, Records
from ingest.coverages import store_coverage
from ingest.judge import Judged, judge
from ingest.reading import open_records
from ingest.registers import Registers
from ingest.storing import store
from ingest.validation import Validator
from layers import inbox
from layers.catalog import Catalog
from layers.contract import Contract
from layers.indicators import Dirty, refresh
from layers.places.fix import Site
from twin.access import on_this_machine
from twin.audit import Entry, append
from twin.city import City
from twin.database import Database
from twin.progress import Task

__all__ = ["LoadOptions", "Loaded", "Loader"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a person says with a file: its datum (a word of `twin.datum`), how to read it, and whether it is made up.

    `overruled`: the datum holds whatever the contract and the places of other records say.
    """

    datum: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    source: str = "file"
    synthetic: bool = False
    overruled: bool = False


_NOTHING_SAID = LoadOptions()


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

    def add(self, counts: inbox.Counts, refused: pl.DataFrame, unknown_columns: tuple[str, ...]) -> None:
        """Add what became of one batch."""
        self.received += counts.received
        self.inserted += counts.inserted
        self.revised += counts.revised
        self.duplicate += counts.duplicate
        self.quarantined += counts.quarantined
        self.reasons.update(refused["reason"].to_list())
        self.unknown_columns = tuple(sorted({*self.unknown_columns, *unknown_columns}))


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads files into the datasets of one city. `home` is the state folder that holds the inbox's files."""

    database: Database
    catalog: Catalog
    city: City
    home: Path

    def load(
        self, dataset: str, path: Path, options: LoadOptions = _NOTHING_SAID, *, task: Task | None = None
    ) -> Loaded:
        """Load a file into a dataset. Loading it again changes nothing.

        Raises SourceError when the file cannot be read as a whole, DatumError when its datum is unsaid or contradicts
        the contract, NotFound when there is no such dataset. Batches before the error stay.
        """
        contract = self.catalog[dataset]
        with bundled(path) as raw:
            with self.database.writing() as connection:
                sealed = contract.names_somebody
                entry = inbox.receive_file(connection, self.home, dataset, raw, options.source, sealed=sealed)
            return self._read(contract, raw, entry, options, task=task)

    def replay(self, refused: list[inbox.Quarantined], *, datum: str | None = None) -> Loaded:
        """Read records of the quarantine again from the raw bytes, as their file was read the first time.

        With a `datum`, which a person vouches for, their coordinates are read in it. All of them are marked replayed;
        those that are refused again stand in quarantine anew, with today's reason.
        """
        total = Loaded()
        groups: dict[tuple[int, int | None], list[inbox.Quarantined]] = {}
        for record in refused:
            groups.setdefault((record.inbox_id, record.batch_id), []).append(record)
        for (entry, batch), records in groups.items():
            with self.database.writing() as connection:
                dataset, stored = inbox.stored_file(connection, self.home, entry)
                options = _options_of(connection, batch)
                if datum is not None:
                    options = replace(options, datum=datum, overruled=True)
            numbers = frozenset(record.row_number for record in records if record.row_number is not None)
            with stored as raw:
                self._read(self.catalog[dataset], raw, entry, options, only=numbers, loaded=total)
            # Marked last: where reading them fails, they still wait.
            with self.database.writing() as connection:
                inbox.set_status(connection, [record.id for record in records], "replayed")
        return total

    def _read(
        self,
        contract: Contract,
        raw: Path,
        entry: int,
        options: LoadOptions,
        *,
        only: frozenset[int] | None = None,
        task: Task | None = None,
        loaded: Loaded | None = None,
    ) -> Loaded:
        """Read a file batch by batch; with `only`, no other records than those of these numbers."""
        loaded = loaded or Loaded()
        validator = Validator(contract, self.city.zone)
        registers = Registers(self.database, self.catalog, self.city)
        for batch in open_records(raw, contract, options.reading):
            records = batch if only is None else _only(batch, only)
            site = Site(self.city, registers, registers.gazetteer, records.crs, options.datum, options.overruled)
            judged = judge(records, validator.check(records), contract, site)
            self._store(contract, raw, entry, options, judged, loaded)
            if task is not None:
                task.advance(judged.received)
        return loaded

    def _store(
        self, contract: Contract, raw: Path, entry: int, options: LoadOptions, judged: Judged, loaded: Loaded
    ) -> None:
        """Write one batch in one transaction, and add what became of it to `loaded`."""
        with self.database.writing() as connection:
            batch = inbox.open_batch(
                connection,
                entry,
                contract.id,
                self.catalog.digests[contract.id],
                source=options.source,
                synthetic=options.synthetic,
                options={"datum": options.datum, "overruled": options.overruled, "reading": asdict(options.reading)},
            )

            def changed(dirty: Dirty | None) -> None:
                if contract.kind != "coverage":
                    refresh(connection, contract, self.city, dirty)
                elif judged.frame.height:
                    store_coverage(connection, contract, raw, self.city, options.reading.layer)

            stored = store(connection, contract, self.city, self.home, judged, batch, changed)
            inbox.quarantine(connection, batch, stored.refused)
            inbox.close_batch(connection, batch, stored.counts)
            said = {"batch": batch, "source": options.source, **asdict(stored.counts)}
            append(connection, [Entry("load", on_this_machine(), contract.id, detail=said)])
        loaded.add(stored.counts, stored.refused, judged.unknown_columns)


def _only(records: Records, rows: frozenset[int]) -> Records:
    return replace(
        records,
        frame=records.frame.filter(pl.col(ROW).is_in(list(rows))),
        unreadable=tuple(item for item in records.unreadable if item.row in rows),
    )


def _options_of(connection: sa.Connection, batch: int | None) -> LoadOptions:
    """How the file of a batch was read."""
    row = connection.execute(sa.select(inbox.batches).where(inbox.batches.c.id == batch)).one()
    said = row.options or {}
    reading = ReadOptions(**said.get("reading", {}))
    return LoadOptions(said.get("datum"), reading, row.source, row.synthetic, overruled=said.get("overruled", False))
