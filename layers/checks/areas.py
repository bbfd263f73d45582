"""Rule: areas for sums have codes, and people are counted by a number."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["areas"]


def areas(raw: Raw) -> Iterator[Fault]:
    """Areas for sums have codes, and people are counted by a number."""
    fields, areas, people = table(raw, "fields"), table(raw, "areas"), table(raw, "dasymetric")
    for part, word in (("areas", "code"), ("areas", "name"), ("dasymetric", "field")):
        name = table(raw, part).get(word)
        if isinstance(name, str) and name not in fields:
            yield (part, word), f"{part}.{word} is {name!r}, which is not a field"
    if areas and (raw.get("geometry") not in {"polygon", "any"} or raw.get("kind") not in {"feature", "event"}):
        yield ("areas",), "areas are features with polygons"
    for name in table(people, "where"):
        if name not in fields:
            yield ("dasymetric", "where"), f"where names {name!r}, which is not a field"
    spec = table(fields, str(people.get("field")))
    if people and spec and spec.get("type") not in {"integer", "float"}:
        yield ("dasymetric", "field"), "people are counted in proportion to a number"
