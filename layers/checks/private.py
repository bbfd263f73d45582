"""Rule: who is named by a field is protected."""

import re
from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["private"]


_NAMES_SOMEBODY = re.compile(r"(^|_)(phone|mobile|mac|id_card|id_number|plate|licence_plate|contact_name)(_|$)")


def private(raw: Raw) -> Iterator[Fault]:
    """Who is named by a field is protected."""
    for name, spec in table(raw, "fields").items():
        if not isinstance(spec, dict):
            continue
        if "private" in spec and raw.get("class") == "open":
            yield ("fields", name, "private"), "open data identifies nobody: close the dataset or leave the field out"
        if "private" in spec and spec.get("type") != "string":
            yield ("fields", name, "private"), "what identifies somebody is kept as a text (a mask or a pseudonym)"
        if "private" not in spec and _NAMES_SOMEBODY.search(name):
            yield ("fields", name), f"{name!r} looks as if it named somebody: say `private = ...`, or rename it"
