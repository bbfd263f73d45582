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
    source = raw.get("source")
    for part in tables(raw, "source") if isinstance(source, list) else [table(raw, "source")]:
        for ours in table(part, "map").values():
            if ours not in fields and ours not in coordinates:
                yield ("source", "map"), f"source.map leads to {ours!r}, which is not a field"
        for name, codes in table(part, "values").items():
            known = table(table(fields, name), "values")
            if name not in fields:
                yield ("source", "values"), f"source.values names {name!r}, which is not a field"
            elif known and isinstance(codes, dict) and (wrong := {*codes.values()} - known.keys()):
                yield ("source", "values"), f"{name} has no value {', '.join(map(repr, sorted(wrong)))}"
    for word in ("osm", "gtfs", "demo"):
        for ours in table(table(raw, word), "map"):
            if ours not in fields and ours not in coordinates:
                yield (word, "map", ours), f"{word}.map fills {ours!r}, which is not a field"
