"""A real Chromium without internet that visits the pages of a running city (`served_city`)."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.web.visit import Json, Visit, Visitor

_PROJECT = Path(__file__).parents[2]
_WEB = _PROJECT / "api" / "web"
_CHROMIUM = "/usr/bin/chromium"
# Software rendering gives every machine the same picture; no name but this machine's resolves: nothing can leave it.
_FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-gpu-compositing",  # only the map needs the graphics card that software plays
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_DESKTOP = {"width": 1280, "height": 720}

expect.set_options(timeout=30_000)  # a busy machine takes its time


@pytest.fixture(scope="session")
def web() -> Path:
    """The folder of the pages' sources."""
    return _WEB


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """The build hook as a module: it lies outside every package."""
    spec = importlib.util.spec_from_file_location("hatch_build", _PROJECT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def node_modules(web: Path, builder: ModuleType) -> Path:
    """The packages of package-lock.json, installed."""
    if not (web / "node_modules" / "axe-core").exists():
        builder.install(web)
    return web / "node_modules"


@pytest.fixture(scope="session")
def bundle(web: Path, builder: ModuleType) -> Path:
    """The built pages, no older than their sources."""
    if not builder.is_fresh(web):
        builder.build(web)
    return web / "dist"


@pytest.fixture(scope="session")
def city_api(served_city: str) -> Iterator[httpx.Client]:
    """The HTTP interface of the running city."""
    with httpx.Client(base_url=served_city, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def browser(served_city: str) -> Iterator[Browser]:
    """Debian's Chromium, closed after each module: while it is open, this thread belongs to its event loop."""
    assert served_city
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, bundle: Path, served_city: str) -> Iterator[Visitor]:
    """Makes visitors: `visit()` on a desktop, `visit(viewport=..., ...)` with any option of a browser context."""
    assert bundle.exists()
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Visit:
        contexts.append(_context(browser, **options))
        return Visit(contexts[-1].new_page(), served_city)

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def first(browser: Browser, bundle: Path, served_city: str) -> Iterator[Visit]:
    """The page at the first visit, on a desktop, in Chinese. One for many tests: they leave it as they found it."""
    assert bundle.exists()
    with _context(browser) as context:
        seen = Visit(context.new_page(), served_city)
        seen.open()
        yield seen


def _context(browser: Browser, **options: Any) -> BrowserContext:
    return browser.new_context(**{"viewport": _DESKTOP, "reduced_motion": "reduce", **options})


@pytest.fixture(scope="session")
def city(city_api: httpx.Client) -> Json:
    """What the landing page says of the city."""
    twin: Json = city_api.get("/", params={"f": "json"}).raise_for_status().json()["twin"]
    return twin


@pytest.fixture(scope="session")
def collections(city_api: httpx.Client) -> dict[str, Json]:
    """The datasets that the public sees, by id."""
    answer = city_api.get("/collections", params={"f": "json"}).raise_for_status()
    return {item["id"]: item for item in answer.json()["collections"]}


@pytest.fixture(scope="session")
def hospital(city_api: httpx.Client) -> Json:
    """One record with a point: GeoJSON of a medical institution."""
    answer = city_api.get("/collections/medical.institutions/items", params={"limit": 50, "f": "json"})
    features: list[Json] = answer.raise_for_status().json()["features"]
    return next(feature for feature in features if feature["geometry"]["type"] == "Point")
