"""Tables of a department's database: read from a watermark on, each row once as it is.

What has the watermark at which the last reading ended is read again, since more may have been written with it; for
columns with moments also what lies a little before it, since transactions end later than they begin. Rows that were
kept already are known by their digest, and are not kept again.
"""

import datetime as dt
import decimal
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from ingest.sources.asking import Answer
from layers.contract import seconds
from layers.feeds import SqlFeed, secret_named
from twin.errors import SourceError, SourceUnavailable

__all__ = ["SqlReader"]

_ROWS = 5_000
_DIGEST_BYTES = 8

Watermark = Any
"""A moment, a day, a number or a text: whatever the column holds, all of one kind."""


class SqlReader:
    """Reads the table of one feed. Raises SetupError without the secret that holds the database's address."""

    def __init__(self, feed: SqlFeed, home: Path) -> None:
        self._feed = feed
        self._address = secret_named(home, feed.database)
        schema, _, name = feed.table.rpartition(".")
        names = dict.fromkeys((*feed.columns, feed.watermark))
        self._table = sa.table(name, *(sa.column(column) for column in names), schema=schema or None)

    def ask(self, position: str | None) -> Iterator[Answer]:
        """The rows written since `position`.

        Raises SourceUnavailable when the database may answer later, SourceError when it cannot be read as said.
        """
        known = json.loads(position) if position else {}
        reached = self._feed.start if "reached" not in known else _restored(known["reached"], self._feed.start)
        seen: dict[str, Watermark] = {digest: _restored(at, self._feed.start) for digest, at in known.get("seen", [])}
        try:
            engine = sa.create_engine(self._address, poolclass=sa.NullPool)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise SourceError(
                "the address of its database is none, or has no driver here.",
                where=f"secret {self._feed.database}",
                remedy="Write it as SQLAlchemy does, and install its driver.",
            ) from error
        try:
            with engine.connect() as connection:
                for rows in self._rows(connection, reached):
                    fresh: list[bytes] = []
                    for row in rows:
                        mark, message = row[self._feed.watermark], _message(row, self._feed.columns)
                        digest = hashlib.blake2b(message, digest_size=_DIGEST_BYTES).hexdigest()
                        if digest not in seen:
                            fresh.append(message)
                            seen[digest] = mark
                        reached = max(reached, mark)
                    least = self._before(reached)
                    seen = {digest: mark for digest, mark in seen.items() if mark >= least}
                    said = {"reached": _stored(reached), "seen": [(key, _stored(mark)) for key, mark in seen.items()]}
                    yield Answer(fresh, json.dumps(said))
        except DBAPIError as error:
            # The words of a driver may tell the address with its password; its class and first line are enough.
            words = f"{type(error.orig).__name__}: {str(error.orig).splitlines()[0][:200] if str(error.orig) else ''}"
            kind = SourceUnavailable if isinstance(error, OperationalError) else SourceError
            raise kind(f"its database cannot be read ({words}).", where=f"table {self._feed.table}") from error
        except (SQLAlchemyError, TypeError) as error:
            raise SourceError(
                f"its rows cannot be read ({type(error).__name__}: {error}).",
                where=f"table {self._feed.table}",
                remedy="The watermark must be of the kind of `start`, and never empty.",
            ) from error
        finally:
            engine.dispose()

    def _rows(self, connection: sa.Connection, reached: Watermark) -> Iterator[list[sa.RowMapping]]:
        mark = self._table.c[self._feed.watermark]
        chosen = sa.select(self._table).where(mark >= self._before(reached)).order_by(mark)
        for rows in connection.execution_options(stream_results=True).execute(chosen).mappings().partitions(_ROWS):
            yield list(rows)

    def _before(self, reached: Watermark) -> Watermark:
        """The watermark from which rows are read: a little before the last one."""
        if isinstance(reached, dt.datetime):
            return reached - dt.timedelta(seconds=seconds(self._feed.overlap))
        return reached


def _message(row: sa.RowMapping, columns: tuple[str, ...]) -> bytes:
    return orjson.dumps({name: row[name] for name in columns}, default=_plain, option=orjson.OPT_SORT_KEYS)


def _plain(value: object) -> object:
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value)


def _stored(mark: Watermark) -> str | float:
    return mark.isoformat() if isinstance(mark, dt.date) else mark


def _restored(said: str | float, like: Watermark) -> Watermark:
    """A watermark as the database has it, by the kind of the one at which the reading began."""
    if isinstance(like, dt.datetime):
        return dt.datetime.fromisoformat(str(said))
    return dt.date.fromisoformat(str(said)) if isinstance(like, dt.date) else said
