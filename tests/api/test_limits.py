"""Who asks too much waits, whoever else asks does not; names, bodies and their sizes."""

import asyncio
import socket
from typing import Any

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from api.app import create_app
from api.limits import Allowance, RateLimit
from tests.api.city import SECRET, Served, bearer
from tests.layers.park import CITY
from twin.access import Audience

ALLOWANCE = Allowance(units_per_minute=60, burst=20, bad_tokens=3, lockout_s=100)


class Door:
    """The middleware before an application that knows one good token, on a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reached = 0
        self.limit = RateLimit(self._app, ALLOWANCE, lambda: self.now)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached += 1
        given = dict(scope["headers"]).get(b"authorization")
        status = 200
        if given is not None and not scope["path"].startswith("/unread"):
            name = given.removeprefix(b"Bearer ").decode()
            if name.startswith("good"):
                scope["state"]["proved"] = name.split(".")[0]
            else:
                status = 401
        await Response(status_code=status)(scope, receive, send)

    def ask(
        self,
        path: str = "/collections",
        address: str = "10.0.0.1",
        bearer_: str | None = None,
        query: str = "",
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer."""
        headers = [*(headers or []), *([(b"authorization", f"Bearer {bearer_}".encode())] if bearer_ else [])]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "client": (address, 1),
        }
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        asyncio.run(self.limit(scope, receive, send))
        return sent[0]["status"], {key.decode(): value.decode() for key, value in sent[0]["headers"]}


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_burst_goes_through_and_then_one_has_to_wait(door: Door) -> None:
    assert [door.ask()[0] for _ in range(11)] == [*[200] * 10, 429]
    status, headers = door.ask()
    assert (status, headers["retry-after"]) == (429, "2")
    assert door.reached == 10, "what is refused is not even looked at"
    assert door.ask(address="10.0.0.2")[0] == 200, "neighbours are unaffected"
    door.now += 2.0
    assert [door.ask()[0] for _ in range(2)] == [200, 429], "two units a page, one unit a second"


def test_files_weigh_more_than_tiles_and_health_nothing(door: Door) -> None:
    assert door.ask(query="f=csv")[0] == 200
    assert door.ask()[0] == 429
    door.now += 20
    tile = "/collections/x/tiles/WebMercatorQuad/0/0/0"
    assert [door.ask(tile)[0] for _ in range(21)] == [*[200] * 20, 429]
    assert door.ask("/health/live")[0] == 200


def test_each_good_token_has_an_allowance_of_its_own(door: Door) -> None:
    assert door.ask(bearer_="good-a")[0] == 200
    for _ in range(12):
        door.ask()
    assert door.ask()[0] == 429
    assert [door.ask(bearer_="good-a")[0] for _ in range(11)] == [*[200] * 10, 429]
    assert door.ask(bearer_="good-b")[0] == 429, "a new one counts for its address until it has proved good"


def test_many_bad_tokens_lock_an_address_out_but_not_its_good_ones(door: Door) -> None:
    assert door.ask(bearer_="good-a")[0] == 200
    assert [door.ask(bearer_=f"bad-{k}")[0] for k in range(5)] == [401, 401, 401, 429, 429]
    assert door.ask(bearer_="good-a")[0] == 200
    assert door.ask()[0] == 200
    assert door.ask(bearer_="good-new", address="10.0.0.9")[0] == 200
    door.now += 101
    assert door.ask(bearer_="bad-again")[0] == 401


def test_a_persons_tokens_share_one_allowance(door: Door) -> None:
    for token in ("good-a.1", "good-a.2"):
        assert door.ask(bearer_=token)[0] == 200
    assert [door.ask(bearer_=f"good-a.{1 + k % 2}")[0] for k in range(11)] == [*[200] * 10, 429]


def test_a_door_that_reads_no_token_proves_none_good(door: Door) -> None:
    answers = [door.ask("/unread", bearer_=f"made-up-{k}")[0] for k in range(40)]
    assert answers == [*[200] * 10, *[429] * 30], "they count for their address"
    assert not door.limit._good
    door.now += 20
    for k in range(3):
        door.ask(bearer_=f"made-up-{k}")
    assert door.ask(bearer_="made-up-9")[0] == 429, "locked out, though a door answered to it before"


@pytest.mark.parametrize("query", ["f=csv", "f=%63sv", "%66=csv", "limit=5&f=parquet"])
def test_a_file_weighs_the_same_however_it_is_spelt(door: Door, query: str) -> None:
    assert [door.ask(query=query)[0], door.ask()[0]] == [200, 429]


