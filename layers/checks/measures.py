"""Rule: indicators measure fields that can be measured."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables
from layers.contract import Measure

__all__ = ["measures"]


def measures(raw: Raw) -> Iterator[Fault]:
    """Indicators measure fields that can be measured."""
    fields = table(raw, "fields")
    for position, indicator in enumerate(tables(raw, "indicators")):
        path = ("indicators", position, "measure")
        try:
            measure = Measure.parse(str(indicator.get("measure", "count()")))
        except ValueError as error:
            yield path, str(error)
            continue
        # A coverage has one value a pixel, which is no field of its records.
        if measure.field is None or raw.get("kind") == "coverage":
            continue
        allowed = {"boolean"} if measure.how == "share" else {"integer", "float"}
        if measure.field not in fields:
            yield path, f"the measure names {measure.field!r}, which is not a field"
        elif table(fields, measure.field).get("type") not in allowed:
            yield path, f"{measure.how}() needs a field of type {' or '.join(sorted(allowed))}"
