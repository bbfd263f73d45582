"""The writer: what is known stays known, what is said again changes nothing, and no state overlaps another."""

import datetime as dt
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from ingest.codecs.records import ROW
from ingest.pgcopy import point_ewkb
from ingest.writer import Written, write
from layers.catalog import Catalog
from layers.contract import Contract
from layers.indicators import refresh
from layers.tables import dataset_table, indicator_table, latest_table
from tests.layers.park import CITY, made, park_catalog
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.grid import cells_of_points

MOMENT = pl.Datetime("us", "UTC")
TYPES: dict[str, Any] = {"string": pl.String, "integer": pl.Int64, "float": pl.Float64, "boolean": pl.Boolean}
TYPES |= {"datetime": MOMENT, "date": pl.Date}
START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def at(hours: float) -> dt.datetime:
    return START + hours * HOUR


def rows_of(contract: Contract, *rows: Mapping[str, Any]) -> pl.DataFrame:
    """Rows as the writer takes them: `id`, times and fields as given, the rest null or a place in the city."""
    own = {"id": pl.String, "place_method": pl.String, "place_source": pl.String, "extra": pl.String}
    own |= {"subject": pl.String, "observed_at": MOMENT} if contract.is_stream else {}
    own |= {} if contract.is_stream else {"valid_start": MOMENT, "valid_end": MOMENT}
    fields = {name: TYPES[spec.type] for name, spec in contract.fields.items()}
    frame = pl.DataFrame(rows, schema={**own, "lon": pl.Float64, "lat": pl.Float64, **fields}, orient="row")
    lon, lat = frame["lon"].fill_null(117.3), frame["lat"].fill_null(34.8)
    return frame.drop("lon", "lat").with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW),
        point_ewkb(lon, lat, CITY.srid).alias("geom"),
        pl.Series("cell", cells_of_points(lon, lat, 10)),
        pl.col("place_method").fill_null("coordinate"),
        pl.lit(5.0, pl.Float32).alias("place_accuracy_m"),
    )


@dataclass
class Shelf:
    """One dataset in a database, and the moment at which the next write happens."""

    database: Database
    contract: Contract
    clock: dt.datetime = field(default_factory=lambda: at(0))

    def put(self, *rows: Mapping[str, Any]) -> Written:
        """Write rows in a transaction of their own."""
        with self.database.writing() as connection:
            return self.write(connection, *rows)

    def write(self, connection: sa.Connection, *rows: Mapping[str, Any]) -> Written:
        """Write rows, a minute after the write before."""
        self.clock += dt.timedelta(minutes=1)
        return write(connection, self.contract, CITY, rows_of(self.contract, *rows), 1, self.clock)

    def ask(self, question: str, **values: Any) -> list[Any]:
        """The lines of an answer; `{rows}` and `{latest}` are the tables."""
        names = {"rows": dataset_table(self.contract, CITY.srid).fullname}
        if self.contract.is_stream:
            names["latest"] = latest_table(self.contract, CITY.srid).fullname
        with self.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(question.format(**names)), values)]

    def known(self, columns: str, then: dt.datetime | None = None) -> list[Any]:
        """Columns of what is known now, or was then."""
        held = "recorded @> cast(:then as timestamptz)" if then else "upper_inf(recorded)"
        order = "subject, observed_at" if self.contract.is_stream else "id, lower(valid)"
        return self.ask(f"select {columns} from {{rows}} it where {held} order by {order}", then=then)

    def versions(self) -> int:
        """How many rows there are, old ones too."""
        return int(self.ask("select count(*) from {rows}")[0][0])


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return park_catalog(tmp_path_factory.mktemp("catalog"))


@pytest.fixture(scope="module")
def park(cluster: Cluster, catalog: Catalog) -> Database:
    database = private_database(cluster, "writer")
    database.migrate()
    made(database, catalog)
    return database


@pytest.fixture
def shelves(park: Database, catalog: Catalog) -> Iterator[Any]:
    """Gives the empty shelf of a dataset."""
    yield lambda name: Shelf(park, catalog[f"parks.{name}"])
    with park.writing() as connection:
        for name in ("trees", "works", "air", "air__latest"):
            connection.exec_driver_sql(f"truncate parks.{name}")
        for name in connection.scalars(sa.text("select relname from pg_class where relname ~ '^air__[0-9]+$'")).all():
            connection.exec_driver_sql(f"drop table parks.{name}")
        connection.exec_driver_sql("truncate twin.versions")


@pytest.fixture
def trees(shelves: Any) -> Shelf:
    """Features whose source states no times."""
    return shelves("trees")


