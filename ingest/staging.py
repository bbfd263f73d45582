"""From a frame into PostgreSQL: binary COPY into a table or a temporary one beside it, indexes dropped and rebuilt.

The names in the SQL here and in the writers come from contracts, whose identifiers are checked, and are quoted.
Temporary columns start with an underscore, which no field of a contract does.
"""

import datetime as dt
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import polars as pl
import sqlalchemy as sa
from psycopg.copy import QueuedLibpqWriter

from ingest.pgcopy import ColumnType, Kind, encode
from layers.contract import Contract
from layers.copying import driver
from layers.indicators import Dirty
from layers.tables import CONTENT_COLUMNS, dataset_table, latest_table, partition_name, quoted

__all__ = [
    "ORDINAL",
    "Outcome",
    "Stamp",
    "Target",
    "copy",
    "is_empty",
    "numbered",
    "stage",
    "without_indexes",
]

ORDINAL = ColumnType("_ordinal", "int4")
"""Column of a staged frame that numbers its rows."""

_FIELD_KINDS: dict[str, Kind] = {
    "string": "text",
    "integer": "int8",
    "float": "float8",
    "boolean": "bool",
    "datetime": "timestamptz",
    "date": "date",
}
_CONTENT_KINDS: dict[str, Kind] = {
    "geom": "geometry",
    "cell": "int8",
    "place_method": "text",
    "place_accuracy_m": "float4",
    "place_source": "text",
    "extra": "jsonb",
}
_SQL_TYPES: dict[Kind, str] = {"float4": "real", "geometry": "geometry"}


@dataclass(frozen=True)
class Target:
    """The tables of a dataset, as the writers see them: names and columns, quoted for SQL."""

    contract: Contract
    srid: int

    @cached_property
    def rows(self) -> str:
        """The table of the rows."""
        return _qualified(dataset_table(self.contract, self.srid))

    @cached_property
    def latest(self) -> str:
        """The table of the newest row of each subject; of a stream only."""
        return _qualified(latest_table(self.contract, self.srid))

    def partition(self, day: dt.date) -> str:
        """The name of the partition of a day (UTC), without its schema and not quoted."""
        return partition_name(self.contract, f"{day:%Y%m%d}")

    @cached_property
    def content(self) -> tuple[ColumnType, ...]:
        """The columns whose change makes a new version of a row: the place, what is unknown, and the fields."""
        fields = ((name, spec) for name, spec in self.contract.fields.items() if name != self.contract.time.event)
        return (
            *(ColumnType(name, _CONTENT_KINDS[name]) for name in CONTENT_COLUMNS),
            *(ColumnType(name, _FIELD_KINDS[spec.type]) for name, spec in fields),
        )

    @cached_property
    def identity(self) -> tuple[ColumnType, ...]:
        """The columns beside the content that a row of the frame brings along and the table keeps as they are."""
        if self.contract.is_stream:
            return ColumnType("id", "text"), ColumnType("subject", "text"), ColumnType("observed_at", "timestamptz")
        return (ColumnType("id", "text"),)

    @cached_property
    def new_columns(self) -> tuple[ColumnType, ...]:
        """The columns of a new row beside its number, for a frame that `Stamp.on` has been laid on."""
        valid = () if self.contract.is_stream else (ColumnType("valid", "tstzrange", ("valid_start", "valid_end")),)
        recorded = ColumnType("recorded", "tstzrange", ("_recorded", "_open"))
        return (*self.identity, *valid, recorded, ColumnType("batch", "int8", ("_batch",)), *self.content)

    def fill(self, connection: sa.Connection, table: str, frame: pl.DataFrame, stamp: "Stamp") -> None:
        """Send new rows into the table of the rows or a partition of it. The caller holds the dataset's lock."""
        # Numbers taken all at once: a default that PostgreSQL works out row by row takes a fifth of the COPY.
        last = connection.scalar(
            sa.text(
                "select setval(numbers, nextval(numbers) + :more)"
                " from (select pg_get_serial_sequence(:rows, 'row')::regclass as numbers) s"
            ),
            {"rows": self.rows, "more": frame.height - 1},
        )
        number = pl.int_range(pl.len(), dtype=pl.Int64) + (int(last or 0) - frame.height + 1)
        columns = (ColumnType("row", "int8", ("_row",)), *self.new_columns)
        copy(connection, table, columns, stamp.on(frame).with_columns(number.alias("_row")))

    def run(self, connection: sa.Connection, template: str, parameters: Mapping[str, object]) -> None:
        """Run a statement written for any dataset: `{rows}`, `{latest}`, `{content}`, `{content_of_s}` and the like."""
        names = {f"content_of_{alias}": self._listed(alias) for alias in ("s", "o", "excluded")}
        names["content_differs"] = f"({names['content_of_o']}) is distinct from ({names['content_of_s']})"
        if self.contract.is_stream:
            names["latest"] = self.latest
        statement = template.format(rows=self.rows, content=self._listed(), **names)
        connection.execute(sa.text(statement), parameters)

    def _listed(self, alias: str = "") -> str:
        prefix = f"{alias}." if alias else ""
        return ", ".join(prefix + quoted(column.name) for column in self.content)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all rows of one write share: the batch they came in, and since when the twin knows them."""

    batch: int
    moment: dt.datetime

    def on(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the columns that `Target.new_columns` needs."""
        moment = pl.Datetime("us", "UTC")
        return frame.with_columns(
            pl.lit(self.moment, moment).alias("_recorded"),
            pl.lit(None, moment).alias("_open"),
            pl.lit(self.batch, pl.Int64).alias("_batch"),
        )

    @property
    def parameters(self) -> dict[str, object]:
        """As parameters of the SQL of a writer."""
        return {"batch": self.batch, "moment": self.moment}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did: rows that are new, rows that replaced another, and which cells they changed (None: all)."""

    inserted: int
    revised: int
    dirty: Dirty | None


def _qualified(table: sa.Table) -> str:
    return f"{quoted(table.schema or '')}.{quoted(table.name)}"


def copy(connection: sa.Connection, table: str, columns: Sequence[ColumnType], frame: pl.DataFrame) -> None:
    """Send a frame into the columns of a table, in the transaction of `connection`; `table` is quoted already."""
    names = ", ".join(quoted(column.name) for column in columns)
    cursor = driver(connection).cursor()
    # The writer sends from a thread of its own: PostgreSQL reads one part while the next is encoded.
    with (
        cursor,
        cursor.copy(
            f"copy {table} ({names}) from stdin (format binary)".encode(), writer=QueuedLibpqWriter(cursor)
        ) as sink,
    ):
        for part in encode(frame, columns):
            sink.write(part)


def is_empty(connection: sa.Connection, table: str) -> bool:
    """Whether a table, quoted already, holds no rows at all."""
    return not connection.scalar(sa.text(f"select exists (select from {table})"))


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the column ORDINAL."""
    return frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias(ORDINAL.name))


