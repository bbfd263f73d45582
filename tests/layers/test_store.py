"""Applying the catalogue: what is added is added, what would lose data is refused, grants are what contracts say."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from layers.catalog import Catalog
from layers.contract import Contract, System
from layers.granting import all_audiences
from layers.store import apply, plan
from twin.access import Audience, department
from twin.city import load_city
from twin.database import Database
from twin.errors import DestructiveChange

CITY = load_city("zaozhuang")
TITLE = {"zh": "物", "en": "Things"}


def a_contract(data_class: str = "open", kind: str = "feature", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "code": {"type": "string", "title": TITLE},
        "size": {"type": "float", "unit": "m", "title": TITLE},
    }
    key = ["code"]
    time: dict[str, str] = {}
    if kind in {"observation", "track"}:
        fields["observed_at"] = {"type": "datetime", "title": TITLE}
        key, time = ["code", "observed_at"], {"event": "observed_at"}
    raw = {
        "id": "lab.things",
        "kind": kind,
        "title": TITLE,
        "owner": "局",
        "class": data_class,
        "rate": "day",
        "key": key,
        "geometry": "point",
        "time": time,
        "place": {"rungs": [{"by": "coordinate", "x": "lon", "y": "lat", "datum": "wgs84", "accuracy_m": 5}]},
        "fields": fields,
        "purpose": "p",
        "basis": "b",
        "retention": "30 d",
    }
    return {**raw, **changes}


def a_catalog(*raw: dict[str, Any]) -> Catalog:
    contracts = {item["id"]: Contract.model_validate(item) for item in raw}
    system = System.model_validate({"id": "lab", "number": "C1", "title": TITLE, "owner": "局", "description": TITLE})
    return Catalog(contracts, {"lab": system}, {name: repr(item) for name, item in contracts.items()})


def applied(database: Database, catalog: Catalog) -> list[str]:
    with database.writing() as connection:
        return [str(change) for change in apply(connection, catalog, CITY)]


def test_applying_twice_changes_nothing(database: Database) -> None:
    catalog = a_catalog(a_contract(), a_contract(id="lab.readings", kind="observation"))
    assert len(applied(database, catalog)) == 4  # each has a second table: of branches, of newest rows
    assert applied(database, catalog) == []


def test_a_new_field_is_added_and_rows_stay(database: Database) -> None:
    applied(database, a_catalog(a_contract()))
    with database.writing() as connection:
        connection.execute(
            sa.text(
                "insert into lab.things (id, code, valid, recorded) values"
                " ('a', 'a', tstzrange('-infinity', null), tstzrange(now(), null))"
            )
        )
    wider = a_contract()
    wider["fields"]["note"] = {"type": "string", "title": TITLE}
    assert applied(database, a_catalog(wider)) == [
        "+ lab.things: new column things.note (text)",
        "+ lab.things: new column things__branches.note (text)",
    ]
    with database.writing() as connection:
        assert connection.execute(sa.text("select code, note from lab.things")).all() == [("a", None)]


@pytest.mark.parametrize("change", ["dropped", "retyped", "other key"])
def test_what_would_lose_data_is_refused_with_the_difference(database: Database, change: str) -> None:
    applied(database, a_catalog(a_contract()))
    other = a_contract()
    if change == "dropped":
        del other["fields"]["size"]
    elif change == "retyped":
        other["fields"]["size"] = {"type": "string", "title": TITLE}
    else:
        other["fields"]["second"] = {"type": "string", "title": TITLE}
        other["key"] = ["code", "second"]
    with pytest.raises(DestructiveChange, match=r"size|key") as caught:
        applied(database, a_catalog(other))
    assert "lab.things" in str(caught.value)
    with database.writing() as connection:
        assert plan(connection, a_catalog(a_contract()), CITY) == []


@pytest.mark.parametrize(
    ("data_class", "readers", "names"),
    [
        ("open", [], {"public", "dispatch", "operations", "planner", "administrator", "department:lab"}),
        ("department", [], {"dispatch", "operations", "planner", "administrator", "department:lab"}),
        ("personal", [], {"department:lab"}),
        ("security", ["dispatch"], {"department:lab", "dispatch"}),
    ],
)
def test_grants_are_what_the_class_says(
    database: Database, data_class: str, readers: list[str], names: set[str]
) -> None:
    catalog = a_catalog(a_contract(data_class, readers=readers))
    applied(database, catalog)
    allowed: set[str] = set()
    for audience in all_audiences(catalog):
        with database.engine.connect() as connection:
            connection.execute(sa.text(f'set local role "{audience.role}"'))
            try:
                connection.execute(sa.text("select * from lab.things"))
            except ProgrammingError:
                continue
            allowed.add(audience.name)
    assert allowed == names


def test_a_narrower_class_takes_grants_back(database: Database) -> None:
    applied(database, a_catalog(a_contract("open")))
    applied(database, a_catalog(a_contract("security")))
    with database.engine.connect() as connection:
        connection.execute(sa.text(f'set local role "{Audience("public").role}"'))
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(sa.text("select * from lab.things"))


def test_a_contract_that_is_gone_leaves_its_data_but_nobody_may_read_it(database: Database) -> None:
    applied(database, a_catalog(a_contract()))
    changes = applied(database, a_catalog(a_contract(id="lab.others")))
    assert any("no longer in the catalogue" in change for change in changes)
    with database.engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from lab.things")) == 0
        role = department("lab").role
        readable = sa.text("select has_table_privilege(:role, 'lab.things', 'select')")
        assert connection.scalar(readable, {"role": role}) is False