@pytest.fixture
def works(shelves: Any) -> Shelf:
    """Events with a stated start and end."""
    return shelves("works")


@pytest.fixture
def air(shelves: Any) -> Shelf:
    return shelves("air")


def counts(written: Written) -> tuple[int, int, int, int]:
    return written.inserted, written.revised, written.unchanged, written.conflicts.height


def tree(tree_id: str, height: float, **more: Any) -> dict[str, Any]:
    return {"id": tree_id, "tree_id": tree_id, "height_m": height, **more}


def work(name: str, begins: float, ends: float | None, what: str = "") -> dict[str, Any]:
    end = None if ends is None else at(ends)
    return {"id": name, "name": what or name, "valid_start": at(begins), "valid_end": end}


def dust(sensor: str, hours: float, value: float | None, **more: Any) -> dict[str, Any]:
    moment = at(hours)
    return {
        "id": f"{sensor}:{moment}",
        "subject": sensor,
        "sensor": sensor,
        "observed_at": moment,
        "dust": value,
        **more,
    }


SPAN = "nullif(lower(valid), '-infinity'), upper(valid)"


@pytest.mark.parametrize("name", ["trees", "works", "air"])
def test_saying_it_again_changes_nothing(shelves: Any, name: str) -> None:
    shelf = shelves(name)
    many = {
        "trees": [
            tree(f"t{n}", n / 7, healthy=n % 2 == 0, planted=dt.date(2000, 1, 1), extra='{"a": 1}') for n in range(90)
        ],
        "works": [work(f"w{n % 30}", n, n + 40 if n % 3 else None) for n in range(90)],
        "air": [dust(f"s{n % 9}", n / 2, None if n % 5 == 0 else n / 7) for n in range(90)],
    }[name]
    assert counts(shelf.put(*many)) == (90, 0, 0, 0)
    before = shelf.known("it::text")
    for again in (many, list(reversed(many)), many[20:50]):
        assert counts(shelf.put(*again)) == (0, 0, len(again), 0)
    assert shelf.known("it::text") == before
    assert shelf.versions() == len(before) == 90


def test_every_column_is_content(trees: Shelf) -> None:
    first = tree("a", 1.0, name="n", ring_count=3, healthy=True, kind="oak", extra='{"x": 1}', place_source="map")
    trees.put(first)
    changes: list[dict[str, Any]] = [
        *({"name": "m"}, {"name": None}, {"ring_count": 4}, {"healthy": None}, {"planted": dt.date(2020, 1, 1)}),
        *({"checked": at(0)}, {"extra": '{"x": 2}'}, {"extra": None}, {"lon": 117.4}, {"place_method": "device"}),
        {"place_source": "register"},
    ]
    for number, change in enumerate(changes, 1):
        assert counts(trees.put(first | change)) == (0, 1, 0, 0), change
        assert counts(trees.put(first)) == (0, 1, 0, 0), change
        assert len(trees.known("id")) == 2 * number + 1


def test_a_change_of_a_row_without_a_start_splits_its_valid_time(trees: Shelf) -> None:
    trees.put(tree("a", 1.0))
    before = trees.clock
    assert counts(trees.put(tree("a", 2.0))) == (0, 1, 0, 0)
    moment = trees.clock
    assert trees.known(f"height_m, {SPAN}") == [(1.0, None, moment), (2.0, moment, None)]
    assert trees.ask("select count(*) from {rows} where lower(valid) = '-infinity'") == [(2,)]
    # What was known before says that it was so for all times.
    assert trees.known("height_m, upper(valid)", before) == [(1.0, None)]
    trees.put(tree("a", 3.0))
    assert trees.known("height_m, upper(valid)") == [(1.0, moment), (2.0, trees.clock), (3.0, None)]
    assert counts(trees.put(tree("a", 3.0))) == (0, 0, 1, 0)


def test_a_correction_keeps_what_was_known(works: Shelf) -> None:
    works.put(work("w", 1, 5, "wrong"), work("v", 1, 5))
    before = works.clock
    assert counts(works.put(work("w", 1, 5, "right"), work("v", 1, 5))) == (0, 1, 1, 0)
    assert works.known(f"id, name, {SPAN}") == [("v", "v", at(1), at(5)), ("w", "right", at(1), at(5))]
    assert works.known(f"id, name, {SPAN}", before) == [("v", "v", at(1), at(5)), ("w", "wrong", at(1), at(5))]
    closed = works.ask("select name, lower(recorded), upper(recorded) from {rows} where not upper_inf(recorded)")
    assert closed == [("wrong", before, works.clock)]


