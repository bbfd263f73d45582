"""A visit to the public map, and all that the page asked for and complained about."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request

Json = dict[str, Any]
_PATIENCE_S = 60


def at(zoom: float, place: Json) -> str:
    """The part of the page's state that puts a point, a GeoJSON feature, into the middle of the map."""
    longitude, latitude = place["geometry"]["coordinates"]
    return f"map={zoom}/{latitude}/{longitude}"


class Visit:
    """One page in its own browser context, and all it asked for and complained about."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request))  # noqa: PLW0108  (it marks its handlers)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, said: ConsoleMessage) -> None:
        # What the graphics driver says of its speed is the machine's affair, not the page's.
        if said.type in {"error", "warning"} and "GL Driver Message" not in said.text:
            self.complaints.append(said.text)

    def open(self, state: str = "", lang: str = "zh") -> Page:
        """Go to the public map with this state (`map=...&layers=...`) and wait until it is at rest."""
        self.page.goto(f"{self.address}/maps/public?lang={lang}#{state}")
        self.rest()
        return self.page

    def go(self, state: str) -> None:
        """Change the state in the address of the open page, as by hand, and wait until it is at rest."""
        self.page.evaluate("state => { location.hash = state; }", state)
        self.rest()

    def rest(self) -> None:
        """Wait until nothing loads, moves or waits to be drawn."""
        self.until("window.ready === true")

    def until(self, condition: str) -> None:
        """Wait for a JavaScript condition. Asked from outside: the page's policy forbids `eval` within."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"never came true: {condition}"
            self.page.wait_for_timeout(50)
        self.page.wait_for_timeout(50)

    def centre(self) -> tuple[float, float]:
        """The point of the screen where the centre of the map is: between the panels."""
        left, right = self.box(".rail"), self.box("#legend")
        return (left["x"] + left["width"] + right["x"]) / 2, self.page.viewport_size["height"] / 2  # type: ignore[index]

    def box(self, selector: str) -> dict[str, float]:
        """Where an element is on the screen."""
        found = self.page.locator(selector).bounding_box()
        assert found is not None, f"{selector} is not on the screen"
        return dict(found)

    @property
    def state(self) -> str:
        """The state in the page's address."""
        return urlsplit(self.page.url).fragment


Visitor = Callable[..., Visit]
"""Makes visits: `visit()` on a desktop, `visit(viewport=..., ...)` with any option of a browser context."""
