"""Every door, every audience, every class of data: nobody gets a byte of what they may not read.

The doors are taken from the application itself; one without a recipe here makes the test fail.
"""

import gzip
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.abuse.conftest import Canaries
from tests.api.city import bearer
from tests.api.test_access import DATASETS, may
from tests.layers.park import CITY
from twin.access import PUBLIC, Audience

QUESTIONS = 10_000
SEED = 1616
_CANARY = re.compile(r"CANARY ([a-z_]+\.[a-z_0-9]+)")

MIDDLE = {"lon": str(CITY.centre[0]), "lat": str(CITY.centre[1])}
NEEDED = {
    "/collections/{collection}/changes": {"from": "2026-01-01T00:00:00Z"},
    "/audit/who": {"dataset": "video.cameras", "id": "x"},
    "/places/resolve": {"q": "CANARY"},
}
"""Parameters without which a door has no answer."""


def needed(path: str, dataset: str) -> dict[str, str] | None:
    """The parameters without which the door at a path has no answer."""
    own = {"/live": {"collections": dataset, "once": "true"}, "/dispatch/nearest": {**MIDDLE, "resource": dataset}}
    own["/dispatch/coverage"] = {"resource": dataset}
    return MIDDLE if path == "/dispatch/isochrone" else own.get(path) or NEEDED.get(path)


def routes(canaries: Canaries) -> list[APIRoute]:
    """Every route of the application, those of the routers that it includes too."""
    found: list[APIRoute] = []
    waiting: list[Any] = list(canaries.app.routes)
    while waiting:
        route = waiting.pop(0)
        waiting += getattr(getattr(route, "original_router", None), "routes", [])
        if isinstance(route, APIRoute):
            found.append(route)
    assert len(found) > 40
    return found


def recipe(canaries: Canaries, dataset: str) -> dict[str, list[str]]:
    """What can stand in the parts of a path."""
    contract = canaries.catalog[dataset]
    with canaries.database.engine.connect() as connection:
        fid = str(connection.exec_driver_sql(f"SELECT id FROM {dataset} ORDER BY id LIMIT 1").scalar())
        indicators = [indicator.id for indicator in contract.indicators] or ["housing.floor_area"]
        cell = connection.exec_driver_sql(f'SELECT cell FROM indicators."{indicators[0]}" LIMIT 1').scalar()
    return {
        "collection": [dataset],
        "dataset": [dataset],
        "fid": [fid],
        "matrix_set": ["WebMercatorQuad"],
        "z": ["0"],
        "y": ["0"],
        "x": ["0"],
        "indicator": indicators,
        "cell": [f"{cell:x}" if cell else "881e204a57fffff"],
        "branch": ["main", "none"],
        "number": ["1"],
        "kind": ["district", "grid_cell", "community_grid", "none"],
        "feed": ["none"],
        "code": ["370403", "x"],
        "theme": ["light", "dark"],
        "name": ["x.js", "../secret", "..%2f..%2fsecret"],
    }


def filled(template: str, values: dict[str, list[str]], chance: random.Random | None = None) -> str:
    def one(match: re.Match[str]) -> str:
        assert match[1] in values, f"no recipe for {{{match[1]}}} of {template}: add one to `recipe`"
        choices = values[match[1]]
        return chance.choice(choices) if chance else choices[0]

    return re.sub(r"\{(\w+)(?::\w+)?\}", one, template)


def leaks(canaries: Canaries, answer: Any, audience: Audience) -> list[str]:
    """The datasets of canaries in an answer that its asker may not read."""
    body: bytes = answer.content
    text = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode("utf-8", "replace")
    found = set(_CANARY.findall(text + str(dict(answer.headers))))
    return [
        dataset
        for dataset in found
        if dataset not in canaries.catalog.contracts
        or not may(canaries.catalog[dataset], canaries.catalog[dataset].data_class, audience.name)
    ]


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_door_leaks_a_canary_to_any_audience(canaries: Canaries, dataset: str) -> None:
    contract = canaries.catalog[dataset]
    values = recipe(canaries, dataset)
    names = ["public", "dispatch", "operations", "planner", "administrator", f"department:{contract.system}"]
    names += ["department:parks", *contract.readers]
    seen: set[str] = set()
    for route in routes(canaries):
        path = filled(route.path, values)
        for method in sorted(route.methods & {"GET", "POST", "DELETE", "PUT"}):
            if (
                method != "GET"
                and "administrator" in names
                and route.path.startswith(("/branches", "/grants", "/tokens"))
            ):
                answer = canaries.client.request(method, path, json={}, headers=bearer(PUBLIC))
                assert answer.status_code in {400, 403, 404}, f"{method} {path}"
                continue
            for name in dict.fromkeys(names):
                audience = Audience(name)
                answer = canaries.client.request(
                    method, path, params=needed(route.path, dataset), headers=bearer(audience),
                    **({"json": {}} if method != "GET" else {}),
                )  # fmt: skip
                assert answer.status_code < 500, f"{name} at {method} {path}: {answer.text}"
                assert leaks(canaries, answer, audience) == [], f"{name} at {method} {path}"
                seen |= set(_CANARY.findall(answer.text))
    if contract.data_class != "open":
        assert dataset in seen, "who may read it did see the canary, so the others could have"


