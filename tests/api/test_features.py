"""OGC API Features over HTTP: links, pages, boxes, coordinate systems, times, filters, files."""

import csv
import datetime as dt
import io
import json
from typing import Any

import pytest

from tests.api.city import RECORDS, Served
from tests.layers.park import put
from twin.access import Audience

BUILDINGS = "/collections/housing.buildings"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"


def rels(body: dict[str, Any]) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in body["links"]}


def test_everything_is_found_from_the_landing_page(served: Served) -> None:
    landing = served.json("/")
    links = rels(landing)
    for rel in ("self", "alternate", "service-desc", "service-doc", "conformance", "data", "map"):
        if rel != "map":  # the page's bundle is built separately
            answer = served.get(links[rel])
            assert answer.status_code == 200, rel
            expected = next(link["type"] for link in landing["links"] if link["rel"] == rel)
            assert answer.headers["content-type"].split(";")[0] == expected.split(";")[0]
    assert landing["twin"]["city"]["bounds"] == [116.6, 34.3, 118.05, 35.5]
    assert landing["twin"]["audience"] == "public"
    assert len(served.json("/conformance")["conformsTo"]) > 5
    for collection in served.json(links["data"])["collections"][:5]:
        for link in collection["links"]:
            answer = served.get(link["href"])
            assert answer.status_code == 200, link
            assert answer.headers["content-type"].split(";")[0] == link["type"]


def test_people_get_a_page_and_programs_get_json(served: Served) -> None:
    page = served.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "zh-CN"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "枣庄市" in page.text
    assert "housing.buildings" in page.text
    assert "video.cameras" not in page.text
    assert "Zaozhuang" in served.get("/", f="html", lang="en").text
    for accept in ("*/*", "application/json", "text/html;q=0.1, application/json"):
        assert served.get("/", headers={"Accept": accept}).headers["content-type"] == "application/json"


def test_a_collection_says_what_a_page_needs(served: Served) -> None:
    found = served.json(BUILDINGS)
    assert (found["id"], found["itemType"], found["storageCrs"]) == ("housing.buildings", "feature", f"{EPSG}4490")
    assert found["crs"][0] == CRS84
    west, south, east, north = found["extent"]["spatial"]["bbox"][0]
    assert 116 < west < east < 119
    assert 34 < south < north < 36
    twin = found["twin"]
    assert twin["count"] == served.scalar("SELECT count(*) FROM housing.buildings") == RECORDS
    assert twin["fields"]["use"]["values"]["office"] == {"zh": "办公", "en": "Offices"}
    assert {layer["type"] for layer in twin["style"]["layers"]} >= {"fill", "line"}
    assert {"colour", "shape", "label"} == set(twin["style"]["legend"][0])
    assert "housing.floor_area" in twin["indicators"]
    assert served.json(BUILDINGS, lang="en")["title"] == "Buildings"
    assert served.json(BUILDINGS, lang="zh")["title"] == "房屋建筑"


def test_the_first_page(served: Served) -> None:
    answer = served.get(f"{BUILDINGS}/items", limit=7)
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["content-crs"] == f"<{CRS84}>"
    body = answer.json()
    assert (body["type"], body["numberMatched"], body["numberReturned"]) == ("FeatureCollection", RECORDS, 7)
    assert len(body["features"]) == 7
    assert rels(body)["self"] == f"{served.url}{BUILDINGS}/items?limit=7"
    assert answer.headers["link"] == f'<{rels(body)["next"]}>; rel="next"'


def test_pages_are_followed_while_records_arrive(served: Served) -> None:
    path = "/collections/medical.institutions/items?limit=7"
    before = {row[0] for row in _rows(served, "SELECT id FROM medical.institutions")}
    seen: list[str] = []
    link: str | None = path
    turn = 0
    while link:
        body = served.json(link)
        assert body["numberMatched"] == len(before)
        seen += [feature["id"] for feature in body["features"]]
        link = rels(body).get("next")
        new = {"id": f"{'a' if turn % 2 else 'z'}{turn}", "wkt": "POINT(117.3 34.8)", "name": "new"}
        put(served.database, served.catalog, "medical.institutions", [new])
        turn += 1
    assert len(seen) == len(set(seen))
    assert before <= set(seen)
    with served.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM medical.institutions WHERE name = 'new'")


def _rows(served: Served, question: str) -> list[Any]:
    with served.database.engine.connect() as connection:
        return list(connection.exec_driver_sql(question).all())


