"""Grants as data: PostgreSQL itself holds them, row by row and column by column."""

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from layers.granting import Granted, fence_ended, give, granted, restore, revoke
from layers.grants import is_limited, may_read, seen_by
from layers.store import apply
from tests.layers.conftest import Park
from tests.layers.park import CITY, park_catalog
from twin.access import Audience, Caller, Grant
from twin.database import Database
from twin.errors import InvalidRequest, NotFound

ZHAO = Caller(Audience("administrator"), "zhao.min")
OPERATIONS, PLANNER, DISPATCH = Audience("operations"), Audience("planner"), Audience("dispatch")
SOON = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
AREA = "parks.beds/west"
WEST = "POLYGON((117.2 34.7, 117.3 34.7, 117.3 34.9, 117.2 34.9, 117.2 34.7))"


def given_to(park: Park, audience: Audience, dataset: str, **more: Any) -> int:
    what = Granted(audience, dataset, **{"purpose": "a test", "until": SOON, **more})
    with park.database.writing() as connection:
        return give(connection, park.catalog, CITY, what, ZHAO)


def seen(park: Park, audience: Audience, table: str, where: str = "true") -> list[str]:
    """What PostgreSQL shows a role; `denied` where it may not look at all."""
    with park.database.engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {audience.role}")
        try:
            return sorted(connection.exec_driver_sql(f"SELECT id FROM {table} WHERE {where}").scalars())
        except ProgrammingError as error:
            return ["denied" if "permission denied" in str(error) else str(error)]


def filled(park: Park) -> None:
    park.put("parks.beds", {"id": "west", "name": "west", "wkt": WEST})
    for number in range(40):
        row = {"name": str(number), "wkt": f"POINT({117.2 + number * 0.005} 34.8)"}
        park.put("parks.guards", {"id": str(number), **row})
        park.put("parks.works", {"id": str(number), **row})


def test_a_grant_opens_a_dataset_to_an_audience_until_it_is_revoked(park: Park) -> None:
    filled(park)
    assert seen(park, PLANNER, "parks.guards") == ["denied"]
    number = given_to(park, PLANNER, "parks.guards")
    assert len(seen(park, PLANNER, "parks.guards")) == 40
    assert len(seen(park, DISPATCH, "parks.guards")) == 40, "whom the contract names sees all as before"
    assert seen(park, OPERATIONS, "parks.guards") == ["denied"]
    with park.database.writing() as connection:
        assert [(one.number, one.dataset, one.granted_by) for one in granted(connection)] == [
            (number, "parks.guards", "zhao.min")
        ]
        assert revoke(connection, park.catalog, CITY, number, ZHAO) == "parks.guards"
    assert seen(park, PLANNER, "parks.guards") == ["denied"]
    with park.database.engine.connect() as connection:
        assert not connection.scalar(
            sa.text("SELECT relrowsecurity FROM pg_class WHERE oid = 'parks.guards'::regclass")
        )
    with pytest.raises(NotFound), park.database.writing() as connection:
        revoke(connection, park.catalog, CITY, number, ZHAO)


def test_a_grant_for_an_area_shows_no_row_outside_it(park: Park) -> None:
    filled(park)
    given_to(park, PLANNER, "parks.guards", area=AREA)
    inside = sorted(str(number) for number in range(40) if 117.2 + number * 0.005 <= 117.3)
    assert seen(park, PLANNER, "parks.guards") == inside
    chance = random.Random(5)  # noqa: S311
    for _ in range(200):
        west, south = 117.1 + chance.random() * 0.4, 34.7 + chance.random() * 0.2
        box = f"geom && ST_MakeEnvelope({west}, {south}, {west + 0.1}, {south + 0.1}, {CITY.srid})"
        assert set(seen(park, PLANNER, "parks.guards", box)) <= set(inside)
    assert seen(park, PLANNER, "parks.guards__branches") == []


def test_a_grant_to_one_person_is_nobody_elses(park: Park) -> None:
    filled(park)
    given_to(park, PLANNER, "parks.guards", person="li.na")
    li = Audience("planner", person="li.na")
    assert len(seen(park, li, "parks.guards")) == 40
    assert len(seen(park, li, "parks.works")) == 40, "what the audience may read, the person may too"
    assert seen(park, PLANNER, "parks.guards") == ["denied"]


def test_a_grant_ends_by_itself(park: Park) -> None:
    filled(park)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.4)
    given_to(park, PLANNER, "parks.guards", until=end)
    while dt.datetime.now(dt.UTC) < end:
        pass
    assert seen(park, PLANNER, "parks.guards") == [], "no row from that moment on"
    with park.database.writing() as connection:
        fence_ended(connection, park.catalog, CITY)
    assert seen(park, PLANNER, "parks.guards") == ["denied"], "and no right once somebody has looked"


def test_streams_and_their_newest_rows_are_fenced_too(park: Park) -> None:
    filled(park)
    noon = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
    for name, lon in (("in", 117.25), ("out", 117.4)):
        own = {"subject": name, "sensor": name, "observed_at": noon, "dust": 1.0}
        park.put("parks.air", {"id": f"{name}:x", **own, "wkt": f"POINT({lon} 34.8)"})
    given_to(park, DISPATCH, "parks.air", area=AREA)
    assert seen(park, DISPATCH, "parks.air") == ["in:x", "out:x"], "open data stay open"


