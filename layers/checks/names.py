"""Rule: named places have the fields by which they are found."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, texts

__all__ = ["names"]


def names(raw: Raw) -> Iterator[Fault]:
    """Named places have the fields by which they are found."""
    fields, names = table(raw, "fields"), table(raw, "names")
    told = [("name", names.get("name")), ("code", names.get("code")), ("road", names.get("road"))]
    told += [(word, name) for word in ("also", "stakes") for name in texts(names.get(word))]
    told += [("where", name) for name in table(names, "where")]
    for word, name in told:
        if isinstance(name, str) and name not in fields:
            yield ("names", word), f"names.{word} is {name!r}, which is not a field"
    if names.get("level") in {"district", "town"} and "code" not in names:
        yield ("names",), f"a {names['level']} goes by its code: say which field holds it"
    if "stakes" in names and "road" not in names:
        yield ("names", "stakes"), "stakes belong to a numbered road: say which field holds its number"
    if names and raw.get("kind") not in {"feature", "event"}:
        yield ("names",), "named places are features; this is a stream or a coverage"
