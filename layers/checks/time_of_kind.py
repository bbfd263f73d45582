"""Rule: each kind of dataset has the times it needs."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table, texts

__all__ = ["time_of_kind"]


def time_of_kind(raw: Raw) -> Iterator[Fault]:
    """Each kind of dataset has the times it needs."""
    time, kind, key = table(raw, "time"), raw.get("kind"), texts(raw.get("key"))
    if kind in {"observation", "track"}:
        if time.get("event") != "observed_at":
            yield (
                ("time",),
                f'a dataset of kind {kind} needs time = {{ event = "observed_at" }} and a field of that name',
            )
        elif "observed_at" not in key:
            yield ("key",), f"the key of a dataset of kind {kind} includes its time field 'observed_at'"
        elif len(key) == 1:
            yield ("key",), "the key needs, beside the time, the field that says what was observed"
    elif time.get("event"):
        yield ("time", "event"), f"time.event is for observations and tracks; a {kind} has time.start and time.end"
    if kind == "event" and not time.get("start"):
        yield ("time",), "an event needs time.start: the field that says when it opened"