def test_a_stated_end_is_content(works: Shelf) -> None:
    works.put(work("w", 1, None))
    assert counts(works.put(work("w", 1, 9))) == (0, 1, 0, 0)
    assert works.known(SPAN) == [(at(1), at(9))]
    assert counts(works.put(work("w", 1, 1))) == (0, 1, 0, 0)
    assert works.known(f"{SPAN}, upper_inc(valid)") == [(at(1), at(1), True)], "a moment is no empty span"


def test_a_state_lasts_until_the_next_whatever_comes_first(works: Shelf) -> None:
    states = [work("w", 1, None, "a"), work("w", 4, 20, "b"), work("w", 9, None, "c")]
    expected = [("a", at(1), at(4)), ("b", at(4), at(9)), ("c", at(9), None)]
    for turn, order in enumerate(([0, 1, 2], [2, 1, 0], [1, 2, 0])):
        for which in order:
            works.put({**states[which], "id": f"w{turn}"})
        found = works.ask(
            f"select name, {SPAN} from {{rows}} where id = :id and upper_inf(recorded) order by 2", id=f"w{turn}"
        )
        assert found == expected
    works.put(*({**state, "id": "together"} for state in states))
    assert works.ask(f"select name, {SPAN} from {{rows}} where id = 'together' order by 2") == expected


def test_the_same_key_twice_in_a_batch(shelves: Any) -> None:
    for name, first, other in (
        ("trees", tree("a", 1.0), tree("a", 2.0)),
        ("works", work("a", 1, 5), work("a", 1, 6)),
        ("air", dust("a", 1, 1.0), dust("a", 1, None)),
    ):
        shelf = shelves(name)
        written = shelf.put(first, first, other, first)
        assert counts(written) == (1, 0, 2, 1), name
        assert written.conflicts[ROW].to_list() == [3]
        (detail,) = written.conflicts["detail"]
        assert "row 1 of the batch" in detail
        assert {"trees": "height_m", "works": "valid_end", "air": "dust"}[name] in detail
        assert shelf.versions() == 1


def test_an_empty_batch_changes_nothing(trees: Shelf) -> None:
    assert counts(trees.put()) == (0, 0, 0, 0)
    assert trees.ask("select * from twin.versions") == []


def test_two_writes_share_no_moment_whatever_the_clock_does(trees: Shelf) -> None:
    late = at(10)
    moments: list[dt.datetime] = []
    for height, now in ((1.0, late), (2.0, late), (3.0, at(2))):
        with trees.database.writing() as connection:
            rows = rows_of(trees.contract, tree("a", height))
            moments.append(write(connection, trees.contract, CITY, rows, 1, now).recorded_at)
    assert moments == [late, late + dt.timedelta(microseconds=1), late + dt.timedelta(microseconds=2)]
    assert [trees.known("height_m", moment)[-1] for moment in moments] == [(1.0,), (2.0,), (3.0,)]


def test_a_change_is_counted_and_told(trees: Shelf) -> None:
    with trees.database.engine.connect() as listener:
        listener.exec_driver_sql("listen twin_changes")
        listener.commit()
        for height in (1.0, 1.0, 2.0):
            trees.put(tree("a", height))
        driver: Any = listener.connection.driver_connection
        told = [note.payload for note in driver.notifies(timeout=2, stop_after=2)]
    assert told == ["parks.trees", "parks.trees"]
    assert trees.ask("select version, changed_at from twin.versions") == [(2, trees.clock)]


def test_the_newest_of_each_is_that_of_the_newest_time(air: Shelf) -> None:
    newest = "select subject, dust from {latest} order by 1"
    air.put(dust("a", 5, 5.0), dust("b", 1, 1.0))
    air.put(dust("a", 3, 3.0), dust("b", 2, 2.0))
    assert air.ask(newest) == [("a", 5.0), ("b", 2.0)]
    air.put(dust("a", 5, 5.5), dust("c", -48, 0.0))
    assert air.ask(newest) == [("a", 5.5), ("b", 2.0), ("c", 0.0)]
    air.put(dust("a", 30, None))
    assert air.ask(newest)[0] == ("a", None), "no number is the newest news, too"
    assert air.known("subject, dust") == [
        *(("a", 3.0), ("a", 5.5), ("a", None)),
        *(("b", 1.0), ("b", 2.0), ("c", 0.0)),
    ]


