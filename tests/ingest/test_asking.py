"""Sources that are asked: a real HTTP server, real databases; each answer once, and no address that nobody named."""

import asyncio
import datetime as dt
import gzip
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingest.running import receive_feeds
from ingest.sources.asking import Answer
from ingest.sources.sql import SqlReader
from ingest.sources.web import WebReader
from layers.catalog import catalog
from layers.feeds import Feed, HttpFeed, SqlFeed
from tests.ingest.test_mqtt import until
from tests.ingest.test_running import received
from tests.ingest.test_worker import ask
from twin.database import Database
from twin.errors import SetupError, SourceError, SourceUnavailable

COUNTS = "wifi.online_counts"
SECRET, MISSING = "web", "none"
EVERYWHERE = "0.0.0.0"  # noqa: S104  (an address that must not be asked)
Reply = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Answers as the test says, and remembers what was asked."""

    answer: Callable[[str, dict[str, str]], Reply]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """Hands requests to the test."""

    server: Server

    def do_GET(self) -> None:
        """Answer."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers))
        status, more, body = self.server.answer(self.path, headers)
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], Reply]) -> Iterator[Server]:
    server = Server()
    server.answer = answer  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def web(url: str, **more: object) -> HttpFeed:
    said = {"id": "web", "transport": "http", "protocol": "json", "url": url, "every": "1 s", "datasets": [COUNTS],
            "networks": ["127.0.0.0/8"], **more}  # fmt: skip
    return HttpFeed.model_validate(said)


def answers(reader: WebReader | SqlReader, position: str | None = None) -> list[Answer]:
    return list(reader.ask(position))


def test_an_answer_is_kept_once_and_asked_for_again_by_its_tag(tmp_path: Path) -> None:
    body = b'{"ap": "AP1"}'

    def answer(_: str, headers: dict[str, str]) -> Reply:
        if headers.get("if-none-match") == '"one"':
            return 304, {}, b""
        return 200, {"ETag": '"one"', "Content-Encoding": "gzip"}, gzip.compress(body)

    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "web").write_text("word\n")
    with serving(answer) as server:
        reader = WebReader(web(f"http://127.0.0.1:{server.port}/counts", token=SECRET), tmp_path)
        (first,) = answers(reader)
        assert first.messages == [body]
        assert answers(reader, first.position) == []
        (headers, _) = (server.asked[0][1], server.asked[1][1])
        assert headers["authorization"] == "Bearer word"
        assert headers["host"] == f"127.0.0.1:{server.port}"


def test_the_same_body_without_a_tag_is_kept_once(tmp_path: Path) -> None:
    bodies = iter([b"[1]", b"[1]", b"[2]"])
    with serving(lambda *_: (200, {}, next(bodies))) as server:
        reader = WebReader(web(f"http://127.0.0.1:{server.port}/"), tmp_path)
        (one,) = answers(reader)
        (two,) = answers(reader, one.position)
        (three,) = answers(reader, two.position)
    assert [one.messages, two.messages, three.messages] == [[b"[1]"], [], [b"[2]"]]


def test_pages_follow_and_the_next_asking_says_since_when(tmp_path: Path) -> None:
    def answer(path: str, _: dict[str, str]) -> Reply:
        if "skip" in path:
            return 200, {}, b'{"value": [{"result": 2}]}'
        return 200, {}, json.dumps({"value": [{"result": 1}], "@iot.nextLink": "/v1.1/Obs?skip=1"}).encode()

    with serving(answer) as server:
        url = f"http://127.0.0.1:{server.port}/v1.1/Obs?$filter=phenomenonTime%20gt%20{{since}}"
        reader = WebReader(web(url, protocol="sensorthings"), tmp_path)
        first, second = answers(reader)
        assert json.loads(first.position) == {}, "when the second page fails, all is asked for again"
        answers(reader, second.position)
        since = [urllib.parse.unquote(path).rpartition(" ")[2] for path, _ in server.asked if "skip" not in path]
    assert since[0] == "1970-01-01T00:00:00Z"
    gone = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(since[1])
    assert dt.timedelta(minutes=5) <= gone < dt.timedelta(minutes=7)


FORBIDDEN = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/other-port",
    "http://localhost/",
    "http://[::1]/",
    f"http://{EVERYWHERE}/",
    "file:///etc/passwd",
    "http://user@127.0.0.1/",
    "gopher://127.0.0.1/",
    "http://127.0.0.1:99999/",
    "//10.0.0.1/",
)


@pytest.mark.parametrize("there", FORBIDDEN)
def test_a_redirect_leads_nowhere_that_was_not_named(tmp_path: Path, there: str) -> None:
    with serving(lambda *_: (302, {"Location": there}, b"")) as server:
        reader = WebReader(web(f"http://127.0.0.1:{server.port}/"), tmp_path)
        with pytest.raises(SourceError):
            answers(reader)
        assert len(server.asked) == 1


