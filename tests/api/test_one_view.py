"""Branches, grants, changes and time travel over HTTP, at every door alike."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.city import SECRET, Served
from twin.access import Audience, issue_token

BUILDINGS = "/collections/housing.buildings"
PLANNER, ADMINISTRATOR = Audience("planner"), Audience("administrator")
HOUR = dt.timedelta(hours=1)


def as_(person: str, audience: Audience = PLANNER, **more: str) -> dict[str, str]:
    token = issue_token(audience, SECRET, person=person, lifetime=HOUR)
    return {"Authorization": f"Bearer {token}", **more}


def within_a_second(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 1.0
    while True:
        asked_at = time.monotonic()  # what was asked in time may be answered late on a busy machine
        if condition():
            return
        assert asked_at < end, "it took more than a second"
        time.sleep(0.02)


@pytest.fixture
def branch(served: Served) -> Iterator[str]:
    name = f"what-if-{time.monotonic_ns()}"
    answer = served.client.post("/branches", json={"name": name, "title": "New school"}, headers=as_("li.na"))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"/branches/{name}")
    yield name
    served.client.delete(f"/branches/{name}", headers=as_("li.na"))


def edit(served: Served, branch: str, *edits: dict[str, Any], person: str = "li.na") -> httpx.Response:
    return served.client.post(f"/branches/{branch}/edits", json=list(edits), headers=as_(person))


def test_a_branch_is_seen_at_every_door_and_main_is_not_changed(served: Served, branch: str) -> None:
    page = served.json(f"{BUILDINGS}/items", limit=2)
    gone, changed = (feature["id"] for feature in page["features"])
    before = served.scalar("SELECT md5(string_agg(t::text, '|' ORDER BY t.row)) FROM housing.buildings t")
    done = edit(
        served,
        branch,
        {"do": "remove", "dataset": "housing.buildings", "id": gone},
        {"do": "change", "dataset": "housing.buildings", "id": changed, "properties": {"floors": 77}},
    )
    assert [one["records"] for one in done.json()["edits"]] == [1, 1]
    get = lambda path, **more: served.get(path, PLANNER, branch=branch, **more)  # noqa: E731
    assert get(f"{BUILDINGS}/items/{gone}").status_code == 404
    assert get(f"{BUILDINGS}/items/{changed}").json()["properties"]["floors"] == 77
    assert gone not in get(f"{BUILDINGS}/items", f="csv", limit=10_000).text
    assert get(f"{BUILDINGS}/items", limit=1).json()["numberMatched"] == page["numberMatched"] - 1
    tile = f"{BUILDINGS}/tiles/WebMercatorQuad/0/0/0"
    main, own = served.get(tile, PLANNER), get(tile)
    assert main.headers["etag"] != own.headers["etag"]
    assert get(tile, headers={"If-None-Match": main.headers["etag"]}).status_code == 200
    cells = [served.json("/indicators/housing.floor_area/cells", PLANNER)["cells"]]
    cells.append(get("/indicators/housing.floor_area/cells").json()["cells"])
    assert sum(cell["n"] for cell in cells[0]) == sum(cell["n"] for cell in cells[1]) + 1
    assert served.scalar("SELECT md5(string_agg(t::text, '|' ORDER BY t.row)) FROM housing.buildings t") == before
    edit(served, branch, {"do": "change", "dataset": "housing.buildings", "id": changed, "properties": {"floors": 78}})
    within_a_second(lambda: get(tile).headers["etag"] != own.headers["etag"])


def test_differences_as_counts_features_and_cells(served: Served, branch: str) -> None:
    fid = served.json(f"{BUILDINGS}/items", limit=1)["features"][0]["id"]
    point = {"type": "Point", "coordinates": [117.3, 34.8]}
    answer = edit(
        served,
        branch,
        {"do": "change", "dataset": "housing.buildings", "id": fid, "properties": {"floors": 55}},
        {"do": "close_road", "geometry": {"type": "LineString", "coordinates": [[117.3, 34.8], [117.31, 34.8]]},
         "properties": {"road_name": "G104", "reason": "test"}},
        {"do": "rain", "geometry": point, "properties": {"amount": 80}},
        {"do": "breach", "geometry": point, "properties": {"amount": 2}},
        {"do": "release", "geometry": point, "properties": {"amount": 5, "substance": "Cl2"}},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    summary = {one["dataset"]: one for one in served.json(f"/branches/{branch}/diff", PLANNER)["datasets"]}
    assert summary["operations.forcings"]["added"] == 3
    assert summary["transport.closures"]["added"] == 1
    found = served.json(f"/branches/{branch}/diff", PLANNER, collection="housing.buildings")["features"]
    assert {feature["properties"]["floors"] for feature in found if feature["change"] == "added"} == {55}
    cells = served.json(f"/branches/{branch}/diff/cells", PLANNER, collection="operations.forcings", resolution=8)
    assert [cell["added"] for cell in cells["cells"]] == [3]
    moved = served.json(f"/branches/{branch}/diff/cells", PLANNER, indicator="operations.forcings", resolution=8)
    assert [cell["after"] - (cell["before"] or 0) for cell in moved["cells"]] == [3]
    log = served.json(f"/branches/{branch}/edits", PLANNER)["edits"]
    assert {one["author"] for one in log} == {"li.na"}
    assert served.json("/branches", PLANNER)["verbs"]["close_road"] == ["transport.closures"]


def test_two_people_merge_a_branch_over_http(served: Served) -> None:
    headers = as_("li.na")
    served.client.post("/branches", json={"name": "merged-one"}, headers=headers)
    point = {"type": "Point", "coordinates": [117.33, 34.83]}
    said = {"do": "rain", "geometry": point, "properties": {"amount": 1, "forcing_id": "MERGED"}}
    assert edit(served, "merged-one", said).status_code == 200
    merge = "/branches/merged-one/merge"
    assert served.client.post(merge, json={"do": "approve"}, headers=as_("wang.wei")).status_code == 409
    assert served.client.post(merge, json={"do": "propose"}, headers=headers).json()["state"] == "proposed"
    assert served.client.post(merge, json={"do": "approve"}, headers=headers).status_code == 403
    assert served.client.get(merge, headers=headers).json() == {"state": "proposed", "conflicts": []}
    done = served.client.post(merge, json={"do": "approve"}, headers=as_("wang.wei"))
    assert done.json()["merged"] == [{"dataset": "operations.forcings", "closed": 0, "inserted": 1}]
    within_a_second(lambda: served.get("/collections/operations.forcings/items/MERGED", PLANNER).status_code == 200)
    entries = served.json("/audit", ADMINISTRATOR, action="merge")["entries"]
    assert {entry["person"] for entry in entries if entry["detail"]["branch"] == "merged-one"} == {"wang.wei"}


def test_the_public_sees_no_branch(served: Served, branch: str) -> None:
    for path in ("/branches", f"/branches/{branch}", f"/branches/{branch}/diff", f"/branches/{branch}/edits"):
        assert served.get(path).status_code == 403
    assert served.get(f"{BUILDINGS}/items", branch=branch).status_code == 404
    assert served.client.post("/branches", json={"name": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "main"}, 400),
        ({"name": "A B"}, 400),
        ({"nam": "x"}, 400),
        ({"name": "x", "starts_at": "yesterday"}, 400),
        ("x", 400),
    ],
)
def test_wrong_branches_are_refused(served: Served, body: Any, status: int) -> None:
    assert served.client.post("/branches", json=body, headers=as_("li.na")).status_code == status


CAMERAS = "/collections/video.cameras"
DOORS = (
    "/items?limit=5",
    "/items?f=csv",
    "/items?f=arrow",
    "/items?f=parquet",
    "/items?f=flatgeobuf",
    "/tiles/WebMercatorQuad/0/0/0",
    "",
    "/queryables",
    "/changes?from=2026-01-01T00:00:00Z",
)


def grant(served: Served, **more: Any) -> int:
    until = (dt.datetime.now(dt.UTC) + HOUR).isoformat()
    body = {"audience": "planner", "dataset": "video.cameras", "purpose": "drill", "until": until, **more}
    answer = served.client.post("/grants", json=body, headers=as_("zhao.min", ADMINISTRATOR))
    assert answer.status_code == 201, answer.text
    return answer.json()["number"]


def ended(served: Served, number: int) -> None:
    assert served.client.delete(f"/grants/{number}", headers=as_("zhao.min", ADMINISTRATOR)).status_code == 204


def statuses(served: Served, headers: dict[str, str]) -> set[int]:
    return {served.client.get(CAMERAS + door, headers=headers).status_code for door in DOORS}


def test_a_grant_holds_and_ends_within_a_second_at_every_door(served: Served) -> None:
    li, wang = as_("li.na"), as_("wang.wei")
    assert statuses(served, li) == {404}
    number = grant(served, person="li.na")
    within_a_second(lambda: statuses(served, li) == {200})
    assert statuses(served, wang) == {404}, "nobody else"
    assert "video.cameras" in served.client.get("/collections", headers=li).text
    assert "video.cameras" not in served.client.get("/collections", headers=wang).text
    assert [one["number"] for one in served.client.get("/grants", headers=li).json()["grants"]] == [number]
    assert served.client.get("/grants", headers=wang).json()["grants"] == []
    ended(served, number)
    within_a_second(lambda: statuses(served, li) == {404})


def test_a_grant_for_an_area_tells_nothing_of_the_rest(served: Served) -> None:
    with served.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO sharing.towns (id, valid, recorded, geom) VALUES ('part', '[-infinity,)', '[2026-01-01,)',"
            " ST_SetSRID(ST_Expand((SELECT geom FROM video.cameras ORDER BY id LIMIT 1), 0.0001), 4490))"
        )
    whole = served.json(f"{CAMERAS}/items", Audience("department:video"), limit=10_000)
    number = grant(served, person="li.na", area="sharing.towns/part")
    li = as_("li.na")
    try:
        within_a_second(lambda: statuses(served, li) == {200})
        page = served.client.get(f"{CAMERAS}/items?limit=10000", headers=li).json()
        assert 0 < page["numberMatched"] == len(page["features"]) < whole["numberMatched"]
        ids = {feature["id"] for feature in page["features"]}
        hidden = {feature["id"] for feature in whole["features"]} - ids
        described = served.client.get(CAMERAS, headers=li).json()
        assert described["twin"]["count"] == len(ids)
        assert (
            described["extent"]["spatial"]["bbox"]
            != served.json(CAMERAS, Audience("department:video"))["extent"]["spatial"]["bbox"]
        )
        for door in DOORS[:6]:
            body = served.client.get(CAMERAS + door.replace("limit=5", "limit=10000"), headers=li).content
            assert not [fid for fid in hidden if fid.encode() in body], door
        one = next(iter(hidden))
        for path in (f"/items/{one}", f"/items/{one}/history"):
            assert served.client.get(CAMERAS + path, headers=li).status_code == 404
        numbers = [
            sum(cell["n"] for cell in served.client.get(f"/indicators/{name}/cells", headers=li).json()["cells"])
            for name in described["twin"]["indicators"]
        ]
        assert numbers
        assert max(numbers) <= len(ids)
    finally:
        ended(served, number)
        with served.database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM sharing.towns WHERE id = 'part'")


def test_a_grant_ends_by_itself_within_a_second(served: Served) -> None:
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.2)
    grant(served, person="li.na", until=end.isoformat())
    li = as_("li.na")
    within_a_second(lambda: statuses(served, li) == {200})
    while dt.datetime.now(dt.UTC) < end:
        time.sleep(0.02)
    within_a_second(lambda: statuses(served, li) == {404})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"audience": "public"},
        {"audience": "root"},
        {"dataset": "no.such"},
        {"purpose": ""},
        {"until": "2020-01-01T00:00:00Z"},
        {"until": "soon"},
        {"area": "sharing.towns/none"},
        {"colour": "red"},
    ],
)
def test_wrong_grants_are_refused_in_words(served: Served, body: dict[str, Any]) -> None:
    until = (dt.datetime.now(dt.UTC) + HOUR).isoformat()
    good = {"audience": "planner", "dataset": "video.cameras", "purpose": "drill", "until": until}
    answer = served.client.post("/grants", json={**good, **body} if body else {}, headers=as_("zhao", ADMINISTRATOR))
    assert answer.status_code in {400, 404}, answer.text
    assert len(answer.json()["detail"]) > 10
    assert served.client.post("/grants", json=good, headers=as_("li.na")).status_code == 403


def test_withdrawn_tokens_are_refused_within_a_second(served: Served) -> None:
    chen = as_("chen.fei")
    assert served.client.get("/collections", headers=chen).status_code == 200
    asked = served.client.post("/tokens/withdrawn", json={"person": "chen.fei"}, headers=as_("zhao", ADMINISTRATOR))
    assert asked.status_code == 204
    within_a_second(lambda: served.client.get("/collections", headers=chen).status_code == 401)
    assert served.client.get("/collections", headers=as_("li.na")).status_code == 200


def test_a_correction_is_listed_and_the_report_of_before_comes_back(served: Served) -> None:
    """A clerk corrects where an outlet is: as known before it stays where it was, and the difference is listed."""
    path = "/collections/environment.outlets"
    outlet = served.json(f"{path}/items", ADMINISTRATOR, limit=1)["features"][0]
    fid, was = outlet["id"], outlet["geometry"]
    report = f"{path}/items?limit=1000&known-at="
    before = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    old = served.get(report + before, ADMINISTRATOR).json()["features"]
    with served.database.writing() as connection:
        row = connection.exec_driver_sql(
            f"UPDATE environment.outlets SET recorded = tstzrange(lower(recorded), now()) WHERE id = '{fid}'"
            " AND upper_inf(recorded) RETURNING row"
        ).scalar_one()
        names = ", ".join(
            f'"{name}"' for name in ("id", "valid", "cell", *served.catalog["environment.outlets"].fields)
        )
        connection.exec_driver_sql(
            f"INSERT INTO environment.outlets (recorded, geom, {names}) SELECT tstzrange(now(), NULL),"
            f" ST_Translate(geom, 0.01, 0), {names} FROM environment.outlets WHERE row = {row}"
        )
    now = served.json(f"{path}/items/{fid}", ADMINISTRATOR)
    assert now["geometry"] != was
    assert served.get(report + before, ADMINISTRATOR).json()["features"] == old, "to the last byte of its features"
    listed = served.json(f"{path}/changes", ADMINISTRATOR, from_=before)["features"]
    assert [(one["id"], one["change"], one["geometry_before"]) for one in listed] == [(fid, "changed", was)]
    assert served.json(f"{path}/changes", ADMINISTRATOR, from_=before, to=before)["features"] == []
    assert served.get(f"{path}/changes", ADMINISTRATOR).status_code == 400
    assert (
        served.get(f"{path}/changes?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", ADMINISTRATOR).status_code
        == 400
    )


def test_any_client_travels_in_time_by_memento(served: Served) -> None:
    path = f"{BUILDINGS}/items"
    now = served.get(path, limit=1)
    assert "Accept-Datetime" in now.headers["vary"]
    assert "memento-datetime" not in now.headers
    then = served.get(path, limit=1, headers={"Accept-Datetime": "Thu, 01 Jan 2015 00:00:00 GMT"})
    assert then.headers["memento-datetime"] == "Thu, 01 Jan 2015 00:00:00 GMT"
    assert then.json()["features"] == []
    assert 'items?limit=1>; rel="original timegate"' in then.headers["link"]
    said = served.get(path, limit=1, known_at="2015-01-01T00:00:00Z")
    assert said.headers["memento-datetime"] == then.headers["memento-datetime"]
    fid = now.json()["features"][0]["id"]
    assert f'/items/{fid}/history>; rel="timemap"' in served.get(f"{path}/{fid}").headers["link"]
    for door in (f"{BUILDINGS}/tiles/WebMercatorQuad/0/0/0", "/indicators/housing.floor_area/cells"):
        assert "memento-datetime" in served.get(door, known_at="2026-11-01T00:00:00Z").headers
    assert served.get(path, headers={"Accept-Datetime": "yesterday"}).status_code == 400


def test_an_indicator_over_a_drawn_area(served: Served) -> None:
    cells = served.json("/indicators/housing.floor_area/cells")["cells"]
    west, south, east, north = 116.5, 34, 118, 35.6
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    bounds = served.json("/")["twin"]["city"]["bounds"]
    ring = [[min(max(x, bounds[0]), bounds[2]), min(max(y, bounds[1]), bounds[3])] for x, y in ring]
    area = {"type": "Polygon", "coordinates": [ring]}
    answer = served.client.post("/indicators/housing.floor_area/within", json=area)
    assert answer.json()["value"] == pytest.approx(sum(cell["value"] for cell in cells))
    assert set(answer.json()["cells"]) == {cell["cell"] for cell in cells}
    for wrong in ({}, {"type": "Point", "coordinates": [117.3, 34.8]}, {"type": "Polygon", "coordinates": []}, [1]):
        assert served.client.post("/indicators/housing.floor_area/within", json=wrong).status_code == 400
    many = [[117 + k * 1e-5, 34.8 + (k % 2) * 1e-4] for k in range(1500)]
    bomb = {"type": "Polygon", "coordinates": [[*many, many[0]]]}
    assert served.client.post("/indicators/housing.floor_area/within", json=bomb).status_code == 400
    assert served.client.post("/indicators/no.such/within", json=area).status_code == 404
