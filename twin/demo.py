"""`twin demo`: from nothing to a running synthetic city, by the commands a person would type."""

import datetime as dt
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import typer

from twin.access import FIXED_AUDIENCES, Audience
from twin.cluster import Cluster
from twin.database import connect
from twin.errors import SetupError
from twin.keys import secret, write_tokens
from twin.roles import departments
from twin.settings import settings

__all__ = ["demonstrate"]

_APPLY_CATALOGUE = ("catalog", "apply")
_LOAD_CITY = ("ingest", "demo")
_BESIDE = (("ingest", "run"), ("ingest", "devices"))
_SERVE = ("up",)
_END_S = 20.0
_TOKEN_LIFETIME = dt.timedelta(days=7)


def demonstrate(context: typer.Context) -> None:
    """Start the database, apply the catalogue, write tokens, load the demonstration city, let it move, serve.

    `ingest demo` loads nothing when the city is there already. `up` serves until interrupted; then its devices and who
    listens to them end too, and a private database that was not running before is stopped.

    Raises SetupError when a package whose command is needed is not installed.
    """
    config = settings()
    private = Cluster(config.home) if config.database_url is None else None
    stop_after = private is not None and not private.status().running
    try:
        _run(context, _APPLY_CATALOGUE)
        database = connect()
        with database.writing() as connection:
            audiences = [*map(Audience, FIXED_AUDIENCES), *departments(connection)]
        database.engine.dispose()
        path = config.home / "tokens.json"
        write_tokens(path, audiences, secret(config.home), lifetime=_TOKEN_LIFETIME)
        typer.echo(f"Tokens of {len(audiences)} audiences: {path}")
        _run(context, _LOAD_CITY)
        with _beside(_BESIDE):
            _run(context, _SERVE)
    finally:
        if private is not None and stop_after:
            private.stop()


@contextmanager
def _beside(commands: Sequence[Sequence[str]]) -> Generator[None]:
    """Run `twin <words>` in processes of their own while the block runs."""
    program = [sys.executable, "-m", "twin.cli"]
    running = [
        subprocess.Popen([*program, *words], stdout=subprocess.DEVNULL)  # noqa: S603  (our own words)
        for words in commands
    ]
    try:
        yield
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _run(context: typer.Context, words: Sequence[str]) -> None:
    """Run `twin <words>` in this process."""
    root = context.find_root().command
    command = root
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            raise SetupError(f"this installation has no command `twin {' '.join(words)}`.", remedy="Install it whole.")
    code = root.main(list(words), prog_name="twin", standalone_mode=False, obj=context.obj)
    if code:
        raise typer.Exit(code)
