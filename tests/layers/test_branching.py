"""Branches: copy-on-write over main, typed edits, differences, and merging by two people."""

import datetime as dt
import json
from typing import Any

import pytest
import sqlalchemy as sa

from layers.branching.edits import Edited, edit, parse_edits
from layers.branching.merging import clashes, merge, propose, reopen
from layers.branching.registry import Listed, branches, create, discard, find
from layers.cells import CellsQuery, cells
from layers.diff import counts, difference_cells, differences, indicator_difference
from layers.features import Writing
from layers.history import history
from layers.indicators import refresh
from layers.query import ItemsQuery, items
from layers.tables import branch_table, dataset_table
from layers.tiles import tile
from layers.tilesets import TileAddress
from tests.layers.conftest import Park
from tests.layers.park import CITY
from twin.access import Audience, Caller
from twin.errors import Conflict, InvalidRequest, LimitExceeded, NotAllowed, NotFound
from twin.view import Span, View

PLANNER = Caller(Audience("planner"), "li.na")
REVIEWER = Caller(Audience("planner"), "wang.wei")
ADMINISTRATOR = Caller(Audience("administrator"), "zhao.min")
TREES = "parks.trees"
POINT = {"type": "Point", "coordinates": [117.31, 34.81]}
NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)


def tree(fid: str, lon: float = 117.3, lat: float = 34.8, **more: Any) -> dict[str, Any]:
    return {"id": fid, "tree_id": fid, "wkt": f"POINT({lon} {lat})", **more}


def made(park: Park, name: str = "what-if", **more: Any) -> Listed:
    with park.database.writing() as connection:
        return create(connection, name, PLANNER, **more)


def edited(park: Park, branch: Listed, *said: dict[str, Any], caller: Caller = PLANNER) -> list[Edited]:
    with park.database.writing() as connection:
        found = find(connection, branch.name)
        return edit(connection, park.catalog, CITY, found, caller, parse_edits(list(said)))


def view_of(branch: Listed | None, **more: Any) -> View:
    own = {"branch": branch.branch} if branch else {}
    return View(audience=PLANNER.audience, **own, **more)


def shown(park: Park, branch: Listed | None, dataset: str = TREES, **view: Any) -> dict[str, dict[str, Any]]:
    contract, query = park.catalog[dataset], ItemsQuery(limit=10_000)
    page = park.ask(lambda c: items(c, contract, view_of(branch, **view), CITY, query, Writing()), PLANNER.audience)
    return {feature["id"]: feature["properties"] for feature in json.loads(page.features)}


