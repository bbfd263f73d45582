"""A city that is served and changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.worker import Worker
from layers.catalog import catalog
from layers.store import apply
from tests.api.city import serving
from tests.layers.park import CITY
from twin.database import Database


@pytest.fixture
def live(database: Database, home: Path) -> Iterator[tuple[str, Worker]]:
    """An empty city that is served, and the worker that fills it."""
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    with serving(database) as url:
        yield url, Worker(database, catalog(), CITY, home)
