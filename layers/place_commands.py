"""The command `twin resolve`: what a code or an address text says."""

from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the `twin` command."""
    app.command()(resolve)


def resolve(texts: Annotated[list[str], typer.Argument(help="codes, stakes or address texts")]) -> None:
    """Read codes and address texts: which code it is, or which levels of an address of this city it names."""
    from layers.places.address import Vocabulary, parse
    from twin.city import city
    from twin.identifiers import Fault, recognise, suspects

    words = Vocabulary.of(city())
    for text in texts:
        codes = recognise(text)
        for code in codes:
            typer.echo(f"{text}: {code.kind} {code.text} {_parts(code.parts)}")
        for fault in [] if codes else suspects(text):
            fits = f" Perhaps {' or '.join(fault.fits)}." if fault.fits else ""
            typer.echo(f"{text}: {fault.kind}? {fault.what.zh} {fault.what.en}.{fits}")
        if codes:
            continue
        address = parse(text, words)
        if address.elsewhere is not None:
            typer.echo(f"{text}: names {address.elsewhere}, which is not in {city().title.zh}")
            continue
        levels = {
            name: value for name, value in address._asdict().items() if value and name not in {"stake", "elsewhere"}
        }
        if isinstance(address.stake, Fault):
            typer.echo(f"{text}: stake? {address.stake.what.zh} {address.stake.what.en}")
        elif address.stake is not None:
            typer.echo(f"{text}: stake {address.stake.text} {_parts(address.stake.parts)}")
        typer.echo(f"{text}: address {_parts(levels) or 'none'}")


def _parts(parts: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in parts.items())