def contents(park: Park, dataset: str = TREES) -> str:
    """A hash of all that main holds of a dataset, and of its numbers."""
    contract = park.catalog[dataset]
    tables = [f"{contract.system}.{contract.name}", *(f'indicators."{one.id}"' for one in contract.indicators)]
    with park.database.writing() as connection:
        found = [
            connection.scalar(sa.text(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"))
            for name in tables
        ]
    return "/".join(str(one) for one in found)


def counted(park: Park) -> None:
    with park.database.writing() as connection:
        refresh(connection, park.catalog[TREES], CITY, None)


def merged(park: Park, branch: Listed, caller: Caller = REVIEWER, **resolve: Any) -> None:
    with park.database.writing() as connection:
        words = {key.replace("_", "/", 1): word for key, word in resolve.items()}
        merge(connection, park.catalog, CITY, find(connection, branch.name), caller, words)


def test_edits_show_in_the_branch_and_main_stays_as_it_was(park: Park) -> None:
    park.put(TREES, tree("a", name="one"), tree("b", name="two"), tree("c", name="three"))
    counted(park)
    before = contents(park)
    branch = made(park)
    done = edited(
        park,
        branch,
        {"do": "change", "dataset": TREES, "id": "a", "properties": {"name": "uno", "height_m": 3.5}},
        {"do": "remove", "dataset": TREES, "id": "b"},
        {"do": "add", "dataset": TREES, "properties": {"tree_id": "d", "name": "four"}, "geometry": POINT},
    )
    assert [(one.do, one.id, one.records) for one in done] == [("change", "a", 1), ("remove", "b", 1), ("add", "d", 1)]
    there = shown(park, branch)
    assert {fid: found["name"] for fid, found in there.items()} == {"a": "uno", "c": "three", "d": "four"}
    assert (there["a"]["height_m"], there["d"]["place_method"]) == (3.5, "drawn")
    assert {fid: found["name"] for fid, found in shown(park, None).items()} == {"a": "one", "b": "two", "c": "three"}
    assert contents(park) == before, "main is never changed by a branch"
    assert set(shown(park, branch, valid_at=Span.instant(NOW - HOUR))) == {"a", "b", "c"}, "before the edits begin"


def test_main_goes_on_beneath_a_branch(park: Park) -> None:
    park.put(TREES, tree("a"), tree("b"))
    branch = made(park)
    edited(park, branch, {"do": "remove", "dataset": TREES, "id": "a"})
    park.put(TREES, tree("new"))
    assert set(shown(park, branch)) == {"b", "new"}


def test_edits_hold_from_their_start_until_their_end(park: Park) -> None:
    park.put(TREES, tree("a", name="old"))
    branch = made(park, starts_at=NOW + HOUR)
    start, end = NOW + 2 * HOUR, NOW + 4 * HOUR
    said = {"from": start.isoformat(), "to": end.isoformat()}
    edited(park, branch, {"do": "change", "dataset": TREES, "id": "a", "properties": {"name": "new"}, **said})
    at = {hours: shown(park, branch, valid_at=Span.instant(NOW + hours * HOUR)) for hours in (0, 1, 3, 5)}
    assert {hours: found["a"]["name"] for hours, found in at.items()} == {0: "old", 1: "old", 3: "new", 5: "old"}
    edited(park, branch, {"do": "remove", "dataset": TREES, "id": "a", **said})
    assert [bool(shown(park, branch, valid_at=Span.instant(NOW + hours * HOUR))) for hours in (1, 3, 5)] == [
        *(True, False, True)
    ]


def test_a_removed_record_can_be_added_again_and_edited_many_times(park: Park) -> None:
    park.put(TREES, tree("a", name="0"))
    branch = made(park)
    change = {"do": "change", "dataset": TREES, "id": "a"}
    edited(park, branch, *({**change, "properties": {"name": str(number)}} for number in range(1, 4)))
    assert shown(park, branch)["a"]["name"] == "3"
    edited(park, branch, {"do": "remove", "dataset": TREES, "id": "a"})
    assert shown(park, branch) == {}
    with pytest.raises(NotFound, match="shows no 'a'"):
        edited(park, branch, {**change, "properties": {"name": "x"}})
    edited(park, branch, {"do": "add", "dataset": TREES, "properties": {"tree_id": "a"}, "geometry": POINT})
    assert shown(park, branch)["a"]["name"] is None
    with pytest.raises(Conflict, match="already"):
        edited(park, branch, {"do": "add", "dataset": TREES, "properties": {"tree_id": "a"}, "geometry": POINT})


def test_a_filter_sets_many_and_sees_the_edits_before_it(park: Park) -> None:
    park.put(TREES, *(tree(str(number), height_m=float(number)) for number in range(20)))
    branch = made(park)
    done = edited(
        park,
        branch,
        {"do": "change", "dataset": TREES, "id": "3", "properties": {"height_m": 50}},
        {"do": "set_attribute", "dataset": TREES, "filter": "height_m > 14.5", "properties": {"name": "tall"}},
    )
    assert done[1].records == 6
    assert {fid for fid, found in shown(park, branch).items() if found["name"] == "tall"} == {
        *("3", "15", "16", "17", "18", "19")
    }


def test_all_edits_are_made_or_none(park: Park) -> None:
    park.put(TREES, tree("a", name="old"))
    branch = made(park)
    with pytest.raises(NotFound):
        edited(
            park,
            branch,
            {"do": "change", "dataset": TREES, "id": "a", "properties": {"name": "new"}},
            {"do": "remove", "dataset": TREES, "id": "nowhere"},
        )
    assert shown(park, branch)["a"]["name"] == "old"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"do": "explode", "dataset": TREES, "id": "a"}, "extra inputs"),
        ({"do": "explode", "dataset": TREES}, "no edit"),
        ({"do": "remove", "dataset": TREES}, "id: field required"),
        ({"do": "remove", "dataset": "parks.nothing", "id": "a"}, "no dataset"),
        ({"do": "remove", "dataset": "parks.guards", "id": "a"}, "no dataset"),
        ({"do": "remove", "dataset": "parks.air", "id": "a"}, "features and events"),
        ({"do": "change", "dataset": TREES, "id": "a", "properties": {"colour": "red"}}, "colour"),
        ({"do": "change", "dataset": TREES, "id": "a", "properties": {"height_m": "tall"}}, "height_m"),
        ({"do": "change", "dataset": TREES, "id": "a", "properties": {"kind": "palm"}}, "kind"),
        ({"do": "change", "dataset": TREES, "id": "a", "properties": {"healthy": 1}}, "healthy"),
        ({"do": "change", "dataset": TREES, "id": "a", "properties": {"checked": "2026-01-01T00:00:00"}}, "timezone"),
        ({"do": "change", "dataset": TREES, "id": "a", "properties": {"tree_id": "z"}}, "part of the key"),
        ({"do": "change", "dataset": TREES, "id": "a", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
         "before it starts"),
        ({"do": "change", "dataset": TREES, "id": "a", "geometry": {"type": "Point", "coordinates": [0, 0]}}, "null"),
        ({"do": "change", "dataset": TREES, "id": "a", "geometry": {"type": "Point", "coordinates": [34.8, 117.3]}},
         "swapped"),
        ({"do": "change", "dataset": TREES, "id": "a", "geometry": {"type": "Pint", "coordinates": [1, 2]}}, "GeoJSON"),
        ({"do": "change", "dataset": TREES, "id": "a", "geometry": {"type": "LineString",
          "coordinates": [[117.3, 34.8], [117.4, 34.8]]}}, "wrong type"),
        ({"do": "change", "dataset": "parks.beds", "id": "a", "geometry": {"type": "Polygon", "coordinates": [
          [[117.3, 34.8], [117.4, 34.9], [117.4, 34.8], [117.3, 34.9], [117.3, 34.8]]]}}, "Self-intersection"),
        ({"do": "add", "dataset": TREES, "properties": {"tree_id": "z"}}, "needs a geometry"),
        ({"do": "set_attribute", "dataset": TREES, "filter": "heigth > 1", "properties": {"name": "x"}}, "heigth"),
        ([], "0 edits"),
        ("nonsense", "no edits"),
    ],
)  # fmt: skip
def test_wrong_edits_are_refused_in_words(park: Park, said: Any, words: str) -> None:
    park.put(TREES, tree("a"))
    branch = made(park)
    with pytest.raises((InvalidRequest, NotFound, LimitExceeded), match=words), park.database.writing() as connection:
        edit(connection, park.catalog, CITY, find(connection, branch.name), PLANNER, parse_edits(said))
    assert shown(park, branch).keys() == {"a"}


