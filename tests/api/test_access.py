"""Who may read what: every door, by audience and class of data, and PostgreSQL's own word on it."""

import datetime as dt

import jwt
import pytest
from sqlalchemy import text

from layers.contract import Contract
from layers.store import all_audiences
from layers.tables import indicator_table
from tests.api.city import SECRET, Served
from tests.layers.park import CITY
from twin.access import Audience, issue_token

STAFF = {"dispatch", "operations", "planner", "administrator"}
AUDIENCES = [
    "public",
    *sorted(STAFF),
    "department:video",
    "department:services",
    "department:operations",
    "department:energy",
]
DATASETS = [
    "housing.buildings",  # open
    "environment.air_stations",  # open, a stream
    "operations.events",  # department
    "services.hotline_tickets",  # personal
    "video.cameras",  # security
    "work_safety.major_hazards",  # security
]


def may(contract: Contract, data_class: str, audience: str) -> bool:
    """The rule in the words of the design, written a second time so that one mistake does not hide the other."""
    own = audience == f"department:{contract.system}" or audience in contract.readers
    return {
        "open": True,
        "department": own or audience in STAFF,
        "personal": own,
        "security": own,
    }[data_class]


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", AUDIENCES)
def test_every_door_of_a_dataset(served: Served, dataset: str, name: str) -> None:
    contract, audience = served.catalog[dataset], Audience(name)
    allowed = may(contract, contract.data_class, name)
    fid = served.scalar(f"SELECT id FROM {dataset} ORDER BY id LIMIT 1")
    base = f"/collections/{dataset}"
    doors = [
        base,
        f"{base}/queryables",
        f"{base}/items",
        f"{base}/items?filter=id%3D%27x%27",
        f"{base}/items?datetime=../2100-01-01T00:00:00Z",
        f"{base}/items?known-at=2100-01-01T00:00:00Z",
        *(f"{base}/items?f={word}" for word in ("csv", "flatgeobuf", "arrow", "parquet")),
        f"{base}/items/{fid}",
        f"{base}/items/{fid}/history",
        f"{base}/tiles",
        f"{base}/tiles/WebMercatorQuad",
        f"{base}/tiles/WebMercatorQuad/tilejson.json",
        f"{base}/tiles/WebMercatorQuad/0/0/0",
        f"{base}/tiles/WebMercatorQuad/0/0/0?datetime=2026-06-01T00:00:00Z",
    ]
    for door in doors:
        answer = served.get(door, audience)
        expected = 200 if allowed else 404
        assert answer.status_code == expected, f"{name} at {door}: {answer.text[:200]}"
        if not allowed:
            # As absent as what does not exist: the same words, but for the name that was asked.
            nothing = served.get(door.replace(dataset, "no.such"), audience)
            assert answer.text == nothing.text.replace("no.such", dataset)


@pytest.mark.parametrize("name", AUDIENCES)
def test_lists_hold_what_the_audience_may_read_and_nothing_else(served: Served, name: str) -> None:
    audience = Audience(name)
    collections = {one["id"] for one in served.json("/collections", audience)["collections"]}
    assert collections == {contract.id for contract in served.catalog if may(contract, contract.data_class, name)}
    indicators = {one["id"] for one in served.json("/indicators", audience)["indicators"]}
    assert indicators == {
        indicator.id
        for contract, indicator in served.catalog.indicators()
        if may(contract, indicator.data_class or contract.data_class, name)
    }
    page = served.get("/", audience, f="html").text
    style = served.get("/basemaps/dark/style.json", audience).text
    for contract in served.catalog:
        if contract.id not in collections:
            assert f"<code>{contract.id}</code>" not in page
            assert f'"{contract.id}"' not in style


@pytest.mark.parametrize("name", AUDIENCES)
def test_every_door_of_an_indicator(served: Served, name: str) -> None:
    audience = Audience(name)
    for contract, indicator in served.catalog.indicators():
        if contract.id not in DATASETS:
            continue
        allowed = may(contract, indicator.data_class or contract.data_class, name)
        for door in ("", "/cells", "/cells?f=geojson", "/cells?f=arrow"):
            answer = served.get(f"/indicators/{indicator.id}{door}", audience)
            assert answer.status_code == (200 if allowed else 404), (
                f"{name} at {indicator.id}{door}: {answer.text[:200]}"
            )


def test_explanations_name_no_record_that_the_audience_may_not_read(served: Served) -> None:
    for contract, indicator in served.catalog.indicators():
        data_class = indicator.data_class or contract.data_class
        for name in ("public", "administrator"):
            if not may(contract, data_class, name) or may(contract, contract.data_class, name):
                continue
            found = served.json(f"/indicators/{indicator.id}/cells", Audience(name))["cells"]
            for cell in found[:1]:
                said = served.json(f"/indicators/{indicator.id}/cells/{cell['cell']}/explain", Audience(name))
                assert said["records"] is None
                assert said["newest_record_at"] is None


