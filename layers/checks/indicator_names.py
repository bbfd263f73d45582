"""Rule: indicators have names of their own, in their system."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables

__all__ = ["indicator_names"]


def indicator_names(raw: Raw) -> Iterator[Fault]:
    """Indicators have names of their own, in their system."""
    fields, system = table(raw, "fields"), str(raw.get("id", "")).split(".")[0]
    stream = raw.get("kind") in {"observation", "track"}
    seen: set[object] = set()
    for position, indicator in enumerate(tables(raw, "indicators")):
        name = indicator.get("id")
        if name in seen:
            yield ("indicators", position, "id"), f"two indicators are called {name!r}"
        seen.add(name)
        if isinstance(name, str) and name.split(".")[0] != system:
            yield ("indicators", position, "id"), f"the indicator's id starts with its system: {system}."
        for column in table(indicator, "where"):
            if column not in fields:
                yield ("indicators", position, "where"), f"where names {column!r}, which is not a field"
        if "window" in indicator and not stream:
            yield ("indicators", position, "window"), "only observations and tracks have a window"
