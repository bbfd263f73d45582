"""A database with the park in it (see park.py), and a way to ask it."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.catalog import Catalog
from tests.layers.park import made, park_catalog, put
from twin.access import PUBLIC, Audience
from twin.cluster import Cluster
from twin.database import Database, private_database

NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


class Park(NamedTuple):
    """The park's database and contracts."""

    database: Database
    catalog: Catalog

    def put(self, dataset: str, *rows: dict[str, Any]) -> None:
        """Write rows (see park.put)."""
        put(self.database, self.catalog, dataset, rows)

    def ask(self, question: Callable[[AsyncConnection], Awaitable[Any]], audience: Audience = PUBLIC) -> Any:
        """The answer of a question that is asked as an audience."""

        async def asked() -> Any:
            try:
                async with self.database.reading(audience, timeout_s=60) as connection:
                    return await question(connection)
            finally:
                await self.database.aclose()

        return asyncio.run(asked())


@pytest.fixture
def park(database: Database, tmp_path: Path) -> Park:
    """An empty park of one test."""
    catalog = park_catalog(tmp_path)
    made(database, catalog)
    return Park(database, catalog)


@pytest.fixture(scope="module")
def shared_park(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Park]:
    """One park for the tests of a module, which only read what the module's own fixture has put there."""
    database = private_database(cluster, request.module.__name__.rsplit(".", 1)[-1])
    database.migrate()
    catalog = park_catalog(tmp_path_factory.mktemp("catalog"))
    made(database, catalog)
    yield Park(database, catalog)
    asyncio.run(database.aclose())
