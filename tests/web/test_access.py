"""Everyone can use the page: axe finds nothing, the keyboard reaches everything, a phone has room for it."""

from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.visit import Json, Visit, Visitor, at

LAYER = "medical.institutions"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_axe_finds_nothing(visit: Visitor, hospital: Json, node_modules: Path, device: str) -> None:
    seen = visit(bypass_csp=True, **(PHONE if device == "phone" else {}))  # the checker is injected into the page
    page = seen.open(lang="en")
    page.add_script_tag(path=node_modules / "axe-core" / "axe.min.js")

    def check(state: str) -> None:
        found = page.evaluate("tags => axe.run({runOnly: tags, resultTypes: ['violations']})", RULES)
        faults = [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]]
        assert faults == [], state
        assert found["passes"], "axe checked nothing"

    check("the first visit")
    seen.go("layers=")
    check("no layer on the map")
    seen.go(f"{at(16, hospital)}&layers={LAYER}&records={LAYER}")
    expect(page.locator("#records tbody tr").first).to_be_visible()
    check("records in a table")
    seen.go(f"layers={LAYER}&feature={LAYER}/{hospital['id']}")
    expect(page.locator("#card dl").first).to_be_visible()
    check("the card of a record")
    seen.go(f"layers={LAYER}&at=2026-11-01T00:00:00Z")
    expect(page.locator("#time")).to_be_visible()
    check("another moment")


def test_keyboard_reaches_and_does_everything(visit: Visitor) -> None:
    seen = visit()
    page = seen.open("layers=")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type(LAYER)
    for _ in range(3):  # the tab, the group, its only row
        page.keyboard.press("Tab")
    expect(page.locator(f"#layers input[value='{LAYER}']")).to_be_focused()
    page.keyboard.press("Space")
    seen.rest()
    table = page.locator(f"#legend [data-layer='{LAYER}'] [data-key^=list]")
    for _ in range(12):
        page.keyboard.press("Tab")
        if table.evaluate("button => button === document.activeElement"):
            break
    expect(table).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#records h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#records")).to_be_hidden()


def test_tabs_are_moved_by_arrow_keys_and_focus_is_seen(first: Visit) -> None:
    page = first.page
    page.focus("#search")
    page.keyboard.press("Tab")
    expect(page.locator("#tab-layers")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-indicators")).to_be_focused()
    expect(page.locator("#indicators")).to_be_visible()
    expect(page.locator("#layers")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#layers")).to_be_visible()


def test_focus_goes_into_the_card_and_back(visit: Visitor, hospital: Json) -> None:
    page = visit().open(f"{at(16, hospital)}&layers={LAYER}&records={LAYER}")
    opener = page.locator("#records tbody button").first
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#card h2")).to_be_focused()
    expect(page.locator("#card dl").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#card")).to_be_hidden()
    expect(opener).to_be_focused()


def test_phone_has_a_sheet_with_three_stops(visit: Visitor) -> None:
    seen = visit(**PHONE)
    page = seen.open("layers=")
    heights = []
    page.focus("#handle")
    for key in ("ArrowDown", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        heights.append(seen.box("#panel")["height"])
    assert heights == sorted(set(heights)), "three different stops, each higher than the last"
    assert heights[2] < PHONE["viewport"]["height"]
    handle = seen.box("#handle")
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(handle["x"], 400, steps=4)
    page.mouse.up()
    expect(page.locator("body")).to_have_attribute("data-stop", "half")


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_phone_shows_map_legend_and_marks_without_overlap(visit: Visitor, city: Json, lang: str) -> None:
    assert city["synthetic"], "a real city has one mark less"
    seen = visit(**PHONE)
    page = seen.open(lang=lang)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
    pieces = [seen.box(selector) for selector in (".top", "#synthetic", ".imprint", "#legend", "#panel")]
    for upper, lower in pairwise(pieces):
        assert upper["y"] + upper["height"] <= lower["y"] + 1
    for selector in ("#language", "#search", "#tab-layers", ".maplibregl-ctrl-zoom-in"):
        assert seen.box(selector)["height"] >= 44, f"{selector} is too small for a finger"


def test_phone_card_fills_the_sheet(visit: Visitor, hospital: Json) -> None:
    seen = visit(**PHONE)
    page = seen.open(f"layers={LAYER}&feature={LAYER}/{hospital['id']}")
    expect(page.locator("#card dl").first).to_be_visible()
    assert seen.box("#card")["width"] == PHONE["viewport"]["width"]
    page.locator("#card header .icon-button").last.tap()
    expect(page.locator("#card")).to_be_hidden()


def test_less_motion_means_none(first: Visit) -> None:
    moving = first.page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length")
    assert moving == 0