def test_a_limit_above_the_most_is_lowered(served: Served) -> None:
    assert served.json(f"{BUILDINGS}/items", limit=1_000_000)["numberReturned"] == RECORDS


BOX = (117.30, 34.78, 117.34, 34.84)
IN_BOX = "SELECT count(*) FROM {} WHERE ST_Intersects(geom, ST_MakeEnvelope(117.30, 34.78, 117.34, 34.84, 4490))"


@pytest.mark.parametrize(
    ("crs", "box"),
    [
        (None, BOX),
        (CRS84, BOX),
        (f"[{CRS84}]", BOX),
        (None, (117.30, 34.78, -5, 117.34, 34.84, 900)),
        (f"{EPSG}4326", (34.78, 117.30, 34.84, 117.34)),
        (f"{EPSG}4490", (34.78, 117.30, 34.84, 117.34)),
        (f"{EPSG}3857", (13057776.27, 4133928.24, 13062229.05, 4142062.04)),
    ],
)
def test_a_box_in_every_system(served: Served, crs: str | None, box: tuple[float, ...]) -> None:
    parameters = {"bbox": ",".join(map(str, box)), "limit": 1000, **({"bbox_crs": crs} if crs else {})}
    body = served.json(f"{BUILDINGS}/items", **parameters)
    expected = served.scalar(IN_BOX.format("housing.buildings"))
    assert 0 < expected < RECORDS
    assert body["numberMatched"] == body["numberReturned"] == expected


def test_coordinates_in_every_system(served: Served) -> None:
    first = served.json("/collections/medical.institutions/items", limit=1)["features"][0]
    lon, lat = first["geometry"]["coordinates"]
    path = f"/collections/medical.institutions/items/{first['id']}"
    for crs, expected in (
        (CRS84, [lon, lat]),
        (f"{EPSG}4326", [lat, lon]),
        (f"{EPSG}4490", [lat, lon]),
        (f"{EPSG}3857", [lon * 111319.490793, None]),
    ):
        answer = served.get(path, crs=crs)
        assert answer.headers["content-crs"] == f"<{crs}>"
        x, y = answer.json()["geometry"]["coordinates"]
        assert x == pytest.approx(expected[0], abs=0.01)
        assert expected[1] is None or y == pytest.approx(expected[1])


def test_properties_are_chosen(served: Served) -> None:
    feature = served.json(f"{BUILDINGS}/items", limit=1, properties="use,floors")["features"][0]
    assert {"use", "floors"} <= set(feature["properties"])
    assert not {"name", "height_m"} & set(feature["properties"])


def test_filters_in_text_and_json(served: Served) -> None:
    expected = served.scalar("SELECT count(*) FROM housing.buildings WHERE use = 'office' OR floors > 150")
    text = "use = 'office' OR floors > 150"
    node = {
        "op": "or",
        "args": [
            {"op": "=", "args": [{"property": "use"}, "office"]},
            {"op": ">", "args": [{"property": "floors"}, 150]},
        ],
    }
    for written, lang in ((text, "cql2-text"), (json.dumps(node), "cql2-json"), (text, None)):
        found = served.json(f"{BUILDINGS}/items", filter=written, limit=1000, **({"filter_lang": lang} if lang else {}))
        assert found["numberMatched"] == found["numberReturned"] == expected
    names = served.json(f"{BUILDINGS}/queryables")["properties"]
    assert {"use", "floors", "geometry", "id"} <= set(names)
    assert "batch" not in names


def test_a_filter_and_a_box_are_paged_together(served: Served) -> None:
    link: str | None = f"{BUILDINGS}/items?limit=3&filter=floors%20%3E%2050&bbox=117.2,34.7,117.4,34.9"
    seen: list[str] = []
    while link:
        body = served.json(link)
        seen += [feature["id"] for feature in body["features"]]
        link = rels(body).get("next")
    where = "floors > 50 AND ST_Intersects(geom, ST_MakeEnvelope(117.2, 34.7, 117.4, 34.9, 4490))"
    assert sorted(seen) == sorted(row[0] for row in _rows(served, f"SELECT id FROM housing.buildings WHERE {where}"))
    assert len(seen) > 3


