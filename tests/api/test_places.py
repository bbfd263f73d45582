"""`/places/resolve` over the demonstration city: texts, codes, stakes, coordinates, as each audience may see them."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layers.places.candidates import metres
from tests.api.city import Served, bearer
from tests.layers.park import CITY
from twin.access import PUBLIC, Audience, department

DISPATCH, PLANNER = Audience("dispatch"), Audience("planner")


def resolved(demo: Served, audience: Audience = DISPATCH, **parameters: Any) -> dict[str, Any]:
    return demo.json("/places/resolve", audience, **parameters)


def rows(demo: Served, statement: str) -> list[Any]:
    with demo.database.engine.connect() as connection:
        return list(connection.exec_driver_sql(statement).all())


def addresses(demo: Served, count: int) -> list[Any]:
    return rows(
        demo,
        "SELECT id, address, ST_X(geom), ST_Y(geom), district_code FROM sharing.standard_addresses"
        f" WHERE upper_inf(recorded) ORDER BY md5(id) LIMIT {count}",
    )


def test_addresses_lie_where_they_are_or_say_how_large_they_are(demo_city: Served) -> None:
    known = addresses(demo_city, 300)
    asked = {"places": [{"q": address} for _, address, *_ in known]}
    answer = demo_city.client.post("/places/resolve", json=asked, headers=bearer(DISPATCH)).json()
    assert len(answer["results"]) == len(known)
    exact = 0
    for (_, address, lon, lat, district), found in zip(known, answer["results"], strict=True):
        best = found["features"][0]["properties"]
        off_m = metres(best["lon"], best["lat"], lon, lat)
        assert best["method"] in {"door", "interpolated"}, address
        assert best["district_code"] == district, address
        assert off_m <= best["accuracy_m"] or found["numberReturned"] > 1, f"{address} is {off_m:.0f} m off"
        exact += off_m <= 50
    assert exact / len(known) > 0.9


def test_half_an_address_has_all_its_candidates(demo_city: Served) -> None:
    """Without its district an address still finds its place, alone or among the others of the name."""
    for _, address, lon, lat, district in addresses(demo_city, 100):
        half = address.removeprefix("枣庄市" + next(one.title.zh for one in CITY.districts if one.code == district))
        found = resolved(demo_city, q=half)["features"]
        near = [one for one in found if metres(one["properties"]["lon"], one["properties"]["lat"], lon, lat)
                <= max(50, one["properties"]["accuracy_m"])]  # fmt: skip
        assert near, half
        best = resolved(demo_city, q=half, area=district)["features"][0]["properties"]
        assert best["district_code"] == district


def test_the_public_sees_no_door(demo_city: Served) -> None:
    for _, address, *_ in addresses(demo_city, 30):
        for one in resolved(demo_city, PUBLIC, q=address)["features"]:
            assert one["properties"]["method"] != "door"
            assert one["properties"].get("collection") != "sharing.standard_addresses"


def test_codes_lead_to_their_records_for_those_who_may_read_them(demo_city: Served) -> None:
    (code, lon, lat), *_ = rows(
        demo_city,
        "SELECT id, ST_X(geom), ST_Y(geom) FROM sharing.legal_entities WHERE upper_inf(recorded) AND valid @> now()",
    )
    (one,) = resolved(demo_city, q=code)["features"]
    assert (one["properties"]["collection"], one["properties"]["record"]) == ("sharing.legal_entities", code)
    assert one["geometry"]["coordinates"] == [pytest.approx(lon, abs=1e-6), pytest.approx(lat, abs=1e-6)]
    hidden = resolved(demo_city, PUBLIC, q=code)
    assert hidden["features"] == []
    assert hidden["notes"] == [f"credit_code {code} is well formed, but not known here"]


def test_a_camera_is_found_by_those_who_may_and_that_is_on_record(demo_city: Served) -> None:
    ((camera,), *_) = rows(demo_city, "SELECT id FROM video.cameras WHERE upper_inf(recorded)")
    looked = "SELECT count(*) FROM twin.audit WHERE dataset = 'video.cameras' AND detail::text LIKE '%places%'"
    before = demo_city.scalar(looked)
    assert resolved(demo_city, PLANNER, q=camera)["features"] == []
    (one,) = resolved(demo_city, department("video"), q=camera)["features"]
    assert one["properties"]["record"] == camera
    assert demo_city.scalar(looked) > before


def test_stakes_areas_and_cells(demo_city: Served) -> None:
    road, km, lon, lat = rows(
        demo_city,
        "SELECT ref, start_stake_km, ST_X(ST_StartPoint(geom)), ST_Y(ST_StartPoint(geom)) FROM transport.roads"
        " WHERE ref LIKE 'G%%' AND upper_inf(recorded) AND end_stake_km > start_stake_km ORDER BY id",
    )[3]
    metre = round(km * 1000)
    (one,) = resolved(demo_city, PUBLIC, q=f"{road} K{metre // 1000}+{metre % 1000:03d}")["features"]
    assert one["properties"]["method"] == "stake"
    assert metres(one["properties"]["lon"], one["properties"]["lat"], lon, lat) < 20
    (town,) = resolved(demo_city, PUBLIC, q="370403001")["features"]
    assert (town["geometry"]["type"], town["properties"]["area_code"]) == ("Polygon", "370403001")
    (cell,) = resolved(demo_city, PUBLIC, q="88318a8a0dfffff")["features"] or [None]
    assert cell is None or cell["properties"]["method"] == "code"


def test_a_coordinate_is_as_exact_as_its_digits(demo_city: Served) -> None:
    (plain,) = resolved(demo_city, PUBLIC, lon="117.3230", lat="34.8110", datum="cgcs2000")["features"]
    assert plain["properties"]["accuracy_m"] == pytest.approx(5.6, abs=0.1)
    (rough,) = resolved(demo_city, PUBLIC, lon="117.3", lat="34.8", datum="cgcs2000")["features"]
    assert rough["properties"]["accuracy_m"] == pytest.approx(5_566, rel=0.01)
    (shifted,) = resolved(demo_city, PUBLIC, lon="117.3230", lat="34.8110", datum="gcj02")["features"]
    off_m = metres(*plain["geometry"]["coordinates"], *shifted["geometry"]["coordinates"])
    assert 490 < off_m < 570


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "ask for a text or for a coordinate"),
        ({"q": "滕州市", "lon": "117.3", "lat": "34.8"}, "ask for a text or for a coordinate"),
        ({"lon": "117.3", "lat": "34.8"}, "without its datum"),
        ({"lon": "117.3", "datum": "wgs84"}, "a coordinate is lon, lat and datum"),
        ({"lon": "117.3", "lat": "34.8", "datum": "xian80"}, "xian80"),
        ({"lon": "117.3", "lat": "34.8", "datum": "mars"}, "mars"),
        ({"lon": "NaN", "lat": "34.8", "datum": "wgs84"}, "lon"),
        ({"q": "滕州市", "area": "x"}, "area"),
        ({"q": "滕州市", "datum": "wgs84"}, "a text has no datum"),
        ({"q": "x" * 301}, "q"),
    ],
)
def test_questions_that_cannot_be_answered(demo_city: Served, parameters: dict[str, str], said: str) -> None:
    answer = demo_city.get("/places/resolve", **parameters)
    assert answer.status_code == 400
    assert said in answer.text


def test_swapped_and_foreign_coordinates_say_so(demo_city: Served) -> None:
    swapped = resolved(demo_city, lon="34.8", lat="117.3", datum="wgs84")
    assert (swapped["features"], swapped["notes"]) == ([], ["lon and lat are swapped: swapped they would fit"])
    assert resolved(demo_city, lon="121.5", lat="31.2", datum="wgs84")["notes"]
    assert "江苏" in resolved(demo_city, q="江苏省徐州市云龙区解放路2号")["notes"][0]


def test_the_published_towns_lie_in_their_districts(demo_city: Served, shared: Callable[[str], Path]) -> None:
    """The 66 towns of the national list: by code and by name each is one area of its district, as large as a town."""
    districts = {district.code: district.title.zh for district in CITY.districts}
    with shared("zaozhuang/zaozhuang_streets.csv").open(encoding="utf-8") as file:
        towns = [(row["code"], row["name"], row["areaCode"]) for row in csv.DictReader(file)]
    assert len(towns) == 66
    asked = [{"q": word} for code, name, district in towns for word in (code, f"枣庄市{districts[district]}{name}")]
    answer = demo_city.client.post("/places/resolve", json={"places": asked}).json()["results"]
    for (code, _, district), by_code, by_name in zip(towns, answer[::2], answer[1::2], strict=True):
        for found in (by_code, by_name):
            (one,) = found["features"]
            assert (one["properties"]["area_code"], one["properties"]["district_code"]) == (code, district)
            assert one["geometry"]["type"] in {"Polygon", "MultiPolygon"}
            assert 500 < one["properties"]["accuracy_m"] < 20_000