def test_a_file_asked_for_by_accept_weighs_the_same(door: Door) -> None:
    headers = [(b"accept", b"text/csv;q=0.9")]
    assert [door.ask(headers=headers)[0], door.ask()[0]] == [200, 429]


def test_memory_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.limits._MOST_KNOWN", 10)
    for k in range(50):
        door.ask(address=f"10.0.1.{k}", bearer_=f"bad{k}")
    assert max(len(door.limit._buckets), len(door.limit._bad)) <= 10


@pytest.fixture
def strict(served: Served) -> TestClient:
    app = create_app(served.database, served.catalog, CITY, SECRET, allowance=ALLOWANCE, hosts=("twin.example.org",))
    return TestClient(app, base_url="http://127.0.0.1:8000")


def test_the_application_says_so_in_a_problem_document(strict: TestClient) -> None:
    answers = [strict.get("/conformance") for _ in range(11)]
    assert answers[0].headers["ratelimit"].startswith('"default";r=')
    assert answers[-1].status_code == 429
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert answers[-1].json()["code"] == "too-many-requests"
    elsewhere = strict.get("/conformance", headers={"Origin": "https://elsewhere.example"})
    assert elsewhere.status_code == 429
    assert elsewhere.headers["ratelimit"] == '"default";r=0;t=60'
    assert elsewhere.headers["access-control-allow-origin"] == "*", "a page elsewhere can read why it has to wait"


def test_no_word_is_a_token_until_the_twin_has_read_it(strict: TestClient) -> None:
    words = [f"Bearer made-up-{k // 5}" for k in range(30)]  # each comes back, as one that had proved good would
    answers = [strict.get("/conformance", headers={"Authorization": word}) for word in words]
    assert [answer.status_code for answer in answers] == [*[200] * 10, *[429] * 20]


def test_only_over_https_is_https_demanded(served: Served) -> None:
    app = create_app(served.database, served.catalog, CITY, SECRET)
    for scheme, said in (("https", "max-age=31536000"), ("http", None)):
        answer = TestClient(app, base_url=f"{scheme}://127.0.0.1").get("/conformance")
        assert answer.headers.get("strict-transport-security") == said


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("twin.example.org", 200),
        ("evil.example.org", 421),
        ("twin.example.org.evil.org", 421),
        ("127.0.0.1.evil.org", 421),
        ("evil.org/@127.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_our_own_names_are_answered(strict: TestClient, host: str, status: int) -> None:
    assert strict.get("/conformance", headers={"Host": host}).status_code == status


BODIES = {
    "nan": b'{"do": "add", "properties": {"height_m": NaN}}',
    "infinity": b'{"do": "add", "properties": {"height_m": Infinity}}',
    "huge float": b'{"do": "add", "properties": {"height_m": 1e999}}',
    "huge integer": b'{"do": "add", "properties": {"floors": 99999999999999999999999999}}',
    "nul": b'{"do": "remove", "dataset": "housing.buildings", "id": "a\\u0000b"}',
    "nul in a key": b'{"do": "add", "properties": {"a\\u0000": 1}}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deeper than allowed": b'{"a":' * 70 + b"1" + b"}" * 70,
    "no json": b"{",
    "empty": b"",
    "utf-16": '{"do": "add"}'.encode("utf-16"),
    "bad utf-8": b'{"do": "\xff"}',
    "many edits": b"[" + b",".join([b'{"do":"remove","dataset":"x.y","id":"a"}'] * 10_001) + b"]",
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize(
    "path", ["/branches", "/branches/none/edits", "/indicators/housing.floor_area/within", "/grants"]
)
def test_bodies_that_nothing_can_hold_are_refused(served: Served, path: str, kind: str) -> None:
    headers = {**bearer(Audience("administrator")), "Content-Type": "application/json"}
    answer = served.client.post(path, content=BODIES[kind], headers=headers)
    assert 400 <= answer.status_code < 500, answer.text


def test_a_name_that_is_said_twice_is_refused(served: Served) -> None:
    headers = {**bearer(Audience("planner")), "Content-Type": "application/json"}
    answer = served.client.post("/branches", content=b'{"name": "one", "title": "", "name": "two"}', headers=headers)
    assert answer.status_code == 400
    assert "'name' is there twice" in answer.json()["detail"]
    assert served.client.get("/branches/one", headers=headers).status_code == 404
    assert served.client.get("/branches/two", headers=headers).status_code == 404


def test_a_body_without_a_length_is_limited_too(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = "POST /branches HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        piece = b"x" * 65_536
        try:
            for _ in range(100):
                connection.sendall(b"10000\r\n" + piece + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the server has said enough
        assert b" 413 " in connection.recv(65_536).split(b"\r\n", 1)[0]
