"""What the answers say of a dataset beside its contract: how much there is, where, how new, and whether it is made up.

All is remembered until the dataset changes. Versions are looked up at most once a second, in one question for all
datasets, so an answer may be a second late; it is never later than that.
"""

import asyncio
import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.branching.registry import version_key
from layers.contract import Contract
from layers.grants import is_limited
from layers.query import visible
from layers.tilecache import Edition
from layers.versions import versions
from twin.access import PUBLIC, Audience
from twin.city import City
from twin.database import Database
from twin.view import MAIN, View

__all__ = ["Fact", "Facts"]

_VERSIONS_HOLD_S = 1.0
_SYNTHETIC = sa.text("SELECT DISTINCT dataset FROM twin.batches WHERE synthetic AND finished_at IS NOT NULL")

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Fact:
    """Of one dataset: its version, how many records are true now, their bounds in degrees, when it changed."""

    version: int
    count: int
    bounds: Bounds | None
    updated_at: dt.datetime | None
    synthetic: bool


class Facts:
    """The facts of all datasets, asked for as needed."""

    def __init__(self, database: Database, city: City) -> None:
        self._database = database
        self._city = city
        self._changes: dict[str, tuple[int, dt.datetime]] = {}
        self._synthetic: set[str] = set()
        self._looked_at = -_VERSIONS_HOLD_S
        self._looking = asyncio.Lock()
        self._measured: dict[tuple[str, Audience | None], tuple[Edition, int, Bounds | None]] = {}

    async def edition(self, contract: Contract, view: View) -> Edition:
        """Which edition of a dataset is current. Looked up before the rows, so it is never newer than they are."""
        await self._look()
        version, _ = self._changes.get(contract.id, (0, None))
        in_branch = self._changes.get(version_key(contract.id, view.branch)) if view.branch != MAIN else None
        branch_version = in_branch[0] if in_branch else 0
        return Edition.of(contract, version, view, branch_version)

    async def _look(self) -> None:
        async with self._looking:
            looked_at = time.monotonic()
            if looked_at - self._looked_at < _VERSIONS_HOLD_S:
                return
            async with self._database.reading(PUBLIC) as connection:
                rows = (await connection.execute(sa.select(versions))).all()
                changes = {row.dataset: (row.version, row.changed_at) for row in rows}
                if changes != self._changes:
                    self._synthetic = set((await connection.execute(_SYNTHETIC)).scalars())
            self._changes, self._looked_at = changes, looked_at

    async def of(self, connection: AsyncConnection, contracts: list[Contract], audience: Audience) -> dict[str, Fact]:
        """The facts of datasets, by id. `audience`, which is that of `connection`, may read all of them.

        They are the same for everyone who may read a dataset as a whole, so they are remembered for all.
        """
        found: dict[str, Fact] = {}
        for contract in contracts:
            edition = await self.edition(contract, View())
            key = contract.id, audience if is_limited(contract, audience) else None
            remembered = self._measured.get(key)
            if remembered is None or remembered[0] != edition:
                remembered = (edition, *(await self._measure(connection, contract)))
                self._measured[key] = remembered
            _, count, bounds = remembered
            _, changed_at = self._changes.get(contract.id, (0, None))
            found[contract.id] = Fact(edition.version, count, bounds, changed_at, contract.id in self._synthetic)
        return found

    async def _measure(self, connection: AsyncConnection, contract: Contract) -> tuple[int, Bounds | None]:
        shown = visible(contract, View(), self._city)
        box = sa.func.ST_Extent(shown.rows.c.geom)
        sides: list[sa.ColumnElement[Any]] = [
            side(box) for side in (sa.func.ST_XMin, sa.func.ST_YMin, sa.func.ST_XMax, sa.func.ST_YMax)
        ]
        count, *bounds = (await connection.execute(shown.select(sa.func.count(), *sides))).one()
        west, south, east, north = bounds
        return count, None if west is None else (west, south, east, north)
