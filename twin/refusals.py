"""What PostgreSQL refuses, in the words of `twin/errors.py`: a table from SQLSTATE to error."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from twin.errors import DatabaseUnavailable, LimitExceeded, NotAllowed, SetupError, TwinError

__all__ = ["refusals"]

_QUERY_CANCELED = "57014"
_FORBIDDEN = {
    "42501",  # insufficient_privilege
    "25006",  # read_only_sql_transaction
}
_UNPREPARED = {
    "42P01",  # undefined_table
    "3F000",  # invalid_schema_name
}
_PASSING = (
    "08",  # connection exception
    "40",  # transaction rollback: deadlock, serialization failure
    "53",  # insufficient resources: disk full, too many connections
    "57P",  # operator intervention: shutdown, crash, starting up
    "58",  # system error
)


@contextmanager
def refusals() -> Generator[None]:
    """Turn PostgreSQL's refusals inside the block into errors of the twin; other errors pass as they are.

    Raises DatabaseUnavailable when the server is gone, busy or out of space, LimitExceeded when a statement ran out of
    time, NotAllowed when the role may not do what was asked, SetupError when a table is not there yet.
    """
    try:
        yield
    except (psycopg.Error, DBAPIError, PoolTimeout) as error:
        refusal = _translated(error)
        if refusal is None:
            raise
        raise refusal from error


def _translated(error: Exception) -> TwinError | None:
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("all database connections are busy.", remedy="Try again in a moment.")
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or (state or "").startswith(_PASSING) or (state is None and isinstance(cause, psycopg.OperationalError)):
        return DatabaseUnavailable(
            f"PostgreSQL does not answer: {_first_line(cause)}.", remedy="Try again in a moment."
        )
    if state == _QUERY_CANCELED:
        return LimitExceeded(
            "the question took too long to answer.",
            remedy="Ask for a smaller area, a shorter time or fewer records.",
        )
    if state in _FORBIDDEN:
        return NotAllowed(f"the database refuses this: {_first_line(cause)}.")
    if state in _UNPREPARED:
        return SetupError(
            f"the database is not prepared: {_first_line(cause)}.",
            remedy="Run `twin catalog apply`: it makes what is missing.",
        )
    return None


def _first_line(error: BaseException | None) -> str:
    """The first line of PostgreSQL's message. The others hold details: values of records, names of hosts."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".:")
