"""Indicators: parts are what plain Python counts, at every resolution, and refreshing a part leaves the whole right."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from layers.contract import Contract, Indicator, seconds
from layers.granting import tables_of
from layers.indicators import PARTS, Dirty, parent_sql, refresh, write_parts
from layers.tables import dataset_table, indicator_table, latest_table
from tests.ingest.contracts import contract, field, stream
from tests.layers.park import CITY
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.grid import cells_of_points, parents, resolution_of

NOW = dt.datetime(2026, 6, 3, tzinfo=dt.UTC)
NO_WINDOW = dt.datetime.min.replace(tzinfo=dt.UTC)
Parts = dict[tuple[int, dt.datetime], tuple[Any, ...]]


def indicator(name: str, measure: str, resolution: int, **more: Any) -> dict[str, Any]:
    title = {"zh": name, "en": name}
    return {"id": f"environment.{name}", "title": title, "measure": measure, "resolution": resolution, **more}


STATES = contract(
    fields={
        "code": field("string", "编号", "Code"),
        "height": field("float", "高", "Height"),
        "floors": field("integer", "层", "Floors"),
        "safe": field("boolean", "安全", "Safe"),
        "kind": field("string", "类", "Kind"),
    },
    indicators=[
        indicator("count", "count()", 10),
        indicator("height_sum", "sum(height)", 9),
        indicator("floors_mean", "mean(floors)", 8),
        indicator("safe_share", "share(safe)", 9),
        indicator("highest_shop", "max(height)", 7, where={"kind": ["shop", "mall"]}),
        indicator("safe_count", "count()", 9, where={"safe": ["true"]}),
    ],
)
STREAM = stream(
    {"dust": field("float", "尘", "Dust")},
    id="environment.dust",
    indicators=[
        indicator("dust_hourly", "mean(dust)", 8, window="1 h"),
        indicator("dust_daily", "max(dust)", 9, window="1 d"),
        indicator("dust_weekly", "count()", 7, window="7 d"),
        indicator("dust_now", "mean(dust)", 9),
    ],
)


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Database:
    made = private_database(cluster, "indicators")
    made.migrate()
    with made.writing() as connection:
        connection.exec_driver_sql("create schema environment")
        for one in (STATES, STREAM):
            for table in tables_of(one, CITY):
                table.create(connection)
            for own in one.indicators:
                indicator_table(own).create(connection)
        connection.exec_driver_sql("create table environment.dust__all partition of environment.dust default")
    return made


@pytest.fixture
def connection(database: Database) -> Any:
    """A connection whose transaction never commits."""
    with database.engine.connect() as opened:
        yield opened
        opened.rollback()


def places(random: np.random.Generator, n: int) -> list[int | None]:
    """Cells of places in a few streets, some known more coarsely than any indicator, some not at all."""
    cells = cells_of_points(random.normal(117.3, 0.02, n), random.normal(34.8, 0.02, n), 10)
    cells[::11] = parents(cells[::11], 6)
    return [None if at % 13 == 5 else cell for at, cell in enumerate(cells.tolist())]


def states(n: int, seed: int = 1) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {
            "id": f"s{seed}_{at}",
            "valid": "[-infinity,)",
            "recorded": "[2026-01-01,)",
            "cell": cell,
            "code": f"s{seed}_{at}",
            # Sums of such numbers depend on their order, unless they are exact.
            "height": None if at % 7 == 0 else float(random.normal(0, 1) * 10.0 ** random.integers(-8, 9)),
            "floors": None if at % 5 == 0 else int(random.integers(-3, 2**40)),
            "safe": [True, False, None][at % 3],
            "kind": ["shop", "home", "mall", None][at % 4],
        }
        for at, cell in enumerate(places(random, n))
    ]


def observations(n: int, seed: int = 1) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    minutes = random.choice(14 * 24 * 60, n, replace=False)
    return [
        {
            "id": f"o{at}",
            "subject": f"d{at % 40}",
            "station": f"d{at % 40}",
            "observed_at": start + dt.timedelta(minutes=int(minutes[at])),
            "recorded": "[2026-05-01,)",
            "cell": cell,
            "dust": None if at % 9 == 0 else float(random.gamma(2, 20)),
        }
        for at, cell in enumerate(places(random, n))
    ]


def insert(connection: sa.Connection, one: Contract, rows: list[dict[str, Any]]) -> None:
    connection.execute(dataset_table(one, CITY.srid).insert(), rows)
    if one.is_stream:
        newest = {row["subject"]: row for row in sorted(rows, key=lambda row: row["observed_at"])}
        latest = latest_table(one, CITY.srid)
        connection.execute(latest.delete().where(latest.c.subject.in_(list(newest))))
        connection.execute(latest.insert(), list(newest.values()))


def stored(connection: sa.Connection, one: Indicator) -> Parts:
    table = indicator_table(one)
    bucket = sa.func.coalesce(sa.func.nullif(table.c.bucket, sa.text("'-infinity'")), NO_WINDOW)
    found = connection.execute(sa.select(table.c.cell, bucket, *(table.c[part] for part in PARTS)))
    return {(cell, bucket): tuple(parts) for cell, bucket, *parts in found}


def counted(own: Indicator, rows: Iterable[dict[str, Any]]) -> Parts:
    """The parts by plain counting."""
    groups: dict[tuple[int, dt.datetime], list[Any]] = defaultdict(list)
    name = own.parsed.field
    for row in rows:
        chosen = all(_text(row[field]) in accepted for field, accepted in own.where.items())
        if row["cell"] is None or not chosen or (name is not None and row[name] is None):
            continue
        groups[_cell(row["cell"], own.resolution), _bucket(own, row)].append(None if name is None else row[name])
    return {place: (len(values), *_sums(values)) for place, values in groups.items()}


def _sums(values: list[Any]) -> tuple[Any, ...]:
    if values[0] is None:
        return (None, None, None, None)
    exact = [Decimal(repr(int(value) if isinstance(value, bool) else value)) for value in values]
    with localcontext(prec=400):
        return sum(exact), float(min(values)), float(max(values)), sum(number * number for number in exact)


def _text(value: Any) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value


def _cell(cell: int, resolution: int) -> int:
    own = int(resolution_of(np.array([cell]))[0])
    return cell if own <= resolution else int(parents(np.array([cell]), resolution)[0])


def _bucket(own: Indicator, row: dict[str, Any]) -> dt.datetime:
    """The start of the window: hours of the clock, days and weeks (from Monday) of the city."""
    if own.window is None:
        return NO_WINDOW
    local = row["observed_at"].astimezone(ZoneInfo(CITY.zone))
    if own.window == "1 h":
        return row["observed_at"].replace(minute=0)
    days = local.weekday() if seconds(own.window) > 86_400 else 0
    return local.replace(hour=0, minute=0) - dt.timedelta(days=days)


def newest_only(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row["subject"]: row for row in sorted(rows, key=lambda row: row["observed_at"])}.values())


@pytest.mark.parametrize("own", [*STATES.indicators, *STREAM.indicators], ids=lambda own: own.id)
def test_parts_are_what_plain_counting_finds(connection: sa.Connection, own: Indicator) -> None:
    one, rows = (STATES, states(400)) if own in STATES.indicators else (STREAM, observations(400))
    insert(connection, one, rows)
    refresh(connection, one, CITY, None)
    shown = newest_only(rows) if one.is_stream and own.window is None else rows
    expected = counted(own, shown)
    assert stored(connection, own) == expected
    assert len(expected) > 5


@pytest.mark.parametrize("own", [*STATES.indicators, *STREAM.indicators], ids=lambda own: own.id)
def test_a_parent_is_the_sum_of_its_children_to_the_last_digit(connection: sa.Connection, own: Indicator) -> None:
    one, rows = (STATES, states(400)) if own in STATES.indicators else (STREAM, observations(400))
    insert(connection, one, rows)
    refresh(connection, one, CITY, None)
    c, func = indicator_table(own).c, sa.func
    shown = newest_only(rows) if one.is_stream and own.window is None else rows
    bucket = func.coalesce(func.nullif(c.bucket, sa.text("'-infinity'")), NO_WINDOW)
    for resolution in range(own.resolution, 4, -1):
        parent = parent_sql(c.cell, resolution)
        sums = func.sum(c.n), func.sum(c.total), func.min(c.smallest), func.max(c.largest), func.sum(c.squares)
        found = connection.execute(sa.select(parent, bucket, *sums).group_by(parent, bucket))
        coarser = own.model_copy(update={"resolution": resolution})
        assert {(cell, at): tuple(parts) for cell, at, *parts in found} == counted(coarser, shown), resolution


def test_the_parent_in_sql_is_that_of_the_grid(connection: sa.Connection) -> None:
    random = np.random.default_rng(5)
    cells = cells_of_points(random.uniform(-180, 180, 300), random.uniform(-90, 90, 300), 15)
    column = sa.func.unnest(sa.literal(cells.tolist(), sa.ARRAY(sa.BigInteger()))).column_valued("cell")
    for resolution in range(16):
        found = connection.scalars(sa.select(parent_sql(column, resolution))).all()
        assert found == parents(cells, resolution).tolist()
        coarse = connection.scalar(sa.select(parent_sql(sa.literal(int(parents(cells, 3)[0]), sa.BigInteger()), 7)))
        assert coarse == int(parents(cells, 3)[0]), "a coarser cell is itself"


@pytest.mark.parametrize("seed", range(3))
def test_refreshing_where_rows_changed_is_refreshing_all(connection: sa.Connection, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = {row["id"]: row for row in states(300)}
    insert(connection, STATES, list(rows.values()))
    refresh(connection, STATES, CITY, None)
    table = dataset_table(STATES, CITY.srid)
    dirty = Dirty.none(connection)
    chosen = random.choice(list(rows), 30, replace=False).tolist()
    dirty.add(connection, f"select cell, null from environment.stations where id in ({str(chosen)[1:-1]})")
    for id_ in chosen[:20]:  # those go elsewhere, the others go away
        old, new = rows.pop(id_), states(300, seed + 2)[int(random.integers(300))]
        rows[new["id"]] = new
        connection.execute(table.delete().where(table.c.id.in_([old["id"], new["id"]])))
        connection.execute(table.insert(), [new])
        dirty.add(connection, f"select cell, null from environment.stations where id = '{new['id']}'")
    for id_ in chosen[20:]:
        connection.execute(table.delete().where(table.c.id == id_))
        del rows[id_]
    _compare(connection, STATES, dirty)
    assert stored(connection, STATES.indicators[1]) == counted(STATES.indicators[1], rows.values())


@pytest.mark.parametrize("seed", range(3))
def test_refreshing_the_windows_that_changed_is_refreshing_all(connection: sa.Connection, seed: int) -> None:
    insert(connection, STREAM, observations(300))
    refresh(connection, STREAM, CITY, None)
    before = {own.id: stored(connection, own) for own in STREAM.indicators}
    dirty = Dirty.none(connection)
    new = [row | {"id": f"n{row['id']}", "subject": f"n{row['subject']}"} for row in observations(25, seed + 2)]
    insert(connection, STREAM, new)
    dirty.add(connection, "select cell, observed_at from environment.dust where left(id, 1) = 'n'")
    _compare(connection, STREAM, dirty)
    assert all(stored(connection, own) != before[own.id] for own in STREAM.indicators)


def _compare(connection: sa.Connection, one: Contract, dirty: Dirty) -> None:
    """What a refresh of the dirty places leaves is what a refresh of everything leaves."""
    refresh(connection, one, CITY, dirty)
    partly = {own.id: stored(connection, own) for own in one.indicators}
    refresh(connection, one, CITY, None)
    assert partly == {own.id: stored(connection, own) for own in one.indicators}


def test_nothing_dirty_changes_nothing(connection: sa.Connection) -> None:
    insert(connection, STATES, states(50))
    refresh(connection, STATES, CITY, None)
    before = stored(connection, STATES.indicators[0])
    connection.execute(dataset_table(STATES, CITY.srid).delete())
    refresh(connection, STATES, CITY, Dirty.none(connection))
    assert stored(connection, STATES.indicators[0]) == before
    refresh(connection, STATES, CITY, None)
    assert stored(connection, STATES.indicators[0]) == {}


def test_only_what_is_true_and_known_now_counts(connection: sa.Connection) -> None:
    rows = states(4)
    cell = next(row["cell"] for row in rows if row["cell"] is not None)
    for row, more in zip(
        rows,
        (
            {},
            {"valid": "[2026-01-01,2026-06-01)"},
            {"valid": "[2026-06-04,)"},
            {"recorded": "[2026-01-01,2026-02-01)"},
        ),
        strict=True,
    ):
        connection.execute(dataset_table(STATES, CITY.srid).insert(), [row | {"cell": cell} | more])
    own = STATES.indicators[0]
    for at, n in ((NOW, 1), (dt.datetime(2026, 5, 1, tzinfo=dt.UTC), 2), (dt.datetime(2026, 7, 1, tzinfo=dt.UTC), 2)):
        refresh(connection, STATES, CITY, None, at=at)
        assert stored(connection, own) == {(cell, NO_WINDOW): (n, None, None, None, None)}


def test_parts_from_pixels_replace_those_of_their_cells(connection: sa.Connection) -> None:
    own = STATES.indicators[1]
    first, second, third = (int(cell) for cell in cells_of_points([117.2, 117.3, 117.4], [34.8, 34.8, 34.8], 9))

    def put(*parts: tuple[Any, ...]) -> None:
        columns = dict(zip(("cell", *PARTS), (list(column) for column in zip(*parts, strict=True)), strict=True))
        write_parts(connection, own, pl.DataFrame(columns))

    put((first, 2, 3.0, 1.0, 2.0, 5.0), (second, 1, 4.0, 4.0, 4.0, 16.0))
    put((second, 1, 5.0, 5.0, 5.0, 25.0), (third, 1, 0.1, 0.1, 0.1, 0.01))
    put((first, 0, 0.0, None, None, 0.0))
    assert stored(connection, own) == {
        (second, NO_WINDOW): (1, Decimal(5), 5.0, 5.0, Decimal(25)),
        (third, NO_WINDOW): (1, Decimal("0.1"), 0.1, 0.1, Decimal("0.01")),
    }
