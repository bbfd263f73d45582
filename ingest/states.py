"""Writing features, events and coverages: states that hold in the world from a start until an end.

Of one id the world has one state at a time: a state holds from its start until its stated end, or until the next start
of the same id, whichever comes first. What is stored is thus a function of the states that are known, whatever the
order in which they arrive, and no two open rows of an id overlap.

Where the source states a start, (id, start) identifies the state, and other content is a correction. Where it does
not, a record says what is so now (or, when it has ended, what was so until then): other content than what the twin
holds to be so is a change of the world at this moment, and the state before it stays true for the time before.
"""

import polars as pl
import sqlalchemy as sa

from ingest.pgcopy import ColumnType
from ingest.staging import ORDINAL, Outcome, Stamp, Target, is_empty, numbered, stage, without_indexes
from layers.indicators import Dirty

__all__ = ["write_states"]

_START, _END = ColumnType("_start", "timestamptz", ("valid_start",)), ColumnType("_end", "timestamptz", ("valid_end",))

_CANDIDATES = """
    create temporary table _candidates on commit drop as
    -- Staged rows that one cheap join does not show to be stored already.
    select s._ordinal, s.id, s._start, s._end, coalesce(s._end <= :moment, false) as _ended
    from _staging s
    left join {rows} o on o.id = s.id and upper_inf(o.recorded)
        and (lower(o.valid) = s._start or s._start is null and o.valid @> cast(:moment as timestamptz))
    where (s._start is null) = :unstated
        and (o.row is null or upper(o.valid) is distinct from s._end or {content_differs})
"""
_CHANGES = """
    create temporary table _changes on commit drop as
    with known as (
        select distinct c._ordinal from _candidates c
        join {rows} o on o.id = c.id and upper_inf(o.recorded)
    ),
    -- The open row that a candidate speaks of, if there is one.
    met as (
        select c.*, k._ordinal is not null as _known, o.row, o.cell, o.valid, {content_differs} as _differs,
            o.row is not null and (not :unstated or c._ended or o.valid @> cast(:moment as timestamptz)) as _replaces
        from _candidates c join _staging s using (_ordinal) left join known k using (_ordinal)
        left join lateral (
            select * from {rows} p
            where k._ordinal is not null and p.id = c.id and upper_inf(p.recorded) and case
                when c._start is not null then lower(p.valid) = c._start
                when c._ended then lower(p.valid) < c._end
                else lower(p.valid) <= :moment end
            order by lower(p.valid) desc limit 1
        ) o on true
    ),
    placed as (
        select m.*, case
            when m._start is not null then m._start
            when m.row is null then '-infinity'
            when m._replaces and (m._ended or not m._differs) then lower(m.valid)
            else :moment end as _from
        from met m
    ),
    bounded as (
        select p.*, least(p._end, case when p._known then (
            select min(lower(n.valid)) from {rows} n
            where n.id = p.id and upper_inf(n.recorded) and lower(n.valid) > p._from
        ) end) as _until
        from placed p
    )
    select _ordinal, id, _from, _until,
        case when _replaces then row end as _old, case when _replaces then cell end as _old_cell,
        _replaces and lower(valid) < _from as _splits
    from bounded
    where not _replaces or _differs or upper(valid) is distinct from _until
"""
_CUTS = """
    create temporary table _cuts on commit drop as
    -- Open rows of which the part before a new start stays true.
    select o.row as _old, o.cell as _old_cell, min(c._from) as _until
    from _changes c join {rows} o on o.id = c.id and upper_inf(o.recorded)
        and lower(o.valid) < c._from and (upper_inf(o.valid) or upper(o.valid) > c._from)
    where c._splits or c._old is null and o.row not in (select _old from _changes where _old is not null)
    group by o.row, o.cell
"""
_CLOSE = """
    update {rows} o set recorded = tstzrange(lower(o.recorded), :moment)
    where o.row in (select _old from _changes union select _old from _cuts)
"""
_KEEP_EARLIER_PART = """
    insert into {rows} (id, valid, recorded, batch, {content})
    select o.id, tstzrange(lower(o.valid), c._until), tstzrange(:moment, null), o.batch, {content_of_o}
    from _cuts c join {rows} o on o.row = c._old
"""
_INSERT = """
    insert into {rows} (id, valid, recorded, batch, {content})
    select s.id, tstzrange(c._from, c._until, case when c._from = c._until then '[]' else '[)' end),
        tstzrange(:moment, null), :batch, {content_of_s}
    from _staging s join _changes c using (_ordinal)
"""
_FORGET = """
    delete from {rows} o where isempty(o.recorded) and o.id in (select id from _staging)
"""
_TOUCHED = """
    select s.cell, cast(null as timestamptz) from _staging s join _changes using (_ordinal)
    union select _old_cell, null from _changes union select _old_cell, null from _cuts
"""


