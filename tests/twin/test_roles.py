"""Roles of the audiences."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from twin.access import GATE_ROLE, PUBLIC, department
from twin.database import Database, ensure_roles
from twin.roles import departments


def test_roles_are_made_once_and_hold_no_right(database: Database) -> None:
    parks = department("parks")
    for _ in range(2):
        with database.writing() as connection:
            ensure_roles(connection, [PUBLIC, parks])
    question = text("SELECT rolcanlogin, rolinherit, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = :role")
    with database.engine.connect() as connection:
        assert connection.execute(question, {"role": parks.role}).one() == (False, False, False, False)


def test_the_gate_may_become_an_audience_and_inherits_nothing_from_it(database: Database) -> None:
    parks = department("parks")
    with database.writing() as connection:
        ensure_roles(connection, [parks])
        connection.execute(text("CREATE TABLE public.trees (n int)"))
        connection.execute(text(f"GRANT SELECT ON public.trees TO {parks.role}"))
    with database.engine.connect() as connection:
        connection.execute(text(f"SET SESSION AUTHORIZATION {GATE_ROLE}"))
        with pytest.raises(DBAPIError, match="permission denied"), connection.begin_nested():
            connection.execute(text("SELECT * FROM public.trees"))
        connection.execute(text(f"SET ROLE {parks.role}"))
        assert connection.execute(text("SELECT * FROM public.trees")).all() == []


def test_departments_are_the_systems_of_this_database_only(database: Database) -> None:
    with database.writing() as connection:
        ensure_roles(connection, [department("parks"), department("elsewhere")])
        connection.execute(text("CREATE SCHEMA parks"))
        connection.execute(text("CREATE SCHEMA without_role"))
        assert departments(connection) == [department("parks")]
