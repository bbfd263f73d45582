"""The core's own commands: the database, the tokens, what runs, and the demonstration."""

import datetime as dt
import getpass
from enum import StrEnum
from typing import Annotated

import typer
from sqlalchemy import text

from twin.access import GATE_ROLE, Audience, issue_token
from twin.city import load_city
from twin.cluster import OWNER_ROLE, Cluster
from twin.database import connect
from twin.demo import demonstrate
from twin.errors import SetupError, TwinError
from twin.keys import secret
from twin.pidfile import PidFile
from twin.settings import settings

__all__ = ["register"]

_DATA_HELD = text("SELECT count(*), max(changed_at) FROM twin.versions")


class _Role(StrEnum):
    """Roles that log in to the private cluster."""

    OWNER = OWNER_ROLE
    GATE = GATE_ROLE


def register(app: typer.Typer) -> None:
    """Add the core's commands to `app`."""
    app.command()(demo)
    app.command()(status)
    app.command()(down)
    database = typer.Typer(no_args_is_help=True, help="The database of this twin.")
    for command in (start, stop, migrate, url):
        database.command()(command)
    app.add_typer(database, name="database")
    token = typer.Typer(no_args_is_help=True, help="Tokens: what the server lets their bearers see.")
    token.command()(new)
    app.add_typer(token, name="token")


def demo(context: typer.Context) -> None:
    """Make the synthetic demonstration city and serve it until Ctrl-C."""
    demonstrate(context)


def status() -> None:
    """Say what runs, where its data is, and how much there is."""
    config = settings()
    profile = load_city(config.city)
    server = PidFile(config.home).pid()
    typer.echo(f"city      {profile.title.zh} {profile.title.en} ({profile.id})")
    typer.echo(f"state     {config.home}")
    typer.echo(f"database  {_database_status()}")
    address = f"http://{config.host}:{config.port}"
    typer.echo(f"server    {f'running at {address}, process {server}' if server else 'stopped'}")


def _database_status() -> str:
    config = settings()
    if config.database_url is None:
        cluster = Cluster(config.home).status()
        if not cluster.running:
            return f"stopped, in {cluster.folder}" if cluster.version else "none yet (twin up makes it)"
        place = f"PostgreSQL {cluster.version}, process {cluster.pid}, 127.0.0.1:{cluster.port}, in {cluster.folder}"
    else:
        place = "server of TWIN_DATABASE_URL"
    return f"running, {place}; {_data_held()}"


def _data_held() -> str:
    try:
        database = connect()
        with database.writing() as connection:
            if connection.scalar(text("SELECT to_regclass('twin.versions') IS NULL")):
                return "no tables yet"
            count, changed = connection.execute(_DATA_HELD).one()
    except TwinError as error:
        return str(error)
    return f"{count} datasets hold data" + (f", last change {changed:%Y-%m-%d %H:%M:%S} UTC" if changed else "")


def down() -> None:
    """Stop the server and the private database."""
    config = settings()
    served = PidFile(config.home).stop()
    stored = config.database_url is None and Cluster(config.home).stop()
    stopped = [name for name, was_running in (("server", served), ("database", stored)) if was_running]
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def start() -> None:
    """Start the private database; make it when there is none."""
    cluster = _cluster()
    cluster.start()
    found = cluster.status()
    typer.echo(f"PostgreSQL {found.version} answers on 127.0.0.1:{found.port}, process {found.pid}")


def stop() -> None:
    """Stop the private database."""
    typer.echo("stopped" if _cluster().stop() else "it was not running")


def migrate() -> None:
    """Bring the twin's own tables to the newest version."""
    connect().migrate()
    typer.echo("the tables are up to date")


def url(
    role: Annotated[_Role, typer.Option(help="Role to log in as.")] = _Role.OWNER,
) -> None:
    """Print the address of the private database, with its password, for psql, QGIS and the like."""
    name = load_city(settings().city).id
    address = _cluster().url(role, name, tcp=True).set(drivername="postgresql")
    typer.echo(address.render_as_string(hide_password=False))


def _cluster() -> Cluster:
    if settings().database_url is not None:
        raise SetupError("the database is not ours to run.", where="TWIN_DATABASE_URL", remedy="Unset it.")
    return Cluster(settings().home)


def new(
    audience: Annotated[
        str, typer.Argument(help="public, dispatch, operations, planner, administrator or department:<system>.")
    ],
    person: Annotated[str | None, typer.Option(help="Whom it is for; unset: who you are on this machine.")] = None,
    hours: Annotated[int, typer.Option(min=1, max=24 * 90, help="How long it is valid.")] = 12,
) -> None:
    """Print a new token for a person in an audience."""
    bearer = person or getpass.getuser()
    token = issue_token(Audience(audience), secret(settings().home), person=bearer, lifetime=dt.timedelta(hours=hours))
    typer.echo(token)
