"""The commands `twin audit verify|list|who|prune`."""

from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the `twin` command."""
    group = typer.Typer(help="The audit log: who did what.", no_args_is_help=True)
    group.command("verify")(verify_log)
    group.command("list")(list_entries)
    group.command("who")(who)
    group.command("prune")(prune_log)
    app.add_typer(group, name="audit")


def verify_log() -> None:
    """Check the whole chain; exit code 1 and the first fault when it is broken."""
    from twin.audit import HEAD_FILE, kept_head, verify
    from twin.database import connect
    from twin.settings import settings

    with connect().writing() as connection:
        found = verify(connection, kept_head(settings().home / HEAD_FILE))
    if found.fault is not None:
        typer.echo(f"BROKEN after {found.checked} good entries: {found.fault}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{found.checked} entries, the chain is whole; head {found.head[0]} {found.head[1].hex()}")


def list_entries(
    dataset: Annotated[str | None, typer.Option(help="only this dataset")] = None,
    person: Annotated[str | None, typer.Option(help="only this person")] = None,
    since: Annotated[str | None, typer.Option(help="from then on (RFC 3339)")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
) -> None:
    """List entries, the newest first."""
    from twin.access import on_this_machine
    from twin.audit import Entry, append, entries
    from twin.database import connect
    from twin.view import parse_moment

    start = parse_moment(since) if since else None
    with connect().writing() as connection:
        found = entries(connection, dataset=dataset, person=person, since=start, limit=limit)
        append(connection, [Entry("audit", on_this_machine(), dataset)])
    for one in found:
        what = one.dataset or ""
        typer.echo(f"{one.seq:>9} {one.at:%Y-%m-%d %H:%M:%S} {one.person:<20} {one.action:<9} {one.result:<8} {what}")


def who(
    dataset: Annotated[str, typer.Argument(help="the dataset")],
    record: Annotated[str, typer.Argument(metavar="ID", help="the record")],
) -> None:
    """Say who was shown a record: for certain, or possibly as part of an area or a whole dataset."""
    from layers.catalog import catalog
    from layers.extents import extent_of
    from twin.access import on_this_machine
    from twin.audit import Entry, append, who_looked
    from twin.city import city
    from twin.database import connect

    contract = catalog()[dataset]
    with connect().writing() as connection:
        found = who_looked(connection, dataset, record, extent_of(connection, contract, city(), record))
        append(connection, [Entry("audit", on_this_machine(), dataset, (record,), detail={"question": "who"})])
    for one in found:
        how = "certain" if one.certain else "possible"
        typer.echo(f"{one.at:%Y-%m-%d %H:%M:%S} {one.person:<20} {one.role:<24} {how:<8} {one.purpose}")
    typer.echo(f"{len(found)} reads")


def prune_log(
    days: Annotated[int, typer.Option(help="drop whole months that are older; 184 at least")] = 184,
) -> None:
    """Drop months of entries that need not be kept any longer; the chain stays verifiable."""
    import datetime as dt

    from twin.access import on_this_machine
    from twin.audit import prune
    from twin.database import connect

    with connect().writing() as connection:
        months = prune(connection, on_this_machine(), dt.timedelta(days=days))
    typer.echo(f"{len(months)} months dropped: {', '.join(months) or 'none is old enough'}")
