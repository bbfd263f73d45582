"""Rules of contracts: incidents open, are kept up to date and end, each told once, whoever is killed in between."""

import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import hj212
from ingest.incidents import Reading, Told, Watched, expire_incidents, follow
from ingest.worker import Worker
from layers.catalog import catalog, read_catalog
from layers.feeds import INCIDENTS, Feed
from layers.store import apply
from layers.watching import IncidentRule
from tests.ingest.test_worker import AIR, FEED, MONITORS, START, ask, drain, position, reading, receive
from tests.layers.park import CITY
from twin.database import Database

SITE = "88888880000001"
_PLACES = f"""
INSERT INTO environment.monitoring_sites (id, site_id, valid, recorded, geom, cell, place_accuracy_m) VALUES
('{SITE}', '{SITE}', '[2020-01-01,)', '[2020-01-01,)', ST_SetSRID(ST_MakePoint(117.3, 34.8), 4490),
 622353317082759167, 10);
INSERT INTO tourism.scenic_areas (id, valid, recorded, geom) VALUES
('A1', '[2020-01-01,)', '[2020-01-01,)', ST_SetSRID(ST_MakeEnvelope(117.301, 34.79, 117.303, 34.81), 4490)),
('gone', '[2020-01-01,2021-01-01)', '[2020-01-01,)', ST_SetSRID(ST_MakeEnvelope(117.305, 34.79, 117.307, 34.81), 4490));
"""


@pytest.fixture
def worker(database: Database, home: Path) -> Worker:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
        connection.execute(sa.text(_PLACES))
    return Worker(database, catalog(), CITY, home)


def heard(worker: Worker, feed: Feed, *messages: bytes) -> None:
    receive(worker.database, feed, *messages)
    drain(worker, feed)


def air(minute: int, pm25: float) -> bytes:
    return hj212.encode(reading(SITE, 60 * minute - 3 * 3600, str(pm25)))


def incidents(worker: Worker, columns: str = "state, ended_by, value, peak") -> list[tuple[object, ...]]:
    """What stands in the dataset, in order of their beginnings."""
    drain(worker, INCIDENTS)
    return ask(
        worker.database, f"SELECT {columns} FROM operations.incidents WHERE upper_inf(recorded) ORDER BY opened_at"
    )


def test_a_threshold_opens_is_kept_up_to_date_and_closes(worker: Worker) -> None:
    heard(worker, MONITORS, air(0, 160), air(5, 170))
    assert incidents(worker) == [], "it has not lasted"
    heard(worker, MONITORS, air(10, 180))
    assert incidents(worker) == [("open", None, 180.0, 180.0)]
    heard(worker, MONITORS, air(15, 140), air(20, 200))
    assert incidents(worker) == [("open", None, 200.0, 200.0)], "between the two conditions it stays open"
    heard(worker, MONITORS, air(18, 10))
    assert incidents(worker) == [("open", None, 200.0, 200.0)], "what comes late changes nothing"
    heard(worker, MONITORS, air(30, 100))
    assert incidents(worker) == [("closed", "cleared", 100.0, 200.0)]
    (row,) = incidents(
        worker, "incident_id, rule, severity, thing, opened_at, closed_at, place_method, ST_AsText(geom)"
    )
    began = START - dt.timedelta(hours=3)
    assert row == (
        f"environment.pm25_high:{SITE}:{began.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}", "environment.pm25_high", "3", SITE,
        began, began + dt.timedelta(minutes=30), "coordinate", "POINT(117.3 34.8)",
    )  # fmt: skip
    assert ask(worker.database, "SELECT count(*) FROM twin.watched") == [(0,)]


def test_what_does_not_last_or_comes_late_is_no_incident(worker: Worker) -> None:
    heard(worker, MONITORS, air(0, 160), air(5, 100), air(9, 160), air(15, 120), air(20, 160))
    heard(worker, MONITORS, air(60, 20))
    heard(worker, MONITORS, *(air(minute, 300) for minute in range(25, 55, 5)))
    assert incidents(worker) == []


def test_areas_are_entered_and_left(worker: Worker) -> None:
    """A geofence: of areas that are there now; a second visit is a second incident."""
    heard(worker, FEED, *(position("1", second, 50.0) for second in (0, 5, 10, 15, 25, 40, 55, 70)))
    assert incidents(worker, "rule, state, ended_by, thing") == [
        ("transport.vehicle_fast_in_scenic_area", "closed", "cleared", "1")
    ]
    assert incidents(worker, "closed_at") == [(START + dt.timedelta(seconds=40),)]
    terminal = "13800000002"  # a terminal's number, although it looks like a telephone's
    heard(worker, FEED, position(terminal, 20, 50.0), position("3", 20, 40.0))
    heard(worker, FEED, position(terminal, 21, 40.0), position("3", 21, 40.0))
    assert incidents(worker, "thing, state")[1:] == [(terminal, "open")]
    heard(worker, FEED, position(terminal, 22, 30.0))
    assert incidents(worker, "thing, state")[1:] == [(terminal, "closed")]


def test_nothing_heard_ends_it(worker: Worker) -> None:
    heard(worker, FEED, position("1", 0, 120), position("1", 60, 130))
    assert incidents(worker, "state, peak") == [("open", 130.0)]

    def expire(seconds: int) -> None:
        with worker.database.writing() as connection:
            moment = START + dt.timedelta(seconds=seconds)
            expire_incidents(connection, catalog(), ["transport.vehicles"], moment)

    expire(60 + 599)
    assert incidents(worker, "state") == [("open",)]
    expire(60 + 601)
    expire(60 + 601)
    assert incidents(worker, "state, ended_by, closed_at, count(*) OVER ()") == [
        ("closed", "expired", START + dt.timedelta(seconds=660), 1)
    ]


