"""Rule: incidents are of streams whose readers may know of them."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables

__all__ = ["incident_rules"]


def incident_rules(raw: Raw) -> Iterator[Fault]:
    """Incidents are of streams whose readers may know of them."""
    fields = table(raw, "fields")
    for position, rule in enumerate(tables(raw, "rules")):
        if raw.get("kind") not in {"observation", "track"}:
            yield ("rules", position), "rules watch streams: observations and tracks"
        if raw.get("class") not in {"open", "department"}:
            yield ("rules", position), "incidents are shown to dispatch and operations: not of personal or secret data"
        measure = rule.get("measure")
        if measure is not None and table(fields, str(measure)).get("type") not in {"integer", "float"}:
            yield ("rules", position, "measure"), f"{measure!r} is no numeric field"
