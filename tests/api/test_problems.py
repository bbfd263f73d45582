"""Bad requests: every one ends in a problem document of the 4xx kind, none harms."""

import json
import urllib.parse

import pytest

from tests.api.city import Served

ITEMS = "/collections/housing.buildings/items"
TILE = "/collections/housing.buildings/tiles/WebMercatorQuad"

WRONG = [
    ("/nothing", 404),
    ("/collections/no.such", 404),
    ("/collections/no.such/items", 404),
    ("/collections/twin.inbox/items", 404),
    ("/collections/pg_catalog.pg_roles/items", 404),
    ("/collections/..%2f..%2fetc/items", 404),
    (f"{ITEMS}/no-such", 404),
    (f"{ITEMS}/no-such/history", 404),
    (f"{ITEMS}?limit=1e9", 400),
    (f"{ITEMS}?limit=0", 400),
    (f"{ITEMS}?limit=-5", 400),
    (f"{ITEMS}?limit=", 400),
    (f"{ITEMS}?limit=99999999999999999999999", 200),
    (f"{ITEMS}?bbox=1,2,3", 400),
    (f"{ITEMS}?bbox=", 400),
    (f"{ITEMS}?bbox=a,b,c,d", 400),
    (f"{ITEMS}?bbox=nan,1,2,3", 400),
    (f"{ITEMS}?bbox=1,2,inf,3", 400),
    (f"{ITEMS}?bbox=118,34,117,35", 400),
    (f"{ITEMS}?bbox=117,35,118,34", 400),
    (f"{ITEMS}?bbox=34,117,35,118", 400),
    (f"{ITEMS}?bbox=-200,0,200,10", 400),
    (f"{ITEMS}?bbox=1,2,3,4,5,6,7", 400),
    (f"{ITEMS}?bbox=0,0,9e9,9e9&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/3857", 400),
    (f"{ITEMS}?bbox-crs=EPSG:4326", 400),
    (f"{ITEMS}?crs=http://www.opengis.net/def/crs/EPSG/0/9999", 400),
    (f"{ITEMS}?crs=", 400),
    (f"{ITEMS}?datetime=yesterday", 400),
    (f"{ITEMS}?datetime=", 400),
    (f"{ITEMS}?datetime=2026-01-01", 400),
    (f"{ITEMS}?datetime=2026-01-01T00:00:00", 400),
    (f"{ITEMS}?datetime=2026-02-01T00:00:00Z/2026-01-01T00:00:00Z", 400),
    (f"{ITEMS}?datetime=1/2/3", 400),
    (f"{ITEMS}?known-at=../..", 400),
    (f"{ITEMS}?branch=no", 404),
    (f"{ITEMS}?properties=no", 400),
    (f"{ITEMS}?properties=", 400),
    (f"{ITEMS}?properties=use,geom", 400),
    (f"{ITEMS}?filter=", 400),
    (f"{ITEMS}?filter=use", 400),
    (f"{ITEMS}?filter=use%3D%27x%27&filter-lang=cql2-json", 400),
    (f"{ITEMS}?filter=use%3D%27x%27&filter-lang=sql", 400),
    (f"{ITEMS}?filter=use%3D%27x%27&filter-crs=http://www.opengis.net/def/crs/EPSG/0/3857", 400),
    (f"{ITEMS}?offset=5", 400),
    (f"{ITEMS}?offset=%00", 400),
    (f"{ITEMS}?f=xml", 400),
    (f"{ITEMS}?lang=fr&f=json", 200),
    ("/collections?lang=fr", 400),
    (f"{ITEMS}?colour=red", 400),
    (f"{ITEMS}?LIMIT=5", 400),
    (f"{ITEMS}?limit=5&limit=6", 400),
    (f"{TILE}/23/0/0", 400),
    (f"{TILE}/-1/0/0", 400),
    (f"{TILE}/3/8/0", 400),
    (f"{TILE}/3/0/8", 400),
    (f"{TILE}/x/0/0", 400),
    (f"{TILE}/1.5/0/0", 400),
    ("/collections/housing.buildings/tiles/WorldCRS84Quad/0/0/0", 404),
    ("/tileMatrixSets/no", 404),
    ("/basemaps/neon/style.json", 404),
    ("/basemaps/light/style.json?k=100", 400),
    ("/basemaps/light/style.json?k=nan", 400),
    ("/static/../../pyproject.toml", 404),
    ("/static/%2e%2e/%2e%2e/pyproject.toml", 404),
    ("/health/ready?x=1", 400),
]


@pytest.mark.parametrize(("path", "status"), WRONG)
def test_a_wrong_request(served: Served, path: str, status: int) -> None:
    answer = served.get(path)
    assert answer.status_code == status, answer.text
    if status == 200:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert {"type", "title", "status", "code", "detail"} <= set(body)
    assert body["code"] in {"invalid-request", "not-found", "limit-exceeded"}
    assert len(body["detail"]) > 10


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_written_here(served: Served, method: str) -> None:
    for path in ("/", "/collections", ITEMS, f"{TILE}/0/0/0", "/quarantine"):
        answer = served.client.request(method, path, json={"a": 1})
        assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")


