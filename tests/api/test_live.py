"""`/live` over a real server: what there is, then what changes, for those who may see it, where they listen."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from api.liveboard import Listener
from ingest.worker import Worker
from layers.live import Change
from layers.versions import mark_changed
from tests.api.city import bearer
from tests.ingest.test_running import feed
from tests.ingest.test_worker import drain, position, receive
from twin.access import PUBLIC, Audience

BUSES, VEHICLES = "transport.buses", "transport.vehicles"


class Events:
    """The events of a stream, one after another."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> tuple[str, str, dict[str, Any]]:
        """Kind, id and data of the next event."""
        found = {"id": "", "event": "", "data": "{}"}
        for line in self._lines:
            if not line:
                break
            name, _, value = line.partition(": ")
            found[name] = value
        return found["event"], found["id"], json.loads(found["data"])


@contextmanager
def following(
    url: str, audience: Audience = PUBLIC, headers: dict[str, str] | None = None, **asked: str
) -> Iterator[Events]:
    with httpx.stream("GET", f"{url}/live", params=asked, headers={**bearer(audience), **(headers or {})},
                      timeout=30) as answer:  # fmt: skip
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer.iter_lines())


def drive(worker: Worker, dataset: str, *positions: tuple[str, int]) -> None:
    source = feed("jt808", 1, dataset)
    receive(worker.database, source, *(position(terminal, second) for terminal, second in positions))
    assert drain(worker, source) == len(positions)


def test_what_there_is_and_then_what_changes(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, BUSES, ("1", 0), ("2", 0))
    with following(url, collections=BUSES) as events:
        kind, _, said = events.next()
        assert (kind, said["collection"]) == ("snapshot", BUSES)
        assert {feature["id"] for feature in said["features"]} == {"1", "2"}
        drive(worker, BUSES, ("1", 10))
        kind, mark, said = events.next()
        assert (kind, said["removed"]) == ("delta", [])
        (feature,) = said["features"]
        assert feature["id"] == "1"
        assert feature["geometry"]["coordinates"] == [pytest.approx(117.301), pytest.approx(34.8)]
        assert feature["properties"]["speed_kmh"] == 30.0
    drive(worker, BUSES, ("2", 20))
    with following(url, collections=BUSES, once="true") as events:
        assert [events.next()[0] for _ in range(2)] == ["snapshot", "end"]
    with following(url, headers={"Last-Event-ID": mark}, collections=BUSES) as events:
        kind, _, said = events.next()
        assert (kind, [feature["id"] for feature in said["features"]]) == ("delta", ["2"]), "only what it has missed"


def test_who_listens_to_an_area_hears_of_it_only(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, BUSES, ("1", 0))
    with following(url, collections=BUSES, bbox="117.2999,34.7,117.3005,34.9") as events:
        assert [feature["id"] for feature in events.next()[2]["features"]] == ["1"]
        drive(worker, BUSES, ("2", 0), ("1", 100))
        _, _, said = events.next()
        assert ([feature["id"] for feature in said["features"]], said["removed"]) == (["2"], ["1"])


def test_nobody_hears_of_what_they_may_not_read(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, VEHICLES, ("1", 0))
    for names, status in (("transport.vehicles", 404), ("video.cameras", 404), ("no.such", 404), ("", 400)):
        assert httpx.get(f"{url}/live", params={"collections": names}).status_code == status, names
    with following(url, Audience("dispatch"), collections=f"{VEHICLES},{BUSES}") as events:
        assert [feature["id"] for feature in events.next()[2]["features"]] == ["1"]


def test_every_listener_of_a_channel_hears_the_same(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, BUSES, ("1", 0))
    with (
        following(url, collections=BUSES) as one,
        following(url, Audience("planner"), collections=BUSES) as two,
    ):
        assert one.next()[2]["features"] == two.next()[2]["features"]
        drive(worker, BUSES, ("1", 10))
        assert one.next()[2] == two.next()[2]


def test_who_does_not_keep_up_falls_behind_alone() -> None:
    async def main() -> None:
        slow, other = Listener(None), Listener(None)
        for number in range(20):
            change = Change(dt.datetime.now(dt.UTC), whole=False, features=(), removed=(str(number),))
            for listener in (slow, other):
                listener.hear(BUSES, change)
            other.waiting.get_nowait()
        assert (slow.is_slow, other.is_slow) == (True, False)
        assert slow.waiting.qsize() == 16

    asyncio.run(main())


def test_a_state_that_ends_is_removed(live: tuple[str, Worker]) -> None:
    """Of what is no stream, ids of records that are no longer true are told."""
    url, worker = live
    dataset = "operations.resources"

    def change(statement: str) -> None:
        with worker.database.writing() as connection:
            connection.exec_driver_sql(statement)
            mark_changed(connection, dataset, dt.datetime.now(dt.UTC))

    change(f"INSERT INTO {dataset} (id, valid, recorded, geom) VALUES"
           " ('R1', '[2020-01-01,)', '[2020-01-01,)', ST_SetSRID(ST_MakePoint(117.3, 34.8), 4490))")  # fmt: skip
    with following(url, Audience("administrator"), collections=dataset) as events:
        assert [feature["id"] for feature in events.next()[2]["features"]] == ["R1"]
        change(f"UPDATE {dataset} SET recorded = tstzrange(lower(recorded), clock_timestamp())")
        kind, _, said = events.next()
        assert (kind, said["removed"], said["features"]) == ("delta", ["R1"], [])
