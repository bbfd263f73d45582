"""Who reaches a place first, over HTTP: in a town of a few streets whose answers can be counted out by hand."""

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import shapely

from layers.catalog import catalog
from layers.store import apply
from tests.api.city import bearer, serving
from tests.layers.park import CITY, put
from twin.access import PUBLIC, Audience
from twin.cluster import Cluster
from twin.database import Database, private_database

LON, LAT = CITY.centre
STEP = 0.01  # degrees between two streets
SIZE = 5
DISPATCH, PLANNER = Audience("dispatch"), Audience("planner")
STATIONS = {"west": (0, 2), "east": (4, 2), "north": (2, 4), "broken": (2, 1)}


def at(x: float, y: float) -> tuple[float, float]:
    """A place of the town in degrees."""
    return round(LON + STEP * (x - 2), 7), round(LAT + STEP * (y - 2), 7)


def streets() -> Iterator[dict[str, Any]]:
    """Five streets to the east and five to the north, section by section; the middle one has stakes."""
    for line in range(SIZE):
        for k in range(SIZE - 1):
            for name, ends in (("e", ((k, line), (k + 1, line))), ("n", ((line, k), (line, k + 1)))):
                (a, b), (c, d) = at(*ends[0]), at(*ends[1])
                row = {"id": f"{name}{line}{k}", "road_id": f"{name}{line}{k}", "class": "primary", "direction": "both"}
                row |= {"name": f"{'东西' if name == 'e' else '南北'}{line}路", "wkt": f"LINESTRING({a} {b}, {c} {d})"}
                if name == "e" and line == 2:
                    row |= {"ref": "G104", "start_stake_km": 600.0 + k, "end_stake_km": 601.0 + k}
                yield row


