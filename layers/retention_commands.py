"""The commands `twin retention list|run`."""

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the `twin` command."""
    group = typer.Typer(help="How long personal data are kept.", no_args_is_help=True)
    group.command("list")(list_due)
    group.command("run")(run)
    app.add_typer(group, name="retention")


def list_due() -> None:
    """Say of every dataset with a retention how long it is kept and how many rows are to go."""
    import datetime as dt

    from layers.catalog import catalog
    from layers.retention import due
    from twin.city import city
    from twin.database import connect

    with connect().writing() as connection:
        for contract in catalog():
            if contract.retention is not None:
                number = sum(due(connection, contract, city(), dt.datetime.now(dt.UTC)).values())
                typer.echo(f"{contract.id:<36} {contract.retention:>10} {number:>10} to go   {contract.purpose}")


def run() -> None:
    """Delete what is kept for too long, prove that nothing is left, and put it on record."""
    from layers.catalog import catalog
    from layers.feeds import FEEDS, read_feeds
    from layers.retention import expire, expire_feeds
    from twin.access import on_this_machine
    from twin.city import city
    from twin.database import connect
    from twin.settings import settings

    found = expire(connect(), catalog(), city(), settings().home, on_this_machine())
    for one in found:
        number = sum(one.deleted.values())
        typer.echo(f"{one.dataset:<36} {number} rows before {one.cut_off:%Y-%m-%d}, {one.keys} keys destroyed; 0 left")
    home = settings().home
    for feed, number in expire_feeds(connect(), catalog(), home, read_feeds(home / FEEDS, catalog())).items():
        typer.echo(f"{feed:<36} {number} arrivals of raw messages")
    typer.echo(f"{len(found)} datasets had something to go")
