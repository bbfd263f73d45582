"""The worker: kept messages become rows once and in order, whatever they hold and whoever is killed."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingest.codecs import hj212, jt808
from ingest.pipeline import Loader
from ingest.replaying import replay
from ingest.worker import Worker
from layers import arrivals
from layers.catalog import catalog
from layers.dirty import refresh_dirty, waiting_for_refresh
from layers.feeds import Feed, TcpFeed
from layers.inbox import quarantine_rows
from layers.retention import expire_feeds
from layers.store import apply
from tests.layers.park import CITY
from twin.database import Database
from twin.errors import InvalidRequest, SetupError, SourceError

VEHICLES, AIR = "transport.vehicles", "environment.air_stations"
FEED = TcpFeed(id="vehicles", transport="tcp", protocol="jt808", listen="127.0.0.1:1", datasets=(VEHICLES,))
MONITORS = TcpFeed(id="air", transport="tcp", protocol="hj212", listen="127.0.0.1:2", datasets=(AIR,))
_SITE = """
INSERT INTO environment.monitoring_sites (id, site_id, valid, recorded, geom, cell, place_accuracy_m) VALUES
('88888880000001', '88888880000001', '[2020-01-01,)', '[2020-01-01,)', ST_SetSRID(ST_MakePoint(117.3, 34.8), 4490),
 622353317082759167, 10)
