"""The database: one engine that owns, one pool that only looks, through a role per audience.

`connect()` is the only way in. Writing goes through `Database.writing()` (or `.engine`) as the owner; every read goes
through `Database.reading(audience)`, whose connections start in a role that may read nothing.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from psycopg.pq import PGconn, Ping
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from twin.access import FIXED_AUDIENCES, GATE_ROLE, Audience
from twin.city import load_city
from twin.cluster import Cluster
from twin.errors import SetupError
from twin.migrations import upgrade
from twin.postgres import MINIMUM_MAJOR, MINIMUM_POSTGIS
from twin.refusals import refusals
from twin.roles import ensure_roles
from twin.settings import Settings, settings

__all__ = ["Database", "connect", "ensure_roles", "private_database", "refusals"]

_READERS = 48
"""Reading connections of all server processes together."""

_READING = (
    f"role={GATE_ROLE}",
    "default_transaction_read_only=on",
    # A box of one street and one of the whole city want different plans, so none is kept for both.
    "plan_cache_mode=force_custom_plan",
    # Parallel workers take longer to start (20 ms) than most questions take; PostGIS's costs hide that.
    "parallel_setup_cost=1000000",
)
"""How reading connections start."""

_MIGRATION_LOCK = 0x74_77_69_6E  # "twin"
_OPENING_TIMEOUT_S = 10
_VARIABLE = "TWIN_DATABASE_URL"
_ADDRESS_REMEDY = "Write it as postgresql://user:password@host:port/database."

_SERVER_FACTS = text("""
    SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
           coalesce((SELECT extversion FROM pg_extension WHERE extname = 'postgis'),
                    (SELECT default_version FROM pg_available_extensions WHERE name = 'postgis')),
           (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user),
           has_database_privilege(current_database(), 'CREATE')