def test_tiles_cells_and_history_look_through_the_branch(park: Park) -> None:
    park.put(TREES, *(tree(str(number), 117.3 + number / 100, height_m=1.0) for number in range(30)))
    counted(park)
    contract = park.catalog[TREES]
    _, indicator = park.catalog.indicator("parks.height_sum")
    branch = made(park)
    edited(
        park,
        branch,
        {"do": "remove", "dataset": TREES, "id": "0"},
        {"do": "change", "dataset": TREES, "id": "1", "properties": {"height_m": 100}},
        {"do": "add", "dataset": TREES, "properties": {"tree_id": "z", "height_m": 7}, "geometry": POINT},
    )
    whole = TileAddress(0, 0, 0)
    drawn = [
        park.ask(lambda c, v=view: tile(c, contract, v, CITY, whole), PLANNER.audience)
        for view in (view_of(None), view_of(branch))
    ]
    assert (b"z" in drawn[1], drawn[0] != drawn[1]) == (True, True)
    for resolution in (9, 8, 7):
        query = CellsQuery(resolution, None, view_of(branch))
        found = park.ask(lambda c, q=query: cells(c, contract, indicator, q, CITY), PLANNER.audience)
        assert found.value.sum() == 28 + 100 + 7
        assert found.n.sum() == 30
    moved = park.ask(lambda c: indicator_difference(c, contract, indicator, view_of(branch), CITY, 9), PLANNER.audience)
    assert moved.after.sum() - moved.before.sum() == 135 - 30
    old = park.ask(lambda c: history(c, contract, view_of(branch), CITY, "1", Writing()), PLANNER.audience)
    assert [feature["properties"]["height_m"] for feature in json.loads(old.features)].count(100.0) == 1


