"""Conditions: the closures and speeds that people and feeds have said, each with reason, author and end.

They are never overwritten: what held at a time, as it was known at a time, can be looked up for good.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely
import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from layers.contract import Contract
from layers.query import visible
from twin.access import Caller
from twin.audit import Entry, append
from twin.city import City
from twin.errors import Conflict, InvalidRequest, NotFound
from twin.view import View

__all__ = ["Condition", "closing_rows", "closures_of", "end", "end_source", "holding", "say"]

_LONGEST = dt.timedelta(days=366)
_NEAR_M = 20.0

table = sa.Table(
    "road_conditions",
    sa.MetaData(),
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("factor", sa.Double(), nullable=False),
    sa.Column("said", pg.JSONB(), nullable=False),
    sa.Column("geom", Geometry("GEOMETRY", spatial_index=False), nullable=False),
    sa.Column("profiles", pg.ARRAY(sa.Text()), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("author", sa.Text(), nullable=False),
    sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp()),
    sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ends_at", sa.DateTime(timezone=True)),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Column("ended_by", sa.Text()),
    schema="twin",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What holds on the roads along or within `shape`, in degrees: closed where `factor` is 0, else how fast.

    `factor`: the share of the usual speed. `id`: its number, or `<dataset>/<record>` for a record that closes roads.
    `source`: who says so; what one source says of speeds can be taken back as a whole. `said`: how the place was said.
    `profiles`: whom it concerns; empty: all who drive.
    """

    id: str
    source: str
    factor: float
    shape: shapely.Geometry
    reason: str
    author: str = ""
    profiles: tuple[str, ...] = ()
    starts_at: dt.datetime | None = None
    ends_at: dt.datetime | None = None
    said: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def of_record(self) -> bool:
        """Whether a record of a dataset says so."""
        return "/" in self.id

    @property
    def closes(self) -> bool:
        """Whether it is a closure."""
        return self.factor == 0


def say(connection: sa.Connection, what: Condition, caller: Caller) -> Condition:
    """Write a condition, in the transaction of `connection`; returns it with its number.

    Raises InvalidRequest when it has ended already, or lasts more than a year.
    """
    now = dt.datetime.now(dt.UTC)
    starts_at = what.starts_at or now
    if what.ends_at is not None and what.ends_at <= max(now, starts_at):
        raise InvalidRequest(
            "it ends before it begins, or has ended already.", where="ends_at", remedy="Give a later time."
        )
    if what.ends_at is not None and what.ends_at - starts_at > _LONGEST:
        raise InvalidRequest("it would last more than a year.", where="ends_at", remedy="Change the roads themselves.")
    row = {
        "source": what.source,
        "factor": what.factor,
        "said": what.said,
        "geom": sa.func.ST_GeomFromWKB(shapely.to_wkb(what.shape)),
        "profiles": list(what.profiles),
        "reason": what.reason,
        "author": caller.person,
        "starts_at": starts_at,
        "ends_at": what.ends_at,
    }
    number = connection.execute(table.insert().values(row).returning(table.c.number)).scalar_one()
    kind = "closure" if what.closes else "speed"
    _put_on_record(connection, caller, kind, {"number": number, "reason": what.reason, "source": what.source})
    return next(one for one in holding(connection, None, starts_at) if one.id == str(number))


def end(connection: sa.Connection, number: int, caller: Caller, *, closes: bool) -> None:
    """End a closure, or a speed, now. Raises NotFound when there is none of that number, Conflict when it has ended."""
    row = connection.execute(
        sa.select(table.c.ended_at, table.c.factor).where(table.c.number == number).with_for_update()
    ).one_or_none()
    if row is None or (row.factor == 0) != closes:
        what = "closure" if closes else "speed"
        raise NotFound(f"there is no {what} {number}.", remedy=f"See /roads/{what}s.")
    if row.ended_at is not None:
        raise Conflict("it has ended already.", where=str(number))
    _end(connection, table.c.number == number, caller)
    _put_on_record(connection, caller, "end", {"number": number})


def end_source(connection: sa.Connection, source: str, caller: Caller) -> int:
    """Take back all that a source has said of speeds; returns how many conditions that were."""
    count = _end(connection, sa.and_(table.c.source == source, table.c.factor > 0), caller)
    _put_on_record(connection, caller, "end", {"source": source, "count": count})
    return count


def _end(connection: sa.Connection, which: sa.ColumnElement[bool], caller: Caller) -> int:
    ended = {"ended_at": sa.func.clock_timestamp(), "ended_by": caller.person}
    return connection.execute(table.update().where(which, table.c.ended_at.is_(None)).values(ended)).rowcount


def _put_on_record(connection: sa.Connection, caller: Caller, kind: str, said: dict[str, Any]) -> None:
    append(connection, [Entry("roads", caller, detail={"did": kind, **said})])


def holding(
    connection: sa.Connection, known_at: dt.datetime | None = None, at: dt.datetime | None = None
) -> list[Condition]:
    """The conditions that hold at a moment (None: now), as they were known at one (None: as they are known now)."""
    moment = at or dt.datetime.now(dt.UTC)
    columns = table.c
    known = (
        columns.ended_at.is_(None)
        if known_at is None
        else sa.and_(columns.made_at <= known_at, sa.or_(columns.ended_at.is_(None), columns.ended_at > known_at))
    )
    rows = connection.execute(
        sa.select(
            *(column for column in columns if column.name != "geom"), sa.func.ST_AsBinary(columns.geom).label("geom")
        )
        .where(known, columns.starts_at <= moment, sa.or_(columns.ends_at.is_(None), columns.ends_at > moment))
        .order_by(columns.number)
    )
    return [
        Condition(
            str(row.number), row.source, row.factor, shapely.from_wkb(bytes(row.geom)), row.reason, row.author,
            tuple(row.profiles), row.starts_at, row.ends_at, row.said,
        )
        for row in rows
    ]  # fmt: skip


def closing_rows(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    """The records of a dataset that close roads, as a View shows them: id, reason, accuracy, geometry as WKB."""
    if contract.closes is None:
        raise ValueError(f"{contract.id} closes no roads")
    shown = visible(contract, view, city)
    columns = shown.rows.c
    return shown.where(columns.geom.is_not(None)).select(
        columns.id,
        columns[contract.closes.reason].label("reason"),
        columns.place_accuracy_m,
        sa.func.ST_AsBinary(columns.geom).label("geom"),
    )


def closures_of(contract: Contract, rows: Sequence[sa.Row[Any]]) -> list[Condition]:
    """The closures of the rows that `closing_rows` selected."""
    return [
        Condition(f"{contract.id}/{row.id}", contract.id, 0.0, shapely.from_wkb(bytes(row.geom)), row.reason or "",
                  said={"accuracy_m": float(row.place_accuracy_m or _NEAR_M)})
        for row in rows
    ]  # fmt: skip
