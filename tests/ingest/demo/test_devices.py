"""The synthetic city's devices report to real ports over good and bad lines, and what they say is taken in."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingest.demo.broker import broker_of
from ingest.demo.city import DemoCity
from ingest.demo.devices import devices_of, run_devices
from ingest.demo.feeds import write_feeds
from ingest.demo.line import Line
from ingest.demo.sources import write_sources
from ingest.pipeline import Loader, LoadOptions
from ingest.running import receive_feeds
from ingest.worker import Worker
from layers.catalog import catalog
from layers.feeds import FEEDS, Feed, read_feeds
from layers.store import apply
from tests.api.city import serving
from tests.ingest.demo.test_dirt import NOW, SCALE, SEED
from tests.ingest.test_worker import ask, drain
from tests.layers.park import CITY
from twin.database import Database
from twin.errors import SetupError

WANTED = ("transport.roads", "transport.bus_routes", "environment.monitoring_sites", "transport.buses",
          "transport.vehicles", "environment.air_stations", "sharing.towns", "housing.buildings",
          "environment.outlets", "environment.discharges", "video.cameras", "video.camera_status", "wifi.access_points",
          "wifi.online_counts", "energy.meters", "medical.ambulances", "services.hotline_tickets")  # fmt: skip


@pytest.fixture
def feeds(tmp_path: Path) -> Sequence[Feed]:
    write_feeds(tmp_path / FEEDS, CITY)
    return read_feeds(tmp_path / FEEDS, catalog())


def test_they_report_and_the_city_moves(database: Database, tmp_path: Path, feeds: Sequence[Feed]) -> None:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    loader = Loader(database, catalog(), CITY, tmp_path)
    demo = DemoCity.generate(CITY, SEED, SCALE)
    for source in write_sources(demo, catalog(), CITY, tmp_path, seed=SEED, scale=SCALE, now=NOW, datasets=WANTED):
        loader.load(source.dataset, source.path, LoadOptions(source.datum, synthetic=True))
    with serving(database, home=tmp_path) as url, broker_of(feeds, tmp_path):
        crews = devices_of(database, catalog(), CITY, feeds, tmp_path, url)
        assert [crew.feed.id for crew in crews] == [feed.id for feed in feeds]

        async def main() -> None:
            ready = asyncio.Event()
            receiving = asyncio.create_task(receive_feeds(database, catalog(), tmp_path, feeds, ready.set))
            await asyncio.wait_for(ready.wait(), 30)
            line = Line(loss=0.1, duplicate=0.2, reorder=0.2)
            reporting = asyncio.create_task(run_devices(crews, line, pace=20))
            done, _ = await asyncio.wait((reporting, receiving), timeout=10, return_when=asyncio.FIRST_COMPLETED)
            assert not done, [task.exception() for task in done]
            for task in (reporting, receiving):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
    worker = Worker(database, catalog(), CITY, tmp_path)
    taken = {feed.id: drain(worker, feed) for feed in feeds}
    assert all(taken.values()), taken
    # Of a video network's signs of life no dataset takes anything.
    odd = "SELECT source, broken, unused FROM twin.sources WHERE broken > 0 OR (unused > 0 AND source <> 'cameras')"
    assert ask(database, odd) == []
    assert ask(database, "SELECT dataset, reason, detail FROM twin.quarantine") == []
    for crew in crews:
        contract = catalog()[crew.feed.datasets[0]]
        told = ask(database, f"SELECT count(*) FROM {contract.id} WHERE batch IN"
                             f" (SELECT id FROM twin.batches WHERE source = '{crew.feed.id}')")[0][0]  # fmt: skip
        assert told, crew.feed.id
        if contract.is_stream:
            seen = f"SELECT count(DISTINCT subject) FROM {contract.id} WHERE observed_at > now() - interval '20 min'"
            assert ask(database, seen)[0][0] > 0.7 * len(crew.ids), crew.feed.id
    speeds = ask(
        database,
        "SELECT min(speed_kmh), max(speed_kmh) FROM transport.buses WHERE observed_at > now() - interval '5 min'",
    )
    assert speeds[0][1] > 15
    assert ask(database, "SELECT bool_or(online), bool_and(online) FROM video.camera_status"
                         " WHERE observed_at > now() - interval '5 min'") == [(True, False)]  # fmt: skip


def test_feeds_are_written_once(tmp_path: Path, feeds: Sequence[Feed]) -> None:
    before = (tmp_path / FEEDS).read_text()
    write_feeds(tmp_path / FEEDS, CITY)
    assert (tmp_path / FEEDS).read_text() == before
    assert all(feed.synthetic for feed in feeds)
    assert {feed.transport for feed in feeds} == {"tcp", "sip", "mqtt", "push"}


def test_an_empty_city_has_no_devices(database: Database, tmp_path: Path, feeds: Sequence[Feed]) -> None:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
        connection.execute(sa.text("SELECT 1"))
    with pytest.raises(SetupError, match="Load the city first"):
        devices_of(database, catalog(), CITY, feeds, tmp_path, "http://127.0.0.1:1")


def test_a_bad_line_loses_doubles_and_exchanges() -> None:
    chance = random.Random(1)  # noqa: S311
    held: list[bytes] = []
    line = Line(loss=0.2, duplicate=0.3, reorder=0.3)
    sent = [copy for number in range(2_000) for copy in line.sent(number.to_bytes(2, "big"), held, chance)]
    numbers = [int.from_bytes(message, "big") for message in sent]
    assert 300 < 2_000 - len(set(numbers)) < 500, "a fifth is lost"
    assert len(numbers) > len(set(numbers)) + 200
    assert numbers != sorted(numbers)
    assert Line().sent(b"x", [], chance) == [b"x"]
