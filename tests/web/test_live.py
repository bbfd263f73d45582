"""The public map shows what moves where it is now, and lets go of it when another time is shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.worker import Worker
from layers.catalog import catalog
from layers.store import apply
from tests.api.city import serving
from tests.ingest.test_running import feed
from tests.ingest.test_worker import drain, position, receive
from tests.layers.park import CITY
from tests.web.visit import Visit, Visitor
from twin.cluster import Cluster
from twin.database import private_database

BUSES = "transport.buses"


@pytest.fixture
def moving(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Worker]]:
    """An empty city that is served, and the worker that moves buses through it."""
    database = private_database(cluster, request.node.name)
    database.migrate()
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    with serving(database) as url:
        yield url, Worker(database, catalog(), CITY, tmp_path)
    database.engine.dispose()


def drive(worker: Worker, second: int) -> None:
    """Bus 1 goes 0.0001 degrees east every second."""
    buses = feed("jt808", 1, BUSES)
    receive(worker.database, buses, position("1", second))
    assert drain(worker, buses) == 1


def card_at_the_centre(seen: Visit) -> bool:
    """Whether a click at the centre of the map opens a record."""
    seen.page.keyboard.press("Escape")
    seen.page.mouse.click(*seen.centre())
    seen.page.wait_for_timeout(1_000)
    return seen.page.locator("#card h2").is_visible()


def test_buses_move_without_a_reload(visit: Visitor, moving: tuple[str, Worker]) -> None:
    url, worker = moving
    drive(worker, 0)
    seen = visit()
    seen.address = url
    page = seen.open(f"map=15/34.8/117.3&layers={BUSES}")
    assert card_at_the_centre(seen)
    assert "1" in page.locator("#card").inner_text()
    drive(worker, 100)
    page.wait_for_timeout(2_000)
    assert not card_at_the_centre(seen), "it has gone on"
    seen.go(f"map=15/34.8/117.31&layers={BUSES}")
    assert card_at_the_centre(seen), "to where it is now"
    tiles = [one.url for one in seen.requests if f"{BUSES}/tiles" in one.url]
    assert tiles == [], "what moves is not drawn from tiles"
    assert seen.complaints == []


def test_of_another_time_tiles_are_shown(visit: Visitor, moving: tuple[str, Worker]) -> None:
    url, worker = moving
    drive(worker, 0)
    seen = visit()
    seen.address = url
    seen.open(f"map=15/34.8/117.3&layers={BUSES}&at=2026-11-01T08:00:00Z")
    assert [one for one in seen.requests if f"{BUSES}/tiles" in one.url]
    assert [one for one in seen.requests if "/live" in one.url] == []
    seen.go(f"map=15/34.8/117.3&layers={BUSES}")
    assert [one for one in seen.requests if "/live" in one.url], "back to now, it is followed"
    assert card_at_the_centre(seen)
