"""Which branches there are, who made them, and what state each is in."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from twin.access import PUBLIC, Caller
from twin.audit import Action, Entry, append
from twin.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from twin.view import Branch

__all__ = [
    "BRANCH_CHANNEL",
    "Listed",
    "Logged",
    "State",
    "branches",
    "create",
    "discard",
    "edits_of",
    "edits_table",
    "find",
    "log_edit",
    "put_on_record",
    "require_open",
    "set_state",
    "version_key",
]

BRANCH_CHANNEL = "twin_branches"
_ACTIONS: dict[str, Action] = {"open": "reopen", "proposed": "propose", "merged": "merge", "discarded": "discard"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
State = str
"""`open` (edits are welcome), `proposed` (waits for a second person), `merged`, `discarded`."""

table = sa.Table(
    "branches",
    sa.MetaData(),
    sa.Column("number", sa.Integer(), sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("title", sa.Text(), nullable=False),
    sa.Column("author", sa.Text(), nullable=False),
    sa.Column("audience", sa.Text(), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("proposed_by", sa.Text()),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    sa.Column("closed_by", sa.Text()),
    schema="twin",
)
"""The branches ever made; a discarded one frees its name."""

edits_table = sa.Table(
    "branch_edits",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("branch", sa.Integer(), nullable=False),
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("author", sa.Text(), nullable=False),
    sa.Column("dataset", sa.Text(), nullable=False),
    sa.Column("edit", pg.JSONB(), nullable=False),
    schema="twin",
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A branch as it is listed. `starts_at`: from when on its edits are true in the world unless they say otherwise."""

    number: int
    name: str
    title: str
    author: str
    audience: str
    created_at: dt.datetime
    starts_at: dt.datetime
    state: State
    proposed_by: str | None
    closed_at: dt.datetime | None
    closed_by: str | None

    @property
    def branch(self) -> Branch:
        """The branch as a View names it."""
        return Branch(self.number, self.name)


def branches(connection: sa.Connection) -> list[Listed]:
    """All branches but the discarded ones, the newest first."""
    rows = connection.execute(sa.select(table).where(table.c.state != "discarded").order_by(table.c.number.desc()))
    return [Listed(*row) for row in rows]


def find(connection: sa.Connection, name: str) -> Listed:
    """The branch of a name. Raises NotFound."""
    row = connection.execute(sa.select(table).where(table.c.name == name, table.c.state != "discarded")).one_or_none()
    if row is None:
        raise NotFound(f"no branch is called {name[:60]!r}.", remedy="See /branches; main is the city as it is.")
    return Listed(*row)


def create(
    connection: sa.Connection, name: str, caller: Caller, *, title: str = "", starts_at: dt.datetime | None = None
) -> Listed:
    """Make an empty branch: nothing is copied until something is changed.

    Raises NotAllowed for the public, InvalidRequest for a name that is not one, Conflict for one that is taken.
    """
    if caller.audience.name == PUBLIC.name:
        raise NotAllowed("the public makes no branches.", remedy="Send a token.")
    if not _NAME.fullmatch(name) or name == "main":
        raise InvalidRequest(
            f"{name[:70]!r} is no name for a branch.",
            where="name",
            remedy="Use up to 60 small letters, digits, dots, dashes and underscores.",
        )
    now = dt.datetime.now(dt.UTC)
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('twin:branches', 0))"))
    taken = sa.select(table.c.number).where(table.c.name == name, table.c.state != "discarded")
    if connection.scalar(taken) is not None:
        raise Conflict(f"a branch {name!r} exists.", where="name", remedy="Choose another name, or discard that one.")
    values = {
        "name": name,
        "title": title or name,
        "author": caller.person,
        "audience": caller.audience.name,
        "created_at": now,
        "starts_at": starts_at or now,
        "state": "open",
    }
    listed = Listed(*connection.execute(table.insert().values(values).returning(*table.c)).one())
    put_on_record(connection, "branch", caller, listed)
    return listed


def require_open(branch: Listed) -> None:
    """Raise Conflict for a branch that takes no edits any more."""
    if branch.state != "open":
        raise Conflict(
            f"branch {branch.name!r} is {branch.state}; it takes no edits.",
            remedy="Reopen it (DELETE .../merge) while it is proposed, or make a new one.",
        )


def set_state(connection: sa.Connection, branch: Listed, state: State, caller: Caller) -> Listed:
    """Move a branch to another state; who proposes or closes it is kept."""
    closing = {"closed_at": dt.datetime.now(dt.UTC), "closed_by": caller.person}
    values = {
        "open": {"proposed_by": None},
        "proposed": {"proposed_by": caller.person},
        "merged": closing,
        "discarded": closing,
    }[state]
    changed = table.update().where(table.c.number == branch.number).values(state=state, **values)
    listed = Listed(*connection.execute(changed.returning(*table.c)).one())
    put_on_record(connection, _ACTIONS[state], caller, listed)
    return listed


def discard(connection: sa.Connection, branch: Listed, caller: Caller) -> Listed:
    """Throw a branch away: nobody sees it any more and its name is free. Its edits stay on record.

    Raises NotAllowed for anyone but its author and administrators, Conflict for a merged one.
    """
    if branch.state == "merged":
        raise Conflict(f"branch {branch.name!r} is merged already.", remedy="Undo it by a branch of its own.")
    if caller.person != branch.author and caller.audience.name != "administrator":
        raise NotAllowed("only its author or an administrator may discard a branch.", remedy="Ask one of them.")
    return set_state(connection, branch, "discarded", caller)


@dataclass(frozen=True, slots=True)
class Logged:
    """What somebody did to a dataset in a branch, as it was said."""

    id: int
    made_at: dt.datetime
    author: str
    dataset: str
    edit: Any


def log_edit(
    connection: sa.Connection, branch: Listed, caller: Caller, at: dt.datetime, dataset: str, edit: object
) -> None:
    """Put what was done to a dataset in a branch on record."""
    row = {"branch": branch.number, "made_at": at, "author": caller.person, "dataset": dataset, "edit": edit}
    connection.execute(edits_table.insert().values(row))


def edits_of(connection: sa.Connection, branch: Listed, datasets: list[str], *, after: int, limit: int) -> list[Logged]:
    """What was done in a branch to some datasets, in order, from an id on."""
    c = edits_table.c
    question = sa.select(c.id, c.made_at, c.author, c.dataset, c.edit).where(
        c.branch == branch.number, c.dataset.in_(datasets), c.id > after
    )
    return [Logged(*row) for row in connection.execute(question.order_by(c.id).limit(limit))]


def version_key(dataset: str, branch: Branch) -> str:
    """Under which name `twin.versions` counts the changes of a dataset in a branch."""
    return f"{dataset}@{branch.number}" if branch.number else dataset


def put_on_record(
    connection: sa.Connection,
    action: Action,
    caller: Caller,
    branch: Listed,
    dataset: str | None = None,
    **detail: object,
) -> None:
    """Put in the audit log what was done to a branch, and tell the servers of it: the last act of a transaction."""
    append(connection, [Entry(action, caller, dataset, detail={"branch": branch.name, **detail})])
    connection.execute(sa.select(sa.func.pg_notify(BRANCH_CHANNEL, branch.name)))
