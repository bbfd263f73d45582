"""CQL2: what filters select, and that nothing but the contract's fields can be asked."""

import contextlib
import datetime as dt
import json
from typing import Any

import pytest

from layers.features import Writing
from layers.query import ItemsQuery, items
from tests.layers.conftest import NOON, Park
from tests.layers.park import CITY
from twin.errors import InvalidRequest, LimitExceeded, TwinError
from twin.view import View

TREES: list[dict[str, Any]] = [
    {"name": "Old Oak", "kind": "oak", "height_m": 20.0, "ring_count": 100, "healthy": True},
    {"name": "O'Neill's", "kind": "elm", "height_m": 5.0, "ring_count": 10, "healthy": False},
    {"name": "老槐树", "kind": "oak", "height_m": 12.5, "ring_count": 50, "healthy": True},
    {"name": "100%_sure", "kind": None, "height_m": None, "ring_count": 3, "healthy": None},
]
NAMES = "abcd"


@pytest.fixture(scope="module")
def trees(shared_park: Park) -> Park:
    rows = [
        {
            "id": fid,
            "tree_id": fid,
            **row,
            "planted": dt.date(2000 + at, 3, 12),
            "checked": NOON + dt.timedelta(days=at),
        }
        for at, (fid, row) in enumerate(zip(NAMES, TREES, strict=True))
    ]
    places = ["POINT(117.1 34.8)", "POINT(117.2 34.8)", "POINT(117.3 34.8)", None]
    shared_park.put("parks.trees", *({**row, "wkt": place} for row, place in zip(rows, places, strict=True)))
    return shared_park