def test_postgresql_grants_what_the_rule_says_over_all_datasets_and_roles(served: Served) -> None:
    """The second fence: were the API to forget, the role could still not read."""
    wrong: list[str] = []
    with served.database.engine.connect() as connection:
        for audience in all_audiences(served.catalog):
            for contract in served.catalog:
                expected = {f"{contract.system}.{contract.name}": may(contract, contract.data_class, audience.name)}
                if contract.is_stream:
                    expected[f"{contract.system}.{contract.name}__latest"] = expected[contract.id]
                for indicator in contract.indicators:
                    data_class = indicator.data_class or contract.data_class
                    expected[f'indicators."{indicator_table(indicator).name}"'] = may(
                        contract, data_class, audience.name
                    )
                for table, allowed in expected.items():
                    question = text("SELECT has_table_privilege(:role, :name, 'SELECT')")
                    granted = connection.scalar(question, {"role": audience.role, "name": table})
                    if granted != allowed:
                        wrong.append(f"{audience.name} {'may' if granted else 'may not'} read {table}")
                    writes = text("SELECT has_table_privilege(:role, :name, 'INSERT, UPDATE, DELETE, TRUNCATE')")
                    if connection.scalar(writes, {"role": audience.role, "name": table}):
                        wrong.append(f"{audience.name} may write {table}")
            own = text("SELECT has_table_privilege(:role, :name, 'SELECT')")
            wrong += [
                f"{audience.name} may read {table}"
                for table in ("twin.inbox", "twin.quarantine")
                if connection.scalar(own, {"role": audience.role, "name": table})
            ]
    assert not wrong


def tokens() -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    claims = {"iss": "citytwin", "sub": "administrator", "iat": now, "exp": now + dt.timedelta(hours=1)}
    good = issue_token(Audience("administrator"), SECRET, lifetime=dt.timedelta(hours=1))
    header, payload, signature = good.split(".")
    return {
        "another secret": jwt.encode(claims, "z" * 60, algorithm="HS256"),
        "no algorithm": jwt.encode(claims, "", algorithm="none"),
        "another algorithm": jwt.encode(claims, SECRET, algorithm="HS512"),
        "expired": jwt.encode({**claims, "exp": now - dt.timedelta(seconds=5)}, SECRET, algorithm="HS256"),
        "another issuer": jwt.encode({**claims, "iss": "x"}, SECRET, algorithm="HS256"),
        "no expiry": jwt.encode({k: v for k, v in claims.items() if k != "exp"}, SECRET, algorithm="HS256"),
        "no such audience": jwt.encode({**claims, "sub": "root"}, SECRET, algorithm="HS256"),
        "an injected audience": jwt.encode({**claims, "sub": 'public"; DROP TABLE x; --'}, SECRET, algorithm="HS256"),
        "a key by path": jwt.encode(claims, "z" * 60, algorithm="HS256", headers={"kid": "/dev/null"}),
        "no signature": f"{header}.{payload}.",
        "a changed payload": f"{header}.{payload[:-2]}xx.{signature}",
        "nonsense": "nonsense",
        "nothing": " ",
    }


@pytest.mark.parametrize("kind", tokens())
def test_a_bad_token_is_refused_at_every_door(served: Served, kind: str) -> None:
    headers = {"Authorization": f"Bearer {tokens()[kind]}".strip()}
    for door in ("/", "/collections", "/collections/housing.buildings/items", "/indicators", "/quarantine"):
        answer = served.get(door, headers=headers)
        assert answer.status_code == 401, f"{kind} at {door}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Bearer" in answer.headers["www-authenticate"]
    path = "/collections/housing.buildings/tiles/WebMercatorQuad/0/0/0"
    assert served.get(path).status_code == 200
    assert served.get(path, headers=headers).status_code == 401, "not from the cache either"


def test_other_credentials_are_refused(served: Served) -> None:
    assert served.get("/collections", headers={"Authorization": "Basic YWRtaW46YWRtaW4="}).status_code == 401


def test_a_department_that_does_not_exist_reads_nothing_of_others(served: Served) -> None:
    answer = served.get("/collections/video.cameras/items", Audience("department:nowhere"))
    assert answer.status_code == 404


def test_the_quarantine_is_for_those_who_can_mend_it(served: Served) -> None:
    with served.database.writing() as connection:
        for dataset in ("housing.buildings", "video.cameras"):
            connection.execute(
                text(
                    "WITH arrived AS (INSERT INTO twin.inbox (dataset, source, name, media, sha256, size, raw) VALUES"
                    " (:dataset, 'file', 'x.csv', 'text/csv', decode(repeat('00', 32), 'hex'), 1, 'x') RETURNING id)"
                    " INSERT INTO twin.quarantine (inbox_id, dataset, row_number, stage, reason, detail, record)"
                    " SELECT id, :dataset, 7, 'place', 'outside-city', 'lon 999', jsonb_build_object('name', 'kept apart')"
                    " FROM arrived"
                ),
                {"dataset": dataset},
            )

    def counted(name: str) -> set[str]:
        return {one["dataset"] for one in served.json("/quarantine", Audience(name))["counts"]}

    assert counted("administrator") == {"housing.buildings", "video.cameras"}
    assert counted("department:video") == {"video.cameras"}
    assert counted("department:energy") == set()
    for name in ("public", "dispatch", "planner", "operations"):
        assert served.get("/quarantine", Audience(name)).status_code == 403
        assert served.get("/quarantine/video.cameras", Audience(name)).status_code == 403
    assert served.get("/quarantine/housing.buildings", Audience("department:video")).status_code == 404
    (mine,) = served.json("/quarantine/video.cameras", Audience("department:video"))["records"]
    assert (mine["reason"], mine["record"]) == ("outside-city", {"name": "kept apart"})
    (hidden,) = served.json("/quarantine/video.cameras", Audience("administrator"))["records"]
    assert (hidden["reason"], hidden["record"], hidden["detail"]) == ("outside-city", None, None)
    assert "kept apart" not in served.get("/quarantine/video.cameras", Audience("administrator")).text
    assert served.get("/quarantine/video.cameras", Audience("department:video"), reason="nonsense").status_code == 400


def test_the_city_is_the_served_one(served: Served) -> None:
    assert served.json("/")["twin"]["city"]["id"] == CITY.id
