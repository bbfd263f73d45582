"""The public map in a real browser: what people see and do."""

import re
from urllib.parse import urlsplit

import h3
import httpx
import pytest
import shapely.geometry
from playwright.sync_api import expect
from rasterio.io import MemoryFile

from tests.web.visit import Json, Visit, Visitor, at

LAYER = "medical.institutions"


@pytest.fixture(scope="module")
def indicator(city_api: httpx.Client, city: Json) -> Json:
    """An indicator with values, and as `geometry` the centre of one of its cells at resolution 7."""
    query = {"resolution": 7, "bbox": ",".join(map(str, city["city"]["bounds"])), "f": "json"}
    for found in city_api.get("/indicators", params={"f": "json"}).json()["indicators"]:
        if found["resolution"] < 8:
            continue
        cells = city_api.get(f"/indicators/{found['id']}/cells", params=query).json()["cells"]
        if len(cells) > 1:
            latitude, longitude = h3.cell_to_latlng(cells[0]["cell"])
            return {**found, "geometry": {"type": "Point", "coordinates": (longitude, latitude)}}
    pytest.fail("no indicator of the city has values")


def test_page_loads_without_outside_requests_or_complaints(first: Visit, served_city: str) -> None:
    asked = [request.url for request in first.requests if not request.url.startswith(("blob:", "data:"))]
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(served_city).netloc}
    assert any("/tiles/" in url for url in asked), "no tile was asked for"
    assert first.complaints == []
    expect(first.page.locator("#notices")).to_be_empty()
    states = {entry.get_attribute("data-status") for entry in first.page.locator("#legend .entry").all()}
    assert "shown" in states
    assert states <= {"shown", "far"}


def test_all_that_can_be_drawn_is_listed_by_system(first: Visit, collections: dict[str, Json]) -> None:
    drawable = {name for name, item in collections.items() if item["twin"]["style"]["layers"]}
    systems = {item["twin"]["system"] for item in collections.values()}
    assert {box.get_attribute("value") for box in first.page.locator("#layers input").all()} == drawable
    assert first.page.locator("#layers .group").count() == len(systems)


def test_default_layers_are_on_at_first_lead_the_list_and_stand_in_the_legend(
    first: Visit, collections: dict[str, Json]
) -> None:
    default = {name for name, item in collections.items() if item["twin"]["style"].get("default")}
    page = first.page
    assert {box.get_attribute("value") for box in page.locator("#layers input:checked").all()} == default
    assert {entry.get_attribute("data-layer") for entry in page.locator("#legend .entry").all()} == default
    leading = page.locator("#layers .group").all()[: len({name.split(".")[0] for name in default})]
    assert all(group.locator("input:checked").count() for group in leading)


def test_legend_gives_source_and_age(first: Visit, collections: dict[str, Json]) -> None:
    source = first.page.locator(f"#legend [data-layer='{LAYER}'] .source")
    expect(source).to_contain_text(collections[LAYER]["twin"]["owner"])
    expect(source.locator("time")).to_have_attribute("datetime", collections[LAYER]["twin"]["updated_at"])


def test_approval_number_or_its_absence_is_printed(first: Visit, city: Json) -> None:
    number = city["city"]["map_approval_no"]
    expect(first.page.locator("#approval")).to_have_text(f"审图号：{number}" if number else "内部测试，未经审图")


def test_synthetic_data_says_so(first: Visit, city: Json) -> None:
    banner = first.page.locator("#synthetic")
    expect(banner).to_have_text("合成数据 · 仅供演示")
    assert banner.is_visible() == city["synthetic"]


def test_toggling_a_layer_loads_and_removes_it(visit: Visitor) -> None:
    seen = visit()
    page = seen.open("layers=")
    tiles = f"/collections/{LAYER}/tiles/"
    assert not any(tiles in request.url for request in seen.requests), "a layer that is off was loaded"
    page.fill("#search", LAYER)
    page.check(f"#layers input[value='{LAYER}']")
    seen.rest()
    assert any(tiles in request.url for request in seen.requests)
    expect(page.locator(f"#legend [data-layer='{LAYER}']")).to_have_attribute("data-status", "shown")
    assert f"layers={LAYER}" in seen.state
    page.locator(f"#legend [data-layer='{LAYER}'] [data-key^=hide]").click()
    expect(page.locator(f"#legend [data-layer='{LAYER}']")).to_have_count(0)
    expect(page.locator(f"#layers input[value='{LAYER}']")).not_to_be_checked()


