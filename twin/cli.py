"""The command `twin`.

The core imports nothing of the packages above it. They add their commands through the entry point group
`twin.commands`, whose entries name a function `register(app: typer.Typer) -> None`:

    [project.entry-points."twin.commands"]
    layers = "layers.commands:register"

`register` runs at every start of the command, also for `twin --help`: import heavy libraries inside the commands.

Exit codes: 0 done, 1 may pass when tried again (`Transient`), 2 bad input or set-up (`Terminal`, wrong usage).
"""

import logging
import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated

import typer
from pydantic import ValidationError

from twin import __version__, commands
from twin.errors import SetupError, Terminal, TwinError
from twin.settings import settings

__all__ = ["application", "main"]

_GROUP = "twin.commands"


@dataclass
class _Options:
    """What the options before the command's name say."""

    debug: bool = False


def application() -> typer.Typer:
    """The whole command: our own commands and those of every installed package."""
    app = typer.Typer(name="twin", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    app.callback()(_prepare)
    commands.register(app)
    for entry in sorted(entry_points(group=_GROUP), key=lambda entry: entry.name):
        entry.load()(app)
    return app


def main() -> None:
    """Entry point of the console script."""
    options = _Options()
    try:
        application()(obj=options, prog_name="twin")
    except TwinError as error:
        if options.debug:
            traceback.print_exc()
        sys.stderr.write(f"twin: {error}\n")
        sys.exit(2 if isinstance(error, Terminal) else 1)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer hands the option's value over by position)
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _prepare(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error happened.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A geospatial digital twin for running a city."""
    context.obj.debug = context.obj.debug or debug
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("twin").setLevel(logging.DEBUG if debug else logging.INFO)
    _check_settings()


def _check_settings() -> None:
    try:
        settings()
    except ValidationError as error:
        faults = "; ".join(f"TWIN_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise SetupError(f"wrong settings: {faults}.", remedy="Correct these environment variables.") from error


if __name__ == "__main__":
    main()