def test_times(served: Served) -> None:
    dispatch = Audience("dispatch")
    path = "/collections/operations.events/items"
    now = served.json(path, dispatch, limit=1000)["numberMatched"]
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    past = {"id": "past", "valid": f"[{moment.isoformat()},{(moment + dt.timedelta(days=1)).isoformat()})"}
    put(served.database, served.catalog, "operations.events", [past | {"wkt": "POINT(117.3 34.8)"}])

    def ids(**parameters: str) -> set[str]:
        return {f["id"] for f in served.json(path, dispatch, limit=1000, **parameters)["features"]}

    assert "past" not in ids()
    assert "past" in ids(datetime="2020-01-01T12:00:00Z")
    assert "past" in ids(datetime="2020-01-01T20:00:00+08:00")
    assert "past" not in ids(datetime="2020-01-02T00:00:00Z")
    assert "past" in ids(datetime="2019-12-01T00:00:00Z/2020-01-01T00:00:00Z")
    assert "past" in ids(datetime="../2020-01-01T00:00:00Z")
    assert "past" in ids(datetime="2019-01-01T00:00:00Z/..")
    assert len(ids(datetime="2020-01-01T12:00:00Z", known_at="2025-01-01T00:00:00Z")) == 0
    assert len(ids()) == now


def test_a_stream_over_http(served: Served) -> None:
    path = "/collections/environment.air_stations/items"
    body = served.json(path, limit=100)
    assert body["numberMatched"] == served.scalar("SELECT count(*) FROM environment.air_stations__latest")
    feature = body["features"][0]
    same = served.json(f"{path}/{feature['id']}")
    assert same["properties"] == feature["properties"]
    subject = feature["id"].split(":")[0]
    assert served.json(f"{path}/{subject}")["id"] == feature["id"]
    assert served.json(path, datetime="2000-01-01T00:00:00Z/..", limit=1000)["numberMatched"] == RECORDS


def test_one_record_and_its_history(served: Served) -> None:
    first = served.json(f"{BUILDINGS}/items", limit=1)["features"][0]
    one = served.json(f"{BUILDINGS}/items/{first['id']}")
    assert one["properties"] == first["properties"]
    assert {"self", "collection", "version-history"} <= set(rels(one))
    history = served.json(rels(one)["version-history"])
    assert [version["id"] for version in history["features"]] == [first["id"]]


def test_ids_may_hold_anything(served: Served) -> None:
    odd = "K12+300/左:幅 ?#%&"
    put(
        served.database,
        served.catalog,
        "medical.institutions",
        [{"id": odd, "name": "new", "wkt": "POINT(117.3 34.8)"}],
    )
    quoted = "K12%2B300%2F%E5%B7%A6%3A%E5%B9%85%20%3F%23%25%26"
    assert served.json(f"/collections/medical.institutions/items/{quoted}")["id"] == odd
    assert served.json(f"/collections/medical.institutions/items/{quoted}/history")["features"][0]["id"] == odd
    with served.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM medical.institutions WHERE name = 'new'")


def test_files(served: Served) -> None:
    types = {
        "csv": "text/csv",
        "flatgeobuf": "application/flatgeobuf",
        "arrow": "application/vnd.apache.arrow.stream",
        "parquet": "application/vnd.apache.parquet",
    }
    for word, media_type in types.items():
        answer = served.get(f"{BUILDINGS}/items", f=word)
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == media_type
        assert "attachment" in answer.headers["content-disposition"]
        assert answer.headers["ogc-numbermatched"] == str(RECORDS)
        accepted = served.get(f"{BUILDINGS}/items", headers={"Accept": media_type})
        assert accepted.headers["content-type"] == answer.headers["content-type"]
    rows = list(csv.DictReader(io.StringIO(served.get(f"{BUILDINGS}/items", f="csv").text)))
    assert len(rows) == RECORDS
    some = served.get(f"{BUILDINGS}/items", f="csv", limit=15)
    seen = [row["id"] for row in csv.DictReader(io.StringIO(some.text))]
    while "link" in some.headers:
        some = served.get(some.headers["link"].split(">")[0][1:])
        seen += [row["id"] for row in csv.DictReader(io.StringIO(some.text))]
    assert seen == [row["id"] for row in rows]


def test_a_failing_export_is_a_problem_and_no_half_file(served: Served) -> None:
    answer = served.get(f"{BUILDINGS}/items", f="csv", filter="floors / 0 > 1")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_head_is_get_without_a_body(served: Served) -> None:
    for path in ("/", "/collections", f"{BUILDINGS}/items?limit=2", "/health/live"):
        head, get = (served.client.request(method, path) for method in ("HEAD", "GET"))
        assert head.status_code == get.status_code == 200
        assert head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]
