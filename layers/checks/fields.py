"""Rule: ranges, units and patterns fit the types of their fields."""

import re
from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["fields"]


def fields(raw: Raw) -> Iterator[Fault]:
    """Ranges, units and patterns fit the types of their fields."""
    for name, spec in table(raw, "fields").items():
        if not isinstance(spec, dict):
            continue
        numeric = spec.get("type") in {"integer", "float"}
        if "range" in spec and not numeric:
            yield ("fields", name, "range"), "only numbers have a range"
        bounds = spec.get("range")
        if isinstance(bounds, list) and len(bounds) == 2 and bounds[0] > bounds[1]:
            yield ("fields", name, "range"), f"the range ends ({bounds[1]}) before it starts ({bounds[0]})"
        if numeric and "unit" not in spec and "values" not in spec:
            yield ("fields", name), "a number needs a unit (UCUM; `1` for a count or a ratio)"
        if "pattern" in spec:
            try:
                re.compile(str(spec["pattern"]))
            except re.error as error:
                yield ("fields", name, "pattern"), f"not a regular expression: {error}"