def test_what_is_shown_as_a_layer_is_not_covered_by_the_basemap(visit: Visitor, city_api: httpx.Client) -> None:
    """From street level on the basemap has solid buildings, which would lie over the layer of buildings."""
    query = {"limit": 1, "filter": "use = 'residential'", "f": "json"}
    (house,) = city_api.get("/collections/housing.buildings/items", params=query).json()["features"]
    centre = shapely.geometry.shape(house["geometry"]).representative_point()
    place = {"geometry": {"coordinates": (centre.x, centre.y)}}
    seen = visit()
    seen.open(f"{at(18, place)}&layers=housing.buildings")
    x, y = seen.centre()
    clip = {"x": x - 1, "y": y - 1, "width": 2, "height": 2}
    shown = seen.page.locator("#legend .signs li").first
    expect(shown).to_contain_text("住宅")
    with MemoryFile(seen.page.screenshot(clip=clip)) as file, file.open() as picture:
        red, _, blue = picture.read().mean(axis=(1, 2))[:3]
    assert blue - red > 60, "residential buildings are blue (#0072B2, half covering)"


def test_search_finds_by_name_and_by_department(first: Visit, collections: dict[str, Json]) -> None:
    page = first.page
    twin = collections[LAYER]["twin"]
    for words in (twin["title"]["zh"], twin["title"]["en"].upper(), twin["owner"], twin["system_title"]["en"]):
        page.fill("#search", words)
        expect(page.locator(f"#layers input[value='{LAYER}']")).to_be_visible()
        assert page.locator("#layers .row:visible").count() < len(collections)
    page.fill("#search", "zzzz")
    assert page.locator("#layers .row:visible").count() == 0
    page.locator("#layers .verb").click()
    expect(page.locator("#search")).to_have_value("")


def test_click_opens_the_card_with_titles_units_place_and_times(
    visit: Visitor, hospital: Json, collections: dict[str, Json]
) -> None:
    seen = visit()
    page = seen.open(f"{at(17, hospital)}&layers={LAYER}", lang="en")
    page.mouse.click(*seen.centre())
    card = page.locator("#card")
    expect(card.locator("dl").first).to_be_visible()
    assert f"feature={LAYER}/" in seen.state
    for field in collections[LAYER]["twin"]["fields"].values():
        expect(card.locator("dt", has_text=re.compile(f"^{re.escape(field['title']['en'])}$")).first).to_be_visible()
    expect(card).to_contain_text("Accuracy")
    expect(card).to_contain_text("±")
    expect(card).to_contain_text("Recorded")
    expect(card).to_contain_text(collections[LAYER]["twin"]["owner"])
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    assert "feature=" not in seen.state


def test_choropleth_draws_with_legend_and_opens_cells(visit: Visitor, indicator: Json) -> None:
    seen = visit()
    page = seen.open(f"{at(9, indicator)}&layers=&indicator={indicator['id']}")
    entry = page.locator("#legend [data-indicator]")
    expect(entry).to_have_attribute("data-status", "shown")
    expect(entry.locator(".classes li").first).to_be_visible()
    expect(entry).to_contain_text(indicator["title"]["zh"])
    expect(page.locator("#tab-indicators")).to_have_attribute("aria-selected", "true")
    page.mouse.click(*seen.centre())
    expect(page.locator("#card .figure")).to_be_visible()
    longitude, latitude = indicator["geometry"]["coordinates"]
    expect(page.locator("#card")).to_contain_text(h3.latlng_to_cell(latitude, longitude, 7))