"""
BEIJING = dt.timezone(dt.timedelta(hours=8))
START = dt.datetime.now(BEIJING).replace(microsecond=0) - dt.timedelta(minutes=5)


@pytest.fixture
def worker(database: Database, home: Path) -> Worker:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    return Worker(database, catalog(), CITY, home)


def position(terminal: str, second: int, speed_kmh: float = 30.0) -> bytes:
    time = f"{START + dt.timedelta(seconds=second):%y%m%d%H%M%S}"
    return jt808.encode(0x0200, terminal, second, jt808.location(117.3 + second / 1e4, 34.8, speed_kmh, 90, time))


def reading(station: str, second: int, pm25: str = "35.2") -> str:
    time = f"{START + dt.timedelta(seconds=second):%Y%m%d%H%M%S}"
    return f"ST=22;CN=2011;PW=123456;MN={station};Flag=4;CP=&&DataTime={time};a34004-Rtd={pm25},a34004-Flag=N&&"


def receive(database: Database, feed: Feed, *messages: bytes) -> int:
    with database.writing() as connection:
        return arrivals.receive(connection, feed.id, arrivals.pack(messages), len(messages))


def drain(worker: Worker, feed: Feed) -> int:
    done = 0
    while step := worker.step(feed):
        done += step
    return done


def ask(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.writing() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_messages_become_rows_once(worker: Worker) -> None:
    database = worker.database
    beat = jt808.encode(0x0002, "13800000001", 9, b"")
    receive(database, FEED, position("13800000001", 0), position("13800000001", 10), beat, b"\x7ejunk\x7e")
    receive(database, FEED, position("13800000001", 10), position("13800000002", 5))
    assert drain(worker, FEED) == 6
    assert drain(worker, FEED) == 0
    rows = ask(database, "SELECT subject, observed_at, speed_kmh, heading_deg, place_method FROM transport.vehicles"
                         " ORDER BY subject, observed_at")  # fmt: skip
    assert [(row[0], row[1]) for row in rows] == [
        ("13800000001", START), ("13800000001", START + dt.timedelta(seconds=10)),
        ("13800000002", START + dt.timedelta(seconds=5)),
    ]  # fmt: skip
    assert {row[2:] for row in rows} == {(30.0, 90.0, "coordinate")}
    assert ask(database, "SELECT messages, records, control, pieces, unused, broken FROM twin.sources") == [
        (6, 4, 1, 0, 0, 1)
    ]
    accounts = ask(database, "SELECT sum(received), sum(accepted), sum(duplicate), sum(quarantined) FROM twin.batches")
    assert accounts == [(5, 3, 1, 1)]
    with database.writing() as connection:
        (refused,) = quarantine_rows(connection, VEHICLES)
    assert (refused.reason, refused.row_number, refused.stage) == ("unreadable-message", 4, "read")
    assert "vehicles: " in refused.detail


def test_the_newest_position_is_by_its_own_time(worker: Worker) -> None:
    receive(worker.database, FEED, position("1", 60, 50.0))
    drain(worker, FEED)
    receive(worker.database, FEED, position("1", 30, 20.0))
    drain(worker, FEED)
    assert ask(worker.database, 'SELECT subject, speed_kmh FROM transport."vehicles__latest"') == [("1", 50.0)]


def test_a_later_message_of_the_same_moment_supersedes(worker: Worker) -> None:
    """In one arrival or in two: the outcome is the same."""
    receive(worker.database, FEED, position("1", 0, 10.0), position("1", 0, 20.0), position("1", 0, 20.0))
    receive(worker.database, FEED, position("2", 0, 10.0))
    drain(worker, FEED)
    receive(worker.database, FEED, position("2", 0, 20.0))
    drain(worker, FEED)
    for subject in ("1", "2"):
        rows = ask(worker.database, f"SELECT speed_kmh, upper_inf(recorded) FROM transport.vehicles"
                                    f" WHERE subject = '{subject}' ORDER BY lower(recorded)")  # fmt: skip
        assert rows == [(10.0, False), (20.0, True)], subject
    assert ask(worker.database, "SELECT sum(received), sum(accepted), sum(duplicate) FROM twin.batches") == [(5, 4, 1)]


def test_indicators_follow_where_rows_changed(worker: Worker) -> None:
    receive(worker.database, FEED, position("1", 0, 10.0))
    drain(worker, FEED)
    receive(worker.database, FEED, position("1", 1, 30.0))
    drain(worker, FEED)
    with worker.database.writing() as connection:
        assert waiting_for_refresh(connection) == [VEHICLES]
    assert refresh_dirty(worker.database, catalog()[VEHICLES], CITY)
    assert not refresh_dirty(worker.database, catalog()[VEHICLES], CITY)
    parts = ask(worker.database, 'SELECT sum(n), sum(total) FROM indicators."transport.vehicle_speed_mean"')
    assert [tuple(map(float, row)) for row in parts] == [(2.0, 40.0)]


def test_what_lies_in_the_future_waits(worker: Worker) -> None:
    receive(worker.database, FEED, position("1", 3600), position("1", 400), position("1", 0))
    drain(worker, FEED)
    with worker.database.writing() as connection:
        refused = quarantine_rows(connection, VEHICLES)
    assert [(one.reason, one.row_number) for one in refused] == [("future-time", 1)]


def test_pieces_wait_for_each_other_over_arrivals(worker: Worker) -> None:
    head = reading("88888880000001", 0)
    text = "QN=20260104081500123;" + head.replace("Flag=4", "Flag=6;PNUM=2;PNO={}")
    first, second = (text[: text.index("&&") + 2].format(number) + part + "&&" for number, part in (
        (1, text[text.index("DataTime"):text.index(";a34004")]), (2, "a34004-Rtd=35.2,a34004-Flag=N")))  # fmt: skip
    with worker.database.writing() as connection:
        connection.execute(sa.text(_SITE))
    receive(worker.database, MONITORS, hj212.encode(second))
    assert drain(worker, MONITORS) == 1
    assert ask(worker.database, "SELECT count(*) FROM environment.air_stations") == [(0,)]
    receive(worker.database, MONITORS, hj212.encode(first))
    assert drain(worker, MONITORS) == 1
    assert ask(worker.database, "SELECT subject, pm25, place_method FROM environment.air_stations") == [
        ("88888880000001", 35.2, "device")
    ]
    assert ask(worker.database, "SELECT count(*) FROM twin.pieces") == [(0,)]


def test_pieces_whose_others_never_come_are_set_aside(worker: Worker) -> None:
    text = reading("1", 0).replace("Flag=4", "Flag=6;PNUM=2;PNO=1")
    receive(worker.database, MONITORS, hj212.encode(text))
    drain(worker, MONITORS)
    with worker.database.writing() as connection:
        connection.execute(sa.text("UPDATE twin.pieces SET arrived = arrived - interval '11 min'"))
    receive(worker.database, MONITORS, hj212.encode("ST=91;CN=9015;MN=1;CP=&&&&"))
    drain(worker, MONITORS)
    with worker.database.writing() as connection:
        (refused,) = quarantine_rows(connection, AIR)
    assert (refused.reason, refused.row_number) == ("incomplete-message", 1)
    assert ask(worker.database, "SELECT messages, control, pieces, broken FROM twin.sources") == [(2, 1, 0, 1)]


def test_messages_that_no_contract_selects_are_counted(worker: Worker) -> None:
    receive(worker.database, MONITORS, hj212.encode(reading("1", 0).replace("CN=2011", "CN=2061")))
    drain(worker, MONITORS)
    assert ask(worker.database, "SELECT messages, unused, broken FROM twin.sources") == [(1, 1, 0)]


def test_one_message_that_cannot_be_taken_holds_up_no_other(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own in the middle of a batch: the others go in, this one is set aside with what happened."""
    whole: Callable[..., Any] = Worker._store

    def failing(self: Worker, connection: sa.Connection, feed: Feed, destination: Any, told: Any, records: Any,
                positions: Any) -> None:  # fmt: skip
        if any(record["terminal"] == "7" for record in records):
            raise ZeroDivisionError("a fault")
        whole(self, connection, feed, destination, told, records, positions)

    monkeypatch.setattr(Worker, "_store", failing)
    receive(worker.database, FEED, *(position(str(number), 0) for number in range(1, 10)))
    assert drain(worker, FEED) == 9
    assert ask(worker.database, "SELECT count(DISTINCT subject) FROM transport.vehicles") == [(8,)]
    with worker.database.writing() as connection:
        (refused,) = quarantine_rows(connection, VEHICLES)
    assert (refused.reason, refused.row_number) == ("failed", 7)
    assert "ZeroDivisionError: a fault" in refused.detail


