"""Rule: verbs of branches set fields."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["edits"]


def edits(raw: Raw) -> Iterator[Fault]:
    """Verbs of branches set fields."""
    fields = table(raw, "fields")
    for verb, sets in table(raw, "edits").items():
        if raw.get("kind") not in {"feature", "event"}:
            yield ("edits", verb), "branches change features and events; this is neither"
        for name in sets if isinstance(sets, dict) else ():
            if name not in fields:
                yield ("edits", verb), f"the verb sets {name!r}, which is not a field"
