"""PostgreSQL's COPY inside a SQLAlchemy transaction."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from psycopg import Connection as PsycopgConnection

__all__ = ["copy_rows", "driver"]


def driver(connection: sa.Connection) -> "PsycopgConnection[tuple[object, ...]]":
    """The psycopg connection below, in the same transaction. Raises TypeError when another driver is there."""
    found = connection.connection.driver_connection
    if not isinstance(found, PsycopgConnection):
        raise TypeError(f"{type(found).__name__} is not a psycopg connection")
    return found


def copy_rows(connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Copy Python rows into a table; `table` and `columns` are SQL already. For thousands, not for millions."""
    with (
        driver(connection).cursor() as cursor,
        cursor.copy(f"copy {table} ({', '.join(columns)}) from stdin".encode()) as sink,
    ):
        for row in rows:
            sink.write_row(row)
