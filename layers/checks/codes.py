"""Rule: codes are texts."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["codes"]


def codes(raw: Raw) -> Iterator[Fault]:
    """Codes are texts."""
    for name, spec in table(raw, "fields").items():
        if isinstance(spec, dict) and "code" in spec and spec.get("type") != "string":
            yield ("fields", name, "code"), "a code is kept as a text"