def stage(
    connection: sa.Connection, name: str, columns: Sequence[ColumnType], frame: pl.DataFrame, keys: Sequence[str]
) -> None:
    """Put a frame into a new temporary table that lasts until the end of the transaction.

    `keys` are the columns it will be joined by: the planner gets their statistics.
    """
    definitions = ", ".join(f"{quoted(column.name)} {_SQL_TYPES.get(column.kind, column.kind)}" for column in columns)
    connection.exec_driver_sql(f"drop table if exists pg_temp.{name}")
    connection.exec_driver_sql(f"create temporary table {name} ({definitions}) on commit drop")
    copy(connection, name, columns, frame)
    connection.exec_driver_sql(f"analyze {name} ({', '.join(map(quoted, keys))})")


@contextmanager
def without_indexes(connection: sa.Connection, table: str) -> Generator[None]:
    """While the block runs, the table lacks its indexes and the keys that they hold; then they are built.

    Building an index once costs a fraction of keeping it up to date row by row. The table is locked until the end of
    the transaction, so this is for tables that hold nothing anybody could read.
    """
    found = connection.execute(
        sa.text(
            "select indexrelid::regclass::text, pg_get_indexdef(indexrelid), conname, pg_get_constraintdef(c.oid)"
            " from pg_index left join pg_constraint c on conindid = indexrelid and contype in ('p', 'u')"
            " where indrelid = cast(:table as regclass)"
        ),
        {"table": table},
    ).all()
    for index, _, key, _ in found:
        what = f"alter table {table} drop constraint {quoted(key)}" if key else f"drop index {index}"
        connection.exec_driver_sql(what)
    yield
    for _, index, key, definition in found:
        what = f"alter table {table} add constraint {quoted(key)} {definition}" if key else index
        connection.exec_driver_sql(what.replace("%", "%%"))