def test_redirects_to_named_hosts_are_followed_without_the_token(tmp_path: Path) -> None:
    def answer(path: str, _: dict[str, str]) -> Reply:
        return (200, {}, b"{}") if path == "/there" else (307, {"Location": f"http://other.test:{port}/there"}, b"")

    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "web").write_text("word")
    with serving(answer) as server:
        port = server.port
        feed = web(f"http://first.test:{port}/", hosts=["other.test"], token=SECRET)
        assert len(answers(WebReader(feed, tmp_path, lambda *_: ["127.0.0.1"]))) == 1
        assert ["authorization" in headers for _, headers in server.asked] == [True, False]
        assert [headers["host"] for _, headers in server.asked] == [f"first.test:{port}", f"other.test:{port}"]


def test_it_does_not_run_in_circles(tmp_path: Path) -> None:
    with serving(lambda *_: (302, {"Location": "/again"}, b"")) as server:
        with pytest.raises(SourceError, match="redirects more than 3"):
            answers(WebReader(web(f"http://127.0.0.1:{server.port}/"), tmp_path))
        assert len(server.asked) == 4


INNER = ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", EVERYWHERE, "224.0.0.1", "::1",
         "fd00::1", "fe80::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b:1::1")  # fmt: skip


@pytest.mark.parametrize("address", INNER)
def test_a_name_that_leads_inside_is_not_asked(tmp_path: Path, address: str) -> None:
    """No network is named, so only addresses of the public internet are asked."""
    reader = WebReader(web("http://data.test/", networks=[]), tmp_path, lambda *_: [address])
    with pytest.raises(SourceError, match="no address of the public internet"):
        answers(reader)


def test_the_address_that_was_judged_is_the_one_that_is_asked(tmp_path: Path) -> None:
    """A name server that answers otherwise the second time leads nowhere: it is asked once for each request."""
    found = iter([["127.0.0.1"], ["127.0.0.9"]])
    with serving(lambda *_: (200, {}, b"{}")) as server:
        feed = web(f"http://data.test:{server.port}/", networks=["127.0.0.1/32"])
        reader = WebReader(feed, tmp_path, lambda *_: next(found))
        assert len(answers(reader)) == 1
        with pytest.raises(SourceError, match=r"127\.0\.0\.9"):
            answers(reader)
        assert len(server.asked) == 1


def test_faults_are_told_by_whether_they_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.sources.web._MOST_BYTES", 1_000)
    status = [503]
    body = [b""]
    with serving(lambda *_: (status[0], {}, body[0])) as server:
        reader = WebReader(web(f"http://127.0.0.1:{server.port}/"), tmp_path)
        with pytest.raises(SourceUnavailable, match="503"):
            answers(reader)
        status[0] = 403
        with pytest.raises(SourceError, match="403"):
            answers(reader)
        status[0], body[0] = 200, b"x" * 2_000
        with pytest.raises(SourceError, match="more than 1,000 bytes"):
            answers(reader)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        answers(reader)
    with pytest.raises(SourceUnavailable, match="not known"):
        answers(WebReader(web("http://nowhere.invalid/"), tmp_path))
    with pytest.raises(SetupError, match="no secret"):
        WebReader(web("http://data.test/", token=MISSING), tmp_path)


def receiving(database: Database, home: Path, feed: Feed, condition: Callable[[], bool]) -> None:
    async def main() -> None:
        running = asyncio.create_task(receive_feeds(database, catalog(), home, [feed]))
        await until(condition)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def fault(database: Database) -> str | None:
    rows = ask(database, "SELECT fault FROM twin.sources")
    return rows[0][0] if rows else None


def test_a_feed_is_asked_again_and_goes_on_over_restarts(database: Database, tmp_path: Path) -> None:
    number = [0]

    def answer(*_: object) -> Reply:
        number[0] += 1
        return (500, {}, b"") if number[0] == 2 else (200, {}, f'{{"n": {min(number[0], 5)}}}'.encode())

    with serving(answer) as server:
        feed = web(f"http://127.0.0.1:{server.port}/")
        receiving(database, tmp_path, feed, lambda: number[0] >= 2 and "answers 500" in (fault(database) or ""))
        receiving(database, tmp_path, feed, lambda: number[0] >= 7)
        assert fault(database) is None
    assert received(database, "web") == [b'{"n": 1}', b'{"n": 3}', b'{"n": 4}', b'{"n": 5}']


def test_an_answer_that_cannot_be_taken_ends_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours with one answer: the fault is told, and the next answer is asked for."""
    monkeypatch.setattr("ingest.sources.web.WebReader._page_behind", lambda *_: 1 / 0)
    asked = [0]

    def answer(*_: object) -> Reply:
        asked[0] += 1
        return 200, {}, b"{}"

    with serving(answer) as server:
        feed = web(f"http://127.0.0.1:{server.port}/")
        receiving(database, tmp_path, feed, lambda: asked[0] >= 2 and "ZeroDivisionError" in (fault(database) or ""))


def table(feed_home: Path, kind: str = "TEXT") -> sa.Engine:
    """A department's database: its table, and the secret that leads to it."""
    engine = sa.create_engine(f"sqlite:///{feed_home / 'theirs.db'}")
    (feed_home / "secrets").mkdir(exist_ok=True)
    (feed_home / "secrets" / "theirs").write_text(str(engine.url))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE readings (code TEXT, value NUMERIC, at {kind})"))
    return engine