""")


class Database:
    """A PostgreSQL database of the twin.

    `owner` connects as the role that owns the tables, `gate` as the role that reading connections log in as (on a
    server that is not ours, the owner again). `readers` bounds the reading connections of this process.
    """

    def __init__(self, owner: URL, gate: URL, *, readers: int = 8, timeout_s: float = 5.0) -> None:
        options = "-c timezone=UTC"
        opening = {"connect_timeout": _OPENING_TIMEOUT_S, "application_name": "citytwin"}
        self._timeout_s = timeout_s
        self.engine: Engine = create_engine(
            owner,
            connect_args={**opening, "options": options},
            pool_pre_ping=True,
            use_native_hstore=False,
        )
        # Autocommit, since `reading` opens its transactions itself: BEGIN, role and timeout in one round trip.
        self._readers: AsyncEngine = create_async_engine(
            gate,
            connect_args={
                **opening,
                "options": f"{options} {' '.join(f'-c {option}' for option in _READING)}",
            },
            isolation_level="AUTOCOMMIT",
            pool_size=readers,
            max_overflow=0,
            pool_timeout=_OPENING_TIMEOUT_S,
            use_native_hstore=False,
        )

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """A connection in a transaction, as the owner: committed at the end of the block, rolled back by an error.

        Raises DatabaseUnavailable, LimitExceeded or NotAllowed for PostgreSQL's refusals.
        """
        with refusals(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def inspecting(self) -> Generator[Connection]:
        """A connection in a READ ONLY transaction as the owner, each statement limited as in `reading`.

        For what no audience's role may read: whoever uses it decides who sees what. Raises as `writing` does.
        """
        limit_ms = max(1, round(1000 * self._timeout_s))
        with refusals(), self.engine.begin() as connection:
            connection.exec_driver_sql(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {limit_ms}")
            yield connection

    @asynccontextmanager
    async def reading(self, audience: Audience, *, timeout_s: float | None = None) -> AsyncGenerator[AsyncConnection]:
        """A connection in a READ ONLY transaction as `audience`, each statement limited to `timeout_s`.

        Raises LimitExceeded when a statement takes longer, NotAllowed when the audience has no grant for what it asks,
        DatabaseUnavailable when PostgreSQL does not answer.
        """
        limit_ms = max(1, round(1000 * (self._timeout_s if timeout_s is None else timeout_s)))
        opening = f'BEGIN READ ONLY; SET LOCAL ROLE "{audience.role}"; SET LOCAL statement_timeout = {limit_ms}'
        with refusals():
            connection = await self._open(opening)
            try:
                yield connection
                await connection.exec_driver_sql("COMMIT")
            finally:
                await connection.close()

    async def _open(self, opening: str) -> AsyncConnection:
        """A pooled connection that has run `opening`, which also tells whether it is still alive."""
        try:
            return await self._begin(opening)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._begin(opening)  # the server restarted; SQLAlchemy has emptied the pool

    async def _begin(self, opening: str) -> AsyncConnection:
        connection = await self._readers.connect()
        try:
            await connection.exec_driver_sql(opening)
        except BaseException:
            await connection.close()
            raise
        return connection

    def migrate(self) -> None:
        """Bring the twin's own tables to the newest version. Many processes may call this at once, threads may not.

        Raises SetupError when the connecting user may not do it.
        """
        with self.writing() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS twin"))
            upgrade(connection)
            ensure_roles(connection, map(Audience, FIXED_AUDIENCES))

    async def aclose(self) -> None:
        """Close all connections. The database may be used again afterwards, in another event loop too."""
        await self._readers.dispose()
        self.engine.dispose()


def connect(config: Settings | None = None) -> Database:
    """The database of the settings (of this process, unless given).

    That is the server of `TWIN_DATABASE_URL`, checked; or else the private cluster of `TWIN_HOME`, made and started as
    needed, which holds a database of its own for each city.

    Raises SetupError when the server cannot serve the twin, DatabaseUnavailable when it does not answer.
    """
    config = config or settings()
    readers, timeout_s = max(4, _READERS // config.workers), config.statement_timeout_s
    if config.database_url is not None:
        url = _parsed(config.database_url.get_secret_value())
        _check_server(url)
        return Database(url, url, readers=readers, timeout_s=timeout_s)
    cluster = Cluster(config.home)
    cluster.start()
    return private_database(cluster, load_city(config.city).id, readers=readers, timeout_s=timeout_s)


def private_database(cluster: Cluster, name: str, *, readers: int = 8, timeout_s: float = 5.0) -> Database:
    """The database `name` of a running private cluster; made when it is not there."""
    with refusals(), _passing_engine(cluster.url()).connect() as connection:
        if connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = :name"), {"name": name}) == 0:
            quoted = connection.dialect.identifier_preparer.quote_identifier(name)
            with suppress(ProgrammingError, IntegrityError):  # another process was faster
                connection.exec_driver_sql(f"CREATE DATABASE {quoted} TEMPLATE template0")
    owner, gate = cluster.url(database=name), cluster.url(GATE_ROLE, name)
    return Database(owner, gate, readers=readers, timeout_s=timeout_s)


def _passing_engine(url: URL) -> Engine:
    """An engine for a few statements outside transactions; keeps no connection."""
    return create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", use_native_hstore=False)


def _parsed(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise SetupError("it is not a database address.", where=_VARIABLE, remedy=_ADDRESS_REMEDY) from error
    if url.get_backend_name() not in {"postgresql", "postgres"} or not url.database:
        raise SetupError(f"{url!r} names no PostgreSQL database.", where=_VARIABLE, remedy=_ADDRESS_REMEDY)
    return url.set(drivername="postgresql+psycopg")


def _check_server(url: URL) -> None:
    """Raise SetupError, with all reasons, when the server at `url` cannot serve the twin."""
    with refusals():
        try:
            with _passing_engine(url).connect() as connection:
                facts = connection.execute(_SERVER_FACTS).one()
        except OperationalError as error:
            if not _answers(url):
                raise
            reason = str(error.orig).strip().splitlines()[0]
            raise SetupError(f"the server refuses {url!r}: {reason}.", where=_VARIABLE) from error
    faults = [
        fault for fits, fault in _requirements(*facts[:3], makes_roles=facts[3], makes_schemas=facts[4]) if not fits
    ]
    if faults:
        raise SetupError(f"{url!r} cannot serve the twin: {'; '.join(faults)}.", where=_VARIABLE)


def _answers(url: URL) -> bool:
    """Whether a PostgreSQL accepts connections at `url`, whoever asks (libpq's ping: no password involved)."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return PGconn.ping(address.encode()) == Ping.OK


def _requirements(
    version: int, encoding: str, postgis: str | None, *, makes_roles: bool, makes_schemas: bool
) -> list[tuple[bool, str]]:
    """What a server must offer: whether it does, and what to say when it does not."""
    found = tuple(int(part) for part in (postgis or "0.0").split(".")[:2])
    return [
        (version // 10_000 >= MINIMUM_MAJOR, f"it is PostgreSQL {version // 10_000}, {MINIMUM_MAJOR} is needed"),
        (found >= MINIMUM_POSTGIS, f"it offers PostGIS {postgis or 'nowhere'}, 3.3 is needed"),
        (encoding == "UTF8", f"its encoding is {encoding}, UTF8 is needed"),
        (makes_roles, "its user may not create roles (ALTER ROLE ... CREATEROLE)"),
        (makes_schemas, "its user may not create schemas (GRANT CREATE ON DATABASE ...)"),
    ]
