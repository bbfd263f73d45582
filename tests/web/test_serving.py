"""How the pages are served: types, encodings, caching, security headers, and what happens without a bundle."""

import os
import re
from pathlib import Path

import httpx
import pytest

from api import pages
from twin.city import city
from twin.errors import SetupError


def _asset(city_api: httpx.Client, suffix: str) -> str:
    html = city_api.get("/maps/public").text
    found = re.search(rf'"(/static/[^"]+\.{suffix})"', html)
    assert found is not None
    return found.group(1)


def _policy(answer: httpx.Response) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))


def test_page_allows_nothing_foreign(city_api: httpx.Client) -> None:
    answer = city_api.get("/maps/public")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = _policy(answer)
    assert policy["default-src"] == "'self'"
    assert policy["worker-src"] == "'self'"
    assert policy["object-src"] == "'none'"
    assert not any("unsafe" in value or "http" in value for value in policy.values())
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-cache"


def test_page_is_not_indexed_without_a_map_approval(city_api: httpx.Client) -> None:
    robots = city_api.get("/maps/public").headers.get("x-robots-tag")
    assert robots == (None if city().map_approval_no else "noindex")


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("br, gzip", "br"),
        ("gzip", "gzip"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("*", "br"),
        ("identity", None),
        ("", None),
        ("deflate", None),
    ],
)
def test_scripts_come_in_the_best_accepted_encoding(city_api: httpx.Client, accept: str, encoding: str | None) -> None:
    answer = city_api.get(_asset(city_api, "js"), headers={"accept-encoding": accept})
    assert answer.headers.get("content-encoding") == encoding
    assert "Accept-Encoding" in answer.headers["vary"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]


def test_every_encoding_holds_the_same_script(city_api: httpx.Client) -> None:
    plain = city_api.get(_asset(city_api, "js"), headers={"accept-encoding": "identity"})
    packed = city_api.get(_asset(city_api, "js"), headers={"accept-encoding": "gzip"})
    assert packed.content == plain.content  # the client unpacks


def test_worker_and_styles_have_their_types(city_api: httpx.Client, bundle: Path) -> None:
    worker = city_api.get(f"/static/assets/{next(bundle.rglob('*worker*.mjs')).name}")
    assert worker.headers["content-type"].startswith("text/javascript")
    assert _policy(worker)["default-src"] == "'self'", "a worker that may not connect gets no tiles"
    assert city_api.get(_asset(city_api, "css")).headers["content-type"].startswith("text/css")


def test_known_content_is_not_sent_again(city_api: httpx.Client) -> None:
    first = city_api.get("/maps/public")
    again = city_api.get("/maps/public", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == httpx.codes.NOT_MODIFIED
    assert again.content == b""


def test_head_has_headers_and_no_body(city_api: httpx.Client) -> None:
    answer = city_api.head("/maps/public")
    assert answer.status_code == httpx.codes.OK
    assert answer.content == b""


@pytest.mark.parametrize("path", ["assets/none.js", "%2e%2e/pages.py", "..%2fpages.py", "/etc/passwd", ""])
def test_only_files_of_the_bundle_are_served(city_api: httpx.Client, path: str) -> None:
    answer = city_api.get(f"/static/{path}")
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.headers["content-type"] == "application/problem+json"


def test_missing_bundle_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_DIST", tmp_path)
    with pytest.raises(SetupError, match=r"python hatch_build\.py"):
        pages._bundle()


def test_new_bundle_is_served_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_DIST", tmp_path)
    (tmp_path / "public.html").write_text("<!doctype html>")
    assert set(pages._bundle()) == {"public.html"}
    (tmp_path / "public.js").write_text("")
    os.utime(tmp_path / "public.html", (0, 0))
    assert set(pages._bundle()) == {"public.html", "public.js"}