def test_what_is_too_long_is_refused(served: Served) -> None:
    answer = served.client.get(f"{ITEMS}?filter={'x' * 9_000}")
    assert (answer.status_code, answer.json()["code"]) == (414, "limit-exceeded")
    answer = served.client.request("GET", ITEMS, content=b"x" * 4_500_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "limit-exceeded")


INJECTIONS = [
    "' OR 1=1 --",
    "'; DROP TABLE housing.buildings; --",
    '"; SELECT pg_sleep(9); --',
    "1) UNION SELECT raw FROM twin.inbox --",
    "${7*7}",
    "{{7*7}}",
    "%00",
    "\\x00",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "\r\nX-Injected: yes",
    "𝕏" * 50,
]
SLOTS = [
    "/collections/{}",
    "/collections/{}/items",
    ITEMS + "/{}",
    ITEMS + "?bbox={}",
    ITEMS + "?bbox-crs={}",
    ITEMS + "?crs={}",
    ITEMS + "?limit={}",
    ITEMS + "?offset={}",
    ITEMS + "?properties={}",
    ITEMS + "?filter={}",
    ITEMS + "?filter=name%20%3D%20{}",
    ITEMS + "?datetime={}",
    ITEMS + "?known-at={}",
    ITEMS + "?branch={}",
    ITEMS + "?f={}",
    ITEMS + "?{}=1",
    TILE + "/{}/0/0",
    TILE + "/0/0/0?datetime={}",
    "/indicators/{}",
    "/indicators/housing.floor_area/cells?resolution={}",
    "/indicators/housing.floor_area/cells?bbox={}",
    "/indicators/housing.floor_area/cells/{}/explain",
    "/basemaps/{}/style.json",
    "/?lang={}",
]


@pytest.mark.parametrize("slot", SLOTS)
def test_what_is_injected_finds_no_way_in(served: Served, slot: str) -> None:
    before = served.scalar("SELECT count(*) FROM housing.buildings")
    for attempt in INJECTIONS:
        answer = served.client.get(slot.format(urllib.parse.quote(attempt, safe="")))
        assert 400 <= answer.status_code < 500, f"{attempt!r}: {answer.status_code} {answer.text[:200]}"
        assert "x-injected" not in answer.headers
        assert answer.headers["content-type"] == "application/problem+json"
        json.loads(answer.text)
        assert "Traceback" not in answer.text
        assert "psycopg" not in answer.text
    assert served.scalar("SELECT count(*) FROM housing.buildings") == before


def test_every_route_refuses_a_parameter_that_it_does_not_know(served: Served) -> None:
    """The routes are taken from the OpenAPI document, so that none is forgotten."""
    filled = {
        "collection": "housing.buildings",
        "matrix_set": "WebMercatorQuad",
        "z": "0",
        "y": "0",
        "x": "0",
        "theme": "light",
    }
    filled |= {"indicator": "housing.floor_area", "cell": "8830e1d8a1fffff", "dataset": "housing.buildings"}
    filled |= {"branch": "what-if", "number": "1"}
    filled["fid"] = served.scalar("SELECT min(id) FROM housing.buildings")
    paths = served.json("/api")["paths"]
    assert len(paths) > 20
    for template, methods in paths.items():
        path = template
        for name, value in filled.items():
            path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
        for method in methods:
            answer = served.client.request(method, path, params={"no_such_parameter": "1"}, json={})
            assert answer.status_code in {400, 403}, f"{method} {path}: {answer.status_code}"


def test_security_headers_stand_on_every_answer(served: Served) -> None:
    for path in ("/", "/?f=html", "/docs", "/api", ITEMS, f"{TILE}/0/0/0", "/nothing", f"{ITEMS}?bbox=1"):
        headers = served.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors" in headers["content-security-policy"]
        assert "server" not in headers or "uvicorn" in headers["server"]


def test_other_origins_may_read_and_do_no_more(served: Served) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    allowed = served.client.options(ITEMS, headers=asked | {"Access-Control-Request-Headers": "authorization"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in allowed.headers
    refused = served.client.options(ITEMS, headers={**asked, "Access-Control-Request-Method": "DELETE"})
    assert refused.status_code == 400
    answer = served.get(ITEMS, headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "link" in answer.headers["access-control-expose-headers"].lower()


def test_the_pages_without_a_map_ask_nothing_outside(served: Served) -> None:
    for path in ("/docs", "/docs?lang=en", "/?f=html"):
        page = served.get(path).text
        assert "<script" not in page
        assert "http://" not in page.replace(served.url, "")
        assert "https://" not in page


def test_the_openapi_document_describes_what_there_is(served: Served) -> None:
    answer = served.get("/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.1"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            assert "422" not in operation["responses"]
            content = operation["responses"]["400"]["content"]
            assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    names = {
        parameter["name"] for parameter in document["paths"]["/collections/{collection}/items"]["get"]["parameters"]
    }
    assert {
        "bbox",
        "bbox-crs",
        "crs",
        "datetime",
        "known-at",
        "branch",
        "limit",
        "offset",
        "properties",
        "filter",
    } <= names


def test_health(served: Served) -> None:
    assert served.json("/health/live") == {"status": "live"}
    assert served.json("/health/ready")["status"] == "ready"
    assert served.get("/health/live").headers["cache-control"] == "no-store"
