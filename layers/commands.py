"""The commands `twin catalog list|check|apply`."""

from pathlib import Path
from typing import Annotated

import typer

from layers import audit_commands, grant_commands, place_commands, retention_commands
from layers.branching import commands as branching

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this package's commands to the `twin` command."""
    group = typer.Typer(help="The dataset contracts.", no_args_is_help=True)
    group.command("list")(list_datasets)
    group.command("check")(check)
    group.command("apply")(apply_catalog)
    group.command("public")(grant_commands.public)
    app.add_typer(group, name="catalog")
    branching.register(app)
    audit_commands.register(app)
    grant_commands.register(app)
    retention_commands.register(app)
    place_commands.register(app)


def list_datasets(system: Annotated[str | None, typer.Option(help="only this system")] = None) -> None:
    """List the datasets: id, kind, class, title."""
    from layers.catalog import catalog
    from twin.errors import NotFound

    found = catalog()
    if system is not None and system not in found.systems:
        raise NotFound(f"no system is called {system!r}.", remedy=f"There are: {', '.join(found.systems)}.")
    for contract in found:
        if system in {None, contract.system}:
            title = f"{contract.title.zh} {contract.title.en}"
            typer.echo(f"{contract.id:<36} {contract.kind:<12} {contract.data_class:<11} {title}")


def check(
    folders: Annotated[list[Path] | None, typer.Argument(help="further folders of contracts to check")] = None,
    *,
    quality: Annotated[
        bool, typer.Option("--quality", help="say of each dataset what the next level asks for")
    ] = False,
) -> None:
    """Check every contract; lists all faults with their lines, and how many datasets reach which quality."""
    from collections import Counter

    from layers.catalog import BUILT_IN, read_catalog
    from layers.quality import LEVELS, quality_of
    from twin.errors import ContractError
    from twin.settings import settings

    found, problems = read_catalog((BUILT_IN, *settings().catalog, *(folders or ())))
    if problems:
        raise ContractError(
            "\n".join(map(str, problems)), remedy=f"\n{len(problems)} faults; correct them and check again."
        )
    reached = {contract.id: quality_of(contract) for contract in found}
    for dataset, (level, lacks) in reached.items() if quality else ():
        typer.echo(f"{dataset:<36} {level:<8}{''.join(f' - {title.zh} {title.en}' for title in lacks)}")
    levels = Counter(level for level, _ in reached.values())
    counts = ", ".join(f"{levels[level]} {level}" for level in reversed(LEVELS) if levels[level])
    typer.echo(f"{len(found)} datasets of {len(found.systems)} systems: no faults; {counts}")


def apply_catalog(
    *, dry_run: Annotated[bool, typer.Option("--plan", help="say what would change and change nothing")] = False
) -> None:
    """Bring the database to the catalogue. What would lose data is refused."""
    from layers.catalog import catalog
    from layers.store import apply, plan
    from twin.access import on_this_machine
    from twin.audit import Entry, append
    from twin.city import city
    from twin.database import connect

    database = connect()
    if not dry_run:
        database.migrate()
    with database.writing() as connection:
        changes = (plan if dry_run else apply)(connection, catalog(), city())
        if not dry_run:
            said = [str(change) for change in changes]
            append(connection, [Entry("apply", on_this_machine(), detail={"changes": said})])
    for change in changes:
        typer.echo(str(change))
    typer.echo(f"{len(changes)} changes{' planned' if dry_run else ' applied'}")
