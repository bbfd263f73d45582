"""Reads of protected data stand in the audit log before the answer leaves; without a record there is no answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.api.city import Served
from twin.access import Audience

CAMERAS = "/collections/video.cameras"
VIDEO, ADMINISTRATOR, PLANNER = Audience("department:video"), Audience("administrator"), Audience("planner")


def last(served: Served) -> dict[str, object]:
    return served.json("/audit", ADMINISTRATOR, action="read", limit=1)["entries"][0]


def number(served: Served) -> int:
    return served.scalar("SELECT count(*) FROM twin.audit WHERE action = 'read'")


def test_every_door_to_protected_records_is_on_record(served: Served) -> None:
    page = served.json(f"{CAMERAS}/items", VIDEO, limit=3)
    ids = sorted(feature["id"] for feature in page["features"])
    entry = last(served)
    assert (entry["ids"], entry["person"], entry["role"], entry["result"]) == (ids, "tester", VIDEO.name, "granted")
    assert entry["purpose"] == served.catalog["video.cameras"].purpose or entry["purpose"] == ""
    for path in (f"{CAMERAS}/items/{ids[0]}", f"{CAMERAS}/items/{ids[0]}/history"):
        served.json(path, VIDEO)
        assert last(served)["ids"] == [ids[0]]
    assert served.get(f"{CAMERAS}/items", VIDEO, f="csv", bbox="117,34.5,118,35.2").status_code == 200
    assert (last(served)["ids"], last(served)["box"]) == (None, [117, 34.5, 118, 35.2])
    tile = f"{CAMERAS}/tiles/WebMercatorQuad/9/202/422"
    first = served.get(tile, VIDEO)
    before = number(served)
    assert served.get(tile, VIDEO).status_code == 200
    assert served.get(tile, VIDEO, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert number(served) == before + 2, "from the cache and by ETag too"
    assert len(last(served)["box"]) == 4


def test_the_stated_purpose_and_the_refusal_are_on_record(served: Served) -> None:
    served.get(f"{CAMERAS}/items", VIDEO, headers={"Twin-Purpose": "missing child, case 12"}, limit=1)
    assert last(served)["purpose"] == "missing child, case 12"
    assert served.get(f"{CAMERAS}/items", PLANNER).status_code == 404
    assert (last(served)["result"], last(served)["role"]) == ("refused", "planner")
    before = number(served)
    served.get(f"{CAMERAS}/items")
    served.get("/collections/housing.buildings/items", PLANNER)
    assert number(served) == before, "the public sees nothing of it; open data need no record"


def test_who_looked_at_a_camera(served: Served) -> None:
    fid = served.json(f"{CAMERAS}/items", VIDEO, limit=1)["features"][0]["id"]
    served.get(f"{CAMERAS}/items/{fid}", VIDEO)
    served.get(f"{CAMERAS}/tiles/WebMercatorQuad/0/0/0", VIDEO)
    served.get(f"{CAMERAS}/items", VIDEO, bbox="0,0,1,1", f="csv")
    looks = served.json("/audit/who", ADMINISTRATOR, dataset="video.cameras", id=fid)["looks"]
    assert [look["certain"] for look in looks[:2]] == [False, True]
    assert looks[0]["person"] == "tester"
    latest = served.json("/audit", ADMINISTRATOR, action="audit", limit=2)["entries"]
    assert [one["ids"] for one in latest] == [None, [fid]]  # this question stands above the one before


def test_the_log_is_for_administrators_and_whole(served: Served) -> None:
    for path in ("/audit", "/audit/who?dataset=video.cameras&id=x", "/audit/verify"):
        for audience in (Audience("public"), PLANNER, VIDEO):
            assert served.get(path, audience).status_code == 403
    found = served.json("/audit/verify", ADMINISTRATOR)
    assert found["fault"] is None
    assert found["checked"] > 10
    first = served.json("/audit", ADMINISTRATOR, limit=2)
    second = served.get(next(link["href"] for link in first["links"] if link["rel"] == "next"), ADMINISTRATOR).json()
    assert second["entries"][0]["seq"] == first["entries"][-1]["seq"] - 1


@contextmanager
def unwritable(served: Served) -> Iterator[None]:
    """The log takes no entry: as with a full disk, or a table that somebody locked away."""
    with served.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE twin.audit_head ADD CONSTRAINT broken CHECK (seq < 0) NOT VALID")
    try:
        yield
    finally:
        with served.database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE twin.audit_head DROP CONSTRAINT broken")


@pytest.mark.parametrize(
    "door", ["/items", "/items?f=csv", "/items?f=parquet", "/tiles/WebMercatorQuad/0/0/0", "/items/{fid}"]
)
def test_without_a_record_there_is_no_answer(served: Served, door: str) -> None:
    fid = served.json(f"{CAMERAS}/items", VIDEO, limit=1)["features"][0]["id"]
    path = f"{CAMERAS}{door.format(fid=fid)}"
    assert served.get(path, VIDEO).status_code == 200
    with unwritable(served):
        answer = served.get(path, VIDEO)
        assert answer.status_code == 503
        assert answer.json()["code"] == "audit-unavailable"
        assert answer.headers["retry-after"]
        assert fid not in answer.text
        assert served.get("/collections/housing.buildings/items", VIDEO, limit=1).status_code == 200
    assert served.get(path, VIDEO).status_code == 200
