"""Freshness: feeds and datasets are on time, late or silent, with the reason; as a layer, told when it changes."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingest.telling import tell_freshness
from ingest.worker import Worker
from layers.arrivals import contact
from layers.catalog import catalog
from layers.feeds import FRESHNESS, Feed, HttpFeed
from layers.freshness import Freshness, judge, state_of
from layers.store import apply
from tests.ingest.test_worker import AIR, FEED, MONITORS, START, VEHICLES, ask, drain, position, receive
from tests.layers.park import CITY
from twin.database import Database

WEB = HttpFeed.model_validate(
    {"id": "web", "transport": "http", "protocol": "json", "url": "https://data.test/", "every": "1 min",
     "datasets": ["wifi.online_counts"]}
)  # fmt: skip


@pytest.fixture
def worker(database: Database, home: Path) -> Worker:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    return Worker(database, catalog(), CITY, home)


def standing(worker: Worker, *feeds: Feed, minutes: float = 0) -> dict[str, Freshness]:
    with worker.database.writing() as connection:
        found = judge(connection, catalog(), CITY, feeds, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes))
    return {one.id: one for one in found}


def tell(worker: Worker, *feeds: Feed, minutes: float = 0) -> int:
    """How many messages it took; they are read."""
    with worker.database.writing() as connection:
        told = tell_freshness(
            connection, catalog(), CITY, feeds, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
        )
    drain(worker, FRESHNESS)
    return told


def seconds_ago(seconds: int) -> int:
    """The second, counted as `position` counts, that was so long ago."""
    return int((dt.datetime.now(dt.UTC) - START).total_seconds()) - seconds


def layer(worker: Worker, where: str = "kind <> 'x'") -> dict[str, tuple[Any, ...]]:
    rows = ask(worker.database, "SELECT name, state, reason, detail FROM operations.freshness"
                                f" WHERE upper_inf(recorded) AND valid @> now() AND {where}")  # fmt: skip
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    ("age_s", "state"), [(0, "on_time"), (60, "on_time"), (61, "late"), (240, "late"), (241, "silent")]
)
def test_what_is_late_and_what_is_silent(age_s: int, state: str) -> None:
    now = dt.datetime.now(dt.UTC)
    assert state_of(now - dt.timedelta(seconds=age_s), 60, now) == state
    assert state_of(None, 60, now) == "silent"


def test_a_feed_and_its_dataset_from_on_time_to_silent(worker: Worker) -> None:
    found = standing(worker, FEED)
    assert found["vehicles"][2:5] == ("silent", "never", None)
    assert found[VEHICLES][2:5] == ("silent", "feed", "vehicles")
    second = seconds_ago(10)
    receive(worker.database, FEED, position("1", second))
    found = standing(worker, FEED)
    assert found["vehicles"][2:5] == ("on_time", "none", None)
    assert found["vehicles"].waiting == 1
    assert found[VEHICLES][2:4] == ("silent", "never")
    found = standing(worker, FEED, minutes=3.5)
    assert found["vehicles"].state == "late"
    drain(worker, FEED)
    found = standing(worker, FEED)
    assert found[VEHICLES][2:6] == ("on_time", "none", None, START + dt.timedelta(seconds=second))
    assert [standing(worker, FEED, minutes=minutes)[VEHICLES][2:5] for minutes in (5, 20)] == [
        ("late", "feed", "vehicles"), ("silent", "feed", "vehicles"),
    ]  # fmt: skip
    assert standing(worker, minutes=5)[VEHICLES][2:5] == ("late", "overdue", None)


def test_messages_that_nobody_reads_and_faults_are_told(worker: Worker) -> None:
    receive(worker.database, FEED, position("1", seconds_ago(10)))
    with worker.database.writing() as connection:
        connection.execute(sa.text("UPDATE twin.inbox SET received_at = received_at - interval '10 min'"))
    receive(worker.database, FEED, position("1", seconds_ago(9)))
    assert standing(worker, FEED)["vehicles"][2:5] == ("late", "unread", "2")
    contact(worker.database, "vehicles", "the port is taken.")
    assert standing(worker, FEED)["vehicles"][2:5] == ("late", "fault", "the port is taken.")
    contact(worker.database, "vehicles", None)
    drain(worker, FEED)
    assert standing(worker, FEED)["vehicles"].state == "on_time"


def test_a_feed_that_is_asked_is_on_time_when_it_has_nothing_new(worker: Worker) -> None:
    assert standing(worker, WEB)["web"].reason == "never"
    contact(worker.database, "web", None)
    assert standing(worker, WEB)["web"].state == "on_time"
    assert standing(worker, WEB, minutes=11)["web"].state == "late"


def test_what_arrives_and_is_all_refused_is_the_reason(worker: Worker) -> None:
    receive(worker.database, MONITORS, b"no message")
    drain(worker, MONITORS)
    assert standing(worker, MONITORS)[AIR][2:4] == ("silent", "refused")


def test_states_are_a_layer_with_a_history(worker: Worker) -> None:
    """Told once for each change; cells show where things are late; on time again, they say so."""
    receive(worker.database, FEED, position("1", seconds_ago(10)), position("2", seconds_ago(10)))
    drain(worker, FEED)
    assert tell(worker, FEED) > 1
    assert tell(worker, FEED) == 0, "nothing has changed"
    assert layer(worker)["feed:vehicles"][:2] == ("on_time", "none")
    assert layer(worker, "kind = 'part'") == {}, "where all is well nothing is shown"
    tell(worker, FEED, minutes=5)
    (part,) = layer(worker, "kind = 'part'").items()
    assert part[0].startswith(f"{VEHICLES}@87")
    assert part[1] == ("late", "overdue", "2/2")
    assert layer(worker)["feed:vehicles"][:2] == ("late", "overdue")
    shown = "FROM operations.freshness WHERE upper_inf(recorded) ORDER BY 1"
    placed = ask(worker.database, f"SELECT DISTINCT name LIKE '%@%', place_method, ST_GeometryType(geom) {shown}")
    assert placed == [
        (False, "geometry", "ST_Polygon"), (True, "cell", "ST_Polygon"),
    ]  # fmt: skip
    receive(worker.database, FEED, position("1", seconds_ago(9)))
    drain(worker, FEED)
    tell(worker, FEED)
    assert {one[:2] for one in layer(worker, "kind = 'part'").values()} == {("on_time", "none")}
    history = ask(worker.database, "SELECT state FROM operations.freshness WHERE name = 'feed:vehicles'"
                                   " AND upper_inf(recorded) ORDER BY lower(valid)")  # fmt: skip
    assert [row[0] for row in history] == ["on_time", "late", "on_time"]
    tell(worker)
    assert layer(worker)["feed:vehicles"][:2] == ("silent", "removed")


def test_no_cell_shows_where_hidden_things_are(worker: Worker) -> None:
    hidden = [
        one.id for one in catalog() if one.is_stream and (one.data_class in {"personal", "security"} or one.sensitive)
    ]
    assert hidden
    tell(worker, FEED, minutes=600)
    assert not [name for name in layer(worker, "kind = 'part'") if name.partition("@")[0] in hidden]
