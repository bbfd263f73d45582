"""What changes while the server runs and decides who sees what: grants, branches, withdrawn tokens.

They are looked up at most every half second, in one go, so a change holds within a second wherever it is asked.
"""

import asyncio
import datetime as dt
import time
from dataclasses import dataclass, field, replace

from layers.branching.registry import branches
from layers.catalog import Catalog
from layers.granting import Granted, fence_ended, granted, withdrawn
from twin.access import PUBLIC, Audience, Caller, Grant
from twin.city import City
from twin.database import Database
from twin.errors import NotAllowed, NotFound
from twin.view import MAIN, Branch

__all__ = ["Rights"]

_HOLD_S = 0.5


@dataclass(frozen=True, slots=True)
class _Known:
    """What was looked up, and when (monotonic seconds)."""

    at: float = -_HOLD_S
    grants: dict[tuple[str, str], list[Granted]] = field(default_factory=dict[tuple[str, str], list[Granted]])
    branches: dict[str, Branch] = field(default_factory=dict[str, Branch])
    withdrawn: dict[str, dt.datetime] = field(default_factory=dict[str, dt.datetime])


class Rights:
    """The rights of all callers, as they are now."""

    def __init__(self, database: Database, catalog: Catalog, city: City) -> None:
        self._database, self._catalog, self._city = database, catalog, city
        self._known = _Known()
        self._looking = asyncio.Lock()

    async def of(self, caller: Caller) -> Caller:
        """The caller with the grants that hold for them now.

        Raises NotAllowed when their tokens were withdrawn, and for a department that the catalogue does not know.
        """
        if caller.audience.name == PUBLIC.name:
            return caller
        if caller.audience.system is not None and caller.audience.system not in self._catalog.systems:
            raise NotAllowed(f"there is no department of {caller.audience.system!r} here.", remedy="See /collections.")
        known = await self._look(self._known.at + _HOLD_S)
        before = known.withdrawn.get(caller.person)
        if before is not None and caller.issued_at is not None and caller.issued_at < before:
            raise NotAllowed("the token was withdrawn.", remedy="Ask an administrator for a new one (twin token new).")
        name, now = caller.audience.name, dt.datetime.now(dt.UTC)
        own = [grant for grant in known.grants.get((name, caller.person), []) if grant.until > now]
        of_all = [grant for grant in known.grants.get((name, ""), []) if grant.until > now]
        rights = frozenset(Grant(one.number, one.dataset, one.area is not None) for one in (*own, *of_all))
        return replace(caller, audience=Audience(name, caller.person if own else "", rights))

    async def branch(self, name: str, audience: Audience) -> Branch:
        """The branch of a name. Raises NotFound where there is none, and for the public, which sees none."""
        if name == MAIN.name:
            return MAIN
        if audience.name != PUBLIC.name:
            asked_at = time.monotonic()
            for fresh_after in (self._known.at + _HOLD_S, asked_at):  # it may have been made a moment ago
                found = (await self._look(fresh_after)).branches.get(name)
                if found is not None:
                    return found
        raise NotFound(f"no branch is called {name[:60]!r}.", remedy="Leave branch out: main is the city as it is.")

    async def _look(self, fresh_after: float) -> _Known:
        """What is known, looked up again when that moment (monotonic seconds) has passed since the last time."""
        async with self._looking:
            if time.monotonic() >= fresh_after > self._known.at:
                self._known = await asyncio.to_thread(self._read, time.monotonic())
            return self._known

    def _read(self, at: float) -> _Known:
        with self._database.writing() as connection:
            fence_ended(connection, self._catalog, self._city)
            grants: dict[tuple[str, str], list[Granted]] = {}
            for grant in granted(connection):
                grants.setdefault((grant.audience.name, grant.person), []).append(grant)
            named = {listed.name: listed.branch for listed in branches(connection)}
            return _Known(at, grants, named, withdrawn(connection))
