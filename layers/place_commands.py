"""The command `twin resolve`: where a code or an address text is."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from layers.places.candidates import Candidate
    from twin.identifiers import Identifier

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the `twin` command."""
    app.command()(resolve)


def resolve(texts: Annotated[list[str], typer.Argument(help="codes, stakes or address texts")]) -> None:
    """Find the places of codes, stakes and address texts: all that each may mean, best first, and how exactly."""
    from layers.catalog import catalog
    from layers.lookup import code_rows, listing, located, placed_code
    from layers.naming import gazetteer_of
    from twin.city import city
    from twin.database import connect
    from twin.identifiers import recognise, suspects
    from twin.view import View

    with connect().inspecting() as connection:
        gazetteer = gazetteer_of(connection, catalog(), View(), city())
        for text in texts:
            codes = recognise(text)
            found: list[Candidate] = []
            for code in codes:
                typer.echo(f"{text}: {code.kind} {code.text} {_parts(code)}")
                found += placed_code(code, gazetteer, city())
                for contract in listing(catalog(), code):
                    rows = connection.execute(code_rows(contract, View(), city(), code))
                    found += [located(contract, row, gazetteer) for row in rows]
            for fault in [] if codes else suspects(text):
                fits = f" Perhaps {' or '.join(fault.fits)}." if fault.fits else ""
                typer.echo(f"{text}: {fault.kind}? {fault.what.zh} {fault.what.en}.{fits}")
            if not codes:
                found = gazetteer.resolve(text)
                elsewhere = gazetteer.read(text).elsewhere
                if elsewhere is not None:
                    typer.echo(f"{text}: names {elsewhere}, which is not in {city().title.zh}")
            for one in found:
                typer.echo(f"{text}: {_said(one)}")
            if not found:
                typer.echo(f"{text}: no place of {city().title.zh} is known by this")


def _said(one: "Candidate") -> str:
    record = " ".join(one.record) if one.record else ""
    words = f"{one.lon:.6f} {one.lat:.6f} within {one.accuracy_m:,.0f} m, {one.method}, confidence {one.confidence:.2f}"
    return " ".join(part for part in (words, one.area, record, one.reason) if part)


def _parts(code: "Identifier") -> str:
    return " ".join(f"{name}={value}" for name, value in code.parts.items())
