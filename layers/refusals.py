"""What PostgreSQL says of a question that cannot be computed, in words of a request."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError

from twin.errors import InvalidRequest

__all__ = ["wrong_questions"]

_WRONG = ("22", "42P18", "54001", "XX000")
"""Classes of SQLSTATE that a reader's own values can cause: data (division by zero, overflow, a pattern that ends in
its escape sign, ...), too deep an expression, and what GEOS cannot do."""


@contextmanager
def wrong_questions() -> Generator[None]:
    """Turn the failures inside the block that a reader's values cause into InvalidRequest; others pass as they are."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.Error) and (cause.sqlstate or "").startswith(_WRONG):
            what = (str(cause).strip().splitlines() or ["it fails"])[0]
            raise InvalidRequest(f"the question cannot be computed: {what}.", remedy="Look at its filter.") from error
        raise
