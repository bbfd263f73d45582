"""What a running city does by itself: what is kept for long enough is deleted."""

import asyncio
import logging
from pathlib import Path

from layers.catalog import Catalog
from layers.feeds import FEEDS, read_feeds
from layers.retention import expire, expire_feeds
from twin.access import on_this_machine
from twin.city import City
from twin.database import Database
from twin.errors import TwinError

__all__ = ["keep_up"]

_EVERY_S = 6 * 3600.0
_log = logging.getLogger("twin.upkeep")


async def keep_up(database: Database, catalog: Catalog, city: City, home: Path) -> None:
    """Apply retention now and every six hours, until cancelled. Several servers may: the second finds nothing left."""
    while True:
        try:
            for one in await asyncio.to_thread(expire, database, catalog, city, home, on_this_machine()):
                _log.info("retention: %s, %s rows before %s", one.dataset, sum(one.deleted.values()), one.cut_off)
            feeds = read_feeds(home / FEEDS, catalog)
            for feed, number in (await asyncio.to_thread(expire_feeds, database, catalog, home, feeds)).items():
                _log.info("retention: raw messages of %s, %s arrivals", feed, number)
        except TwinError as error:  # the database is away, or not prepared yet
            _log.warning("retention: %s", error)
        except Exception:  # noqa: BLE001  (the city goes on; the next round tries again)
            _log.exception("retention failed")
        await asyncio.sleep(_EVERY_S)
