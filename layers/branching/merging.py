"""Bringing a branch home: what it would change, where main has moved on meanwhile, and the merge itself.

A branch is merged by two people: one proposes it, another who made none of its edits approves it. A record that main
has changed since the branch copied it is a conflict; for each somebody has to say whose word holds.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from layers.branching.registry import Listed, edits_table, put_on_record, require_open, set_state
from layers.branching.rows import names_of
from layers.catalog import Catalog
from layers.contract import Contract
from layers.indicators import Dirty, refresh
from layers.tables import branch_table
from layers.versions import last_change, lock_dataset, mark_changed
from twin.access import Caller
from twin.city import City
from twin.errors import Conflict, NotAllowed

__all__ = ["Clash", "Merged", "Word", "clashes", "datasets_of", "merge", "propose", "reopen"]

Word = Literal["main", "branch"]
_REVIEWERS = frozenset({"administrator", "planner", "operations"})


@dataclass(frozen=True, slots=True)
class Clash:
    """A record that main has changed since the branch copied it."""

    dataset: str
    id: str
    copied_at: dt.datetime
    changed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did to a dataset: rows that hold no more, and rows that hold instead."""

    dataset: str
    closed: int
    inserted: int


_CLASHES = """
    with own as (select id, min(lower(recorded)) as copied_at from {own} where branch = :branch group by id)
    select own.id, own.copied_at, max(moved.at) as changed_at
    from own join {main} m on m.id = own.id
    cross join lateral (
        values (lower(m.recorded)), (case when upper_inf(m.recorded) then null else upper(m.recorded) end)
    ) as moved (at)
    where moved.at > own.copied_at
    group by own.id, own.copied_at order by own.id
"""
_CHOSEN = """
    create temporary table _chosen on commit drop as
    select distinct id from {own} where branch = :branch and upper_inf(recorded) and not id = any(:left)
"""
_SAME = """
    create temporary table _same on commit drop as
    -- What main and the branch say alike stays as it is.
    select m.row as main_row, b.row as own_row from {main} m join {own} b
        on b.branch = :branch and b.id = m.id and upper_inf(b.recorded) and b.valid = m.valid
        and ({content_of_b}) is not distinct from ({content_of_m})
    where upper_inf(m.recorded) and m.id in (select id from _chosen)
"""
_CLOSE = """
    update {main} m set recorded = tstzrange(lower(m.recorded), :moment)
    where upper_inf(m.recorded) and m.id in (select id from _chosen) and m.row not in (select main_row from _same)
    returning m.row, m.cell
"""
_INSERT = """
    insert into {main} (id, valid, recorded, batch, {content})
    select b.id, b.valid, tstzrange(:moment, null), b.batch, {content_of_b} from {own} b
    where b.branch = :branch and upper_inf(b.recorded) and not isempty(b.valid)
        and b.id in (select id from _chosen) and b.row not in (select own_row from _same)
"""
_TOUCHED = """
    select cell, cast(null as timestamptz) from {main} m
    where m.id in (select id from _chosen) and (lower(m.recorded) = '{moment}' or upper(m.recorded) = '{moment}')
"""


def datasets_of(connection: sa.Connection, catalog: Catalog, city: City, branch: Listed) -> list[Contract]:
    """The datasets in which a branch has rows of its own."""
    found: list[Contract] = []
    for contract in catalog:
        if not contract.is_stream:
            own = branch_table(contract, city.srid)
            if connection.scalar(sa.select(own.c.row).where(own.c.branch == branch.number).limit(1)) is not None:
                found.append(contract)
    return found


def clashes(connection: sa.Connection, contract: Contract, city: City, branch: Listed) -> list[Clash]:
    """The records of a dataset that main has changed since the branch copied them."""
    statement = sa.text(_CLASHES.format_map(names_of(contract, city)))
    return [Clash(contract.id, *row) for row in connection.execute(statement, {"branch": branch.number})]


def propose(connection: sa.Connection, branch: Listed, caller: Caller) -> Listed:
    """Close a branch for edits until a second person has looked at it. Raises Conflict when it is not open."""
    require_open(branch)
    return set_state(connection, branch, "proposed", caller)


