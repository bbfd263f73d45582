"""Rule: what everyone needs is hidden from nobody."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables, texts

__all__ = ["closed_fields"]


def closed_fields(raw: Raw) -> Iterator[Fault]:
    """A field with a class of its own is not there for some: nothing that all need may hang on it."""
    needed = {*texts(raw.get("key")), *(value for value in table(raw, "time").values() if isinstance(value, str))}
    needed |= {
        rung.get(word)
        for rung in tables(table(raw, "place"), "rungs")
        for word in ("id", "code", "text", "area", "road")
    }
    for name, spec in table(raw, "fields").items():
        if isinstance(spec, dict) and "class" in spec and name in needed:
            yield ("fields", name, "class"), f"{name!r} is in the key, the time or the place: everyone needs it"
