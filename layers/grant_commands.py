"""The commands `twin grant new|list|end|withdraw` and `twin catalog public`."""

from typing import Annotated

import typer

__all__ = ["public", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the `twin` command."""
    group = typer.Typer(help="Rights given beside the contracts.", no_args_is_help=True)
    group.command("new")(new)
    group.command("list")(list_grants)
    group.command("end")(end)
    group.command("withdraw")(withdraw)
    app.add_typer(group, name="grant")


def new(
    audience: Annotated[
        str, typer.Argument(help="dispatch, operations, planner, administrator or department:<system>")
    ],
    dataset: Annotated[str, typer.Argument(help="the dataset they may read")],
    purpose: Annotated[str, typer.Option(help="what the data are needed for")],
    until: Annotated[str, typer.Option(help="until when (RFC 3339, or a date: its end in UTC)")],
    person: Annotated[str, typer.Option(help="only this person of the audience")] = "",
    area: Annotated[str | None, typer.Option(help="only in this area: <dataset>/<id> of a record")] = None,
) -> None:
    """Give a right to read one dataset."""
    import datetime as dt

    from layers.catalog import catalog
    from layers.granting import Granted, give
    from twin.access import Audience, on_this_machine
    from twin.city import city
    from twin.database import connect
    from twin.view import parse_moment

    is_day = len(until) == len("2026-12-31")
    end_at = parse_moment(f"{until}T00:00:00Z") + dt.timedelta(days=1) if is_day else parse_moment(until)
    what = Granted(Audience(audience), dataset, purpose, end_at, person, area)
    with connect().writing() as connection:
        number = give(connection, catalog(), city(), what, on_this_machine())
    typer.echo(f"grant {number}: {person or audience} may read {dataset} in {area or 'the whole city'} until {end_at}")


def list_grants() -> None:
    """List the grants that hold: number, who, what, where, until, what for."""
    from layers.granting import granted
    from twin.database import connect

    with connect().writing() as connection:
        for one in granted(connection):
            who = f"{one.person} ({one.audience.name})" if one.person else one.audience.name
            where = one.area or "everywhere"
            typer.echo(
                f"{one.number:>5} {who:<32} {one.dataset:<32} {where:<28} {one.until:%Y-%m-%d %H:%M} {one.purpose}"
            )


def end(number: Annotated[int, typer.Argument(help="of the grant")]) -> None:
    """End a grant now."""
    from layers.catalog import catalog
    from layers.granting import revoke
    from twin.access import on_this_machine
    from twin.city import city
    from twin.database import connect

    with connect().writing() as connection:
        dataset = revoke(connection, catalog(), city(), number, on_this_machine())
    typer.echo(f"grant {number} on {dataset} has ended")


def withdraw(person: Annotated[str, typer.Argument(help="whose tokens")]) -> None:
    """Make all tokens of a person that were issued until now good no more."""
    from layers.granting import withdraw_tokens
    from twin.access import on_this_machine
    from twin.database import connect

    with connect().writing() as connection:
        withdraw_tokens(connection, person, on_this_machine())
    typer.echo(f"tokens of {person} issued until now are refused from now on")


def public() -> None:
    """Say of every dataset whether it passes the gate of the public map, and why not."""
    from layers.catalog import catalog
    from layers.gate import public_faults

    passed = 0
    for contract in catalog():
        faults = public_faults(contract)
        passed += not faults
        note = f" ({contract.reviewed})" if contract.reviewed else ""
        typer.echo(f"{contract.id:<36} {'; '.join(faults) or 'public' + note}")
    typer.echo(f"{passed} of {len(catalog())} datasets are public")
