"""Grants as data: who may read which dataset beside what its contract says, where, what for and until when.

A grant goes to an audience, or to one person in it, who gets a PostgreSQL role of their own that inherits the
audience's. While a dataset has grants, its tables have row-level security: the roles of its contract see all rows,
those of a grant the rows in its area until its end. Without grants a table has none, and costs nothing.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from geoalchemy2 import Geometry

from layers.catalog import Catalog
from layers.contract import Contract
from layers.grants import audiences_of, seen_by
from layers.tables import BRANCHES_SUFFIX, branch_table, dataset_table, latest_table, open_rows, shown_table
from twin.access import FIXED_AUDIENCES, PUBLIC, Audience, Caller, department
from twin.audit import Entry, append
from twin.city import City
from twin.errors import InvalidRequest, NotFound
from twin.roles import ensure_person

__all__ = [
    "GRANT_CHANNEL",
    "Granted",
    "all_audiences",
    "fence_ended",
    "give",
    "granted",
    "restore",
    "revoke",
    "select_on_records",
    "tables_of",
    "withdraw_tokens",
    "withdrawn",
]

GRANT_CHANNEL = "twin_grants"
_LONGEST = dt.timedelta(days=3 * 366)
_LOCK = 0x6772616E  # "gran"

grants = sa.Table(
    "grants",
    sa.MetaData(),
    sa.Column("number", sa.Integer(), sa.Identity(always=True), primary_key=True),
    sa.Column("audience", sa.Text(), nullable=False),
    sa.Column("person", sa.Text(), nullable=False),
    sa.Column("dataset", sa.Text(), nullable=False),
    sa.Column("area", Geometry("GEOMETRY", spatial_index=False)),
    sa.Column("area_name", sa.Text()),
    sa.Column("purpose", sa.Text(), nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("granted_by", sa.Text(), nullable=False),
    sa.Column("granted_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    sa.Column("revoked_by", sa.Text()),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
    sa.Column("fenced", sa.Boolean(), nullable=False),
    schema="twin",
)
_HOLDS = sa.and_(grants.c.revoked_at.is_(None), grants.c.until > sa.func.now())


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant: `area` names the record whose shape bounds it (`<dataset>/<id>`), None for everywhere."""

    audience: Audience
    dataset: str
    purpose: str
    until: dt.datetime
    person: str = ""
    area: str | None = None
    number: int = 0
    granted_by: str = ""


def give(connection: sa.Connection, catalog: Catalog, city: City, what: Granted, caller: Caller) -> int:
    """Write a grant and make it hold, in the transaction of `connection`; returns its number.

    Raises NotFound for a dataset or an area that does not exist, InvalidRequest for a grant to the public, without a
    purpose, or for an end that has passed or is more than three years away.
    """
    contract = catalog[what.dataset]
    _check(catalog, what)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    row = {
        "audience": what.audience.name,
        "person": what.person,
        "dataset": what.dataset,
        "area": _shape_of(connection, catalog, city, what.area) if what.area else None,
        "area_name": what.area,
        "purpose": what.purpose.strip(),
        "until": what.until,
        "granted_by": caller.person,
        "fenced": True,
    }
    number = connection.execute(grants.insert().values(row).returning(grants.c.number)).scalar_one()
    _fence(connection, catalog, city, contract)
    said = {"number": number, "to": what.audience.name, "person": what.person, "area": what.area}
    detail = {**said, "purpose": what.purpose, "until": what.until.isoformat()}
    append(connection, [Entry("grant", caller, contract.id, detail=detail)])
    return number


