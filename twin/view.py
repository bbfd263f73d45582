"""The View: which city you look at. Every read takes one."""

import datetime as dt
from dataclasses import dataclass

from twin.access import PUBLIC, Audience
from twin.errors import InvalidRequest

__all__ = ["MAIN", "Branch", "Span", "View", "parse_moment"]


@dataclass(frozen=True, slots=True)
class Branch:
    """A named what-if over the city as it is; number 0 is that city itself. `layers.branching` finds and makes them."""

    number: int
    name: str


MAIN = Branch(0, "main")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, closed at both ends; None is open. An instant has equal ends. Times carry a zone."""

    start: dt.datetime | None
    end: dt.datetime | None

    def __post_init__(self) -> None:
        for moment in (self.start, self.end):
            if moment is not None and moment.tzinfo is None:
                raise InvalidRequest(f"{moment.isoformat()} has no time zone.", remedy="Add one: Z or +08:00.")
        if self.start is not None and self.end is not None and self.start > self.end:
            raise InvalidRequest(
                f"the interval ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()}).",
                remedy="Swap the two.",
            )

    @classmethod
    def instant(cls, moment: dt.datetime) -> "Span":
        """The span of one moment."""
        return cls(moment, moment)

    @property
    def is_instant(self) -> bool:
        """Whether both ends are the same moment."""
        return self.start is not None and self.start == self.end

    def __str__(self) -> str:
        """As `parse` reads it."""
        start, end = (".." if moment is None else moment.isoformat() for moment in (self.start, self.end))
        return start if self.is_instant else f"{start}/{end}"

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Read the `datetime` parameter of OGC API Features (RFC 3339): `t`, `t/t`, `../t` or `t/..`.

        Raises InvalidRequest when it is not one.
        """
        parts = text.split("/")
        if len(parts) == 1:
            return cls.instant(parse_moment(text))
        if len(parts) != 2:
            raise InvalidRequest(f"{text!r} is not a time or an interval.", remedy="Write t, t/t, ../t or t/...")
        start, end = (None if part in {"", ".."} else parse_moment(part) for part in parts)
        return cls(start, end)


def parse_moment(text: str) -> dt.datetime:
    """Read an RFC 3339 time. Raises InvalidRequest when it is not one or carries no zone."""
    try:
        # A '+' that was not percent-encoded arrives as a space.
        moment = dt.datetime.fromisoformat(text.strip().replace(" ", "+") if " " in text[10:] else text.strip())
    except ValueError as error:
        raise InvalidRequest(
            f"{text!r} is not an RFC 3339 time.", remedy="Write for example 2026-11-22T08:00:00Z."
        ) from error
    if moment.tzinfo is None:
        raise InvalidRequest(f"{text!r} has no time zone.", remedy="Add one: Z or +08:00.")
    return moment


@dataclass(frozen=True, slots=True)
class View:
    """Which city you look at.

    `valid_at`: true in the world then (None: now). `known_at`: as we knew it then (None: all we know).
    `branch`: a what-if over main. `audience`: who looks, hence what is there at all.
    """

    valid_at: Span | None = None
    known_at: dt.datetime | None = None
    branch: Branch = MAIN
    audience: Audience = PUBLIC

    @property
    def is_current(self) -> bool:
        """Whether this is the main city, now, as known now: the case that indexes and caches are built for."""
        return self.valid_at is None and self.known_at is None and self.branch == MAIN

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters by which every door is asked for this city; who looks is said by a token."""
        said = {
            "datetime": str(self.valid_at) if self.valid_at is not None else None,
            "known-at": self.known_at.isoformat() if self.known_at is not None else None,
            "branch": self.branch.name if self.branch != MAIN else None,
        }
        return {name: value for name, value in said.items() if value is not None}

    @property
    def is_over_time(self) -> bool:
        """Whether it shows all that was true in a stretch of time, so that a record may stand there more than once."""
        return self.valid_at is not None and not self.valid_at.is_instant
