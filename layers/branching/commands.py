"""The commands `twin branch new|list|edit|diff|propose|merge|discard`."""

from pathlib import Path
from typing import Annotated

import typer

from twin.access import on_this_machine

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this package's commands to the `twin` command."""
    group = typer.Typer(help="What-ifs over the city.", no_args_is_help=True)
    group.command("new")(new)
    group.command("list")(list_branches)
    group.command("edit")(edit_branch)
    group.command("diff")(diff)
    group.command("propose")(propose_branch)
    group.command("merge")(merge_branch)
    group.command("discard")(discard_branch)
    app.add_typer(group, name="branch")


def new(
    name: Annotated[str, typer.Argument(help="small letters, digits, dots, dashes")],
    title: Annotated[str, typer.Option(help="what it is about")] = "",
    starts: Annotated[str | None, typer.Option("--from", help="from when on its edits hold (RFC 3339)")] = None,
) -> None:
    """Make an empty branch."""
    from layers.branching.registry import create
    from twin.database import connect
    from twin.view import parse_moment

    with connect().writing() as connection:
        made = create(
            connection, name, on_this_machine(), title=title, starts_at=parse_moment(starts) if starts else None
        )
    typer.echo(f"branch {made.name}: its edits hold from {made.starts_at:%Y-%m-%d %H:%M} UTC on")


def list_branches() -> None:
    """List the branches: name, state, author, when made, title."""
    from layers.branching.registry import branches
    from twin.database import connect

    with connect().writing() as connection:
        for one in branches(connection):
            closed = f" (by {one.closed_by}, {one.closed_at:%Y-%m-%d})" if one.closed_at else ""
            made = f"{one.created_at:%Y-%m-%d %H:%M}"
            typer.echo(f"{one.name:<30} {one.state:<9} {one.author:<20} {made} {one.title}{closed}")


def edit_branch(
    name: Annotated[str, typer.Argument(help="the branch")],
    edits: Annotated[Path, typer.Argument(help="JSON file of one edit or a list; - reads standard input")],
) -> None:
    """Make the edits of a file in a branch, all or none."""
    import orjson

    from layers.branching.edits import edit, parse_edits
    from layers.branching.registry import find
    from layers.catalog import catalog
    from twin.city import city
    from twin.database import connect
    from twin.errors import SourceError

    try:
        text = typer.get_binary_stream("stdin").read() if str(edits) == "-" else edits.read_bytes()
        said = orjson.loads(text)
    except (OSError, orjson.JSONDecodeError) as error:
        raise SourceError(f"it is not a readable JSON file: {error}.", where=str(edits)) from error
    with connect().writing() as connection:
        done = edit(connection, catalog(), city(), find(connection, name), on_this_machine(), parse_edits(said))
    typer.echo(f"{len(done)} edits, {sum(one.records for one in done)} records")


def diff(name: Annotated[str, typer.Argument(help="the branch")]) -> None:
    """Say how many records a branch adds, changes and removes, and where main has moved on."""
    import asyncio

    from layers.branching.merging import clashes, datasets_of
    from layers.branching.registry import find
    from layers.catalog import catalog
    from layers.diff import counts
    from twin.city import city
    from twin.database import connect
    from twin.view import View

    database, caller = connect(), on_this_machine()
    with database.writing() as connection:
        branch = find(connection, name)
        changed = datasets_of(connection, catalog(), city(), branch)
        found = [clash for one in changed for clash in clashes(connection, one, city(), branch)]

    async def counted() -> None:
        views = View(audience=caller.audience), View(branch=branch.branch, audience=caller.audience)
        async with database.reading(caller.audience) as connection:
            for contract in changed:
                number = await counts(connection, contract, views, city())
                line = ", ".join(f"{count} {word}" for word, count in number.items())
                typer.echo(f"{contract.id:<36} {line}")
        for clash in found:
            when = f"copied {clash.copied_at:%Y-%m-%d %H:%M}, main changed it {clash.changed_at:%Y-%m-%d %H:%M}"
            typer.echo(f"conflict: {clash.dataset}/{clash.id}: {when}")
        await database.aclose()

    asyncio.run(counted())


def propose_branch(name: Annotated[str, typer.Argument(help="the branch")]) -> None:
    """Propose a branch: it takes no edits until a second person approves it."""
    from layers.branching.merging import propose
    from layers.branching.registry import find
    from twin.database import connect

    with connect().writing() as connection:
        propose(connection, find(connection, name), on_this_machine())
    typer.echo(f"branch {name} waits for a second person: twin branch merge {name}")


def merge_branch(
    name: Annotated[str, typer.Argument(help="the branch")],
    resolve: Annotated[
        list[str] | None, typer.Option(help="DATASET/ID=main or =branch for a conflict; *=... for all others")
    ] = None,
) -> None:
    """Approve a proposed branch as a second person: its records become main's."""
    from layers.branching.merging import Word, merge
    from layers.branching.registry import find
    from layers.catalog import catalog
    from twin.city import city
    from twin.database import connect
    from twin.errors import InvalidRequest

    words: dict[str, Word] = {}
    allowed: dict[str, Word] = {"main": "main", "branch": "branch"}
    for one in resolve or ():
        key, _, word = one.rpartition("=")
        if not key or word not in allowed:
            raise InvalidRequest(f"{one!r} resolves nothing.", where="--resolve", remedy="Write DATASET/ID=branch.")
        words[key] = allowed[word]
    with connect().writing() as connection:
        merged = merge(connection, catalog(), city(), find(connection, name), on_this_machine(), words)
    for one in merged:
        typer.echo(f"{one.dataset:<36} {one.closed} rows closed, {one.inserted} inserted")
    typer.echo(f"branch {name} is merged")


def discard_branch(name: Annotated[str, typer.Argument(help="the branch")]) -> None:
    """Throw a branch away."""
    from layers.branching.registry import discard, find
    from twin.database import connect

    with connect().writing() as connection:
        discard(connection, find(connection, name), on_this_machine())
    typer.echo(f"branch {name} is discarded")