def write(engine: sa.Engine, *rows: tuple[str, float, str]) -> None:
    with engine.begin() as connection:
        for code, value, at in rows:
            connection.execute(sa.text("INSERT INTO readings VALUES (:c, :v, :a)"), {"c": code, "v": value, "a": at})


def sql(**more: object) -> SqlFeed:
    said = {"id": "sql", "transport": "sql", "database": "theirs", "table": "readings", "columns": ["code", "value"],
            "watermark": "at", "start": "2026-01-01", "every": "1 s", "datasets": [COUNTS], **more}  # fmt: skip
    return SqlFeed.model_validate(said)


def test_rows_are_read_once_also_those_written_with_the_last_watermark(tmp_path: Path) -> None:
    engine = table(tmp_path)
    write(engine, ("old", 0, "2025-12-31"), ("a", 1, "2026-01-02"), ("b", 2.5, "2026-01-03"))
    reader = SqlReader(sql(), tmp_path)
    (first,) = answers(reader)
    assert first.messages == [b'{"code":"a","value":1}', b'{"code":"b","value":2.5}']
    write(engine, ("c", 3, "2026-01-03"), ("late", 0, "2026-01-02"))
    (second,) = answers(reader, first.position)
    assert second.messages == [b'{"code":"c","value":3}'], "texts have no overlap"
    (third,) = answers(reader, second.position)
    assert third.messages == []


def test_what_commits_late_is_found_within_the_overlap(database: Database, tmp_path: Path) -> None:
    """A real PostgreSQL: moments with an overlap, numbers of any length, a schema."""
    with database.writing() as connection:
        connection.execute(sa.text("CREATE SCHEMA theirs"))
        connection.execute(sa.text('CREATE TABLE theirs."Readings" (code text, value numeric, at timestamptz)'))
        connection.execute(sa.text("INSERT INTO theirs.\"Readings\" VALUES ('a', 1.10, '2026-01-02T00:00:30Z')"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "theirs").write_text(database.engine.url.render_as_string(hide_password=False))
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    reader = SqlReader(sql(table="theirs.Readings", start=start, overlap="1 min"), tmp_path)
    (first,) = answers(reader)
    assert first.messages == [b'{"code":"a","value":"1.10"}']
    with database.writing() as connection:
        for code, at in (("late", "2026-01-02T00:00:00Z"), ("too late", "2026-01-01T00:00:00Z")):
            connection.execute(sa.text('INSERT INTO theirs."Readings" VALUES (:c, 2, :a)'), {"c": code, "a": at})
    (second,) = answers(reader, first.position)
    assert second.messages == [b'{"code":"late","value":"2"}']
    assert answers(reader, second.position)[0].messages == []


def test_numbers_as_watermarks_and_many_rows(tmp_path: Path) -> None:
    engine = table(tmp_path, "INTEGER")
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 12000) "
                "INSERT INTO readings SELECT 'x' || v, v, v FROM n"
            )
        )
    reader = SqlReader(sql(start=11), tmp_path)
    parts = answers(reader)
    assert [len(part.messages) for part in parts] == [5000, 5000, 1990]
    assert answers(reader, parts[0].position)[0].messages[0] == b'{"code":"x5011","value":5011}'


@pytest.mark.parametrize(
    ("address", "more", "words", "kind"),
    [
        ("nonsense", {}, "has no driver here", SourceError),
        ("mysql+nodriver://x", {}, "has no driver here", SourceError),
        ("postgresql+psycopg://u:very-secret@127.0.0.1:1/x", {}, "cannot be read", SourceUnavailable),
        ("", {"table": "none"}, "cannot be read", SourceUnavailable),
        ("", {"start": 1}, "rows cannot be read", SourceError),
    ],
)
def test_what_is_wrong_with_a_database_is_told_without_its_password(
    tmp_path: Path, address: str, more: dict[str, object], words: str, kind: type[Exception]
) -> None:
    write(table(tmp_path), ("a", 1, "2026-01-02"))
    if address:
        (tmp_path / "secrets" / "theirs").write_text(address)
    with pytest.raises(kind, match=words) as told:
        answers(SqlReader(sql(**more), tmp_path))
    assert "very-secret" not in str(told.value)


def test_a_table_is_received(database: Database, tmp_path: Path) -> None:
    engine = table(tmp_path)
    write(engine, ("a", 1, "2026-01-02"))
    receiving(database, tmp_path, sql(), lambda: len(received(database, "sql")) == 1)
    write(engine, ("b", 2, "2026-01-03"))
    receiving(database, tmp_path, sql(), lambda: len(received(database, "sql")) == 2)
    assert received(database, "sql") == [b'{"code":"a","value":1}', b'{"code":"b","value":2}']


def test_networks_must_be_networks() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        web("http://data.test/", networks=["everything"])
