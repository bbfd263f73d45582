"""Rule: numbers about people are sums of people."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, tables
from layers.contract import Measure

__all__ = ["people"]


def people(raw: Raw) -> Iterator[Fault]:
    """Numbers about people are sums of people."""
    personal, fields = raw.get("class") == "personal", table(raw, "fields")
    people = raw.get("people")
    if people is not None and (not personal or table(fields, str(people)).get("type") != "integer"):
        yield ("people",), "people names an integer field of personal data"
    for position, indicator in enumerate(tables(raw, "indicators")) if personal else ():
        try:
            measure = Measure.parse(str(indicator.get("measure")))
        except ValueError:
            continue
        if measure.how in {"min", "max"}:
            yield (
                ("indicators", position, "measure"),
                "the smallest or largest value is one person's: count, add or average",
            )
        elif people is not None and table(fields, str(measure.field)).get("type") != "integer":
            yield (
                ("indicators", position, "measure"),
                "where records are groups, numbers are sums of people: sum(a field)",
            )
