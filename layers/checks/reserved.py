"""Rule: no field is called like a column that the twin keeps itself."""

from collections.abc import Iterator

from layers.checks.raw import RESERVED_COLUMNS, Fault, Raw, table

__all__ = ["reserved"]


def reserved(raw: Raw) -> Iterator[Fault]:
    """No field is called like a column that the twin keeps itself."""
    stream = raw.get("kind") in {"observation", "track"}
    for name in table(raw, "fields"):
        if name in RESERVED_COLUMNS and not (stream and name == "observed_at"):
            yield ("fields", name), f"{name!r} is a column the twin keeps itself; choose another name"