def test_differences_name_what_was_added_changed_and_removed(park: Park) -> None:
    park.put(TREES, *(tree(str(number), 117.3 + number / 100, name="old") for number in range(10)))
    branch = made(park)
    edited(
        park,
        branch,
        {"do": "remove", "dataset": TREES, "id": "0"},
        {"do": "change", "dataset": TREES, "id": "1", "properties": {"name": "new"}, "geometry": POINT},
        {"do": "add", "dataset": TREES, "properties": {"tree_id": "z"}, "geometry": POINT},
        {"do": "change", "dataset": TREES, "id": "2", "properties": {"name": "old"}},
    )
    contract, instant = park.catalog[TREES], Span.instant(dt.datetime.now(dt.UTC) + HOUR)
    views = view_of(None, valid_at=instant), view_of(branch, valid_at=instant)
    found = park.ask(lambda c: differences(c, contract, views, CITY, Writing(), limit=100), PLANNER.audience)
    assert [(one.key[0], one.change) for one in found][:2] == [("0", "removed"), ("1", "changed")]
    assert found[-1].key[0] == "z"
    changed = found[1]
    assert (changed.before["properties"]["name"], changed.after["properties"]["name"]) == ("old", "new")
    assert changed.after["geometry"] == POINT
    number = park.ask(lambda c: counts(c, contract, views, CITY), PLANNER.audience)
    assert (number["added"], number["removed"]) == (1, 1)
    by_cell = park.ask(lambda c: difference_cells(c, contract, views, CITY, 8), PLANNER.audience)
    assert [sum(getattr(one, word) for one in by_cell) for word in ("added", "removed")] == [1, 1]
    first = park.ask(lambda c: differences(c, contract, views, CITY, Writing(), limit=1), PLANNER.audience)
    rest = park.ask(
        lambda c: differences(c, contract, views, CITY, Writing(), limit=100, after=first[0].key), PLANNER.audience
    )
    assert [*first, *rest] == found


def test_a_branch_comes_home_by_a_second_person(park: Park) -> None:
    park.put(TREES, tree("a", name="old", height_m=1.0), tree("b"), tree("c"))
    counted(park)
    branch = made(park)
    edited(
        park,
        branch,
        {"do": "change", "dataset": TREES, "id": "a", "properties": {"name": "new", "height_m": 9}},
        {"do": "remove", "dataset": TREES, "id": "b"},
        {"do": "add", "dataset": TREES, "properties": {"tree_id": "d", "height_m": 2}, "geometry": POINT},
    )
    wanted = shown(park, branch)
    with pytest.raises(Conflict, match="Propose"):
        merged(park, branch)
    with park.database.writing() as connection:
        propose(connection, find(connection, branch.name), PLANNER)
    with pytest.raises(Conflict, match="takes no edits"):
        edited(park, branch, {"do": "remove", "dataset": TREES, "id": "c"})
    for caller in (PLANNER, Caller(Audience("administrator"), "li.na")):
        with pytest.raises(NotAllowed, match="has not worked on it"):
            merged(park, branch, caller)
    with pytest.raises(NotAllowed, match="approved by"):
        merged(park, branch, Caller(Audience("dispatch"), "chen.fei"))
    before = dt.datetime.now(dt.UTC)
    merged(park, branch)
    now = shown(park, None)
    assert {fid: found["name"] for fid, found in now.items()} == {"a": "new", "c": None, "d": None}
    assert {fid: found["height_m"] for fid, found in now.items()} == {
        fid: found["height_m"] for fid, found in wanted.items()
    }
    assert set(shown(park, None, known_at=before)) == {"a", "b", "c"}, "what was known stays known"
    contract, (_, indicator) = park.catalog[TREES], park.catalog.indicator("parks.height_sum")
    query = CellsQuery(9, None, view_of(None))
    found = park.ask(lambda c: cells(c, contract, indicator, query, CITY), PLANNER.audience)
    assert found.value.sum() == 11
    with park.database.writing() as connection:
        assert find(connection, branch.name).state == "merged"
    assert no_overlaps(park) == 0


