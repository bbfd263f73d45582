"""Tiles over HTTP: the same records as the database, validators, compression, metadata."""

import gzip
import math
import time
from urllib.parse import parse_qsl, urlsplit

import mapbox_vector_tile
import pytest

from layers.versions import mark_changed
from tests.api.city import Served, bearer
from tests.layers.park import CITY, put
from twin.access import Audience
from twin.view import Span, parse_moment

PATH = "/collections/{}/tiles/WebMercatorQuad"


def address(z: int) -> tuple[int, int, int]:
    """The tile at the city's centre as z, y, x."""
    lon, lat = CITY.centre
    x = int((lon + 180) / 360 * 2**z)
    y = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z)
    return z, y, x


def tile_url(dataset: str, z: int) -> str:
    return PATH.format(dataset) + "/" + "/".join(map(str, address(z)))


@pytest.mark.parametrize(
    "dataset", ["housing.buildings", "transport.roads", "medical.institutions", "education.schools"]
)
def test_a_tile_of_the_whole_city_has_the_database_s_records(served: Served, dataset: str) -> None:
    answer = served.get(tile_url(dataset, 6))
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    (layer,) = mapbox_vector_tile.decode(answer.content).items()
    assert layer[0] == dataset
    ids = {feature["properties"]["id"] for feature in layer[1]["features"]}
    assert len(ids) == len(layer[1]["features"]) == served.scalar(f"SELECT count(*) FROM {dataset}")
    assert all(served.get(f"/collections/{dataset}/items/{fid}").status_code == 200 for fid in list(ids)[:2])


def test_a_tile_is_kept_until_its_dataset_changes(served: Served) -> None:
    url = tile_url("education.schools", 8)
    first = served.get(url)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert "no-cache" in first.headers["cache-control"]
    again = served.get(url, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    new = {"id": "new", "name": "new", "wkt": f"POINT({CITY.centre[0]} {CITY.centre[1]})"}
    put(served.database, served.catalog, "education.schools", [new])
    with served.database.writing() as connection:
        mark_changed(connection, "education.schools", served.scalar("SELECT now()"))
    time.sleep(1.1)  # versions are looked up once a second
    changed = served.get(url, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    (layer,) = mapbox_vector_tile.decode(changed.content).values()
    assert "new" in {feature["properties"]["id"] for feature in layer["features"]}


def test_a_validator_belongs_to_an_audience(served: Served) -> None:
    url = tile_url("education.schools", 8)
    tags = {served.get(url, Audience(name)).headers["etag"] for name in ("public", "planner", "administrator")}
    assert len(tags) == 3
    assert "private" in served.get(url, Audience("planner")).headers["cache-control"]
    assert "Authorization" in served.get(url).headers["vary"]


def test_a_tile_is_sent_packed_to_who_can_unpack_it(served: Served) -> None:
    for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
        path = tile_url("housing.buildings", 10)
        with served.client.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
            assert answer.headers.get("content-encoding") == encoding
            body = b"".join(answer.iter_raw())
        assert mapbox_vector_tile.decode(gzip.decompress(body) if encoding else body)


def test_where_nothing_is_the_tile_is_empty(served: Served) -> None:
    answer = served.get(PATH.format("housing.buildings") + "/12/0/0")
    assert (answer.status_code, answer.content) == (200, b"")


def test_tilesets_and_tilejson(served: Served) -> None:
    base = PATH.format("housing.buildings")
    described = served.json(f"{base}/tilejson.json")
    assert described == served.json(base, f="tilejson")
    assert described["tilejson"] == "3.0.0"
    z, y, x = address(12)
    filled = described["tiles"][0].replace("{z}", str(z)).replace("{y}", str(y)).replace("{x}", str(x))
    assert served.get(filled).status_code == 200
    (tileset,) = served.json("/collections/housing.buildings/tiles")["tilesets"]
    item = next(link for link in tileset["links"] if link["rel"] == "item")
    assert item["templated"]
    assert tileset["tileMatrixSetURI"] == served.json("/tileMatrixSets/WebMercatorQuad")["uri"]
    assert served.json("/tileMatrixSets")["tileMatrixSets"][0]["id"] == "WebMercatorQuad"


def test_tilejson_leads_to_the_tiles_of_its_view(served: Served) -> None:
    base = PATH.format("housing.buildings")
    question = {"datetime": "2026-01-01T00:00:00+08:00/..", "known-at": "2001-10-01T08:00:00Z"}
    (template,) = served.json(f"{base}/tilejson.json", **question)["tiles"]
    (tileset,) = served.json("/collections/housing.buildings/tiles", **question)["tilesets"]
    item = next(link["href"] for link in tileset["links"] if link["rel"] == "item")
    for address_ in (template, item):
        asked = dict(parse_qsl(urlsplit(address_).query))
        assert Span.parse(asked["datetime"]) == Span.parse(question["datetime"])
        assert parse_moment(asked["known-at"]) == parse_moment(question["known-at"])
    z, y, x = address(12)
    filled = template.replace("{z}", str(z)).replace("{y}", str(y)).replace("{x}", str(x))
    assert served.get(filled).content == b"", "nothing was known yet"


def test_the_basemap_asks_nothing_but_this_server_for_what_the_reader_may_see(served: Served) -> None:
    made = served.json("/basemaps/light/style.json", lang="zh")
    vector = {name: source for name, source in made["sources"].items() if source["type"] == "vector"}
    assert {"sharing.boundaries", "transport.roads", "housing.buildings"} <= set(vector)
    for source in vector.values():
        assert all(template.startswith(f"{served.url}/collections/") for template in source["tiles"])
    assert "glyphs" not in made
    assert "sprite" not in made


def test_tokens_go_in_the_header_only(served: Served) -> None:
    token = bearer(Audience("dispatch"))["Authorization"].split()[1]
    assert served.get("/collections/video.cameras", access_token=token).status_code == 400
    assert served.get("/collections/video.cameras", headers={"Cookie": f"token={token}"}).status_code == 404
