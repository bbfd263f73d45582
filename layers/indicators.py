"""Indicators: numbers per H3 cell, kept as additive parts (count, sum, smallest, largest, sum of squares).

Parts are stored at the indicator's own resolution; a coarser cell is the sum of its children. They are computed again
from the rows wherever rows changed, never adjusted, so that they cannot drift from the rows.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from layers.contract import Contract, Indicator, seconds
from layers.copying import copy_rows
from layers.published import publish
from layers.tables import dataset_table, indicator_table, latest_table, open_rows
from twin.city import City

__all__ = ["PARTS", "Dirty", "bucket_sql", "counted", "parent_sql", "parts_of", "refresh", "write_parts"]

PARTS = ("n", "total", "smallest", "largest", "squares")
"""The additive parts, in the order of the table."""

_RESOLUTION_SHIFT, _RESOLUTION_BITS, _DIGIT_BITS, _FINEST = 52, 0xF, 3, 15

_ORIGIN = dt.datetime(1970, 1, 5)  # noqa: DTZ001  (local time of whichever city)
"""Where windows are counted from, in the city's time: a Monday, so that seven days are a week."""

_DAY_S, _LONGEST_SHIFT_S = 86_400, 3600  # a day of local time may be an hour longer

_TOUCHED = sa.table("_touched", sa.column("cell", sa.BigInteger()), sa.column("bucket", sa.DateTime(timezone=True)))

Column = sa.ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Dirty:
    """Where rows changed: a temporary table of `cell` and `observed_at` (null for states), gone with the transaction.

    A pair may stand in it more than once. A null cell belongs to no indicator and may stand in it too.
    """

    table: sa.TableClause

    @classmethod
    def none(cls, connection: sa.Connection) -> "Dirty":
        """Nothing changed so far. A transaction has one of these: the one made before is gone."""
        connection.exec_driver_sql("drop table if exists pg_temp._dirty")
        connection.exec_driver_sql(
            "create temporary table _dirty (cell bigint, observed_at timestamptz) on commit drop"
        )
        return cls(sa.table("_dirty", sa.column("cell"), sa.column("observed_at")))

    def add(self, connection: sa.Connection, query: str) -> None:
        """Add the rows of a query (SQL) for `cell` and `observed_at`."""
        connection.exec_driver_sql(f"insert into _dirty {query}")


def parent_sql(column: Column, resolution: int) -> Column:
    """The ancestor of a column of cells at `resolution`, and a coarser cell itself, as an SQL expression.

    Index layout: https://h3geo.org/docs/core-library/h3Indexing. Unused digits are all ones, so a parent is its child
    with more digits set and another resolution.
    """
    field = _RESOLUTION_BITS << _RESOLUTION_SHIFT
    wanted = resolution << _RESOLUTION_SHIFT
    unused = (1 << (_DIGIT_BITS * (_FINEST - resolution))) - 1
    parent = column.op("&")(_number(~field)).op("|")(_number(wanted | unused))
    return sa.case((column.op("&")(_number(field)) > _number(wanted), parent), else_=column)


def _number(value: int) -> Column:
    """A constant in the text of the statement, so that two of the same expressions are the same to GROUP BY."""
    return sa.literal_column(str(value), sa.BigInteger())


def bucket_sql(indicator: Indicator, city: City, column: Column) -> Column:
    """The start of the indicator's window that a column of times falls into, as an SQL expression.

    Windows of whole days are days of the city's own time; without a window there is one bucket, '-infinity'.
    """
    if indicator.window is None:
        return sa.literal_column("'-infinity'::timestamptz", sa.DateTime(timezone=True))
    window_s = seconds(indicator.window)
    window = sa.literal(dt.timedelta(seconds=window_s), sa.Interval())
    if window_s % _DAY_S:
        return sa.func.date_bin(window, column, _ORIGIN.replace(tzinfo=city.tzinfo))
    local = sa.func.timezone(city.zone, column)
    return sa.func.timezone(city.zone, sa.func.date_bin(window, local, sa.literal(_ORIGIN, sa.DateTime())))


def parts_of(rows: sa.FromClause, contract: Contract, indicator: Indicator, city: City) -> sa.SelectBase:
    """The parts of an indicator over any rows of its dataset: `cell`, `bucket` and PARTS, one line a cell and bucket.

    Rows without a cell, and rows where nothing was measured, are in none. A row whose cell is coarser than the
    indicator counts in that coarse cell. A float is summed as the decimal that it is written as: exact, so that the
    order of the rows changes nothing.
    """
    number = _measured(rows, contract, indicator)
    exact = sa.cast(sa.cast(number, sa.Text()), sa.Numeric())
    cell, bucket = _place(rows, indicator, city)
    measured = sa.select(
        cell.label("cell"), bucket.label("bucket"), number.label("number"), exact.label("exact")
    ).where(*counted(rows, indicator))
    # The offset keeps PostgreSQL from working out `exact` once for each of its uses.
    m, func = measured.offset(sa.literal_column("0")).subquery("measured").c, sa.func
    sums = func.count(), func.sum(m.exact), func.min(m.number), func.max(m.number), func.sum(m.exact * m.exact)
    labelled = (column.label(name) for column, name in zip(sums, PARTS, strict=True))
    return sa.select(m.cell, m.bucket, *labelled).group_by(m.cell, m.bucket)


