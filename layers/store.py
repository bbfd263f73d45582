"""Applies the catalogue to the database: schemas, tables, indexes, roles and grants.

What a contract adds is added; what would lose stored data is refused with the difference. Applying twice does nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.schema import CreateSchema

from layers.catalog import Catalog
from layers.contract import Contract
from layers.granting import all_audiences, restore, select_on_records, tables_of
from layers.grants import audiences_of
from layers.tables import indicator_table, shown_table
from twin.access import Audience
from twin.city import City
from twin.database import ensure_roles
from twin.errors import DestructiveChange

__all__ = ["Change", "apply", "plan"]

_APPLY_LOCK = 0x7477696E
"""Key of the advisory lock that lets one process at a time apply a catalogue."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the catalogue and the database."""

    dataset: str
    what: str
    destructive: bool = False

    def __str__(self) -> str:
        return f"{'!' if self.destructive else '+'} {self.dataset}: {self.what}"


def plan(connection: sa.Connection, catalog: Catalog, city: City) -> list[Change]:
    """What `apply` would do to the tables, without doing it."""
    changes: list[Change] = []
    stored = _stored(connection)
    for contract in catalog:
        for table in tables_of(contract, city):
            changes += _differences(connection, contract, table, stored.get(table.fullname, {}))
    known = set(connection.scalars(sa.text("select id from twin.contracts")))
    changes += [
        Change(dataset, "is no longer in the catalogue: its table stays, nobody may read it")
        for dataset in sorted(known - set(catalog.contracts))
    ]
    return changes


def apply(connection: sa.Connection, catalog: Catalog, city: City) -> list[Change]:
    """Bring the database to the catalogue, in the transaction of `connection`; returns what changed.

    Raises DestructiveChange, before anything is touched, when a contract would drop or retype a stored column.
    """
    connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": _APPLY_LOCK})
    changes = plan(connection, catalog, city)
    lost = [change for change in changes if change.destructive]
    if lost:
        raise DestructiveChange(
            "applying the catalogue would lose stored data:\n" + "\n".join(map(str, lost)),
            remedy="Give the changed field a new name, or export and drop the table yourself first.",
        )
    for system in catalog.systems:
        connection.execute(CreateSchema(system, if_not_exists=True))
    stored = _stored(connection)
    indexes = set(connection.scalars(_INDEXES))
    for contract in catalog:
        for table in tables_of(contract, city):
            _bring(connection, table, stored.get(table.fullname, {}), indexes)
        for indicator in contract.indicators:
            for table in {indicator_table(indicator), shown_table(contract, indicator)}:
                if table.fullname not in stored:
                    table.create(connection)
    _grant(connection, catalog, city)
    _remember(connection, catalog)
    return changes


_INDEXES = sa.text(
    "select nspname || '.' || relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where relkind in ('i', 'I')"
)
_Stored = dict[str, dict[str, str]]
"""Name and type of the stored columns of each table (`schema.table`)."""


def _stored(connection: sa.Connection) -> _Stored:
    rows = connection.execute(
        sa.text(
            "select nspname || '.' || relname as name, attname, lower(format_type(atttypid, atttypmod)) as type"
            " from pg_attribute join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace"
            " where attnum > 0 and not attisdropped and relkind in ('r', 'p') and nspname !~ '^(pg_|information)'"
        )
    )
    found: _Stored = {}
    for row in rows:
        found.setdefault(row.name, {})[row.attname] = row.type
    return found


def _declared(connection: sa.Connection, table: sa.Table) -> dict[str, str]:
    return {column.name: column.type.compile(connection.dialect).lower() for column in table.columns}


def _differences(
    connection: sa.Connection, contract: Contract, table: sa.Table, stored: dict[str, str]
) -> Iterator[Change]:
    declared = _declared(connection, table)
    if not stored:
        yield Change(contract.id, f"new table {table.schema}.{table.name}")
        return
    for name, type_ in declared.items():
        if name not in stored:
            yield Change(contract.id, f"new column {table.name}.{name} ({type_})")
        elif stored[name] != type_:
            yield Change(contract.id, f"{table.name}.{name} is {stored[name]}, would become {type_}", destructive=True)
    for name in stored.keys() - declared.keys():
        yield Change(contract.id, f"{table.name}.{name} ({stored[name]}) would be dropped", destructive=True)
    if table.name == contract.name:
        yield from _key_difference(connection, contract)


def _key_difference(connection: sa.Connection, contract: Contract) -> Iterator[Change]:
    before = connection.scalar(
        sa.text("select body::json -> 'key' from twin.contracts where id = :id"), {"id": contract.id}
    )
    if before is not None and tuple(before) != contract.key:
        yield Change(contract.id, f"the key {':'.join(before)} would become {':'.join(contract.key)}", destructive=True)


def _bring(connection: sa.Connection, table: sa.Table, stored: dict[str, str], indexes: set[str]) -> None:
    """Create the table, or add the columns and indexes it lacks."""
    if not stored:
        table.create(connection)
        return
    quote = connection.dialect.identifier_preparer
    for column in table.columns:
        if column.name not in stored:
            kind = column.type.compile(connection.dialect)
            connection.execute(
                sa.text(f"alter table {quote.format_table(table)} add column {quote.quote(column.name)} {kind}")
            )
    for index in table.indexes:
        if f"{table.schema}.{index.name}" not in indexes:
            index.create(connection)


def _grant(connection: sa.Connection, catalog: Catalog, city: City) -> None:
    """Make the grants exactly what the contracts say: everything is taken back, then given."""
    everyone = all_audiences(catalog)
    ensure_roles(connection, everyone)
    schemas = [*catalog.systems, "indicators", "twin"]
    statements = [
        *_each("grant usage on schema {} to {}", schemas, everyone),
        *_each("revoke all on all tables in schema {} from {}", schemas, everyone),
        *_each("grant select on {} to {}", ["twin.contracts", "twin.versions"], everyone),
        *_each("grant select (dataset, synthetic, finished_at) on {} to {}", ["twin.batches"], everyone),
    ]
    for contract in catalog:
        for audience in audiences_of(contract.data_class, contract, everyone):
            statements += select_on_records(contract, city, audience)
        for indicator in contract.indicators:
            allowed = audiences_of(indicator.data_class or contract.data_class, contract, everyone)
            statements += _each(
                "grant select on {} to {}", [f'indicators."{shown_table(contract, indicator).name}"'], allowed
            )
    # One round trip for all of them.
    connection.exec_driver_sql("; ".join(statements))
    restore(connection, catalog, city)


def _each(statement: str, objects: Iterable[str], audiences: Iterable[Audience]) -> list[str]:
    roles = ", ".join(audience.role for audience in audiences)
    return [statement.format(name, roles) for name in objects] if roles else []


def _remember(connection: sa.Connection, catalog: Catalog) -> None:
    rows = [
        {"id": contract.id, "digest": catalog.digests[contract.id], "body": contract.model_dump_json(by_alias=True)}
        for contract in catalog
    ]
    if rows:
        connection.execute(
            sa.text(
                "insert into twin.contracts (id, digest, body, applied_at) values (:id, :digest, :body, now())"
                " on conflict (id) do update set digest = excluded.digest, body = excluded.body, applied_at = now()"
                " where twin.contracts.digest is distinct from excluded.digest"
            ),
            rows,
        )
