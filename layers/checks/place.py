"""Rule: the rungs of the place rule look at fields and know their datum."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables

__all__ = ["place"]


def place(raw: Raw) -> Iterator[Fault]:
    """The rungs of the place rule look at fields and know their datum."""
    fields = table(raw, "fields")
    for position, rung in enumerate(tables(table(raw, "place"), "rungs")):
        for word in ("x", "y", "id", "code", "text", "area", "road"):
            name = rung.get(word)
            # x and y may be columns of the source that are not kept: the geometry keeps them.
            if isinstance(name, str) and word not in {"x", "y"} and name not in fields:
                yield ("place", "rungs", position, word), f"this rung looks at {name!r}, which is not a field"
        if rung.get("by") == "coordinate" and rung.get("x") == rung.get("y"):
            yield ("place", "rungs", position), "x and y are the same column"
        others = {other.get("by") for other in tables(table(raw, "place"), "rungs")} - {"coordinate", "geometry"}
        if rung.get("datum") == "detect" and not others - {"area", "cell"}:
            yield ("place", "rungs", position, "datum"), "`detect` compares positions with another rung: add one"
        if rung.get("datum") == "none":
            yield (
                ("place", "rungs", position, "datum"),
                "a rung with coordinates needs a datum; `none` is for records without any",
            )