def reopen(connection: sa.Connection, branch: Listed, caller: Caller) -> Listed:
    """Open a proposed branch for edits again. Raises Conflict when it is not proposed."""
    if branch.state != "proposed":
        raise Conflict(f"branch {branch.name!r} is {branch.state}, not proposed.")
    return set_state(connection, branch, "open", caller)


def merge(
    connection: sa.Connection,
    catalog: Catalog,
    city: City,
    branch: Listed,
    caller: Caller,
    resolve: Mapping[str, Word],
) -> list[Merged]:
    """Make the branch's records main's, in the transaction of `connection`; its rows stay for who looks back.

    `resolve` says of each conflict (`<dataset>/<id>`, or `*` for all others) whose word holds. Raises NotAllowed for a
    caller who made or proposed it or may not review, Conflict when it is not proposed or a conflict is left open.
    """
    _require_reviewer(connection, catalog, city, branch, caller)
    contracts = datasets_of(connection, catalog, city, branch)
    for contract in contracts:
        lock_dataset(connection, contract.id)
    open_clashes: list[Clash] = []
    left: dict[str, list[str]] = {contract.id: [] for contract in contracts}
    for contract in contracts:
        for clash in clashes(connection, contract, city, branch):
            word = resolve.get(f"{clash.dataset}/{clash.id}", resolve.get("*"))
            if word is None:
                open_clashes.append(clash)
            elif word == "main":
                left[contract.id].append(clash.id)
    if open_clashes:
        named = ", ".join(f"{clash.dataset}/{clash.id}" for clash in open_clashes[:5])
        raise Conflict(
            f"main has changed {len(open_clashes)} records meanwhile: {named}.",
            where="resolve",
            remedy="Look at GET .../merge, and say `main` or `branch` for each, or for `*`.",
        )
    merged = [_merge_dataset(connection, contract, city, branch, left[contract.id]) for contract in contracts]
    set_state(connection, branch, "merged", caller)
    for one in merged:
        put_on_record(connection, "merge", caller, branch, one.dataset, closed=one.closed, inserted=one.inserted)
    return merged


def _require_reviewer(connection: sa.Connection, catalog: Catalog, city: City, branch: Listed, caller: Caller) -> None:
    if branch.state != "proposed":
        raise Conflict(f"branch {branch.name!r} is {branch.state}.", remedy="Propose it first.")
    made = sa.select(edits_table.c.author).where(edits_table.c.branch == branch.number).distinct()
    if caller.person in {branch.author, branch.proposed_by, *connection.scalars(made)}:
        raise NotAllowed("a branch is approved by somebody who has not worked on it.", remedy="Ask a second person.")
    system = caller.audience.system
    owns = system is not None and all(c.system == system for c in datasets_of(connection, catalog, city, branch))
    if caller.audience.name not in _REVIEWERS and not owns:
        raise NotAllowed(
            "branches are approved by planners, operations, administrators, or the department of all its datasets."
        )


def _merge_dataset(
    connection: sa.Connection, contract: Contract, city: City, branch: Listed, left: list[str]
) -> Merged:
    now, before = dt.datetime.now(dt.UTC), last_change(connection, contract.id)
    moment = now if before is None or before < now else before + dt.timedelta(microseconds=1)
    names = names_of(contract, city) | {"moment": moment.isoformat()}
    values: dict[str, Any] = {"branch": branch.number, "left": left, "moment": moment}

    def run(statement: str) -> sa.CursorResult[Any]:
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        return connection.execute(sa.text(statement.format_map(names)), used)

    connection.exec_driver_sql("drop table if exists pg_temp._chosen, pg_temp._same")
    dirty = Dirty.none(connection)
    run(_CHOSEN)
    run(_SAME)
    closed = len(run(_CLOSE).all())
    inserted = run(_INSERT).rowcount
    dirty.add(connection, _TOUCHED.format_map(names))
    if closed or inserted:
        mark_changed(connection, contract.id, moment)
        refresh(connection, contract, city, dirty)
    return Merged(contract.id, closed, inserted)