def test_a_day_has_its_partition(air: Shelf) -> None:
    air.put(dust("a", -0.001, 1.0), dust("a", 0, 2.0), dust("a", 23.999, 3.0), dust("a", 24, 4.0))
    days = air.ask("select tableoid::regclass::text, count(*) from {rows} group by 1 order by 1")
    assert days == [("parks.air__20260531", 1), ("parks.air__20260601", 2), ("parks.air__20260602", 1)]
    air.put(dust("b", 5, 5.0), dust("b", 100, 6.0))
    assert air.ask("select count(*), count(distinct row) from {rows}") == [(6, 6)]
    missing = (
        "select count(*) from pg_index p where indrelid = 'parks.air'::regclass and (select count(*) from pg_inherits"
        " where inhparent = p.indexrelid) <> (select count(*) from pg_inherits where inhparent = 'parks.air'::regclass)"
    )
    assert air.ask(missing) == [(0,)], "every partition has every index"


OVERLAPS = """
    select count(*) from {rows} a join {rows} b using (id)
    where a.row < b.row and a.valid && b.valid and a.recorded && b.recorded
"""


@dataclass
class Believed:
    """What the twin has to hold of one id: states by their start (None: since ever), each with its stated end."""

    states: dict[dt.datetime | None, tuple[str, dt.datetime | None]] = field(default_factory=dict)

    def spans(self) -> list[tuple[str, dt.datetime | None, dt.datetime | None]]:
        """The states in order, each until its end or the next start."""
        starts = sorted(self.states, key=lambda start: start or dt.datetime.min.replace(tzinfo=dt.UTC))
        spans: list[tuple[str, dt.datetime | None, dt.datetime | None]] = []
        for start, following in zip(starts, [*starts[1:], None], strict=False):
            what, end = self.states[start]
            spans.append((what, start, min((end for end in (end, following) if end), default=None)))
        return spans

    def hear(self, row: Mapping[str, Any], now: dt.datetime) -> None:
        """Take in a record at a moment."""
        what, end = row["name"], row["valid_end"]
        if row["valid_start"] is not None:
            self.states[row["valid_start"]] = (what, end)
            return
        ended = end is not None and end <= now
        limit = end if ended else now
        before = [
            span for span in self.spans() if span[1] is None or span[1] < limit or (span[1] == limit and not ended)
        ]
        if not before:
            self.states[None] = (what, end)
            return
        name, start, until = before[-1]
        lasts = until is None or until > now
        if ended or (lasts and name == what):
            self.states[start] = (what, end)
        else:
            self.states[now] = (what, end)


def random_batch(rng: np.random.Generator, now: dt.datetime) -> list[dict[str, Any]]:
    """A few records of five ids: of past, present and future, with and without start and end."""
    batch: dict[tuple[str, Any], dict[str, Any]] = {}
    for _ in range(rng.integers(1, 5)):
        name = f"w{rng.integers(5)}"
        start = None if rng.random() < 0.4 else at(int(rng.integers(-6, 8)))
        end = (start or now - 2 * HOUR) + int(rng.integers(5)) * HOUR if rng.random() < 0.4 else None
        row = {"id": name, "name": "xyz"[rng.integers(3)], "valid_start": start, "valid_end": end}
        batch.setdefault((name, start), row)
    return sorted(batch.values(), key=lambda row: row["valid_start"] is None)  # those with a start are heard first


@pytest.mark.parametrize("seed", range(2))
def test_no_two_states_overlap_after_any_writes(works: Shelf, seed: int) -> None:
    rng, believed = np.random.default_rng(seed), {f"w{n}": Believed() for n in range(5)}
    moments: list[tuple[dt.datetime, list[Any]]] = []
    what = f"id, name, {SPAN}"
    for _ in range(100):
        batch = random_batch(rng, works.clock)
        works.put(*batch)
        for row in batch:
            believed[row["id"]].hear(row, works.clock)
        expected = [(name, *span) for name, states in believed.items() for span in states.spans()]
        assert works.known(what) == expected, batch
        moments.append((works.clock, expected))
    assert works.ask(OVERLAPS) == [(0,)]
    assert works.ask("select count(*) from {rows} where isempty(recorded) or isempty(valid)") == [(0,)]
    for moment, expected in moments[::7]:
        assert works.known(what, moment) == expected, "what was known then is still known to have been"


