"""How all feeds and datasets stand, worked out now and then, whoever asks."""

import asyncio
import datetime as dt
import time
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from layers.arrivals import sources
from layers.catalog import Catalog
from layers.feeds import FEEDS, read_feeds
from layers.freshness import Freshness, judge
from twin.city import City
from twin.database import Database

__all__ = ["Counted", "Standing"]

_HOLDS_S = 5.0
_OUTCOMES = ("records", "control", "pieces", "unused", "broken")


class Counted(NamedTuple):
    """Of a feed: messages read so far, records they brought, and other messages by what they were."""

    feed: str
    messages: int
    outcomes: dict[str, int]


class Standing:
    """Knows how feeds and datasets stand, at most some seconds late."""

    def __init__(self, database: Database, catalog: Catalog, city: City, home: Path | None) -> None:
        self._database, self._catalog, self._city, self._home = database, catalog, city, home
        self._working = asyncio.Lock()
        self._at = -_HOLDS_S
        self._known: tuple[list[Freshness], list[Counted]] = [], []

    async def now(self) -> tuple[list[Freshness], list[Counted]]:
        """How they stand. Raises SetupError where `sources.toml` is wrong."""
        async with self._working:
            if time.monotonic() - self._at > _HOLDS_S:
                self._known = await asyncio.to_thread(self._work_out)
                self._at = time.monotonic()
            return self._known

    def _work_out(self) -> tuple[list[Freshness], list[Counted]]:
        feeds = read_feeds(self._home / FEEDS, self._catalog) if self._home is not None else ()
        with self._database.writing() as connection:
            found = judge(connection, self._catalog, self._city, feeds, dt.datetime.now(dt.UTC))
            rows = connection.execute(sa.select(sources).order_by(sources.c.source)).mappings().all()
        counted = [Counted(row["source"], row["messages"], {name: row[name] for name in _OUTCOMES}) for row in rows]
        return found, counted
