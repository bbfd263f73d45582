"""Rule: sources and demos fill fields."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables

__all__ = ["sources"]


def sources(raw: Raw) -> Iterator[Fault]:
    """Sources and demos fill fields."""
    fields = table(raw, "fields")
    coordinates = {
        rung.get(axis) for rung in tables(table(raw, "place"), "rungs") for axis in ("x", "y") if rung.get(axis)
    }
    for ours in table(table(raw, "source"), "map").values():
        if ours not in fields and ours not in coordinates:
            yield ("source", "map"), f"source.map leads to {ours!r}, which is not a field"
    for word in ("osm", "gtfs", "demo"):
        for ours in table(table(raw, word), "map"):
            if ours not in fields and ours not in coordinates:
                yield (word, "map", ours), f"{word}.map fills {ours!r}, which is not a field"