def chosen(park: Park, text: str) -> str:
    contract, asked = park.catalog["parks.trees"], ItemsQuery(filter=text, limit=100)
    page = park.ask(lambda c: items(c, contract, View(), CITY, asked, Writing()))
    return "".join(feature["id"] for feature in json.loads(page.features))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = 'oak'", "ac"),
        ("kind <> 'oak'", "b"),
        ("height_m > 5", "ac"),
        ("height_m >= 5 AND height_m < 20", "bc"),
        ("5 < height_m", "ac"),
        ("ring_count = 3", "d"),
        ("kind = 'elm' OR kind = 'oak' AND height_m > 15", "ab"),
        ("(kind = 'elm' OR kind = 'oak') AND height_m > 15", "a"),
        ("NOT kind = 'oak' AND ring_count < 50", "b"),
        ("not (kind = 'oak' or ring_count < 5)", "b"),
        ("name = 'O''Neill''s'", "b"),
        ("name LIKE 'O%'", "ab"),
        ("name NOT LIKE 'O%'", "cd"),
        ("name LIKE '_ld Oak'", "a"),
        (r"name LIKE '100\%\_%'", "d"),
        ("CASEI(name) LIKE casei('OLD%')", "a"),
        ("name = '老槐树'", "c"),
        ("kind IN ('elm', 'ash')", "b"),
        ("ring_count NOT IN (3, 10)", "ac"),
        ("height_m BETWEEN 5 AND 12.5", "bc"),
        ("height_m NOT BETWEEN 5 AND 12.5", "a"),
        ("kind IS NULL", "d"),
        ("kind IS NOT NULL AND healthy IS NOT NULL", "abc"),
        ("healthy", "ac"),
        ("healthy = FALSE", "b"),
        ("NOT healthy", "b"),
        ("TRUE", "abcd"),
        ("FALSE", ""),
        ("height_m * 2 - 1 > 20 + 4", "a"),
        ("ring_count / 4 = 2.5", "b"),
        ("-height_m < -15", "a"),
        ("height_m > 1.25e1", "a"),
        ("id = 'a'", "a"),
        ("planted = DATE('2001-03-12')", "b"),
        ("planted > DATE('2001-03-12')", "cd"),
        ("checked > TIMESTAMP('2026-06-02T20:00:00+08:00')", "cd"),
        ("checked BETWEEN TIMESTAMP('2026-06-02T12:00:00Z') AND TIMESTAMP('2026-06-03T12:00:00Z')", "bc"),
        ("T_AFTER(checked, TIMESTAMP('2026-06-02T12:00:00Z'))", "cd"),
        ("T_BEFORE(checked, INTERVAL('2026-06-02T12:00:00Z', '..'))", "a"),
        ("T_DURING(checked, INTERVAL('2026-06-01T12:00:00Z', '2026-06-03T12:00:00Z'))", "b"),
        ("T_INTERSECTS(checked, INTERVAL('..', '2026-06-02T12:00:00Z'))", "ab"),
        ("S_INTERSECTS(geometry, POLYGON((117.15 34.7, 117.4 34.7, 117.4 34.9, 117.15 34.9, 117.15 34.7)))", "bc"),
        ("S_INTERSECTS(geom, BBOX(117.0, 34.7, 117.2, 34.9))", "ab"),
        ("S_WITHIN(geom, BBOX(117.0, 34.7, 117.2, 34.9))", "a"),
        ("S_DISJOINT(geom, POINT(117.1 34.8))", "bc"),
        ("S_EQUALS(geom, POINT(117.1 34.8))", "a"),
        ("\"kind\" = 'oak'", "ac"),
        ("  \n kind\t=\n'oak'  ", "ac"),
    ],
)
def test_a_filter_in_text(trees: Park, text: str, expected: str) -> None:
    assert chosen(trees, text) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"op": "=", "args": [{"property": "kind"}, "oak"]}, "ac"),
        ({"op": "isNull", "args": [{"property": "kind"}]}, "d"),
        ({"op": "in", "args": [{"property": "kind"}, ["elm"]]}, "b"),
        ({"op": "between", "args": [{"property": "height_m"}, 5, 12.5]}, "bc"),
        ({"op": "like", "args": [{"property": "name"}, "O%"]}, "ab"),
        ({"op": "not", "args": [{"op": "=", "args": [{"property": "healthy"}, True]}]}, "b"),
        (
            {
                "op": "and",
                "args": [
                    {"op": "<", "args": [{"property": "planted"}, {"date": "2002-01-01"}]},
                    {"op": ">", "args": [{"property": "checked"}, {"timestamp": "2026-06-01T12:00:00Z"}]},
                ],
            },
            "b",
        ),
        (
            {
                "op": "s_intersects",
                "args": [
                    {"property": "geometry"},
                    {"type": "Polygon", "coordinates": [[[117, 34], [117.15, 34], [117.15, 35], [117, 35], [117, 34]]]},
                ],
            },
            "a",
        ),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [117, 34, 117.25, 35]}]}, "ab"),
        (
            {
                "op": "t_during",
                "args": [{"property": "checked"}, {"interval": ["2026-06-01T13:00:00Z", ".."]}],
            },
            "bcd",
        ),
    ],
)
def test_a_filter_in_json(trees: Park, node: object, expected: str) -> None:
    assert chosen(trees, json.dumps(node)) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kind =", "character 7.*ends too early"),
        ("kind = 'oak", "character 8"),
        ("kind == 'oak'", "character 7"),
        ("kind = 'oak' AND", "ends too early"),
        ("kind = 'oak' kind = 'elm'", "character 14"),
        ("kind = 'it\\'s'", "character 13"),
        ("kind = 'oak'; DROP TABLE parks.trees", "character 13"),
        ("", "ends too early"),
        ("ash = 1", "no property 'ash'.*There are: tree_id"),
        ("batch = 1", "no property"),
        ("recorded IS NULL", "no property"),
        ("parks.trees.kind = 'oak'", "character 6"),
        ('"kind; --" = 1', "no property"),
        ("pg_sleep(5) = 1", "no operator or function 'pg_sleep'"),
        ("S_BUFFER(geom, 1)", "no operator or function"),
        ("version() = 'x'", "character 9"),
        ("kind", "a text stands where a condition"),
        ("geom", "a geometry stands"),
        ("height_m = 'tall'", "cannot take number and text"),
        ("kind = 1", "cannot take number and text"),
        ("healthy > TRUE", "cannot take boolean"),
        ("checked > '2026-01-01'", r"cannot take text and time.*TIMESTAMP"),
        ("planted > DATE('2026-13-01')", "no day"),
        ("checked > TIMESTAMP('2026-01-01T00:00:00')", "no time zone"),
        ("kind IN ('oak', 1)", "cannot take"),
        ("height_m IN (kind)", "cannot take"),
        ("kind LIKE 5", "cannot take"),
        ("geom = geom", "cannot take geometry"),
        ("S_INTERSECTS(geom, 5)", "cannot take"),
        ("S_INTERSECTS(geom)", "takes 2 arguments"),
        ("S_INTERSECTS(geom, POINT(1))", "cannot be read"),
        ("S_INTERSECTS(geom, POINT(500 0))", "not lie on the earth"),
        ("S_INTERSECTS(geom, BBOX(1, 2, 3))", "cannot be read"),
        ("S_INTERSECTS(geom, POLYGON((0 0, 1 1, 0 1, 1 0, 0 0)))", "not valid"),
        ("T_AFTER(kind, TIMESTAMP('2026-01-01T00:00:00Z'))", "compares a time"),
        ("height_m > 1e999", "too large"),
        ("height_m / 0 = 1", "division by zero"),
        (r"name LIKE 'O\'", "escape"),
        ('{"op":"="', "not JSON"),
        ('{"op":"=","args":5}', "no value"),
        ('{"op":"in","args":[{"property":"kind"},[]]}', "a list of values"),
        ('{"op":"and","args":[]}', "needs conditions"),
        ('{"op":"=","args":[{"property":"kind"},null]}', "no value"),
        ('{"op":"=","args":[{"property":"kind"},{"a":1}]}', "no value"),
        ('{"op":"s_intersects","args":[{"property":"geom"},{"type":"Polygon"}]}', "cannot be read"),
        ('{"op":"s_intersects","args":[{"property":"geom"},{"bbox":["a",1,2,3]}]}', "cannot be read"),
        ("name = 'a\x00b'", "NUL"),
        ("ring_count = 1e308 * 1e308", "out of range"),
    ],
)
def test_a_wrong_filter_is_refused_in_words(trees: Park, text: str, what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        chosen(trees, text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4000 + "kind = 'oak'",
        "(" * 4000 + "kind = 'oak'" + ")" * 4000,
        "NOT " * 2000 + "healthy",
        "height_m = " + "-" * 8000 + "1",
        "casei(" * 1300 + "name" + ")" * 1300 + " = 'x'",
        " AND ".join(["kind = 'oak'"] * 500),
        "height_m > " + "+".join(["1"] * 3000),
        '{"op":"not","args":[' * 400 + "true" + "]}" * 400,
        "S_INTERSECTS(geom, POLYGON(" + "(1 1)," * 1300,
    ],
)
def test_a_filter_cannot_be_a_burden(trees: Park, text: str) -> None:
    """Deep or long filters answer, or are refused; they neither hang nor break."""
    with contextlib.suppress(InvalidRequest, LimitExceeded):
        chosen(trees, text)


def test_a_long_filter_is_refused(trees: Park) -> None:
    with pytest.raises(LimitExceeded, match="characters"):
        chosen(trees, "kind = '" + "x" * 9_000 + "'")


INJECTIONS = [
    "kind = 'oak'' OR 1=1 --'",
    "kind = 'x' OR '1'='1'",
    "name LIKE '%'' UNION SELECT * FROM twin.inbox --'",
    "\"kind\" = 'oak'/**/OR/**/1=1",
    "kind = $$oak$$",
    "kind = 'oak' OR (SELECT 1) = 1",
    "kind = chr(39)",
    "id = ANY('{a}')",
    "kind = 'oak'::text",
    "kind || '' = 'oak'",
    "current_user = 'x'",
    "kind = E'\\x27'",
    "kind IN (SELECT rolname FROM pg_roles)",
    "kind = '%(param_1)s'",
    "kind = ':param'",
    "kind = '%s' OR name = '%%'",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_nothing_is_injected(trees: Park, text: str) -> None:
    """A filter selects by what it says, or is refused; no attempt reaches further."""
    try:
        found = chosen(trees, text)
    except TwinError:
        found = ""
    assert found == ("abcd" if "'1'='1'" in text else "")
    assert chosen(trees, "TRUE") == NAMES