def counted(rows: sa.FromClause, indicator: Indicator) -> list[Column]:
    """The conditions that a row counts: it has a cell, the values asked for, and something measured."""
    conditions: list[Column] = [rows.c.cell.is_not(None)]
    if indicator.parsed.field is not None:
        conditions.append(rows.c[indicator.parsed.field].is_not(None))
    return conditions + [sa.cast(rows.c[name], sa.Text()).in_(values) for name, values in indicator.where.items()]


def refresh(
    connection: sa.Connection, contract: Contract, city: City, dirty: Dirty | None, *, at: dt.datetime | None = None
) -> None:
    """Compute the parts of every indicator of a dataset again, where `dirty` says or everywhere (None).

    They are made of the open rows of main: of states those that are true in the world at `at` (None: now), of streams
    all of them, or for an indicator without a window the newest of each subject. Coverages have their parts from pixels
    (`write_parts`) and are left alone. Runs in the transaction of `connection`, under the dataset's lock.
    """
    if contract.kind == "coverage":
        return
    for indicator in contract.indicators:
        rows, table = _current_rows(contract, indicator, city), indicator_table(indicator)
        shown = sa.select(rows).where(open_rows(rows))
        if not contract.is_stream:
            moment = sa.literal(at or dt.datetime.now(dt.UTC), sa.DateTime(timezone=True))
            shown = shown.where(rows.c.valid.op("@>")(moment))
        if dirty is None:
            connection.execute(table.delete())
        else:
            _touch(connection, indicator, city, dirty)
            connection.execute(_delete(table, _TOUCHED))
            shown = shown.where(*_touched(connection, rows, indicator, city, dirty))
        parts = parts_of(shown.subquery("shown"), contract, indicator, city)
        connection.execute(table.insert().from_select(["cell", "bucket", *PARTS], parts))
        if contract.is_personal:
            publish(connection, contract, indicator, sa.select(_TOUCHED.c.bucket) if dirty is not None else None)


def write_parts(connection: sa.Connection, indicator: Indicator, parts: pl.DataFrame) -> None:
    """Replace the parts of an indicator in the cells of `parts`, for a dataset whose values are pixels.

    `parts`: `cell` (Int64, at the indicator's resolution), each once, and PARTS. A cell with n = 0 loses its parts.
    """
    table = indicator_table(indicator)
    name = f'{table.schema}."{table.name}"'
    connection.exec_driver_sql("drop table if exists pg_temp._parts")
    connection.exec_driver_sql(f"create temporary table _parts (like {name} including defaults) on commit drop")
    connection.exec_driver_sql("alter table _parts alter bucket set default '-infinity'")
    copy_rows(connection, "_parts", ("cell", *PARTS), parts.select("cell", *PARTS).iter_rows())
    connection.execute(_delete(table, sa.table("_parts", sa.column("cell"), sa.column("bucket"))))
    connection.exec_driver_sql(f"insert into {name} select * from _parts where n > 0")


def _current_rows(contract: Contract, indicator: Indicator, city: City) -> sa.Table:
    newest_only = contract.is_stream and indicator.window is None
    return (latest_table if newest_only else dataset_table)(contract, city.srid)


def _place(rows: sa.FromClause, indicator: Indicator, city: City) -> tuple[Column, Column]:
    """Cell and bucket of the rows of a table, at the indicator's resolution and window."""
    observed = rows.c.get("observed_at", sa.null())
    return parent_sql(rows.c.cell, indicator.resolution), bucket_sql(indicator, city, observed)


def _measured(rows: sa.FromClause, contract: Contract, indicator: Indicator) -> Column:
    """The measured field (of a boolean, true is 1), null where rows are only counted."""
    field = indicator.parsed.field
    if field is None:
        return sa.cast(sa.null(), sa.Double())
    column = rows.c[field]
    return sa.cast(column, sa.Integer()) if contract.fields[field].type == "boolean" else column


def _touch(connection: sa.Connection, indicator: Indicator, city: City, dirty: Dirty) -> None:
    """Fill `_touched` with the cells and buckets of the indicator that the dirty places fall into."""
    connection.exec_driver_sql("drop table if exists pg_temp._touched")
    connection.exec_driver_sql("create temporary table _touched (cell bigint, bucket timestamptz) on commit drop")
    touched = sa.select(*_place(dirty.table, indicator, city)).where(dirty.table.c.cell.is_not(None)).distinct()
    connection.execute(sa.insert(_TOUCHED).from_select(["cell", "bucket"], touched))
    connection.exec_driver_sql("analyze _touched")


def _touched(
    connection: sa.Connection, rows: sa.Table, indicator: Indicator, city: City, dirty: Dirty
) -> list[sa.ColumnElement[bool]]:
    """The conditions that a row lies in a touched cell and bucket, and in a time that spares most partitions."""
    place = sa.tuple_(*_place(rows, indicator, city))
    conditions: list[sa.ColumnElement[bool]] = [place.in_(sa.select(_TOUCHED.c.cell, _TOUCHED.c.bucket))]
    observed = dirty.table.c.observed_at
    first, last = connection.execute(sa.select(sa.func.min(observed), sa.func.max(observed))).one()
    if indicator.window is not None and first is not None:
        longest = dt.timedelta(seconds=seconds(indicator.window) + _LONGEST_SHIFT_S)
        conditions.append(rows.c.observed_at.between(first - longest, last + longest))
    return conditions


def _delete(table: sa.Table, places: sa.TableClause) -> sa.Delete:
    """Remove main's parts of an indicator in these cells and buckets."""
    return table.delete().where(table.c.cell == places.c.cell, table.c.bucket == places.c.bucket)
