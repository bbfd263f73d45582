"""Reading records: the View as SQL, pages, boxes, single records and their history."""

import datetime as dt
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers import query as module
from layers.features import Writing
from layers.history import history
from layers.query import Box, ItemsQuery, Page, item, items
from tests.layers.conftest import NOON, Park
from tests.layers.park import CITY, KNOWN_SINCE
from twin.access import Audience
from twin.errors import InvalidRequest, NotAllowed, NotFound
from twin.view import Span, View

HOUR = dt.timedelta(hours=1)


def page(park: Park, dataset: str, view: View | None = None, writing: Writing | None = None, **query: Any) -> Page:
    contract = park.catalog[dataset]
    asked = ItemsQuery(**{"limit": 1000, **query})
    return park.ask(lambda c: items(c, contract, view or View(), CITY, asked, writing or Writing()))


def features(park: Park, dataset: str, view: View | None = None, **query: Any) -> list[dict[str, Any]]:
    return json.loads(page(park, dataset, view, **query).features)


def ids(park: Park, dataset: str, view: View | None = None, **query: Any) -> list[str]:
    return [feature["id"] for feature in features(park, dataset, view, **query)]


def tree(fid: str, lon: float = 117.3, lat: float = 34.8, **more: Any) -> dict[str, Any]:
    return {"id": fid, "tree_id": fid, "wkt": f"POINT({lon} {lat})", **more}


def reading(sensor: str, at: dt.datetime, dust: float, **more: Any) -> dict[str, Any]:
    own = {"subject": sensor, "sensor": sensor, "observed_at": at, "dust": dust}
    return {"id": f"{sensor}:{at.isoformat()}", **own, "wkt": "POINT(117.3 34.8)", **more}


def between(start: dt.datetime | None, end: dt.datetime | None) -> str:
    return f"[{start.isoformat() if start else '-infinity'},{end.isoformat() if end else ''})"


def test_states_are_shown_when_they_are_valid(park: Park) -> None:
    park.put(
        "parks.trees",
        tree("gone", valid=between(None, NOON - HOUR)),
        tree("there", valid=between(NOON - HOUR, None)),
        tree("to-come", valid=between(dt.datetime(2100, 1, 1, tzinfo=dt.UTC), None)),
    )
    assert ids(park, "parks.trees") == ["there"]
    assert ids(park, "parks.trees", View(valid_at=Span.instant(NOON - 2 * HOUR))) == ["gone"]
    assert ids(park, "parks.trees", View(valid_at=Span(NOON - 2 * HOUR, NOON))) == ["gone", "there"]
    assert ids(park, "parks.trees", View(valid_at=Span(None, NOON - 2 * HOUR))) == ["gone"]
    assert ids(park, "parks.trees", View(valid_at=Span(NOON, None))) == ["there", "to-come"]


def test_a_view_of_the_past_shows_what_was_known_then(park: Park) -> None:
    park.put(
        "parks.trees",
        tree("a", height_m=3.0, recorded=between(NOON - HOUR, NOON)),
        tree("a", height_m=4.0, recorded=between(NOON, None)),
    )
    heights = {
        moment: [f["properties"]["height_m"] for f in features(park, "parks.trees", View(known_at=moment))]
        for moment in (None, NOON - 2 * HOUR, NOON - HOUR / 2, NOON)
    }
    assert list(heights.values()) == [[4.0], [], [3.0], [4.0]]


def test_a_stream_shows_the_newest_of_each_subject(park: Park) -> None:
    park.put(
        "parks.air",
        reading("n", NOON - HOUR, 1.0),
        reading("n", NOON, 2.0),
        reading("s", NOON - 3 * HOUR, 3.0),
        reading("late", NOON, 9.0, recorded=between(NOON + 2 * HOUR, None)),
    )

    def dust(view: View) -> dict[str, float]:
        return {f["id"].split(":")[0]: f["properties"]["dust"] for f in features(park, "parks.air", view)}

    assert dust(View()) == {"n": 2.0, "s": 3.0, "late": 9.0}
    assert dust(View(valid_at=Span.instant(NOON))) == {"n": 2.0, "late": 9.0}, "s is older than three times 20 min"
    assert dust(View(valid_at=Span.instant(NOON - 2 * HOUR))) == {}, "an hour old is too old"
    assert dust(View(valid_at=Span.instant(NOON - HOUR))) == {"n": 1.0}
    assert dust(View(valid_at=Span.instant(NOON), known_at=NOON + HOUR)) == {"n": 2.0}
    assert dust(View(known_at=NOON + HOUR / 2)) == {"n": 2.0}
    over_time = features(park, "parks.air", View(valid_at=Span(NOON - 4 * HOUR, NOON)))
    assert [f["properties"]["dust"] for f in over_time] == [9.0, 1.0, 2.0, 3.0], "by subject, then by time"


