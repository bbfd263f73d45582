"""Rule: what the synthetic city makes can be made."""

from collections.abc import Iterator

import polars as pl
from polars.exceptions import PolarsError

from layers.checks.raw import Fault, Raw, table, tables

__all__ = ["demo"]


def demo(raw: Raw) -> Iterator[Fault]:
    """What the synthetic city makes can be made."""
    demo = table(raw, "demo")
    texts: list[tuple[tuple[str, ...], object]] = [(("demo", "where"), demo["where"])] if "where" in demo else []
    texts += [(("demo", "map", name), text) for name, text in table(demo, "map").items()]
    for path, text in texts:
        try:
            pl.sql_expr(str(text))
        except PolarsError as error:
            yield path, f"not an SQL expression: {error}"
    form = demo.get("format", "csv")
    if demo and (form == "tif") != (raw.get("kind") == "coverage"):
        yield ("demo", "format"), "coverages, and only they, are made as `tif`"
    ways = {rung.get("by") for rung in tables(table(raw, "place"), "rungs")}
    if demo and form in {"csv", "xlsx"} and ways == {"geometry"}:
        yield ("demo", "format"), f"a {form} file carries no geometry, and the contract has no other rung"