def revoke(connection: sa.Connection, catalog: Catalog, city: City, number: int, caller: Caller) -> str:
    """End a grant now; returns the dataset. Raises NotFound when no grant of this number holds."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    ended = (
        grants.update()
        .where(grants.c.number == number, _HOLDS)
        .values(revoked_by=caller.person, revoked_at=sa.func.now())
    )
    dataset = connection.scalar(ended.returning(grants.c.dataset))
    if dataset is None:
        raise NotFound(f"no grant {number} holds.", remedy="See `twin grant list`.")
    if dataset in catalog.contracts:
        _fence(connection, catalog, city, catalog[dataset])
    append(connection, [Entry("revoke", caller, dataset, detail={"number": number})])
    return dataset


def granted(connection: sa.Connection) -> list[Granted]:
    """The grants that hold now, in order of their numbers."""
    c = grants.c
    rows = connection.execute(
        sa.select(c.audience, c.dataset, c.purpose, c.until, c.person, c.area_name, c.number, c.granted_by)
        .where(_HOLDS)
        .order_by(c.number)
    )
    return [Granted(Audience(name), *rest) for name, *rest in rows]


def restore(connection: sa.Connection, catalog: Catalog, city: City) -> None:
    """Make all grants hold again after the catalogue was applied, which takes everything back first."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    for dataset in connection.scalars(sa.select(grants.c.dataset).where(grants.c.fenced).distinct()).all():
        if dataset in catalog.contracts:
            _fence(connection, catalog, city, catalog[dataset])


def fence_ended(connection: sa.Connection, catalog: Catalog, city: City) -> None:
    """Take the GRANTs back of what has ended by itself. The rows are out of sight from that moment on anyway."""
    ended = sa.select(grants.c.dataset).where(grants.c.fenced, sa.not_(_HOLDS)).distinct()
    if connection.scalars(ended).first() is not None:
        restore(connection, catalog, city)


def all_audiences(catalog: Catalog) -> tuple[Audience, ...]:
    """The fixed audiences and one department for each system."""
    return (*(Audience(name) for name in FIXED_AUDIENCES), *(department(system) for system in catalog.systems))


def tables_of(contract: Contract, city: City) -> tuple[sa.Table, ...]:
    """The tables of a dataset: its rows, and the newest row of each subject of a stream, else the rows of branches."""
    beside = latest_table if contract.is_stream else branch_table
    return dataset_table(contract, city.srid), beside(contract, city.srid)


def select_on_records(contract: Contract, city: City, audience: Audience) -> Iterator[str]:
    """GRANTs for the records of a dataset: only the columns an audience may know, and no what-ifs for the public."""
    seen = seen_by(contract, audience)
    for table, whole in zip(tables_of(seen, city), tables_of(contract, city), strict=True):
        if table.name.endswith(BRANCHES_SUFFIX) and audience.name == PUBLIC.name:
            continue
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        columns = f" ({names})" if len(table.columns) < len(whole.columns) else ""
        yield f"GRANT SELECT{columns} ON {table.fullname} TO {audience.role}"


def _check(catalog: Catalog, what: Granted) -> None:
    now = dt.datetime.now(dt.UTC)
    if what.audience.name == PUBLIC.name:
        raise InvalidRequest("the public gets no grants.", where="audience", remedy="Open the dataset by its contract.")
    if what.audience.system is not None and what.audience.system not in catalog.systems:
        raise NotFound(f"no system is called {what.audience.system!r}.", remedy="See `twin catalog list`.")
    if not what.purpose.strip():
        raise InvalidRequest("a grant needs a purpose.", where="purpose", remedy="Say what the data are needed for.")
    if what.until.tzinfo is None or not now < what.until <= now + _LONGEST:
        raise InvalidRequest(
            f"a grant cannot last until {what.until.isoformat()}.",
            where="until",
            remedy="Choose a time with a zone, in the future and at most three years away.",
        )


def _shape_of(connection: sa.Connection, catalog: Catalog, city: City, name: str) -> Any:  # noqa: ANN401  (EWKB)
    """The shape of an area's record. Raises NotFound when there is none, InvalidRequest for one without extent."""
    dataset, _, fid = name.partition("/")
    contract = catalog[dataset]
    table = dataset_table(contract, city.srid)
    key = table.c.subject if contract.is_stream else table.c.id
    held = sa.and_(open_rows(table), key == fid, sa.func.ST_Dimension(table.c.geom) == 2)
    shape = connection.scalar(sa.select(sa.func.ST_Union(table.c.geom)).where(held))
    if shape is None:
        raise NotFound(f"{dataset} has no area {fid[:60]!r}.", where="area", remedy="Name one as <dataset>/<id>.")
    return shape