def test_applying_the_catalogue_keeps_grants(park: Park) -> None:
    filled(park)
    given_to(park, PLANNER, "parks.guards", area=AREA)
    given_to(park, PLANNER, "parks.visitors", person="li.na")
    before = seen(park, PLANNER, "parks.guards")
    with park.database.writing() as connection:
        apply(connection, park.catalog, CITY)
        restore(connection, park.catalog, CITY)
    assert seen(park, PLANNER, "parks.guards") == before
    assert seen(park, Audience("planner", person="li.na"), "parks.visitors") == []


def test_the_spatial_index_is_used_beneath_row_level_security(park: Park) -> None:
    filled(park)
    with park.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO parks.guards (id, name, valid, recorded, geom)"
            " SELECT 'g' || k, 'x', '[-infinity,)', '[2026-01-01,)',"
            " ST_SetSRID(ST_MakePoint(117.2 + random() * 0.4, 34.7 + random() * 0.2), 4490)"
            " FROM generate_series(1, 30000) AS k"
        )
    given_to(park, PLANNER, "parks.guards", area=AREA)
    with park.database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.connection.driver_connection.autocommit = True  # type: ignore[union-attr]
        connection.exec_driver_sql("ANALYZE parks.guards")
    box = f"geom && ST_MakeEnvelope(117.25, 34.75, 117.26, 34.76, {CITY.srid}) AND upper_inf(recorded)"
    exact = f"ST_Intersects(geom, ST_MakeEnvelope(117.25, 34.75, 117.26, 34.76, {CITY.srid}))"
    for audience in (DISPATCH, PLANNER):
        with park.database.engine.connect() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {audience.role}")
            question = f"EXPLAIN SELECT id FROM parks.guards WHERE {box} AND {exact}"
            plan = "\n".join(connection.exec_driver_sql(question).scalars())
        assert "guards_geom" in plan, plan
        assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"audience": Audience("public")}, InvalidRequest, "public gets no grants"),
        ({"audience": Audience("department:nowhere")}, NotFound, "no system"),
        ({"dataset": "parks.nothing"}, NotFound, "no dataset"),
        ({"purpose": " "}, InvalidRequest, "needs a purpose"),
        ({"until": dt.datetime.now(dt.UTC)}, InvalidRequest, "cannot last until"),
        ({"until": dt.datetime.now(dt.UTC) + dt.timedelta(days=2000)}, InvalidRequest, "cannot last until"),
        ({"until": dt.datetime(2090, 1, 1)}, InvalidRequest, "cannot last until"),  # noqa: DTZ001
        ({"area": "parks.beds/nowhere"}, NotFound, "no area"),
        ({"area": "parks.trees/t"}, NotFound, "no area"),
        ({"area": "nonsense"}, NotFound, "no dataset"),
    ],
)
def test_grants_that_make_no_sense_are_refused(
    park: Park, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    filled(park)
    park.put("parks.trees", {"id": "t", "tree_id": "t", "wkt": "POINT(117.3 34.8)"})
    what = {"audience": PLANNER, "dataset": "parks.guards", **change}
    with pytest.raises(error, match=words):
        given_to(park, **what)


def test_the_rule_in_python_says_the_same(park: Park) -> None:
    guards = park.catalog["parks.guards"]
    part = Audience("planner", grants=frozenset({Grant(1, "parks.guards", limited=True)}))
    whole = Audience(
        "planner", grants=frozenset({Grant(1, "parks.guards", limited=True), Grant(2, "parks.guards", limited=False)})
    )
    other = Audience("planner", grants=frozenset({Grant(1, "parks.visitors", limited=False)}))
    by_contract = Audience("dispatch", grants=part.grants)
    assert [may_read("security", guards, one) for one in (PLANNER, part, whole, other, by_contract)] == [
        *(False, True, True, False, True)
    ]
    assert [is_limited(guards, one) for one in (part, whole, by_contract)] == [True, False, False]


def test_a_field_with_a_class_of_its_own_is_not_there_for_others(database: Database, tmp_path: Path) -> None:
    park_catalog(tmp_path)
    path = tmp_path / "parks" / "trees.toml"
    text = path.read_text(encoding="utf-8").replace(
        'height_m = { type = "float",', 'height_m = { type = "float", class = "department",'
    )
    path.write_text(
        text.replace(
            'circle = { colour = "kind", ramp = "category" }', 'circle = { colour = "height_m", ramp = "cividis" }'
        ),
        encoding="utf-8",
    )
    from layers.catalog import read_catalog  # noqa: PLC0415

    catalog, problems = read_catalog((tmp_path,))
    assert not problems
    with database.writing() as connection:
        apply(connection, catalog, CITY)
    trees = catalog["parks.trees"]
    known = seen_by(trees, Audience("public"))
    assert "height_m" not in known.fields
    assert {one.id for one in trees.indicators} - {one.id for one in known.indicators} == {
        "parks.height_sum",
        "parks.oak_mean",
    }
    assert known.style.circle is not None
    assert known.style.circle.colour.startswith("#")
    assert seen_by(trees, PLANNER) is trees
    with database.engine.connect() as connection:
        question = sa.text("SELECT has_column_privilege(:role, 'parks.trees', :column, 'SELECT')")
        rights = {
            (one.name, column): connection.scalar(question, {"role": one.role, "column": column})
            for one in (Audience("public"), PLANNER)
            for column in ("height_m", "name", "geom")
        }
    assert rights == {
        ("public", "height_m"): False,
        ("public", "name"): True,
        ("public", "geom"): True,
        ("planner", "height_m"): True,
        ("planner", "name"): True,
        ("planner", "geom"): True,
    }
