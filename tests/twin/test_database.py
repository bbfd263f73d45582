"""Reading and writing on real PostGIS: who may see what, for how long, and what happens when the server dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from twin import city
from twin.access import FIXED_AUDIENCES, GATE_ROLE, PUBLIC, Audience
from twin.cluster import OWNER_ROLE, Cluster
from twin.database import Database, connect, private_database
from twin.errors import DatabaseUnavailable, LimitExceeded, NotAllowed, SetupError
from twin.settings import Settings

PLANNER = Audience("planner")

Question = Callable[[Database], Coroutine[object, object, Any]]


def look(database: Database, question: Question) -> Any:
    """Ask `question` in an event loop of its own and leave no connection behind."""

    async def ask() -> object:
        try:
            return await question(database)
        finally:
            await database.aclose()

    return asyncio.run(ask())


def asking(sql: str, audience: Audience = PUBLIC, timeout_s: float | None = None) -> Question:
    async def ask(database: Database) -> object:
        async with database.reading(audience, timeout_s=timeout_s) as connection:
            return tuple((await connection.execute(text(sql))).one())

    return ask


def address(cluster: Cluster, name: str, role: str = OWNER_ROLE) -> SecretStr:
    return SecretStr(
        cluster.url(role, name, tcp=True).set(drivername="postgresql").render_as_string(hide_password=False)
    )


def name_of(database: Database) -> str:
    return str(database.engine.url.database)


# Reading


def test_a_reading_connection_looks_as_its_audience_read_only_and_not_for_long(database: Database) -> None:
    facts = "SELECT current_user::text, current_setting('transaction_read_only'), current_setting('statement_timeout')"
    assert look(database, asking(facts, PLANNER, timeout_s=1.5)) == ("twin_planner", "on", "1500ms")


def test_an_audience_sees_what_it_was_granted_and_nothing_else(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("CREATE SCHEMA parks"))
        connection.execute(text("CREATE TABLE parks.trees AS SELECT 7 AS n"))
        connection.execute(text("GRANT USAGE ON SCHEMA parks TO twin_planner"))
        connection.execute(text("GRANT SELECT ON parks.trees TO twin_planner"))
    assert look(database, asking("SELECT n FROM parks.trees", PLANNER)) == (7,)
    with pytest.raises(NotAllowed, match="permission denied"):
        look(database, asking("SELECT n FROM parks.trees", PUBLIC))


def test_the_gate_itself_reads_nothing(database: Database) -> None:
    async def forget_the_role(database: Database) -> None:
        async with database._readers.connect() as connection:
            assert await connection.scalar(text("SELECT current_user::text")) == GATE_ROLE
            for table in ("contracts", "inbox", "batches", "quarantine", "versions"):
                with pytest.raises(DBAPIError, match="permission denied"):
                    await connection.execute(text(f"SELECT * FROM twin.{table}"))

    look(database, forget_the_role)


def test_no_way_back_leads_to_the_owner(database: Database) -> None:
    async def escape(database: Database) -> None:
        for statement in ("RESET ROLE", "SET ROLE NONE", "RESET SESSION AUTHORIZATION", f"SET ROLE {OWNER_ROLE}"):
            async with database._readers.connect() as connection:
                try:
                    await connection.exec_driver_sql(statement)
                except DBAPIError:
                    continue
                assert await connection.scalar(text("SELECT current_user::text")) == GATE_ROLE
                with pytest.raises(DBAPIError, match="permission denied"):
                    await connection.execute(text("SELECT * FROM twin.inbox"))

    look(database, escape)


def test_the_role_ends_with_the_transaction(database: Database) -> None:
    async def one_after_the_other(database: Database) -> list[object]:
        seen = []
        for audience in (PLANNER, PUBLIC, PLANNER):
            async with database.reading(audience) as connection:
                seen.append(await connection.scalar(text("SELECT current_user::text")))
            async with database._readers.connect() as connection:  # the same connection, between two transactions
                seen.append(await connection.scalar(text("SELECT current_user::text")))
        return seen

    one = Database(database.engine.url, database._readers.url, readers=1)
    expected = ["twin_planner", GATE_ROLE, "twin_public", GATE_ROLE, "twin_planner", GATE_ROLE]
    assert look(one, one_after_the_other) == expected


def test_reading_cannot_write(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE public.notes (n int)"))
        connection.execute(text("GRANT ALL ON public.notes TO twin_public"))
    with pytest.raises(NotAllowed, match="read-only"):
        look(database, asking("INSERT INTO public.notes VALUES (1) RETURNING n"))


def test_a_question_that_takes_too_long_is_refused_and_the_connection_lives_on(database: Database) -> None:
    async def slow_then_quick(database: Database) -> object:
        with pytest.raises(LimitExceeded, match="too long"):
            await asking("SELECT pg_sleep(30)", timeout_s=0.05)(database)
        return await asking("SELECT 1")(database)

    assert look(Database(database.engine.url, database._readers.url, readers=1), slow_then_quick) == (1,)


def test_who_inspects_as_the_owner_has_a_time_limit_and_writes_nothing(database: Database) -> None:
    hurried = Database(database.engine.url, database._readers.url, readers=1, timeout_s=0.05)
    try:
        with pytest.raises(LimitExceeded, match="too long"), hurried.inspecting() as connection:
            connection.execute(text("SELECT pg_sleep(30)"))
        with pytest.raises(NotAllowed, match="read-only"), hurried.inspecting() as connection:
            connection.execute(text("INSERT INTO twin.versions VALUES ('x', 1)"))
        with hurried.writing() as connection:
            limit = connection.scalar(text("SHOW statement_timeout"))
        assert limit == "0", "the limit ended with its transaction"
    finally:
        asyncio.run(hurried.aclose())


def test_readers_wait_for_each_other_and_none_is_lost(database: Database) -> None:
    async def crowd(database: Database) -> list[object]:
        return await asyncio.gather(*(asking(f"SELECT {n}, pg_sleep(0.01)::text")(database) for n in range(20)))

    answers = look(Database(database.engine.url, database._readers.url, readers=2), crowd)
    assert [answer[0] for answer in answers] == list(range(20))


def test_a_cancelled_reader_gives_its_connection_back(database: Database) -> None:
    async def cancel(database: Database) -> object:
        task = asyncio.create_task(asking("SELECT pg_sleep(30)")(database))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asking("SELECT 1")(database)

    assert look(Database(database.engine.url, database._readers.url, readers=1), cancel) == (1,)


def test_other_errors_pass_as_they_are(database: Database) -> None:
    with pytest.raises(DBAPIError, match="division by zero"):
        look(database, asking("SELECT 1/0"))


# Faults


def test_a_killed_server_is_unavailable_to_readers_then_back(made_home: Path) -> None:
    cluster = Cluster(made_home)
    cluster.start()
    database = private_database(cluster, "migrated")

    async def live_through(database: Database) -> object:
        waiting = asyncio.create_task(asking("SELECT pg_sleep(30)")(database))
        await asyncio.sleep(0.2)
        os.kill(cluster.status().pid or 0, signal.SIGKILL)
        with pytest.raises(DatabaseUnavailable):
            await waiting
        with pytest.raises(DatabaseUnavailable):
            await asking("SELECT 1")(database)
        await asyncio.to_thread(cluster.start)
        return await asking("SELECT 2")(database)

    assert look(database, live_through) == (2,)


def test_a_writer_whose_server_is_killed_is_told_and_committed_rows_stay(made_home: Path) -> None:
    cluster = Cluster(made_home)
    cluster.start()
    database = private_database(cluster, "migrated")
    add = text("INSERT INTO twin.versions VALUES (:dataset, 1)")
    with database.writing() as connection:
        connection.execute(add, {"dataset": "committed"})

    def write_while_it_dies() -> None:
        with database.writing() as connection:
            connection.execute(add, {"dataset": "lost"})
            os.kill(cluster.status().pid or 0, signal.SIGKILL)
            connection.execute(text("SELECT pg_sleep(30)"))

    with pytest.raises(DatabaseUnavailable):
        write_while_it_dies()
    cluster.start()
    with database.writing() as connection:
        assert connection.scalars(text("SELECT dataset FROM twin.versions")).all() == ["committed"]


def test_a_pool_full_of_dead_connections_serves_the_next_reader(made_home: Path) -> None:
    cluster = Cluster(made_home, durable=False)
    cluster.start()
    database = private_database(cluster, "migrated", readers=4)

    async def restart_between(database: Database) -> list[object]:
        pause = [asking("SELECT 1, pg_sleep(0.05)::text")(database) for _ in range(4)]
        await asyncio.gather(*pause)
        cluster.stop()
        cluster.start()
        return await asyncio.gather(*(asking("SELECT 1")(database) for _ in range(4)))

    assert look(database, restart_between) == [(1,)] * 4


# Migrations


def test_migrating_again_changes_nothing(database: Database) -> None:
    inventory = text("SELECT oid, relname FROM pg_class WHERE relnamespace = 'twin'::regnamespace ORDER BY oid")
    with database.engine.connect() as connection:
        before = connection.execute(inventory).all()
    database.migrate()
    with database.engine.connect() as connection:
        assert connection.execute(inventory).all() == before
        assert {name for _, name in before} >= {"contracts", "inbox", "batches", "quarantine", "versions"}
        extensions = set(connection.scalars(text("SELECT extname FROM pg_extension")))
    assert {"postgis", "btree_gist"} <= extensions


def test_two_databases_and_many_processes_may_migrate_at_once(home: Path) -> None:
    cluster = Cluster(home, durable=False)
    cluster.start()
    program = (
        "import sys, pathlib; from twin.cluster import Cluster; from twin.database import private_database;"
        "private_database(Cluster(pathlib.Path(sys.argv[1])), sys.argv[2]).migrate()"
    )
    names = ("east", "west", "east")
    processes = [subprocess.Popen([sys.executable, "-c", program, str(home), name]) for name in names]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    roles = {GATE_ROLE, *(Audience(name).role for name in FIXED_AUDIENCES)}
    for name in set(names):
        database = private_database(cluster, name)
        with database.engine.connect() as connection:
            found = set(connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'twin\\_%'")))
        assert found == roles
        assert look(database, asking("SELECT current_user::text", PLANNER)) == ("twin_planner",)


_INBOX = "INSERT INTO twin.inbox (dataset, source, name, media, sha256, size{}) VALUES ('a.b', '', '', '', {hash}, 0{})"
_BATCH = "INSERT INTO twin.batches (inbox_id, dataset, contract_digest, source, {}) VALUES ({inbox}, 'a.b', '', '', {})"
_REFUSED = {
    "neither raw bytes nor a file": _INBOX.format("", "", hash="{hash}"),
    "both": _INBOX.format(", raw, blob", ", '', ''", hash="{hash}"),
    "a lost record": _BATCH.format("received, accepted", "2, 1", inbox="{inbox}"),
    "a record too many": _BATCH.format("received, quarantined, duplicate", "1, 1, 1", inbox="{inbox}"),
    "an unknown status": (
        "INSERT INTO twin.quarantine (inbox_id, dataset, stage, reason, detail, status) "
        "VALUES ({inbox}, 'a.b', '', '', '', 'lost')"
    ),
}


@pytest.mark.parametrize("sql", _REFUSED.values(), ids=_REFUSED)
def test_the_tables_refuse_what_does_not_add_up(database: Database, sql: str) -> None:
    digest = f"'\\x{'00' * 32}'"
    with database.writing() as connection:
        arrived = _INBOX.format(", raw", ", ''", hash=digest) + " RETURNING id"
        inbox = connection.scalar(text(arrived))
        good = _BATCH.format("received, accepted, duplicate, quarantined", "3, 1, 1, 1", inbox=inbox)
        connection.exec_driver_sql(good)
    with pytest.raises(DBAPIError, match="violates check constraint"), database.writing() as connection:
        connection.exec_driver_sql(sql.format(hash=digest, inbox=inbox))


# Connecting


def test_each_city_has_a_database_of_its_own(made_home: Path) -> None:
    profile = Path(city.__file__).with_name("cities") / "zaozhuang.toml"
    other = made_home / "other.toml"
    other.write_text(profile.read_text(encoding="utf-8").replace('id = "zaozhuang"', 'id = "elsewhere"', 1))
    for name, expected in (("zaozhuang", "zaozhuang"), (str(other), "elsewhere")):
        database = connect(Settings(home=made_home, city=name, database_url=None))
        assert database.engine.url.database == expected
        database.engine.dispose()


def test_an_existing_server_serves_under_the_same_rules(cluster: Cluster, database: Database, home: Path) -> None:
    """A server that is not ours: its user is no superuser, and readers log in as that user too."""
    name = name_of(database)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE ROLE tenant LOGIN CREATEROLE PASSWORD 'tenant'")
        connection.exec_driver_sql(f"CREATE DATABASE {name}_theirs OWNER tenant")
    with private_database(cluster, f"{name}_theirs").writing() as connection:
        connection.execute(text("CREATE EXTENSION postgis"))  # only a superuser may; its administrator did
    theirs = cluster.url(database=f"{name}_theirs", tcp=True).set(username="tenant", password="tenant")  # noqa: S106
    url = SecretStr(theirs.set(drivername="postgresql").render_as_string(hide_password=False))
    tenant = connect(Settings(home=home, database_url=url))
    tenant.migrate()
    try:
        assert look(tenant, asking("SELECT session_user::text, current_user::text")) == ("tenant", "twin_public")
        with pytest.raises(NotAllowed):
            look(tenant, asking("SELECT * FROM twin.inbox"))
        assert not (home / "postgres").exists()
    finally:
        tenant.engine.dispose()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("not an address", "not a database address"),
        ("mysql://root@127.0.0.1/city", "no PostgreSQL database"),
        ("postgresql://127.0.0.1:5432", "no PostgreSQL database"),
    ],
)
def test_an_address_that_is_none_is_refused(home: Path, url: str, complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint) as caught:
        connect(Settings(home=home, database_url=SecretStr(url)))
    assert caught.value.where == "TWIN_DATABASE_URL"


def test_a_server_that_refuses_us_is_a_set_up_error_without_the_password(cluster: Cluster, home: Path) -> None:
    wrong = cluster.url(database="postgres", tcp=True).set(drivername="postgresql", password="s3cret")  # noqa: S106
    url = SecretStr(wrong.render_as_string(hide_password=False))
    with pytest.raises(SetupError, match="password authentication failed") as caught:
        connect(Settings(home=home, database_url=url))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SetupError, match="does not exist"):
        connect(Settings(home=home, database_url=address(cluster, "no_such_database")))


def test_a_server_that_does_not_answer_may_answer_later(home: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        connect(Settings(home=home, database_url=SecretStr("postgresql://twin@127.0.0.1:1/city")))


def test_a_user_without_rights_is_told_which_are_missing(cluster: Cluster, home: Path) -> None:
    with pytest.raises(SetupError, match=r"create roles.*create schemas"):
        connect(Settings(home=home, database_url=address(cluster, "postgres", GATE_ROLE)))