def test_two_workers_never_read_one_feed_at_once(worker: Worker) -> None:
    receive(worker.database, FEED, position("1", 0))
    with worker.database.writing() as connection:
        assert arrivals.claim(connection, FEED.id) == 0
        assert worker.step(FEED) == 0, "another holds it"
    assert worker.step(FEED) == 1


def test_messages_of_the_quarantine_are_read_again(worker: Worker) -> None:
    """An unknown station is registered afterwards, and its message finds its place."""
    receive(worker.database, MONITORS, hj212.encode(reading("88888880000001", 0)), b"##noise")
    drain(worker, MONITORS)
    loader = Loader(worker.database, worker.catalog, worker.city, worker.home)
    with worker.database.writing() as connection:
        waiting = quarantine_rows(connection, AIR)
        connection.execute(sa.text(_SITE))
    assert sorted(one.reason for one in waiting) == ["unknown-device", "unreadable-message"]
    with pytest.raises(InvalidRequest, match="datum of their contract"):
        replay(loader, [MONITORS], waiting, datum="gcj02")
    with pytest.raises(SetupError, match="no feed 'air' any more"):
        replay(loader, [], waiting)
    outcome = replay(loader, [MONITORS], waiting)
    assert (outcome.received, outcome.accepted, outcome.quarantined) == (2, 1, 1)
    assert outcome.reasons == {"unreadable-message": 1}
    assert ask(worker.database, "SELECT subject, place_method FROM environment.air_stations") == [
        ("88888880000001", "device")
    ]
    with worker.database.writing() as connection:
        assert [one.reason for one in quarantine_rows(connection, AIR)] == ["unreadable-message"]


def test_raw_messages_are_kept_as_long_as_their_feed_says(worker: Worker) -> None:
    """What was read and is old is forgotten; what nobody has read stays, however old."""
    receive(worker.database, FEED, position("1", 0))
    drain(worker, FEED)
    receive(worker.database, FEED, position("1", 10))
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=40)
    feeds = [FEED.model_copy(update={"keep": "30 d"})]
    assert expire_feeds(worker.database, worker.catalog, worker.home, feeds) == {}
    assert expire_feeds(worker.database, worker.catalog, worker.home, feeds, now=later) == {FEED.id: 1}
    assert ask(worker.database, "SELECT length(raw) > 0 FROM twin.inbox ORDER BY id") == [(False,), (True,)]
    with pytest.raises(SourceError, match="kept no longer"):
        worker.replay(FEED, ask(worker.database, "SELECT min(id) FROM twin.inbox")[0][0], frozenset({1}))
    assert drain(worker, FEED) == 1
    assert ask(worker.database, "SELECT count(*) FROM transport.vehicles") == [(2,)]


def test_an_arrival_that_cannot_be_opened_holds_up_no_other(worker: Worker) -> None:
    receive(worker.database, FEED, position("1", 0))
    receive(worker.database, FEED, position("2", 0))
    with worker.database.writing() as connection:
        connection.execute(sa.text("UPDATE twin.inbox SET raw = 'spoilt' WHERE id = (SELECT min(id) FROM twin.inbox)"))
    assert drain(worker, FEED) == 2
    assert ask(worker.database, "SELECT subject FROM transport.vehicles") == [("2",)]
    with worker.database.writing() as connection:
        (refused,) = quarantine_rows(connection, VEHICLES)
    assert refused.reason == "failed"
