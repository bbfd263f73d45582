"""PostgreSQL roles of the audiences. A role is there without any right; GRANTs come from the contracts."""

import time
from collections.abc import Iterable

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from twin.access import GATE_ROLE, Audience, department

__all__ = ["departments", "ensure_person", "ensure_roles"]

_ATTEMPTS = 20
_PAUSE_S = 0.05

_MISSING_ROLES = text("""
    SELECT wanted FROM unnest(CAST(:roles AS text[])) AS wanted
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) ORDER BY wanted
""")
_FROM_16_ON = text("SELECT current_setting('server_version_num')::int >= 160000")
_MISSING_MEMBERSHIPS = text("""
    SELECT granted.rolname, member.rolname FROM pg_roles granted, pg_roles member
    WHERE granted.rolname = ANY (:roles) AND member.rolname IN (:gate, session_user) AND granted.oid <> member.oid
    AND NOT pg_has_role(member.oid, granted.oid, :ability) ORDER BY 1, 2
""")


def ensure_roles(connection: Connection, audiences: Iterable[Audience]) -> None:
    """Make the gate role and one role per audience where they are missing.

    The gate and the connecting user become able to SET each audience's role, and the connecting user the gate's. No
    role inherits another's rights. Runs in the transaction of `connection`; roles belong to the whole cluster, and
    several databases of one cluster may do this at once: the one that comes second takes what the first one made.

    Raises NotAllowed (through `refusals`) when the connecting user may not create roles.
    """
    roles = sorted({GATE_ROLE, *(audience.role for audience in audiences)})
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with connection.begin_nested():
                _make_missing(connection, roles)
        except DBAPIError as error:
            if attempt == _ATTEMPTS or not _somebody_was_faster(error):
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def ensure_person(connection: Connection, audience: Audience) -> None:
    """Make the role of one person in an audience, which inherits all that the audience's own role may do."""
    role, base = (
        connection.dialect.identifier_preparer.quote_identifier(name)
        for name in (audience.role, Audience(audience.name).role)
    )
    ensure_roles(connection, [Audience(audience.name), audience])
    connection.exec_driver_sql(f"ALTER ROLE {role} INHERIT")
    connection.exec_driver_sql(f"GRANT {base} TO {role}")


def departments(connection: Connection) -> list[Audience]:
    """The departments of this database: systems with a schema here and a role in the cluster, in order of name."""
    question = text("SELECT nspname FROM pg_namespace JOIN pg_roles ON rolname = :prefix || nspname ORDER BY nspname")
    prefix = department("any").role.removesuffix("any")
    return [department(system) for system in connection.scalars(question, {"prefix": prefix})]


def _make_missing(connection: Connection, roles: list[str]) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    for role in connection.scalars(_MISSING_ROLES, {"roles": roles}).all():
        connection.exec_driver_sql(f"CREATE ROLE {quote(role)} NOLOGIN NOINHERIT")
    # From PostgreSQL 16 on, who creates a role is its member at once, but may not SET ROLE to it.
    ability = "SET" if connection.scalar(_FROM_16_ON) else "MEMBER"
    wanted = {"roles": roles, "gate": GATE_ROLE, "ability": ability}
    for role, member in connection.execute(_MISSING_MEMBERSHIPS, wanted).all():
        connection.exec_driver_sql(f"GRANT {quote(role)} TO {quote(member)}")


def _somebody_was_faster(error: DBAPIError) -> bool:
    """Another database of the cluster made the same role or grant between our look and our statement."""
    cause = error.orig
    return isinstance(cause, psycopg.errors.DuplicateObject | psycopg.errors.UniqueViolation) or (
        isinstance(cause, psycopg.errors.InternalError_) and "tuple concurrently updated" in str(cause)
    )
