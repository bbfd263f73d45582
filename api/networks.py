"""Keeps the road networks of the views and profiles that are asked for, with the traffic of now on them."""

import asyncio
import datetime as dt
import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from api.facts import Facts
from layers.catalog import Catalog
from layers.contract import Contract
from layers.grants import may_read
from layers.roads.building import build
from layers.roads.conditions import Condition, closing_rows, closures_of, holding
from layers.roads.following import Following
from layers.roads.hierarchy import Hierarchy
from layers.roads.layer import road_rows, ways_of
from layers.roads.network import Network
from layers.roads.profiles import Profile, profile
from layers.roads.routing import Router
from layers.roads.warming import warm
from layers.tilecache import Edition
from twin.access import PUBLIC, Audience
from twin.city import City
from twin.database import Database
from twin.errors import NotFound, TwinError
from twin.view import View

__all__ = ["Networks"]

_log = logging.getLogger("twin.networks")

_KEPT = 8
_TIMEOUT_S = 60.0
_HOLD_S = 0.5
_FOLDER = "networks"
_MOST_FOLDERS = 8


@dataclass(eq=False)
class _Held:
    """A network with its traffic, and what that follows."""

    following: Following
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    looked_at: float = -_HOLD_S
    closures: dict[str, tuple[Edition, list[Condition]]] = field(
        default_factory=dict[str, tuple[Edition, list[Condition]]]
    )


class Networks:
    """Networks by what they depend on: the roads that a View shows, who travels, and at which time."""

    def __init__(self, database: Database, catalog: Catalog, city: City, facts: Facts, home: Path | None) -> None:
        self._database, self._catalog, self._city, self._facts, self._home = database, catalog, city, facts, home
        self._kept: OrderedDict[object, _Held] = OrderedDict()
        self._building = asyncio.Lock()

    async def of(self, view: View, name: str) -> Following:
        """The network of a profile under what holds at the view's time, as known then.

        A closure is heard of within half a second, wherever it was made, and at once where `refresh` was called. Making
        a new network takes seconds. Raises InvalidRequest for a profile that there is not, NotFound without roads.
        """
        who = profile(name)
        contract = self._roads(view.audience)
        shared = replace(view, audience=PUBLIC)
        edition = await self._facts.edition(contract, shared)
        # Roads that begin or end by the clock are heard of when one is written; what moves by the minute are closures.
        key = replace(edition, tick=0), who.id
        if key not in self._kept:
            async with self._building:
                if key not in self._kept:
                    self._kept[key] = _Held(Following(await self._router(contract, view, who), who))
        self._kept.move_to_end(key)
        held = self._kept[key]
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        async with held.lock:
            if time.monotonic() - held.looked_at >= _HOLD_S:
                await self._follow(held, view)
        return held.following

    def refresh(self) -> None:
        """Look up what holds at the next question."""
        for held in self._kept.values():
            held.looked_at = -_HOLD_S

    async def warm(self) -> None:
        """Make the networks that are asked for first, and compile what is asked of them, before somebody waits."""
        try:
            for name in ("car", "ambulance", "fire_engine"):
                following = await self.of(View(audience=Audience("dispatch")), name)
                cells = await asyncio.to_thread(following.cells, self._city.resolutions.finest)
                await asyncio.to_thread(warm, following.router, cells)
        except TwinError as error:
            _log.warning("no road network was made yet: %s", error)

    def _roads(self, audience: Audience) -> Contract:
        for contract in self._catalog:
            if contract.roads is not None and may_read(contract.data_class, contract, audience):
                return contract
        raise NotFound("there are no roads here.", remedy="Load a dataset whose contract has [roads].")

    async def _router(self, contract: Contract, view: View, who: Profile) -> Router:
        async with self._database.reading(view.audience, timeout_s=_TIMEOUT_S) as connection:
            rows = (await connection.execute(road_rows(contract, view, self._city))).all()
        if not rows:
            raise NotFound("there are no roads in this view.", where=contract.id, remedy=f"Load {contract.id}.")
        return await asyncio.to_thread(lambda: Router(*_opened(self._home, contract, rows, who)))

    async def _follow(self, held: _Held, view: View) -> None:
        """Look up the closures and speeds that hold, and let the traffic follow them."""
        at = None
        if view.valid_at is not None:
            at = view.valid_at.start or view.valid_at.end
        found = await asyncio.to_thread(self._said, view.known_at, at)
        for contract in self._catalog:
            if contract.closes is not None:
                found += await self._closures(held, contract, view)
        changed = held.following.follow(found)
        held.looked_at = time.monotonic()
        if changed or not held.following.router.is_customised:
            # The search sees it already; the hierarchy is asked again when it has caught up.
            await asyncio.to_thread(held.following.router.customise)

    def _said(self, known_at: dt.datetime | None, at: dt.datetime | None) -> list[Condition]:
        with self._database.inspecting() as connection:
            return holding(connection, known_at, at)

    async def _closures(self, held: _Held, contract: Contract, view: View) -> list[Condition]:
        """The records that close roads; whoever asks is led around them, whether or not they may read why."""
        edition = await self._facts.edition(contract, replace(view, audience=PUBLIC))
        known = held.closures.get(contract.id)
        if known is None or known[0] != edition:
            rows = await asyncio.to_thread(self._closing_rows, contract, view)
            held.closures[contract.id] = known = edition, rows
        return list(known[1])

    def _closing_rows(self, contract: Contract, view: View) -> list[Condition]:
        with self._database.inspecting() as connection:
            return closures_of(contract, connection.execute(closing_rows(contract, view, self._city)).all())


def _opened(
    home: Path | None, contract: Contract, rows: Sequence[sa.Row[Any]], who: Profile
) -> tuple[Network, Hierarchy]:
    """The network of rows, from the disk where it has been made before: all processes share its memory then."""
    ways = ways_of(contract, rows)
    if home is None:
        network = build(ways, who)
        return network, Hierarchy.of(network)
    folder = home / _FOLDER / f"{who.id}-{ways.digest[:12]}-{who.digest[:12]}"
    try:
        return Network.load(folder), Hierarchy.load(folder)
    except TwinError:
        network = build(ways, who)
        network.save(folder)
        hierarchy = Hierarchy.of(network)
        hierarchy.save(folder)
        _prune(folder.parent, who)
        return Network.load(folder), Hierarchy.load(folder)


def _prune(folder: Path, who: Profile) -> None:
    """Delete the oldest networks of a profile: every change of the roads, in a branch too, makes one."""
    made = sorted(folder.glob(f"{who.id}-*"), key=lambda one: one.stat().st_mtime)
    for one in made[:-_MOST_FOLDERS]:
        shutil.rmtree(one, ignore_errors=True)