def write_states(connection: sa.Connection, target: Target, frame: pl.DataFrame, stamp: Stamp) -> Outcome:
    """Write states, each (id, valid_start) at most once in `frame`. A table that holds nothing is filled at once."""
    frame = _until_next_start(frame)
    unstated, stated = _without_start(frame)
    everything = is_empty(connection, target.rows)
    if everything and (unstated.is_empty() or not unstated["id"].is_in(stated["id"].implode()).any()):
        with without_indexes(connection, target.rows):
            # Neighbours in the city are neighbours on disk: a map reads fewer pages, and the indexes are built faster.
            target.fill(connection, target.rows, frame.sort("cell"), stamp)
        return Outcome(frame.height, 0, None)

    dirty = None if everything else Dirty.none(connection)
    columns = (ORDINAL, _START, _END, *target.identity, *target.content)
    stage(connection, "_staging", columns, numbered(frame), keys=("id", "_start"))
    # What has a start first: a record without one speaks of the world in which those are known.
    inserted, revised = 0, 0
    for is_unstated, part in ((False, stated), (True, unstated)):
        if part.height:
            more, changed = _merge(connection, target, stamp, dirty, unstated=is_unstated)
            inserted, revised = inserted + more, revised + changed
    if stated.height and unstated.height:
        target.run(connection, _FORGET, {})  # what stood for no moment: a record of this batch corrected another
    return Outcome(inserted, revised, dirty)


def _without_start(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without a start and those with one."""
    is_null = frame["valid_start"].is_null()
    if is_null.all():
        return frame, frame.clear()
    return (frame.filter(is_null), frame.filter(~is_null)) if is_null.any() else (frame.clear(), frame)


def _until_next_start(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with ends no later than the next start of the same id in it."""
    if frame["id"].n_unique() == frame.height:
        return frame
    following = pl.col("valid_start").shift(-1).over("id", order_by="valid_start")
    # A record without a start has no place among the starts yet: `_CHANGES` gives it one.
    bound = pl.when(pl.col("valid_start").is_not_null()).then(following)
    return frame.with_columns(pl.min_horizontal("valid_end", bound).alias("valid_end"))


def _merge(
    connection: sa.Connection, target: Target, stamp: Stamp, dirty: Dirty | None, *, unstated: bool
) -> tuple[int, int]:
    """Write the staged rows with a start, or those without. Returns how many were inserted and how many revised."""
    connection.exec_driver_sql("drop table if exists pg_temp._candidates, pg_temp._changes, pg_temp._cuts")
    values = {**stamp.parameters, "unstated": unstated}
    target.run(connection, _CANDIDATES, values)
    if is_empty(connection, "_candidates"):
        return 0, 0
    connection.exec_driver_sql("analyze _candidates (id)")
    target.run(connection, _CHANGES, values)
    inserted, revised = connection.execute(sa.text("select count(*) - count(_old), count(_old) from _changes")).one()
    if inserted or revised:
        target.run(connection, _CUTS, {})
        for statement in (_CLOSE, _KEEP_EARLIER_PART, _INSERT):
            target.run(connection, statement, stamp.parameters)
        if dirty is not None:
            dirty.add(connection, _TOUCHED)
    return inserted, revised