def test_pages_show_every_record_once_while_others_arrive_and_change(park: Park) -> None:
    park.put("parks.trees", *(tree(f"t{number:03}") for number in range(0, 200, 2)))
    seen: list[str] = []
    token = None
    for turn in range(20):
        found = page(park, "parks.trees", limit=7, after=token)
        assert found.matched == 100, "counted once, for the first page"
        seen += [feature["id"] for feature in json.loads(found.features)]
        token = found.next
        if token is None:
            break
        # One arrives before and one after the place, and the last one of the page changes.
        park.put("parks.trees", tree(f"s{turn:03}"), tree(f"t{turn * 14 + 21:03}"))
        with park.database.writing() as connection:
            now = f"tstzrange(lower(recorded), {'now()'})"
            connection.exec_driver_sql(f"UPDATE parks.trees SET recorded = {now} WHERE id = '{seen[-1]}'")
        park.put("parks.trees", tree(seen[-1], height_m=1.0))
    assert len(seen) == len(set(seen))
    assert set(seen) >= {f"t{number:03}" for number in range(0, 200, 2)}


def test_pages_over_an_interval_show_every_version_once(park: Park) -> None:
    versions = [between(NOON + hour * HOUR, NOON + (hour + 1) * HOUR) for hour in range(10)]
    park.put(
        "parks.trees", *(tree(name, valid=valid, height_m=at) for name in "ab" for at, valid in enumerate(versions))
    )
    view = View(valid_at=Span(NOON, None))
    seen: list[tuple[str, float]] = []
    found = page(park, "parks.trees", view, limit=3)
    while True:
        seen += [(f["id"], f["properties"]["height_m"]) for f in json.loads(found.features)]
        if found.next is None:
            break
        found = page(park, "parks.trees", view, limit=3, after=found.next)
    assert seen == [(name, at) for name in "ab" for at in range(10)]


def test_a_stream_is_paged_too(park: Park) -> None:
    park.put("parks.air", *(reading(f"s{n % 5}", NOON + n * HOUR, n) for n in range(25)))
    for view, total in ((View(), 5), (View(valid_at=Span(NOON, None)), 25)):
        first = page(park, "parks.air", view, limit=2)
        seen = [feature["id"] for feature in json.loads(first.features)]
        token = first.next
        while token:
            following = page(park, "parks.air", view, limit=2, after=token)
            seen += [feature["id"] for feature in json.loads(following.features)]
            token = following.next
        assert len(seen) == len(set(seen)) == total


def test_a_token_belongs_to_its_question(park: Park) -> None:
    park.put("parks.trees", tree("a"), tree("b"))
    token = page(park, "parks.trees", limit=1).next
    assert ids(park, "parks.trees", after=token, limit=5) == ["b"], "the limit may change"
    for other in ({"filter": "height_m > 1"}, {"box": Box(117, 34, 118, 35)}, {"view": View(known_at=NOON)}):
        with pytest.raises(InvalidRequest, match="another question"):
            page(park, "parks.trees", after=token, **other)
    with pytest.raises(InvalidRequest, match="another question"):
        page(park, "parks.beds", after=token)


@pytest.mark.parametrize(
    "token", ["", "x", "bm9uc2Vuc2U", "WzEsMiwzXQ", "W10", "'; DROP TABLE parks.trees; --", "é", "W" * 900]
)
def test_what_is_no_token_is_refused(park: Park, token: str) -> None:
    with pytest.raises(InvalidRequest):
        page(park, "parks.trees", after=token)


def test_many_records_are_not_counted(park: Park, monkeypatch: pytest.MonkeyPatch) -> None:
    park.put("parks.trees", *(tree(f"t{number}") for number in range(6)))
    monkeypatch.setattr(module, "_EXACT_COUNT", 6)
    assert page(park, "parks.trees", limit=1).matched == 6
    monkeypatch.setattr(module, "_EXACT_COUNT", 5)
    assert page(park, "parks.trees", limit=1).matched is None


