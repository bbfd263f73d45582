"""Who may read what: every door, by audience and class of data, and PostgreSQL's own word on it."""

import datetime as dt
import re
from collections.abc import Iterator

import jwt
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from layers.catalog import catalog
from layers.contract import Contract
from layers.granting import all_audiences
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


def _one_of_each_rule() -> list[str]:
    """The first dataset of each class, with and without further readers, of states and of streams with records."""
    first: dict[object, str] = {}
    for contract in catalog():
        if contract.kind != "coverage":
            rule = contract.data_class, bool(contract.readers), contract.is_stream
            first.setdefault(rule, contract.id)
    return sorted(first.values())


DATASETS = _one_of_each_rule()

VARIANTS = {
    "/collections/{collection}/items": (
        "?filter=id%3D%27x%27",
        "?datetime=../2100-01-01T00:00:00Z",
        "?known-at=2100-01-01T00:00:00Z",
        *(f"?f={word}&limit=5" for word in ("csv", "flatgeobuf", "arrow", "parquet")),
    ),
    "/collections/{collection}/tiles/{matrix_set}/{z}/{y}/{x}": ("?datetime=2026-06-01T00:00:00Z",),
    "/indicators/{indicator}/cells": ("?f=geojson", "?f=arrow"),
}
"""What a door is asked beside the plain question."""


def may(contract: Contract, data_class: str, audience: str) -> bool:
    """The rule in the words of the design, written a second time so that one mistake does not hide the other."""
    own = audience == f"department:{contract.system}" or audience in contract.readers
    return {
        "open": True,
        "department": own or audience in STAFF,
        "personal": own,
        "security": own,
    }[data_class]


CLOSED = [
    *("twin.inbox", "twin.quarantine", "twin.audit", "twin.audit_head", "twin.grants", "twin.branches"),
    *("twin.branch_edits", "twin.revoked_tokens", "twin.rounding"),
]
"""What no audience reads by itself."""

NEEDED = {"/collections/{collection}/changes": "?from=2026-01-01T00:00:00Z"}
"""Parameters without which a route has no answer."""


def doors(served: Served, part: str, **values: str) -> Iterator[str]:
    """Every address of the interface that names `part`, filled in: taken from the routes, so that none is forgotten.

    A route with a part that `values` does not give makes the test fail: it is a new door.
    """
    fixed = {"matrix_set": "WebMercatorQuad", "z": "0", "y": "0", "x": "0"}
    paths = served.json("/api")["paths"]
    found = [path for path, methods in paths.items() if f"{{{part}}}" in path and "get" in methods]
    assert found
    for path in found:
        address = re.sub(r"\{(\w+)(:path)?\}", lambda match: {**fixed, **values}[match[1]], path)
        yield address + NEEDED.get(path, "")
        yield from (address + variant for variant in VARIANTS.get(path, ()))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_door_of_a_dataset(served: Served, dataset: str) -> None:
    contract = served.catalog[dataset]
    fid = served.scalar(f"SELECT id FROM {dataset} ORDER BY id LIMIT 1")
    places = list(doors(served, "collection", collection=dataset, fid=fid))
    assert len(places) > 15
    for name in dict.fromkeys([*AUDIENCES, f"department:{contract.system}", *contract.readers]):
        allowed = may(contract, contract.data_class, name)
        for door in places:
            answer = served.get(door, Audience(name))
            expected = 200 if allowed else 404
            assert answer.status_code == expected, f"{name} at {door}: {answer.text[:200]}"
            if not allowed:
                # As absent as what does not exist: the same words, but for the name that was asked.
                nothing = served.get(door.replace(dataset, "no.such"), Audience(name))
                assert answer.text == nothing.text.replace("no.such", dataset)


def test_no_dataset_is_open_to_an_audience_that_may_not_read_it(served: Served) -> None:
    """All datasets and all audiences at the widest door."""
    asked = 0
    for contract in served.catalog:
        for audience in all_audiences(served.catalog):
            if not may(contract, contract.data_class, audience.name):
                answer = served.get(f"/collections/{contract.id}/items", audience, limit=1)
                assert answer.status_code == 404, f"{audience.name} at {contract.id}"
                asked += 1
    assert asked > 500


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


