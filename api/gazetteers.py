"""Keeps the gazetteers of the views that are asked for, until a dataset that lists names changes."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import replace

from api.facts import Facts
from layers.catalog import Catalog
from layers.contract import Contract
from layers.grants import is_limited, may_read, seen_by
from layers.naming import lists_names, named_places, named_rows
from layers.places.gazetteer import Gazetteer
from layers.tilecache import Edition
from twin.access import PUBLIC, Audience
from twin.city import City
from twin.database import Database
from twin.errors import TwinError
from twin.view import View

__all__ = ["Gazetteers"]

_log = logging.getLogger("twin.gazetteers")

_KEPT = 6
_TICKS = 60
"""Names that begin or end by the clock are heard of within an hour; those that are written, within a second."""
_TIMEOUT_S = 30.0


class Gazetteers:
    """Gazetteers by what they depend on: the editions of the datasets that list names and that somebody may read."""

    def __init__(self, database: Database, catalog: Catalog, city: City, facts: Facts) -> None:
        self._database, self._catalog, self._city, self._facts = database, catalog, city, facts
        self._kept: OrderedDict[tuple[Edition, ...], Gazetteer] = OrderedDict()
        self._building = asyncio.Lock()

    async def of(self, view: View) -> Gazetteer:
        """The gazetteer of the named places that a View shows. Making a new one takes seconds."""
        listing = [
            seen_by(contract, view.audience)
            for contract in self._catalog
            if may_read(contract.data_class, contract, view.audience)
        ]
        listing = [contract for contract in listing if lists_names(contract)]
        key = tuple([await self._edition(contract, view) for contract in listing])
        if key not in self._kept:
            async with self._building:
                if key not in self._kept:
                    self._kept[key] = await self._read(listing, view)
        self._kept.move_to_end(key)
        found = self._kept[key]
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    async def warm(self) -> None:
        """Make those of the public and of the staff before somebody waits for them."""
        try:
            for audience in (PUBLIC, Audience("dispatch")):
                await self.of(View(audience=audience))
        except TwinError as error:
            _log.warning("no gazetteer was made yet: %s", error)

    async def _edition(self, contract: Contract, view: View) -> Edition:
        """What the names of a dataset depend on: who looks only where they may read a part of it."""
        shared = view if is_limited(contract, view.audience) else replace(view, audience=PUBLIC)
        edition = await self._facts.edition(contract, shared)
        return replace(edition, tick=edition.tick // _TICKS)

    async def _read(self, listing: list[Contract], view: View) -> Gazetteer:
        async with self._database.reading(view.audience, timeout_s=_TIMEOUT_S) as connection:
            rows = [(one, (await connection.execute(named_rows(one, view, self._city))).all()) for one in listing]
        return await asyncio.to_thread(lambda: Gazetteer(self._city, [named_places(one, few) for one, few in rows]))
