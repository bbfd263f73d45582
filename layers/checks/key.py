"""Rule: the key is made of fields."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, texts

__all__ = ["key"]


def key(raw: Raw) -> Iterator[Fault]:
    """The key is made of fields."""
    fields = table(raw, "fields")
    for position, name in enumerate(texts(raw.get("key"))):
        if name not in fields:
            yield ("key", position), f"the key names {name!r}, which is not a field"