def no_overlaps(park: Park) -> int:
    with park.database.writing() as connection:
        return connection.scalar(
            sa.text(
                "SELECT count(*) FROM parks.trees a JOIN parks.trees b USING (id) WHERE a.row < b.row"
                " AND a.valid && b.valid AND a.recorded && b.recorded"
            )
        )


def test_conflicts_are_reported_and_resolved_one_by_one(park: Park) -> None:
    park.put(TREES, tree("a", name="old"), tree("b", name="old"), tree("c", name="old"))
    branch = made(park)
    edited(
        park,
        branch,
        *({"do": "change", "dataset": TREES, "id": fid, "properties": {"name": "branch"}} for fid in "abc"),
    )
    table = dataset_table(park.catalog[TREES], CITY.srid)
    with park.database.writing() as connection:
        now = dt.datetime.now(dt.UTC)
        closing = sa.func.tstzrange(sa.func.lower(table.c.recorded), now)
        connection.execute(table.update().where(table.c.id.in_(["a", "b"])).values(recorded=closing))
    since = f"[{now.isoformat()},)"
    park.put(TREES, *(tree(fid, name="main", recorded=since) for fid in "ab"))
    assert {fid: found["name"] for fid, found in shown(park, branch).items()} == dict.fromkeys("abc", "branch")
    with park.database.writing() as connection:
        assert [one.id for one in clashes(connection, park.catalog[TREES], CITY, branch)] == ["a", "b"]
        propose(connection, find(connection, branch.name), PLANNER)
    with pytest.raises(Conflict, match=r"2 records meanwhile: parks.trees/a, parks.trees/b"):
        merged(park, branch)
    with park.database.writing() as connection:
        words = {"parks.trees/a": "main", "*": "branch"}
        merge(connection, park.catalog, CITY, find(connection, branch.name), REVIEWER, words)
    assert {fid: found["name"] for fid, found in shown(park, None).items()} == {
        "a": "main",
        "b": "branch",
        "c": "branch",
    }
    assert no_overlaps(park) == 0


def test_branches_are_listed_reopened_and_discarded(park: Park) -> None:
    park.put(TREES, tree("a"))
    branch = made(park, title="Another park")
    with pytest.raises(Conflict, match="exists"):
        made(park)
    for wrong in ("main", "Big", "with space", "", "x" * 61):
        with pytest.raises(InvalidRequest, match="no name"):
            made(park, wrong)
    with park.database.writing() as connection:
        with pytest.raises(NotAllowed):
            create(connection, "mine", Caller(Audience("public")))
        propose(connection, find(connection, "what-if"), PLANNER)
        assert reopen(connection, find(connection, "what-if"), REVIEWER).state == "open"
        with pytest.raises(NotAllowed):
            discard(connection, find(connection, "what-if"), REVIEWER)
        discard(connection, find(connection, "what-if"), ADMINISTRATOR)
        assert branches(connection) == []
        with pytest.raises(NotFound):
            find(connection, "what-if")
    assert made(park).number > branch.number, "its name is free again"


def test_the_role_of_the_public_cannot_read_rows_of_branches(park: Park) -> None:
    park.put(TREES, tree("a"))
    edited(park, made(park), {"do": "remove", "dataset": TREES, "id": "a"})
    name = branch_table(park.catalog[TREES], CITY.srid).fullname
    with park.database.engine.connect() as connection:
        question = sa.text("SELECT has_table_privilege(:role, :name, 'SELECT')")
        assert not connection.scalar(question, {"role": Audience("public").role, "name": name})
        assert connection.scalar(question, {"role": PLANNER.audience.role, "name": name})


def test_a_second_addition_of_one_batch_is_a_conflict(park: Park) -> None:
    branch = made(park)
    add = {"do": "add", "dataset": TREES, "properties": {"tree_id": "a"}, "geometry": POINT}
    with pytest.raises(Conflict):
        edited(park, branch, add, add)
    assert shown(park, branch) == {}
