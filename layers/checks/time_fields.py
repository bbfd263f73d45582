"""Rule: times are dates or moments."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["time_fields"]


def time_fields(raw: Raw) -> Iterator[Fault]:
    """Times are dates or moments."""
    fields, time = table(raw, "fields"), table(raw, "time")
    for role in ("event", "start", "end"):
        name = time.get(role)
        if name is not None and name not in fields:
            yield ("time", role), f"time.{role} names {name!r}, which is not a field"
        elif name is not None and table(fields, name).get("type") not in {"datetime", "date"}:
            yield ("time", role), f"time.{role} names {name!r}, which is not a datetime or date"
