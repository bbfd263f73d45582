"""The rows of a branch: copied from main when a record is first changed, and versioned like main's from then on."""

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from layers.branching.registry import Listed, version_key
from layers.branching.values import DRAWN_ACCURACY_M, Shape
from layers.contract import Contract
from layers.tables import CONTENT_COLUMNS, branch_table, dataset_table, quoted
from layers.versions import last_change, lock_dataset, mark_changed
from twin.city import City
from twin.errors import Conflict, NotFound

__all__ = ["Change", "content_columns", "names_of", "write_changes"]

_DIALECT = pg.dialect()
_MANY = 100


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one record from a start on: until `end`, or as long as its present state holds."""

    do: Literal["add", "change", "remove"]
    id: str
    start: dt.datetime
    end: dt.datetime | None = None
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    shape: Shape | None = None

    def on_record(self) -> dict[str, Any]:
        """The change as JSON, for the record of what was done."""
        said = asdict(self) | {"start": self.start.isoformat(), "end": self.end.isoformat() if self.end else None}
        return said | {"shape": self.shape.ewkb if self.shape else None}


_STAGE = """
    create temporary table _edits on commit drop as
    select * from jsonb_to_recordset(cast(:changes as jsonb)) as edit (
        _do text, id text, _start timestamptz, _end timestamptz, _patch jsonb, _geom text, _cell bigint
    )
"""
_COPY = """
    insert into {own} (branch, recorded, batch, valid, id, {content})
    select :branch, tstzrange(:moment, null), m.batch, m.valid, m.id, {content_of_m} from {main} m
    where m.id in (select id from _edits) and upper_inf(m.recorded) and not exists (
        select from {own} o where o.branch = :branch and o.id = m.id and upper_inf(o.recorded)
    )
"""
_HITS = """
    create temporary table _hits on commit drop as
    -- The state that holds when the edit starts; of a removal for good all later states too.
    select e._do, e._start, e._end, e._patch, e._geom, e._cell, o.*
    from _edits e join {own} o on o.branch = :branch and o.id = e.id and upper_inf(o.recorded)
        and not isempty(o.valid)
        and (o.valid @> e._start or e._do = 'remove' and e._end is null and lower(o.valid) > e._start)
    where e._do <> 'add'
"""
_MISSING = """
    select e._do as "do", e.id from _edits e
    where e._do <> 'add' and not exists (select from _hits h where h.id = e.id)
    union all
    select e._do, e.id from _edits e
    where e._do = 'add' and exists (
        select from {own} o where o.branch = :branch and o.id = e.id and upper_inf(o.recorded)
            and o.valid && tstzrange(e._start, e._end)
    )
"""
_CLOSE = """
    update {own} o set recorded = tstzrange(lower(o.recorded), :moment)
    where o.row in (select row from _hits)
        or o.branch = :branch and o.id in (select id from _edits where _do = 'add')
        and upper_inf(o.recorded) and isempty(o.valid)
"""
_FORGET = "delete from {own} where branch = :branch and isempty(recorded) and id in (select id from _edits)"
_BEFORE = """
    insert into {own} (branch, recorded, batch, valid, id, {content})
    select branch, tstzrange(:moment, null), batch, tstzrange(lower(valid), _start), id, {content}
    from _hits where lower_inf(valid) or lower(valid) < _start
"""
_AFTER = """
    insert into {own} (branch, recorded, batch, valid, id, {content})
    select branch, tstzrange(:moment, null), batch, tstzrange(_end, upper(valid)), id, {content}
    from _hits where _end is not null and (upper_inf(valid) or _end < upper(valid))
"""
_CHANGED = """
    insert into {own} (branch, recorded, valid, id, {content})
    select branch, tstzrange(:moment, null), tstzrange(_start, least(_end, upper(valid))), id, {patched}
    from _hits where _do = 'change'
"""
_ADDED = """
    insert into {own} (branch, recorded, valid, id, {content})
    select :branch, tstzrange(:moment, null), tstzrange(_start, _end), id, {given} from _edits where _do = 'add'
"""
_GONE = """
    insert into {own} (branch, recorded, valid, id)
    select distinct :branch, tstzrange(:moment, null), 'empty'::tstzrange, e.id from _edits e
    where not exists (select from {own} o where o.branch = :branch and o.id = e.id and upper_inf(o.recorded))