def test_a_step_that_fails_tells_nothing_and_is_told_once_afterwards(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages about incidents stand or fall with the rows."""
    receive(worker.database, MONITORS, air(0, 160), air(10, 180))
    with monkeypatch.context() as patched:
        patched.setattr("layers.arrivals.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.step(MONITORS)
    assert ask(worker.database, "SELECT count(*) FROM twin.inbox WHERE source = 'twin.incidents'") == [(0,)]
    drain(worker, MONITORS)
    receive(worker.database, MONITORS, air(0, 160), air(10, 180))
    drain(Worker(worker.database, catalog(), CITY, worker.home), MONITORS)
    assert incidents(worker, "state, peak") == [("open", 180.0)]
    assert ask(worker.database, "SELECT sum(messages) FROM twin.inbox WHERE source = 'twin.incidents'") == [(1,)]


RULE = IncidentRule.model_validate(
    {
        "id": "a.b",
        "title": {"zh": "甲", "en": "A"},
        "severity": "3",
        "open": "x > 9",
        "lasts": "10 s",
        "expires": "30 s",
    }
)
AT = dt.datetime(2026, 1, 4, tzinfo=dt.UTC)
VALUES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12)), max_size=25)


def readings_of(steps: list[tuple[int, int]]) -> list[Reading]:
    at, found = AT, list[Reading]()
    for gap_s, value in steps:
        at += dt.timedelta(seconds=gap_s)
        found.append(Reading("s", at, value > 9, value < 5, float(value), 117.0, 34.0))
    return found


def oracle(readings: list[Reading]) -> list[tuple[dt.datetime, dt.datetime | None]]:
    """Incidents by looking at all readings at once: beginnings and ends of stretches, cut where nothing was heard."""
    found: list[tuple[dt.datetime, dt.datetime | None]] = []
    stretch: list[Reading] = []
    for number, one in enumerate(readings):
        silent = bool(stretch) and (one.observed_at - stretch[-1].observed_at).total_seconds() > 30
        is_open = bool(stretch) and (stretch[-1].observed_at - stretch[0].observed_at).total_seconds() >= 10
        if silent and is_open:
            found.append((stretch[0].observed_at, stretch[-1].observed_at + dt.timedelta(seconds=30)))
        if silent:
            stretch = []
        if not stretch:
            stretch = [one] if one.opens else []
        elif is_open and one.closes:
            found.append((stretch[0].observed_at, one.observed_at))
            stretch = []
        elif not is_open and not one.opens:
            stretch = []
        else:
            stretch.append(one)
        if number == len(readings) - 1 and stretch:
            lasted = (stretch[-1].observed_at - stretch[0].observed_at).total_seconds() >= 10
            found += [(stretch[0].observed_at, None)] if lasted else []
    return found


@settings(max_examples=300, deadline=None)
@given(VALUES, st.lists(st.integers(1, 6), min_size=1, max_size=25))
def test_incidents_do_not_depend_on_how_readings_are_cut(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    readings = readings_of(steps)
    known: Watched | None = None
    told: list[Told] = []
    left = list(readings)
    for cut in cuts:
        known, more = follow(RULE, known, left[:cut])
        left, told = left[cut:], told + more
    known, more = follow(RULE, known, left)
    told += more
    outcome = {one.watched.since: one.closed_at for one in told}
    assert list(outcome.items()) == oracle(readings)
    # Told again, old readings change nothing.
    assert follow(RULE, known, readings[: len(readings) if known else 0])[1] == []


RULES = '\n[[rules]]\nid = "environment.x"\ntitle = { zh = "甲", en = "A" }\nseverity = "3"\n'


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('open = "pm25 >"', "is no condition"),
        ('open = "nothing > 3"', "is no condition"),
        ('inside = "no.such"', "no dataset of areas"),
        ('inside = "transport.buses"', "no dataset of areas"),
        ("", "a condition `open`"),
        ('inside = "sharing.towns"\nclose = "pm25 > 1"', "closes when the area is left"),
        ('open = "pm25 > 1"\nmeasure = "station_id"', "no numeric field"),
    ],
)
def test_wrong_rules_are_told(tmp_path: Path, rule: str, words: str) -> None:
    source = Path(__file__).parents[2] / "layers" / "catalog" / "environment" / "air_stations.toml"
    folder = tmp_path / "environment"
    folder.mkdir()
    text = source.read_text(encoding="utf-8").replace('id = "environment.air_stations"', 'id = "environment.mine"')
    text = text.replace("environment.pm25_mean", "environment.my_mean").replace(
        "environment.aqi_max", "environment.my_max"
    )
    (folder / "mine.toml").write_text(text + RULES + rule + "\n", encoding="utf-8")
    _, problems = read_catalog([source.parents[1], tmp_path])
    assert words in " ".join(problem.what for problem in problems)


def test_the_rules_of_the_catalogue_are_of_streams_that_dispatch_may_see() -> None:
    ruled = [contract for contract in catalog() if contract.rules]
    assert {contract.id for contract in ruled} >= {AIR, "transport.vehicles"}