def test_every_door_of_an_indicator(served: Served) -> None:
    for contract, indicator in served.catalog.indicators():
        if contract.id not in DATASETS:
            continue
        cell = served.scalar(f'SELECT cell FROM indicators."{indicator.id}" LIMIT 1')
        places = list(doors(served, "indicator", indicator=indicator.id, cell=f"{cell:x}", kind="district"))
        for name in AUDIENCES:
            allowed = may(contract, indicator.data_class or contract.data_class, name)
            for door in places:
                answer = served.get(door, Audience(name))
                assert answer.status_code == (200 if allowed else 404), f"{name} at {door}: {answer.text[:200]}"


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
    expected: dict[tuple[str, str], bool] = {}
    for audience in all_audiences(served.catalog):
        for contract in served.catalog:
            allowed = may(contract, contract.data_class, audience.name)
            expected[audience.role, f"{contract.system}.{contract.name}"] = allowed
            if contract.is_stream:
                expected[audience.role, f"{contract.system}.{contract.name}__latest"] = allowed
            else:
                what_ifs = allowed and audience.name != "public"
                expected[audience.role, f"{contract.system}.{contract.name}__branches"] = what_ifs
            for indicator in contract.indicators:
                data_class = indicator.data_class or contract.data_class
                shown = may(contract, data_class, audience.name)
                expected[audience.role, f'indicators."{indicator.id}"'] = shown and not contract.is_personal
                if contract.is_personal:
                    expected[audience.role, f'indicators."{indicator.id}__published"'] = shown
        expected |= {(audience.role, table): False for table in CLOSED}
    question = text(
        "SELECT role, name, has_table_privilege(role, name, 'SELECT') AS reads,"
        " has_table_privilege(role, name, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writes"
        " FROM unnest(CAST(:roles AS text[]), CAST(:names AS text[])) AS asked (role, name)"
    )
    roles, names = (list(part) for part in zip(*expected, strict=True))
    with served.database.engine.connect() as connection:
        rows = connection.execute(question, {"roles": roles, "names": names}).all()
    assert {(row.role, row.name): row.reads for row in rows} == expected
    assert not [row for row in rows if row.writes]


@pytest.mark.parametrize("dataset", DATASETS)
def test_postgresql_itself_refuses_the_role(served: Served, dataset: str) -> None:
    contract = served.catalog[dataset]
    for audience in all_audiences(served.catalog):
        with served.database.engine.connect() as connection:
            connection.execute(text(f"SET LOCAL ROLE {audience.role}"))
            if may(contract, contract.data_class, audience.name):
                assert connection.scalar(text(f"SELECT count(*) FROM {dataset}"))
            else:
                with pytest.raises(ProgrammingError, match="permission denied"):
                    connection.scalar(text(f"SELECT count(*) FROM {dataset}"))


def tokens() -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    claims = {
        "iss": "citytwin",
        "aud": "citytwin",
        "sub": "tester",
        "role": "administrator",
        "iat": now,
        "exp": now + dt.timedelta(hours=1),
        "jti": "1",
    }
    good = issue_token(Audience("administrator"), SECRET, person="tester", lifetime=dt.timedelta(hours=1))
    header, payload, signature = good.split(".")
    return {
        "another secret": jwt.encode(claims, "z" * 60, algorithm="HS256"),
        "no algorithm": jwt.encode(claims, "", algorithm="none"),
        "another algorithm": jwt.encode(claims, SECRET, algorithm="HS512"),
        "expired": jwt.encode({**claims, "exp": now - dt.timedelta(seconds=5)}, SECRET, algorithm="HS256"),
        "another issuer": jwt.encode({**claims, "iss": "x"}, SECRET, algorithm="HS256"),
        "another service": jwt.encode({**claims, "aud": "x"}, SECRET, algorithm="HS256"),
        "issued tomorrow": jwt.encode({**claims, "iat": now + dt.timedelta(days=1)}, SECRET, algorithm="HS256"),
        **{
            f"no {name}": jwt.encode({k: v for k, v in claims.items() if k != name}, SECRET, algorithm="HS256")
            for name in claims
        },
        "no such audience": jwt.encode({**claims, "role": "root"}, SECRET, algorithm="HS256"),
        "an injected audience": jwt.encode({**claims, "role": 'public"; DROP TABLE x; --'}, SECRET, algorithm="HS256"),
        "a key of its own": jwt.encode(
            claims,
            "z" * 60,
            algorithm="HS256",
            headers={"jwk": {"kty": "oct", "k": "enp6"}, "jku": "http://127.0.0.1/"},
        ),
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
    assert answer.status_code == 401


def test_the_quarantine_is_for_those_who_can_mend_it(served: Served) -> None:
    with served.database.writing() as connection:
        for dataset in ("housing.buildings", "video.cameras"):
            connection.execute(
                text(
                    "WITH arrived AS (INSERT INTO twin.inbox (dataset, source, name, media, sha256, size, raw) VALUES"
                    " (:dataset, 'file', 'x.csv', 'text/csv', decode(repeat('00', 32), 'hex'), 1, 'x') RETURNING id)"
                    " INSERT INTO twin.quarantine (inbox_id, dataset, row_number, stage, reason, detail, record)"
                    " SELECT id, :dataset, 7, 'place', 'outside-city', 'lon 999',"
                    " jsonb_build_object('name', 'kept apart')"
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