def test_the_past_is_found_by_indexes_too(park: Park) -> None:
    """Half of a hundred thousand rows are closed: neither a box, nor a record, nor its history reads them all."""
    with park.database.writing() as connection:
        connection.exec_driver_sql(
            "insert into parks.trees (id, tree_id, valid, recorded, geom)"
            " select n, n, '[-infinity,)', case version when 0 then '[2026-01-01,2026-02-01)' else '[2026-02-01,)' end"
            "::tstzrange, st_setsrid(st_makepoint(117 + n / 1e5, 34.5 + mod(n, 1000) / 1e3), 4490)"
            " from generate_series(1, 50000) n, generate_series(0, 1) version"
        )
        connection.exec_driver_sql("analyze parks.trees")
    contract, then = park.catalog["parks.trees"], View(known_at=dt.datetime(2026, 1, 15, tzinfo=dt.UTC))
    asked = ItemsQuery(limit=1000, box=Box(117.2, 34.7, 117.201, 34.9))
    asks: list[Callable[[AsyncConnection], Awaitable[Any]]] = [
        lambda c: items(c, contract, then, CITY, asked, Writing()),
        lambda c: item(c, contract, then, CITY, "7", Writing()),
        lambda c: history(c, contract, View(), CITY, "7", Writing()),
    ]
    for ask in asks:
        assert scans(park, ask) == set()


def scans(park: Park, ask: Callable[[AsyncConnection], Awaitable[Any]]) -> set[str]:
    """The tables that PostgreSQL read from end to end to answer."""
    counted = sa.text("select relname from pg_stat_xact_all_tables where seq_scan > 0 and schemaname = 'parks'")

    async def asked(connection: AsyncConnection) -> set[str]:
        await ask(connection)
        return set(await connection.scalars(counted))

    return park.ask(asked)


def test_a_box_ends_where_it_says(park: Park) -> None:
    """Boxes in single precision would let in what lies up to a metre outside."""
    west, south, east, north = 117.3, 34.8, 117.4, 34.9
    step = 2e-7  # two centimetres
    inside = [(west + step, 34.85), (east - step, 34.85), (117.35, south + step), (117.35, north - step)]
    outside = [(west - step, 34.85), (east + step, 34.85), (117.35, south - step), (117.35, north + step)]
    park.put("parks.trees", *(tree(f"in-{n}", *at) for n, at in enumerate(inside)))
    park.put("parks.trees", *(tree(f"out-{n}", *at) for n, at in enumerate(outside)))
    assert ids(park, "parks.trees", box=Box(west, south, east, north)) == ["in-0", "in-1", "in-2", "in-3"]
    assert ids(park, "parks.trees", box=Box(west, 34.85, west + 3e-7, 34.85)) == ["in-0"]


def test_a_box_asks_the_shape_and_not_only_its_own_box(park: Park) -> None:
    corner = "POLYGON((117.3 34.8, 117.4 34.8, 117.4 34.81, 117.31 34.81, 117.31 34.9, 117.3 34.9, 117.3 34.8))"
    park.put("parks.beds", {"id": "corner", "name": "corner", "wkt": corner})
    assert ids(park, "parks.beds", box=Box(117.35, 34.85, 117.39, 34.89)) == [], "in its box, not in its shape"
    assert ids(park, "parks.beds", box=Box(117.35, 34.80, 117.39, 34.89)) == ["corner"]
    assert ids(park, "parks.beds", box=Box(117.0, 34.0, 118.0, 35.0)) == ["corner"]
    assert ids(park, "parks.beds", box=Box(117.4, 34.81, 117.4, 34.81)) == ["corner"], "a touch is a meeting"