"""


def write_changes(
    connection: sa.Connection, contract: Contract, city: City, branch: Listed, changes: list[Change]
) -> dt.datetime:
    """Write changes into a branch, in their order; returns the moment since which it knows them.

    Raises NotFound for a record that the branch does not show when the change starts, Conflict for an added one that
    it shows already.
    """
    key = version_key(contract.id, branch.branch)
    lock_dataset(connection, key)
    moment = dt.datetime.now(dt.UTC)
    for part in _apart(changes):
        before = last_change(connection, key)
        if before is not None and before >= moment:
            moment = before + dt.timedelta(microseconds=1)
        _write(connection, contract, city, branch, part, moment)
        mark_changed(connection, key, moment)
    if len(changes) >= _MANY:  # PostgreSQL plans for an empty table until somebody has counted
        connection.exec_driver_sql(f"analyze {names_of(contract, city)['own']}")
    return moment


def _apart(changes: list[Change]) -> list[list[Change]]:
    """The changes in stretches in which every record stands once: they are written one after the other."""
    parts: list[list[Change]] = []
    seen: dict[str, int] = {}
    for change in changes:
        at = seen.get(change.id, 0)
        if at == len(parts):
            parts.append([])
        parts[at].append(change)
        seen[change.id] = at + 1
    return parts


def _write(
    connection: sa.Connection,
    contract: Contract,
    city: City,
    branch: Listed,
    changes: list[Change],
    moment: dt.datetime,
) -> None:
    names = names_of(contract, city)
    values = {
        "branch": branch.number,
        "moment": moment,
        "changes": orjson.dumps([_staged(one) for one in changes]).decode(),
    }

    def run(statement: str) -> sa.CursorResult[Any]:
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        return connection.execute(sa.text(statement.format_map(names)), used)

    connection.exec_driver_sql("drop table if exists pg_temp._edits, pg_temp._hits")
    run(_STAGE)
    run(_COPY)
    run(_HITS)
    wrong = [(row.do, row.id) for row in run(_MISSING)]
    if wrong:
        _refuse(contract, branch, wrong)
    for statement in (_CLOSE, _FORGET, _BEFORE, _AFTER, _CHANGED, _ADDED, _GONE):
        run(statement)


def _staged(change: Change) -> dict[str, Any]:
    return {
        "_do": change.do,
        "id": change.id,
        "_start": change.start,
        "_end": change.end,
        "_patch": change.values,
        "_geom": change.shape.ewkb if change.shape else None,
        "_cell": change.shape.cell if change.shape else None,
    }


def _refuse(contract: Contract, branch: Listed, wrong: list[tuple[str, str]]) -> None:
    there = [fid for do, fid in wrong if do == "add"]
    if there:
        raise Conflict(
            f"{contract.id} has {', '.join(map(repr, there[:5]))} in {branch.name!r} already.",
            where="id",
            remedy="Change it instead.",
        )
    missing = [fid for _, fid in wrong]
    raise NotFound(
        f"{contract.id} shows no {', '.join(map(repr, missing[:5]))} in {branch.name!r} at the start of the edit.",
        where="id",
        remedy="Look for it in its items with branch= and datetime=.",
    )


def content_columns(contract: Contract, city: City) -> list[str]:
    """The columns that say what a record is, beside its id and times: place and fields."""
    known = {*CONTENT_COLUMNS, *contract.fields}
    return [column.name for column in dataset_table(contract, city.srid).columns if column.name in known]


def names_of(contract: Contract, city: City) -> dict[str, str]:
    """What the SQL here writes for a dataset: its tables, its content columns, and how an edit fills them."""
    main, own = dataset_table(contract, city.srid), branch_table(contract, city.srid)
    columns = content_columns(contract, city)
    drawn = {
        "geom": "_geom::geometry",
        "cell": "_cell",
        "place_method": "'drawn'",
        "place_accuracy_m": str(DRAWN_ACCURACY_M),
        "place_source": "'branch'",
    }
    patched, given = list[str](), list[str]()
    for name in columns:
        kept, new = quoted(name), drawn.get(name, "null")
        if name in drawn:
            patched.append(f"case when _geom is null then {kept} else {new} end")
        elif name in contract.fields:
            new = f"cast(_patch ->> '{name}' as {main.c[name].type.compile(_DIALECT)})"
            patched.append(f"case when _patch ? '{name}' then {new} else {kept} end")
        else:
            patched.append(kept)
        given.append(new)
    return {
        "main": f"{quoted(main.schema or '')}.{quoted(main.name)}",
        "own": f"{quoted(own.schema or '')}.{quoted(own.name)}",
        "content": ", ".join(map(quoted, columns)),
        "content_of_m": ", ".join(f"m.{quoted(name)}" for name in columns),
        "content_of_b": ", ".join(f"b.{quoted(name)}" for name in columns),
        "patched": ", ".join(patched),
        "given": ", ".join(given),
    }
