"""The writer: checked and placed rows into a dataset's table, keeping both times. Nothing is overwritten."""

import datetime as dt
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa

from ingest.codecs.records import ROW
from ingest.staging import Stamp, Target
from ingest.states import write_states
from ingest.streams import write_stream
from layers.contract import Contract
from layers.indicators import Dirty
from layers.versions import last_change, lock_dataset, mark_changed
from twin.city import City

__all__ = ["Written", "write"]

_SETTINGS = (
    "set local work_mem = '128MB'",
    "set local maintenance_work_mem = '256MB'",
    "set local jit = off",
    "set local enable_mergejoin = off",  # a merge has to sort the staged texts first: a hash join takes a quarter
)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the rows of one write: each is in exactly one of the first four.

    `unchanged` counts rows that say what the twin knew already, or what an earlier row of the batch says. `conflicts`
    are rows whose key stands in an earlier row with other content: ROW and `detail`, in words; they were not written.
    `recorded_at` is the moment since which the twin knows the new rows; `dirty` is for `layers.indicators.refresh`.
    """

    inserted: int
    revised: int
    unchanged: int
    conflicts: pl.DataFrame
    recorded_at: dt.datetime
    dirty: Dirty | None


def write(
    connection: sa.Connection, contract: Contract, city: City, rows: pl.DataFrame, batch: int, now: dt.datetime
) -> Written:
    """Write rows into main, in the transaction of `connection`, which then holds the dataset's lock until its end.

    `rows`: ROW; `id`; for streams `subject` and `observed_at`, else `valid_start` (null: not stated) and `valid_end`
    (null: still true); `geom` (EWKB in the city's SRID), `cell`, `place_method`, `place_accuracy_m`, `place_source`,
    `extra` (JSON) and the contract's fields. Times are Datetime("us", "UTC").

    Same content as stored changes nothing; other content closes the stored row's `recorded` and inserts a new row (see
    `ingest.states` and `ingest.streams`). Raises SourceError for values that PostgreSQL cannot store.
    """
    lock_dataset(connection, contract.id)
    for setting in _SETTINGS:
        connection.exec_driver_sql(setting)
    identity = ["subject", "observed_at"] if contract.is_stream else ["id", "valid_start"]
    target = Target(contract, city.srid)
    kept, repeated, conflicts = _apart(rows, identity, [column.name for column in target.content])
    stamp = Stamp(batch, _moment(connection, contract.id, now))
    if kept.is_empty():
        return Written(0, 0, repeated, conflicts, stamp.moment, Dirty.none(connection))
    outcome = (write_stream if contract.is_stream else write_states)(connection, target, kept, stamp)
    if outcome.inserted or outcome.revised:
        mark_changed(connection, contract.id, stamp.moment)
    unchanged = repeated + kept.height - outcome.inserted - outcome.revised
    return Written(outcome.inserted, outcome.revised, unchanged, conflicts, stamp.moment, outcome.dirty)


def _moment(connection: sa.Connection, dataset: str, now: dt.datetime) -> dt.datetime:
    """`now`, or just after the last change of the dataset: no two writes share a moment, whatever the clock does."""
    before = last_change(connection, dataset)
    return now if before is None or before < now else before + dt.timedelta(microseconds=1)


def _apart(rows: pl.DataFrame, identity: list[str], content: list[str]) -> tuple[pl.DataFrame, int, pl.DataFrame]:
    """The first row of each identity, how many rows only repeat one, and the rows that contradict one."""
    if rows.select(identity).hash_rows().n_unique() == rows.height:  # equal identities have equal hashes
        return rows, 0, rows.clear().select(ROW, pl.lit("").alias("detail"))
    is_first = pl.struct(identity).is_first_distinct()
    first, others = rows.filter(is_first), rows.filter(~is_first)
    pairs = others.join(first, on=identity, how="left", nulls_equal=True, suffix="_first")
    different = [
        pl.when(pl.col(name).ne_missing(pl.col(f"{name}_first"))).then(pl.lit(name))
        for name in (*content, "valid_end")
        if name in rows.columns and name not in identity
    ]
    detail = pl.format(
        "row {} of the batch has the same key ({}) and other values of: {}",
        f"{ROW}_first",
        "id",
        pl.concat_str(different, separator=", ", ignore_nulls=True),
    )
    conflicts = pairs.filter(pl.any_horizontal(column.is_not_null() for column in different))
    return first, others.height - conflicts.height, conflicts.select(ROW, detail.alias("detail"))
