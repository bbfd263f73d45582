"""`/push`: kept before it is answered, for those who show the feed's secret, and read like any other feed."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from ingest.worker import Worker
from layers.catalog import catalog
from layers.feeds import FEEDS, read_feeds
from layers.store import apply
from tests.api.city import SECRET
from tests.ingest.test_running import received
from tests.ingest.test_worker import ask, drain
from tests.layers.park import CITY
from twin.database import Database

AMENITIES = "services.amenities"
_FEEDS = f"""
[[feed]]
id = "amenities"
transport = "push"
protocol = "json"
datasets = ["{AMENITIES}"]
token = "amenities"
"""


@pytest.fixture
def pushing(database: Database, tmp_path: Path) -> tuple[Database, Path]:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    (tmp_path / FEEDS).write_text(_FEEDS)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "amenities").write_text("let me in\n")
    return database, tmp_path


def push(database: Database, home: Path, *requests: tuple[str, str, bytes]) -> list[httpx.Response]:
    """Answers to (feed, token, body)."""
    app = create_app(database, catalog(), CITY, SECRET, home=home)

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [
                await client.post(
                    f"/push/{feed}", content=body, headers={"Authorization": f"Bearer {token}"} if token else {}
                )
                for feed, token, body in requests
            ]

    return asyncio.run(main())


def test_what_is_pushed_is_kept_and_read(pushing: tuple[Database, Path]) -> None:
    database, home = pushing
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [117.3, 34.8]},
        "properties": {"amenity_id": "A1", "name": "厕所", "kind": "toilet", "lon": 117.3, "lat": 34.8},
    }
    body = json.dumps(feature).encode()
    good, broken = push(database, home, ("amenities", "let me in", body), ("amenities", "let me in", b"{"))
    assert (good.status_code, good.json()) == (202, {"received": 1})
    assert broken.status_code == 202, "it is kept, and will be told to be unreadable"
    assert received(database, "amenities") == [body, b"{"]
    (feed,) = read_feeds(home / FEEDS, catalog())
    assert drain(Worker(database, catalog(), CITY, home), feed) == 2
    assert ask(database, "SELECT id, name FROM services.amenities") == [("A1", "厕所")]
    assert ask(database, "SELECT reason FROM twin.quarantine") == [("unreadable-message",)]


def test_nobody_else_may_push(pushing: tuple[Database, Path]) -> None:
    database, home = pushing
    answers = push(database, home, ("amenities", "", b"{}"), ("amenities", "x", b"{}"), ("none", "let me in", b"{}"),
                   ("none", "", b"{}"), ("amenities", "let me in", b""))  # fmt: skip
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 400]
    assert len({answer.text for answer in answers[:4]}) == 1, "whether there is such a feed is not told"
    assert received(database, "amenities") == []