def test_resolution_of_cells_follows_the_zoom(visit: Visitor, indicator: Json) -> None:
    seen = visit()
    page = seen.open(f"{at(9, indicator)}&layers=&indicator={indicator['id']}")
    assert _resolutions(seen) == [7]
    for _ in range(3):
        page.locator(".maplibregl-ctrl-zoom-in").click()
        seen.rest()
    page.wait_for_timeout(500)
    seen.rest()
    assert _resolutions(seen)[-1] > 7
    assert max(_resolutions(seen)) <= indicator["resolution"]


def _resolutions(seen: Visit) -> list[int]:
    """The H3 resolutions the page asked for, in order."""
    return [int(n) for request in seen.requests for n in re.findall(r"/cells\?.*resolution=(\d+)", request.url)]


def test_language_switch_keeps_the_state(visit: Visitor, collections: dict[str, Json]) -> None:
    seen = visit()
    page = seen.open(f"map=11.00/34.80000/117.30000&layers={LAYER}")
    before = seen.state
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    row = page.locator(f"#layers label:has(input[value='{LAYER}'])")
    expect(row).to_contain_text(collections[LAYER]["twin"]["title"]["zh"])
    page.click("#language")
    page.wait_for_url("**lang=en**")
    seen.rest()
    assert seen.state == before
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(row).to_contain_text(collections[LAYER]["twin"]["title"]["en"])
    expect(page.locator("#synthetic")).to_have_text("Synthetic data · demonstration only")


def test_address_holds_the_whole_state_and_back_walks_through_it(visit: Visitor, hospital: Json) -> None:
    seen = visit()
    page = seen.open(f"{at(16, hospital)}&layers={LAYER}")
    page.locator(f"#legend [data-layer='{LAYER}'] [data-key^=list]").click()
    rows = page.locator("#records tbody tr")
    expect(rows.first).to_be_visible()
    assert f"records={LAYER}" in seen.state
    rows.first.locator("button").click()
    expect(page.locator("#card dl").first).to_be_visible()
    assert f"feature={LAYER}/" in seen.state
    state = seen.state
    page.go_back()
    expect(page.locator("#card")).to_be_hidden()
    page.go_back()
    expect(page.locator("#records")).to_be_hidden()
    page.go_forward()
    expect(rows.first).to_be_visible()
    page = visit().open(state)
    expect(page.locator("#records tbody tr").first).to_be_visible()
    expect(page.locator("#card dl").first).to_be_visible()
    expect(page.locator("#layers input:checked")).to_have_count(1)


def test_link_to_what_is_not_there_says_so(visit: Visitor) -> None:
    page = visit().open(f"layers=nowhere.nothing,{LAYER}&feature={LAYER}/no-such-record")
    expect(page.locator("#notices")).to_contain_text("nowhere.nothing")
    advice = page.locator("#card .advice")
    expect(advice).to_be_visible()
    expect(advice.locator("button")).to_have_text("重试")


def test_lost_connection_is_said_and_retried(visit: Visitor) -> None:
    seen = visit()
    page = seen.open("layers=")
    page.context.set_offline(True)
    page.fill("#search", LAYER)
    page.check(f"#layers input[value='{LAYER}']")
    entry = page.locator(f"#legend [data-layer='{LAYER}']")
    expect(entry).to_have_attribute("data-status", "error")
    page.context.set_offline(False)
    entry.locator(".verb").click()
    expect(entry).to_have_attribute("data-status", "shown", timeout=30_000)


def test_layer_out_of_its_zoom_offers_to_zoom_in(visit: Visitor, collections: dict[str, Json]) -> None:
    deep = next(name for name, item in collections.items() if (item["twin"]["style"].get("minzoom") or 0) >= 12)
    seen = visit()
    page = seen.open(f"layers={deep}")
    entry = page.locator(f"#legend [data-layer='{deep}']")
    expect(entry).to_have_attribute("data-status", "far")
    entry.locator(".verb").click()
    expect(entry).not_to_have_attribute("data-status", "far")


def test_without_webgl_the_records_can_still_be_listed(visit: Visitor) -> None:
    seen = visit()
    seen.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    seen.page.goto(f"{seen.address}/maps/public?lang=en#layers={LAYER}&records={LAYER}")
    expect(seen.page.locator("#notices")).to_contain_text("WebGL 2")
    expect(seen.page.locator("#records tbody tr").first).to_be_visible()