@pytest.mark.parametrize("seed", range(2))
def test_observations_in_any_order_leave_the_same(air: Shelf, seed: int) -> None:
    rng = np.random.default_rng(seed)
    said: dict[tuple[str, dt.datetime], float] = {}
    moments: list[tuple[dt.datetime, list[Any]]] = []
    for _ in range(60):
        batch = {
            (f"s{rng.integers(4)}", int(rng.integers(60))): float(rng.integers(3)) for _ in range(rng.integers(1, 9))
        }
        new = sum((sensor, at(hours)) not in said for sensor, hours in batch)
        same = sum(said.get((sensor, at(hours))) == value for (sensor, hours), value in batch.items())
        written = air.put(*(dust(sensor, hours, value) for (sensor, hours), value in batch.items()))
        assert counts(written) == (new, len(batch) - new - same, same, 0)
        said |= {(sensor, at(hours)): value for (sensor, hours), value in batch.items()}
        moments.append((air.clock, [(*key, said[key]) for key in sorted(said)]))
    for moment, expected in moments[::7]:
        assert air.known("subject, observed_at, dust", moment) == expected
    newest = {sensor: (observed, said[sensor, observed]) for sensor, observed in sorted(said)}
    assert air.ask("select subject, observed_at, dust from {latest} order by 1") == [(s, *v) for s, v in newest.items()]


@pytest.mark.parametrize("name", ["trees", "air"])
def test_indicators_are_right_after_any_writes(shelves: Any, name: str) -> None:
    shelf, rng = shelves(name), np.random.default_rng(4)
    made_up = {
        "trees": lambda n: tree(f"t{n % 40}", float(n), lon=117.2 + rng.integers(9) / 100, healthy=n % 2 == 0),
        "air": lambda n: dust(f"s{n % 40}", int(rng.integers(40)), float(n), lon=117.2 + rng.integers(9) / 100),
    }[name]
    for size in (60, 1, 1, 5, 40, 2):
        rows = {row["id"]: row for row in (made_up(int(n)) for n in rng.integers(0, 1_000, size))}
        with shelf.database.writing() as connection:
            written = shelf.write(connection, *rows.values())
            refresh(connection, shelf.contract, CITY, written.dirty, at=written.recorded_at)
            partly = _parts(connection, shelf.contract)
            refresh(connection, shelf.contract, CITY, None, at=written.recorded_at)
            assert partly == _parts(connection, shelf.contract)


def _parts(connection: sa.Connection, contract: Contract) -> list[Any]:
    tables = [indicator_table(own) for own in contract.indicators]
    return [
        sorted(connection.scalars(sa.text(f'select it::text from indicators."{table.name}" it'))) for table in tables
    ]


LOADER = """
import sys
from pathlib import Path
from tests.ingest.test_writer import load_all
load_all(sys.argv[1], Path(sys.argv[2]), rows=int(sys.argv[3]))
"""


def load_all(url: str, folder: Path, rows: int) -> None:
    """Write ten batches, each in a transaction of its own, and say so when one begins and when it is committed."""
    contract = park_catalog(folder)["parks.air"]
    database = Database(sa.make_url(url), sa.make_url(url))
    for batch in range(10):
        frame = rows_of(contract, *(dust(f"s{n}", batch + n / rows, float(n)) for n in range(rows)))
        print(f"begin {batch}", flush=True)  # noqa: T201  (its parent listens)
        with database.writing() as connection:
            write(connection, contract, CITY, frame, batch + 1, at(100))
        print(f"done {batch}", flush=True)  # noqa: T201


def test_a_killed_loader_leaves_nothing_half(air: Shelf, cluster: Cluster, tmp_path: Path) -> None:
    rows, rng = 1_500, np.random.default_rng(1)
    url = cluster.url(database="writer").render_as_string(hide_password=False)
    for turn in range(2):
        command = [sys.executable, "-c", LOADER, url, str(tmp_path / str(turn)), str(rows)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loader:
            lines = iter(loader.stdout or ())
            for line in lines:
                if line == f"begin {2 * turn + 1}\n":
                    break
            time.sleep(rng.uniform(0.005, 0.06))  # somewhere within the transaction
            loader.send_signal(signal.SIGKILL)
            done = sum(line.startswith("done") for line in lines) + 2 * turn + 1
        _await_end(air)
        found = air.ask("select batch, count(*) from {rows} group by 1 order by 1")
        assert found in ([(n + 1, rows) for n in range(done)], [(n + 1, rows) for n in range(done + 1)])
        newest = air.ask("select count(*), max(observed_at) = (select max(observed_at) from {rows}) from {latest}")
        assert newest == [(rows, True)]
    load_all(url, tmp_path / "last", rows)
    assert air.ask("select count(*), count(distinct (subject, observed_at)) from {rows}") == [(10 * rows, 10 * rows)]


def _await_end(shelf: Shelf) -> None:
    """Wait until PostgreSQL has noticed that the loader is gone: until then its transaction holds the lock."""
    holding = "select count(*) from pg_locks where locktype = 'advisory' and database is not null"
    for _ in range(500):
        if shelf.ask(holding) == [(0,)]:
            return
        time.sleep(0.02)
    raise AssertionError("the killed loader still holds the dataset")