def test_a_record_as_geojson(park: Park) -> None:
    full = {"name": "老'树\"", "height_m": 2.5, "ring_count": 12, "healthy": True, "kind": "oak", "place_source": "图"}
    times = {"planted": dt.date(2020, 3, 12), "checked": NOON}
    park.put("parks.trees", tree("a", 117.123456789, 34.8, **full, **times, valid=between(NOON, None)))
    park.put("parks.trees", {"id": "nowhere", "tree_id": "nowhere"})
    first, second = features(park, "parks.trees")
    assert first["geometry"] == {"type": "Point", "coordinates": [117.1234568, 34.8]}
    assert first["properties"] == {
        "tree_id": "a",
        **full,
        "planted": "2020-03-12",
        "checked": "2026-06-01T12:00:00+00:00",
        "place_method": "geometry",
        "place_accuracy_m": 5,
        "valid": ["2026-06-01T12:00:00+00:00", None],
        "recorded": [KNOWN_SINCE.isoformat(), None],
    }
    assert second["geometry"] is None
    assert second["properties"]["valid"] == [None, None]


def test_how_a_record_is_written(park: Park) -> None:
    park.put("parks.trees", tree("a", 117.25, 34.75, name="x", height_m=2.5))

    def written(writing: Writing) -> dict[str, Any]:
        return json.loads(page(park, "parks.trees", writing=writing).features)[0]

    assert written(Writing(latitude_first=True))["geometry"]["coordinates"] == [34.75, 117.25]
    metres = written(Writing(crs=3857))["geometry"]["coordinates"]
    expected = [math.radians(117.25) * 6378137, math.asinh(math.tan(math.radians(34.75))) * 6378137]
    assert metres == pytest.approx(expected, abs=0.01)
    chosen = written(Writing(properties=("name",)))["properties"]
    assert set(chosen) == {"name", "place_method", "place_accuracy_m", "place_source", "valid", "recorded"}


def test_one_record(park: Park) -> None:
    park.put("parks.trees", tree("a"), tree("old", valid=between(None, NOON)))
    park.put("parks.air", reading("n:1", NOON - HOUR, 1.0), reading("n:1", NOON, 2.0))

    def one(dataset: str, fid: str, view: View | None = None) -> dict[str, Any]:
        contract = park.catalog[dataset]
        return json.loads(park.ask(lambda c: item(c, contract, view or View(), CITY, fid, Writing())))

    assert one("parks.trees", "a")["id"] == "a"
    assert one("parks.trees", "old", View(valid_at=Span.instant(NOON - HOUR)))["id"] == "old"
    assert one("parks.air", "n:1")["properties"]["dust"] == 2.0, "a subject means its newest"
    assert one("parks.air", f"n:1:{NOON.isoformat()}")["properties"]["dust"] == 2.0
    assert one("parks.air", f"n:1:{(NOON - HOUR).isoformat()}")["properties"]["dust"] == 1.0, "an older one by its id"
    for dataset, fid in (("parks.trees", "old"), ("parks.trees", "no"), ("parks.air", "n"), ("parks.air", "x:y")):
        with pytest.raises(NotFound, match="no record"):
            one(dataset, fid)


def test_history_shows_every_version_newest_first(park: Park) -> None:
    park.put(
        "parks.trees",
        tree("a", height_m=1.0, recorded=between(NOON - HOUR, NOON)),
        tree("a", height_m=1.0, recorded=between(NOON, None), valid=between(None, NOON)),
        tree("a", height_m=2.0, recorded=between(NOON, None), valid=between(NOON, None)),
        tree("b"),
    )
    contract = park.catalog["parks.trees"]

    def versions(view: View, fid: str = "a") -> list[float]:
        found = park.ask(lambda c: history(c, contract, view, CITY, fid, Writing()))
        return [feature["properties"]["height_m"] for feature in json.loads(found.features)]

    assert versions(View()) == [2.0, 1.0, 1.0]
    assert versions(View(known_at=NOON - HOUR / 2)) == [1.0]
    with pytest.raises(NotFound, match="never had"):
        versions(View(), "c")


def test_the_role_stands_behind_the_question(park: Park) -> None:
    """Even a question that the API would not put is refused by PostgreSQL: no GRANT, no row."""
    park.put("parks.guards", {"id": "g", "name": "g", "wkt": "POINT(117.3 34.8)"})
    contract = park.catalog["parks.guards"]

    def seen_by(name: str) -> int:
        found = park.ask(lambda c: items(c, contract, View(), CITY, ItemsQuery(), Writing()), Audience(name))
        return found.returned

    assert seen_by("department:parks") == seen_by("dispatch") == 1
    for name in ("public", "operations", "planner", "administrator"):
        with pytest.raises(NotAllowed):
            seen_by(name)
