"""Writing observations and tracks: partitions by day, corrections, and the newest row of each subject.

An observation is identified by its subject and its time. The same observation again changes nothing; with other
content it is a correction: the old row's `recorded` is closed and the new row inserted.
"""

import datetime as dt

import polars as pl
import sqlalchemy as sa

from ingest.staging import ORDINAL, Outcome, Stamp, Target, copy, is_empty, numbered, stage, without_indexes
from layers.indicators import Dirty
from layers.tables import quoted

__all__ = ["write_stream"]

_CHANGES = """
    create temporary table _changes on commit drop as
    select s._ordinal, o.row as _old, o.cell as _old_cell
    from _staging s
    left join {rows} o on o.subject = s.subject and o.observed_at = s.observed_at
        and upper_inf(o.recorded) and o.observed_at between :first and :last
    where o.row is null or {content_differs}
"""
_CLOSE = """
    update {rows} o set recorded = tstzrange(lower(o.recorded), :moment)
    from _changes c join _staging s using (_ordinal)
    where o.row = c._old and o.subject = s.subject and o.observed_at = s.observed_at
        and upper_inf(o.recorded) and o.observed_at between :first and :last
"""
_INSERT = """
    insert into {rows} (id, subject, observed_at, recorded, batch, {content})
    select s.id, s.subject, s.observed_at, tstzrange(:moment, null), :batch, {content_of_s}
    from _staging s join _changes using (_ordinal) order by s.observed_at
"""
_TOUCHED = """
    select s.cell, s.observed_at from _staging s join _changes using (_ordinal)
    union select c._old_cell, s.observed_at from _staging s join _changes c using (_ordinal)
"""
_LEFT = """
    select o.cell, o.observed_at from {latest} o join _newest s using (subject)
    where o.observed_at <= s.observed_at
"""
_UPSERT_NEWEST = """
    insert into {latest} as o (id, subject, observed_at, recorded, batch, {content})
    select s.id, s.subject, s.observed_at, tstzrange(:moment, null), :batch, {content_of_s} from _newest s
    on conflict (subject) do update
    set (id, observed_at, recorded, batch, {content})
      = (excluded.id, excluded.observed_at, excluded.recorded, excluded.batch, {content_of_excluded})
    where excluded.observed_at > o.observed_at
        or excluded.observed_at = o.observed_at and ({content_of_o}) is distinct from ({content_of_excluded})
"""


def write_stream(connection: sa.Connection, target: Target, frame: pl.DataFrame, stamp: Stamp) -> Outcome:
    """Write observations, each (subject, observed_at) at most once in `frame`.

    A day that has no partition yet gets one that is filled first, then indexed and attached: a third of the cost of
    filling one that is in use, and no reader waits.
    """
    everything = is_empty(connection, target.rows)
    fresh, known = _apart_from_known_days(connection, target, frame)
    dirty = None if everything else Dirty.none(connection)
    for day, part in fresh.items():
        partition = _new_partition(connection, target, day)
        target.fill(connection, partition, part, stamp)
        _attach(connection, target, day, partition)
        if dirty is not None:
            dirty.add(connection, f"select cell, observed_at from {partition}")
    inserted, revised = _merge(connection, target, known, stamp, dirty) if known.height else (0, 0)
    inserted += frame.height - known.height
    if inserted or revised:
        _keep_newest(connection, target, frame, stamp, dirty)
    return Outcome(inserted, revised, dirty)


def _apart_from_known_days(
    connection: sa.Connection, target: Target, frame: pl.DataFrame
) -> tuple[dict[dt.date, pl.DataFrame], pl.DataFrame]:
    """The rows of each day that has no partition yet, in order of time, and the other rows."""
    names = sa.text(
        "select relname from pg_inherits join pg_class on pg_class.oid = inhrelid"
        " where inhparent = cast(:rows as regclass)"
    )
    present = set(connection.scalars(names, {"rows": target.rows}))
    day = frame["observed_at"].dt.date()
    new = [one for one in day.unique().sort() if target.partition(one) not in present]
    if not new:
        return {}, frame
    # A BRIN index on time needs rows that lie in the order of time.
    fresh = frame.filter(day.is_in(new)).sort("observed_at")
    parts = fresh.with_columns(_day=pl.col("observed_at").dt.date()).partition_by(
        "_day", maintain_order=True, include_key=False
    )
    return dict(zip(new, parts, strict=True)), frame.filter(~day.is_in(new))


def _new_partition(connection: sa.Connection, target: Target, day: dt.date) -> str:
    """Make an empty table for the rows of a day, not yet part of the dataset. Returns its name, quoted."""
    part = f"{quoted(target.contract.system)}.{quoted(target.partition(day))}"
    connection.exec_driver_sql(f"create table {part} (like {target.rows} including defaults including constraints)")
    return part


def _attach(connection: sa.Connection, target: Target, day: dt.date, part: str) -> None:
    bounds = f"from ('{day} 00:00Z') to ('{day + dt.timedelta(days=1)} 00:00Z')"
    connection.exec_driver_sql(f"alter table {target.rows} attach partition {part} for values {bounds}")


def _merge(
    connection: sa.Connection, target: Target, frame: pl.DataFrame, stamp: Stamp, dirty: Dirty | None
) -> tuple[int, int]:
    """Write into partitions that are in use. Returns how many rows were inserted and how many revised."""
    columns = (ORDINAL, *target.identity, *target.content)
    stage(connection, "_staging", columns, numbered(frame), keys=("subject", "observed_at"))
    values = {**stamp.parameters, "first": frame["observed_at"].min(), "last": frame["observed_at"].max()}
    connection.exec_driver_sql("drop table if exists pg_temp._changes")
    target.run(connection, _CHANGES, values)
    inserted, revised = connection.execute(sa.text("select count(*) - count(_old), count(_old) from _changes")).one()
    if revised:
        target.run(connection, _CLOSE, values)
    if inserted or revised:
        target.run(connection, _INSERT, values)
        if dirty is not None:
            dirty.add(connection, _TOUCHED)
    return inserted, revised


def _keep_newest(
    connection: sa.Connection, target: Target, frame: pl.DataFrame, stamp: Stamp, dirty: Dirty | None
) -> None:
    """Bring the newest row of each subject up to date; a row that is older than the one kept is not the newest."""
    newest = frame.sort("observed_at").unique("subject", keep="last", maintain_order=True)
    if is_empty(connection, target.latest):
        with without_indexes(connection, target.latest):
            copy(connection, target.latest, target.new_columns, stamp.on(newest))
    else:
        stage(connection, "_newest", (*target.identity, *target.content), newest, keys=("subject",))
        if dirty is not None:
            dirty.add(connection, _LEFT.format(latest=target.latest))
        target.run(connection, _UPSERT_NEWEST, stamp.parameters)