def test_what_is_kept_for_one_is_not_given_to_another(canaries: Canaries) -> None:
    video, nobody = bearer(Audience("department:video")), bearer(Audience("planner"))
    for path in ("/collections/video.cameras/tiles/WebMercatorQuad/0/0/0", "/collections/video.cameras/items"):
        first = canaries.client.get(path, headers=video)
        assert b"CANARY" in first.content
        for headers in ({}, nobody):
            again = canaries.client.get(path, headers={**headers, "If-None-Match": first.headers.get("etag", "*")})
            assert again.status_code == 404
            assert b"CANARY" not in again.content
        assert "public" not in first.headers["cache-control"]
        assert "Authorization" in first.headers["vary"]


def questions(canaries: Canaries) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """Questions that the public may think of: every route, the ids of everything, all kinds of parameters."""
    chance = random.Random(SEED)  # noqa: S311
    every = [contract.id for contract in canaries.catalog if contract.kind != "coverage"]
    values = {name: list(choices) for name, choices in recipe(canaries, "video.cameras").items()}
    values["collection"] = values["dataset"] = [*every, "no.such", "twin.audit", "video.cameras__branches"]
    values["indicator"] = [indicator.id for _, indicator in canaries.catalog.indicators()]
    values["fid"] = [f"{name.split('.')[1]}-000{k}" for name in every for k in range(3)]
    values |= {"z": ["0", "9", "22", "-1"], "y": ["0", "202", "99999"], "x": ["0", "422", "x"]}
    paths = [route.path for route in routes(canaries) if "GET" in route.methods]
    fields = sorted({name for contract in canaries.catalog for name in contract.fields})
    pool: dict[str, list[str]] = {
        "f": ["json", "csv", "flatgeobuf", "arrow", "parquet", "geojson", "html", "xml"],
        "limit": ["1", "5", "10000", "0", "-1", "x"],
        "bbox": ["117,34,118,36", "0,0,1,1", "x", "-180,-90,180,90"],
        "datetime": ["2026-11-01T00:00:00Z", "../..", "2020-01-01T00:00:00Z/..", "now"],
        "known-at": ["2026-11-26T00:00:00Z", "2030-01-01T00:00:00Z", "x"],
        "branch": ["main", "what-if", "1"],
        "filter": [*(f"{name} LIKE 'CANARY%'" for name in fields), "1=1", "id IS NOT NULL", "x"],
        "properties": [*fields, "id", "extra", "branch", "place_source"],
        "resolution": ["5", "7", "9", "15"],
        "crs": ["http://www.opengis.net/def/crs/EPSG/0/4490", "x"],
        "lang": ["zh", "en", "x"],
        "from": ["2026-01-01T00:00:00Z"],
        "to": ["2026-12-01T00:00:00Z"],
        "collection": every,
        "dataset": every,
        "id": values["fid"],
        "q": [
            *values["fid"],
            "CANARY",
            "滕州市",
            "34020000001320000001",
            "88318a8a0dfffff",
            "G104 K612+300",
            "解放路5号",
        ],
        "lon": ["117.3", "x"],
        "lat": ["34.8", "1e400"],
        "datum": ["gcj02", "wgs84", "x"],
        "resource": every,
        "place": ["CANARY", "解放路5号", *values["fid"]],
        "profile": ["car", "walking", "x"],
        "minutes": ["1", "5,10", "0", "x"],
        "offset": ["", "eyJ9", "W10"],
    }
    accepts = ["*/*", "application/json", "text/html", "text/csv", "application/vnd.apache.parquet", ""]
    for _ in range(QUESTIONS):
        path = filled(chance.choice(paths), values, chance)
        names = chance.sample(sorted(pool), chance.choice([0, 0, 1, 1, 2, 3]))
        asked = {name: chance.choice(pool[name]) for name in names}
        yield path, asked, {"Accept": chance.choice(accepts), "Accept-Encoding": "identity"}


def test_ten_thousand_public_questions_bring_no_protected_field(canaries: Canaries) -> None:
    good = 0
    for path, asked, headers in questions(canaries):
        answer = canaries.client.get(path, params=asked, headers=headers)
        assert answer.status_code < 500, f"{path} {asked}: {answer.text}"
        assert leaks(canaries, answer, PUBLIC) == [], f"{path} {asked}"
        good += answer.status_code == 200
    assert good > QUESTIONS / 20, "enough of them have an answer"