def station(name: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    lon, lat = at(x, y)
    return {
        "id": name, "resource_id": name, "name": name, "kind": "fire_station", "available": name != "broken",
        "wkt": f"POINT({lon} {lat})", **more,
    }  # fmt: skip


@dataclass(frozen=True)
class Town:
    """A server over the town."""

    client: httpx.Client
    database: Database

    def ask(self, audience: Audience = DISPATCH, **parameters: Any) -> httpx.Response:
        """Ask for the nearest, of the emergency resources unless it says otherwise."""
        query = {"resource": "operations.resources", **parameters}
        return self.client.get("/dispatch/nearest", params=query, headers=bearer(audience))

    def nearest(self, x: float, y: float, **parameters: Any) -> Any:
        """The answer to a good question about a place of the town."""
        lon, lat = at(x, y)
        answer = self.ask(lon=lon, lat=lat, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None, audience: Audience = DISPATCH) -> httpx.Response:
        """Send something."""
        return self.client.request(method, path, json=body, headers=bearer(audience))


@pytest.fixture(scope="module")
def built(cluster: Cluster) -> Iterator[Town]:
    contracts, database = catalog(), private_database(cluster, "town", timeout_s=60)
    database.migrate()
    with database.writing() as connection:
        apply(connection, contracts, CITY)
    put(database, contracts, "transport.roads", list(streets()))
    put(database, contracts, "operations.resources", [
        *(station(name, *xy) for name, xy in STATIONS.items()),
        station("vague", 2, 2, place_accuracy_m=3000.0), station("store", 1, 1, kind="warehouse"),
    ])  # fmt: skip
    with serving(database) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield Town(client, database)
    asyncio.run(database.aclose())


@pytest.fixture
def town(built: Town) -> Iterator[Town]:
    yield built
    with built.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM twin.road_conditions")
    time.sleep(0.6)  # what was looked up holds for half a second


def ids(answer: Any) -> list[str]:
    return [one["id"] for one in answer["features"]]


def box(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    (west, south), (east, north) = at(x0, y0), at(x1, y1)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_the_nearest_and_why_not_the_others(town: Town) -> None:
    answer = town.nearest(1.5, 2, kind="fire_station", k=2)
    assert ids(answer) == ["west", "east"]
    first = answer["features"][0]["properties"]
    # A section is some 913 m long; a fire engine drives 55 km/h on a primary road without a limit.
    assert first["distance_m"] == pytest.approx(1.5 * 913, rel=0.01)
    assert first["eta_s"] == pytest.approx(1.5 * 913 / 55 * 3.6, rel=0.01)
    assert first["path"]["coordinates"][0] == pytest.approx(at(0, 2))
    assert first["path"]["coordinates"][-1] == pytest.approx(at(1.5, 2))
    assert [(step["name"], step["number"]) for step in first["steps"]] == [("东西2路", "G104")]
    assert (first["steps"][0]["from_km"], first["steps"][0]["to_km"]) == (600.0, 601.5)
    assert answer["others"]["counts"] == {"later": 1, "unavailable": 1, "place_too_coarse": 1}
    assert {"id": "broken", "reason": "unavailable"} in answer["others"]["some"]
    assert answer["network"]["profile"] == "fire_engine"
    assert ids(town.nearest(2, 1, available=False, k=1)) == ["broken"]
    assert ids(town.nearest(2, 2, kind="warehouse,fire_station", k=9)) == ["east", "west", "store", "north"]
    assert ids(town.nearest(2, 2, filter="name LIKE 'n%'")) == ["north"]
    assert "path" not in town.nearest(2, 2, path=False)["features"][0]["properties"]


def test_turns_are_told(town: Town) -> None:
    steps = town.nearest(2, 3.5, k=1, filter="name = 'east'")["features"][0]["properties"]["steps"]
    assert steps[0]["turn"] == "depart"
    assert {step["turn"] for step in steps[1:]} <= {"left", "right"}
    assert len(steps) >= 2


def test_a_place_may_be_a_stake(town: Town) -> None:
    answer = town.ask(place="G104 K601+500", k=1)
    assert answer.status_code == 200, answer.text
    assert answer.json()["place"]["method"] == "stake"
    assert ids(answer.json()) == ["west"]


def test_a_closure_holds_at_once_and_is_taken_back(town: Town) -> None:
    free = town.nearest(1.5, 2, kind="fire_station", k=1)["features"][0]["properties"]
    made = town.send("POST", "/roads/closures", {"geometry": box(0.3, 1.9, 0.7, 2.1), "reason": "路面塌陷"})
    assert made.status_code == 201, made.text
    assert made.json()["properties"]["road_pieces"] == 1
    assert made.json()["properties"]["author"] == "tester"
    around = town.nearest(1.5, 2, kind="fire_station", k=3)
    west = next(one["properties"] for one in around["features"] if one["id"] == "west")
    assert west["eta_s"] > 2 * free["eta_s"]
    assert made.json()["id"] in around["network"]["conditions"]
    listed = town.send("GET", "/roads/closures").json()["features"]
    assert [one["properties"]["reason"] for one in listed] == ["路面塌陷"]
    where = made.headers["location"]
    assert town.send("DELETE", where).status_code == 204
    assert town.send("DELETE", where).status_code == 409
    assert town.nearest(1.5, 2, kind="fire_station", k=1)["features"][0]["properties"] == free
    assert town.send("GET", "/roads/closures").json()["features"] == []


def test_an_incident_in_a_closure_is_reached(town: Town) -> None:
    free = town.nearest(2.5, 2, kind="fire_station", k=1)["features"][0]["properties"]
    town.send("POST", "/roads/closures", {"geometry": box(1.5, 1.5, 2.8, 2.5), "reason": "滑坡"})
    answer = town.nearest(2.5, 2, kind="fire_station", k=1)
    first = answer["features"][0]["properties"]
    assert first["eta_s"] == free["eta_s"]
    assert first["closed_m"] > 300
    assert "滑坡" in answer["notes"][0]
    lon, lat = at(2.5, 2)
    public = town.ask(PUBLIC, lon=lon, lat=lat, resource="medical.institutions").json()
    assert "滑坡" not in str(public), "why roads are closed is not for everyone"
    assert "lies in a closure" in public["notes"][0]


def test_closures_by_stakes_line_record_and_area(town: Town) -> None:
    by_stake = town.send("POST", "/roads/closures", {
        "stretch": {"road": "g104", "from_km": 600.2, "to_km": 601.8}, "reason": "养护"})  # fmt: skip
    assert by_stake.json()["properties"]["road_pieces"] == 2
    line = {"type": "LineString", "coordinates": [[*at(2.2, 3)], [*at(2.8, 3)]]}
    drawn = town.send("POST", "/roads/closures", {"geometry": line, "reason": "施工"})
    assert drawn.json()["properties"]["road_pieces"] == 1, "the streets that cross are not meant"
    around = {"collection": "operations.resources", "record": "north", "radius_m": 200}
    by_record = town.send("POST", "/roads/closures", {"around": around, "reason": "泄漏"})
    assert by_record.json()["properties"]["road_pieces"] == 3
    unknown = town.send(
        "POST", "/roads/closures", {"stretch": {"road": "G104", "from_km": 1, "to_km": 2}, "reason": "x"}
    )
    assert unknown.status_code == 400
    assert "G104 runs from K600 to K604 here" in unknown.text


def test_speeds_add_up_by_source(town: Town) -> None:
    free = town.nearest(1, 2, k=1, filter="name = 'west'")["features"][0]["properties"]["eta_s"]
    whole = box(-0.5, 1.9, 1.5, 2.1)
    for factor, source in ((0.5, "probes"), (0.8, "rain")):
        body = {"geometry": whole, "factor": factor, "source": source, "reason": "x"}
        assert town.send("POST", "/roads/speeds", body).status_code == 201
    slow = town.nearest(1, 2, k=1, filter="name = 'west'")["features"][0]["properties"]["eta_s"]
    assert slow == pytest.approx(free / 0.4, rel=0.01)
    assert town.send("DELETE", "/roads/speeds?source=probes").json() == {"ended": 1}
    assert [one["properties"]["source"] for one in town.send("GET", "/roads/speeds").json()["features"]] == ["rain"]
    rainy = town.nearest(1, 2, k=1, filter="name = 'west'")["features"][0]["properties"]["eta_s"]
    assert rainy == pytest.approx(free / 0.8, rel=0.01)


def test_what_ends_and_what_has_not_begun(town: Town) -> None:
    now = dt.datetime.now(dt.UTC)
    body = {"geometry": box(0.3, 1.9, 0.7, 2.1), "reason": "x"}
    later = town.send("POST", "/roads/closures", body | {"starts_at": (now + dt.timedelta(hours=1)).isoformat()})
    assert later.status_code == 201
    assert town.send("GET", "/roads/closures").json()["features"] == []
    past = town.send("POST", "/roads/closures", body | {"ends_at": (now - dt.timedelta(hours=1)).isoformat()})
    assert past.status_code == 400
    west = town.nearest(1, 2, k=1, filter="name = 'west'")["features"][0]["properties"]["eta_s"]
    then = (now + dt.timedelta(hours=2)).isoformat()
    tomorrow = town.nearest(1, 2, k=1, filter="name = 'west'", datetime=then)["features"][0]["properties"]["eta_s"]
    assert tomorrow > 2 * west


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"lon": LON, "lat": LAT, "k": 0}, 400, "greater than or equal to 1"),
        ({"lon": LON, "lat": LAT, "k": -1}, 400, "greater than or equal to 1"),
        ({"lon": LON}, 400, "say where"),
        ({}, 400, "say where"),
        ({"lon": 0, "lat": 0}, 400, "is not in"),
        ({"lon": LON + 0.3, "lat": LAT}, 400, "no road for fire_engine is within 2,000 m"),
        ({"lon": LON, "lat": LAT, "kind": "dragon"}, 400, "has no kind 'dragon'. Use one of: fire_station"),
        ({"lon": LON, "lat": LAT, "skills": "diving"}, 400, "does not tell skills"),
        ({"lon": LON, "lat": LAT, "profile": "tank"}, 400, "nobody travels as 'tank'. Use one of: car"),
        ({"lon": LON, "lat": LAT, "resource": "no.such"}, 404, "no collection"),
        ({"lon": LON, "lat": LAT, "resource": "transport.roads"}, 400, "nothing that can travel"),
        ({"lon": LON, "lat": LAT, "filter": "colour = 1"}, 400, "colour"),
        ({"place": "月球基地"}, 400, "no place that is known here"),
    ],
)
def test_bad_questions_get_clear_answers(town: Town, parameters: dict[str, Any], status: int, words: str) -> None:
    answer = town.ask(**parameters)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"reason": "x"}, "say where, once"),
        ({"reason": "x", "geometry": box(-9, -9, 9, 9)}, "it would close 100% of all roads"),
        ({"reason": "x", "geometry": box(0.2, 0.2, 0.4, 0.4)}, "there is no road there"),
        ({"reason": "x", "geometry": {"type": "Polygon", "coordinates": []}}, "cannot be used"),
        ({"reason": "x", "geometry": {"type": "Circle"}}, "no GeoJSON"),
        ({"geometry": box(0, 0, 1, 1)}, "reason"),
        ({"reason": "x", "geometry": box(0, 1.9, 1, 2.1), "profiles": ["tank"]}, "nobody travels as 'tank'"),
        ({"reason": "x", "around": {"collection": "operations.resources", "record": "none"}}, "no such place"),
    ],
)
def test_bad_closures_get_clear_answers(town: Town, body: dict[str, Any], words: str) -> None:
    answer = town.send("POST", "/roads/closures", body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


def test_who_may_close_roads(town: Town) -> None:
    body = {"reason": "x", "geometry": box(0.3, 1.9, 0.7, 2.1)}
    for audience in (PUBLIC, PLANNER, Audience("department:medical")):
        assert town.send("POST", "/roads/closures", body, audience).status_code == 403
    for audience in (Audience("department:transport"), Audience("operations")):
        assert town.send("POST", "/roads/closures", body, audience).status_code == 201
    assert town.send("GET", "/roads/closures", audience=PUBLIC).status_code == 403
    assert len(town.send("GET", "/roads/closures", audience=PLANNER).json()["features"]) == 2


def test_nobody_comes_and_it_is_said_why(town: Town) -> None:
    assert town.nearest(2, 2, filter="name = 'nobody'")["notes"] == ["no resource is meant by the question"]
    late = town.nearest(1.5, 2, kind="fire_station", within_s=1)
    assert late["features"] == []
    assert late["others"]["counts"]["later"] == 3
    assert "none of them comes there" in late["notes"][0]
    # All streets around the middle of the west side are closed but for the one on which the place lies.
    for part in (box(0.4, 1.9, 0.6, 2.1), box(-0.1, 2.4, 0.1, 2.6), box(-0.1, 0.4, 0.1, 0.6)):
        assert town.send("POST", "/roads/closures", {"geometry": part, "reason": "x"}).status_code == 201
    town.send("POST", "/roads/closures", {"geometry": box(0.4, 0.9, 0.6, 1.1), "reason": "x"})
    cut_off = town.nearest(0, 1.5, kind="fire_station", filter="name <> 'west'")
    assert cut_off["features"] == []
    assert cut_off["others"]["counts"]["unreachable"] == 2


def test_a_branch_has_its_own_roads(town: Town) -> None:
    assert town.send("POST", "/branches", {"name": "works", "title": "x"}, PLANNER).status_code == 201
    line = {"type": "LineString", "coordinates": [[*at(0.2, 2)], [*at(0.8, 2)]]}
    edit = {"do": "close_road", "geometry": line, "properties": {"road_name": "G104", "reason": "架桥"}}
    made = town.send("POST", "/branches/works/edits", edit, PLANNER)
    assert made.status_code == 200, made.text
    question = {"kind": "fire_station", "filter": "name = 'west'", "k": 1}
    main = town.nearest(1.5, 2, **question)["features"][0]["properties"]["eta_s"]
    closed = town.nearest(1.5, 2, **question, branch="works")["features"][0]["properties"]["eta_s"]
    assert closed > 2 * main
    assert town.nearest(1.5, 2, **question)["features"][0]["properties"]["eta_s"] == main


def test_isochrones(town: Town) -> None:
    lon, lat = at(2, 2)
    asked = {"lon": lon, "lat": lat, "minutes": "1,3", "cells": True}
    answer = town.client.get("/dispatch/isochrone", params=asked).json()
    large, small = answer["features"]
    assert (large["properties"]["minutes"], small["properties"]["minutes"]) == (3, 1)
    area, inner = (shapely.geometry.shape(one["geometry"]) for one in (large, small))
    assert area.contains(inner)
    # A car on a primary road drives 55 km/h: 2,750 m in three minutes.
    assert area.contains(shapely.Point(at(2 + 2600 / 913, 2))) or 2600 / 913 > 2
    assert inner.contains(shapely.Point(at(2.9, 2)))
    assert not inner.contains(shapely.Point(at(3.5, 2)))
    assert area.contains(shapely.Point(at(3, 3)))
    assert len(answer["cells"]) == large["properties"]["cells"]
    assert max(one["s"] for one in answer["cells"]) <= 180
    town.send("POST", "/roads/closures", {"geometry": box(2.4, 1.9, 2.6, 2.1), "reason": "x"})
    closed = town.client.get("/dispatch/isochrone", params=asked | {"resolution": 8}).json()
    assert closed["resolution"] == 8
    nearer = town.client.get("/dispatch/isochrone", params=asked).json()["features"][1]
    assert not shapely.geometry.shape(nearer["geometry"]).contains(shapely.Point(at(2.9, 2)))
    for wrong in ({"minutes": "0"}, {"minutes": "x"}, {"minutes": "99"}, {"resolution": 15}, {"direction": "up"}):
        assert town.client.get("/dispatch/isochrone", params=asked | wrong).status_code == 400


def test_a_matrix(town: Town) -> None:
    places = [list(at(0, 0)), list(at(1, 0)), list(at(1, 1)), list(at(10, 10))]
    answer = town.client.post("/dispatch/matrix", json={"starts": places[:3], "ends": places}).json()
    seconds = answer["seconds"]
    east = 913 / 55 * 3.6
    assert seconds[0][:2] == [0, pytest.approx(east, rel=0.01)]
    assert seconds[0][2] == pytest.approx(seconds[0][1] + seconds[1][2], abs=0.01)
    assert [row[3] for row in seconds] == [None] * 3
    assert answer["from_road_m"]["ends"][3] is None
    square = town.client.post("/dispatch/matrix", json={"starts": places[:3]}).json()["seconds"]
    assert square == [row[:3] for row in seconds]
    for body, status in (
        ({"starts": []}, 400), ({"starts": [[0, 0]]}, 400), ({"starts": [[1]]}, 400),
        ({"starts": [places[0]] * 1001, "ends": [places[0]] * 1000}, 400),
    ):  # fmt: skip
        assert town.client.post("/dispatch/matrix", json=body).status_code == status


def test_the_network_says_what_it_is(town: Town) -> None:
    answer = town.client.get("/roads/network", params={"profile": "fire_engine"}).json()
    assert answer["profile"]["weight_t"] == 18
    assert (answer["report"]["ways"], answer["report"]["pieces"], answer["report"]["left_out"]) == (40, 1, [])
    assert answer["report"]["length_km"] == pytest.approx(20 * (0.913 + 1.109), rel=0.01)
    assert town.client.get("/roads/network", params={"profile": "tank"}).status_code == 400


def test_coverage(town: Town) -> None:
    asked = {"resource": "operations.resources", "kind": "fire_station", "minutes": 1}
    answer = town.client.get("/dispatch/coverage", params=asked, headers=bearer(DISPATCH)).json()
    near, far = (shapely.geometry.shape(one["geometry"]) for one in answer["features"])
    assert answer["resources"] == 3, "those that are broken or known only roughly do not count"
    # A fire engine drives 917 m in a minute: one section, but for a few metres.
    for x, y in (STATIONS["west"], (0.6, 2), (2, 3.6)):
        assert near.contains(shapely.Point(at(x, y)))
    for x, y in ((0, 0), (4, 4), (2, 2)):
        assert far.contains(shapely.Point(at(x, y)))
    assert 0.1 < answer["share_of_streets"] < 0.4
    counted = [one["properties"]["cells"] for one in answer["features"]]
    assert counted[0] == sum(one["s"] is not None for one in answer["cells"])
    assert counted[1] == sum(one["s"] is None for one in answer["cells"])
    whole = town.client.get("/dispatch/coverage", params=asked | {"minutes": 60}, headers=bearer(DISPATCH)).json()
    assert whole["share_of_streets"] == 1
    assert whole["features"][1]["properties"]["cells"] == 0
    none = town.client.get(
        "/dispatch/coverage", params=asked | {"filter": "name = 'x'"}, headers=bearer(DISPATCH)
    ).json()
    assert (none["resources"], none["share_of_streets"]) == (0, 0)
    for wrong in ({"minutes": 0}, {"resolution": 15}, {"kind": "dragon"}, {"resource": "transport.roads"}):
        answer = town.client.get("/dispatch/coverage", params=asked | wrong, headers=bearer(DISPATCH))
        assert answer.status_code == 400