def _fence(connection: sa.Connection, catalog: Catalog, city: City, contract: Contract) -> None:
    """Bring the GRANTs and policies of a dataset to its contract and the grants on it."""
    on_it = grants.c.dataset == contract.id
    ends = sa.select(grants.c.audience, grants.c.person).where(on_it, grants.c.fenced, sa.not_(_HOLDS)).distinct()
    ended = {Audience(name, person=person) for name, person in connection.execute(ends)}
    connection.execute(grants.update().where(on_it, sa.not_(_HOLDS)).values(fenced=False))
    rows = connection.execute(sa.select(grants).where(on_it, _HOLDS).order_by(grants.c.number)).all()
    holders = {Audience(row.audience, person=row.person): row.area is None for row in rows}
    holders |= {Audience(row.audience, person=row.person): True for row in rows if row.area is None}
    for audience in holders:
        if audience.person:
            ensure_person(connection, audience)
    readers = audiences_of(contract.data_class, contract, all_audiences(catalog))
    statements = [
        *_privileges(contract, city, ended - set(readers), holders, readers),
        *(each for table in tables_of(contract, city) for each in _policies(connection, table.fullname, readers, rows)),
        f"NOTIFY {GRANT_CHANNEL}",
    ]
    connection.exec_driver_sql("; ".join(statements))


def _privileges(
    contract: Contract, city: City, ended: set[Audience], holders: dict[Audience, bool], readers: Sequence[Audience]
) -> Iterator[str]:
    """GRANTs of the holders; whoever may see the whole dataset (`True`) may read its numbers too."""
    tables = [table.fullname for table in tables_of(contract, city)]
    numbers = [f'indicators."{shown_table(contract, indicator).name}"' for indicator in contract.indicators]
    for audience in (ended | holders.keys()) - set(readers):
        yield f"REVOKE SELECT ON {', '.join([*tables, *numbers])} FROM {audience.role}"
    for audience, everywhere in holders.items():
        yield from select_on_records(contract, city, audience)
        if everywhere and numbers:
            yield f"GRANT SELECT ON {', '.join(numbers)} TO {audience.role}"


def _policies(connection: sa.Connection, table: str, readers: Sequence[Audience], rows: Sequence[Any]) -> Iterator[str]:
    """One policy for the roles of the contract, one for each grant; none, and no row-level security, without grants."""
    question = sa.text("SELECT polname FROM pg_policy WHERE polrelid = CAST(:name AS regclass)")
    for policy in connection.scalars(question, {"name": table}).all():
        yield f'DROP POLICY "{policy}" ON {table}'
    if not rows:
        yield f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
        return
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    roles = ", ".join(reader.role for reader in readers)
    yield f"CREATE POLICY by_contract ON {table} FOR SELECT TO {roles} USING (true)"
    for row in rows:
        role = Audience(row.audience, person=row.person).role
        until = f"now() < '{row.until.isoformat()}'"
        area = f"'{row.area}'::geometry" if row.area is not None else ""
        where = f" AND geom && {area} AND ST_Intersects(geom, {area})" if area else ""
        yield f"CREATE POLICY grant_{row.number} ON {table} FOR SELECT TO {role} USING ({until}{where})"


def withdraw_tokens(connection: sa.Connection, person: str, caller: Caller) -> None:
    """Make all tokens of a person that were issued until now good no more."""
    statement = (
        "INSERT INTO twin.revoked_tokens (person, issued_before, revoked_by)"
        " VALUES (:person, date_trunc('second', now()) + interval '1 second', :by)"
        " ON CONFLICT (person) DO UPDATE SET issued_before = excluded.issued_before, revoked_by = excluded.revoked_by"
    )
    connection.execute(sa.text(statement), {"person": person, "by": caller.person})
    append(connection, [Entry("withdraw", caller, detail={"person": person})])


def withdrawn(connection: sa.Connection) -> dict[str, dt.datetime]:
    """Persons whose tokens issued before a moment are good no more."""
    rows = connection.execute(sa.text("SELECT person, issued_before FROM twin.revoked_tokens"))
    return {row.person: row.issued_before for row in rows}
