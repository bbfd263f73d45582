"""Two times and branches against a tiny oracle: random corrections, late data, what-ifs and merges.

The oracle knows no database: a city is a dict of timelines, and what was known when is a list of such dicts.
"""

import asyncio
import copy
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.writer import write
from layers.branching.edits import edit, parse_edits
from layers.branching.merging import merge, propose
from layers.branching.registry import create, find
from layers.catalog import Catalog
from layers.contract import Contract, System
from layers.features import Writing
from layers.query import ItemsQuery, items
from layers.store import apply
from layers.tables import branch_table, dataset_table
from tests.ingest.contracts import contract
from tests.ingest.contracts import field as field_of
from tests.ingest.test_writer import rows_of
from tests.layers.park import CITY
from twin.access import Audience, Caller
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.errors import Conflict, NotFound
from twin.view import MAIN, Branch, Span, View

IDS = ("a", "b", "c")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
AUTHOR, REVIEWER = Caller(Audience("planner"), "li.na"), Caller(Audience("planner"), "wang.wei")
LOOP = asyncio.Runner()
POINT = {"type": "Point", "coordinates": [117.3, 34.8]}

THINGS: Contract = contract(
    id="lab.things",
    time={"start": "since", "end": "until"},
    fields={
        "code": field_of("string", "编号", "Code"),
        "size": field_of("integer", "大小", "Size", unit="1"),
        "since": field_of("datetime", "起", "Since"),
        "until": field_of("datetime", "止", "Until"),
    },
)
SYSTEM = System.model_validate(
    {
        "id": "lab",
        "number": "C1",
        "title": {"zh": "试", "en": "Lab"},
        "owner": "局",
        "description": {"zh": "试", "en": "Lab"},
    }
)
CATALOG = Catalog({"lab.things": THINGS}, {"lab": SYSTEM}, {"lab.things": "1"})

Segment = tuple[int, int | None, int]
"""From an hour until another (None: still), this size."""


def at(hour: int | None) -> dt.datetime | None:
    return None if hour is None else START + dt.timedelta(hours=hour)


@dataclass
class Oracle:
    """Main as stated starts, and a branch as timelines of its own of the records that it has changed."""

    main: dict[str, dict[int, tuple[int | None, int]]] = field(default_factory=dict)
    branch: dict[str, list[Segment]] = field(default_factory=dict)
    merged: dict[str, list[Segment]] = field(default_factory=dict)

    def timeline(self, code: str, *, in_branch: bool) -> list[Segment]:
        """What a record is when, in main or in the branch."""
        if in_branch and code in self.branch:
            return self.branch[code]
        if code in self.merged:
            return self.merged[code]
        states = sorted(self.main.get(code, {}).items())
        nexts = [*(start for start, _ in states[1:]), None][: len(states)]
        return [
            (start, min([one for one in (end, following) if one is not None], default=None), size)
            for (start, (end, size)), following in zip(states, nexts, strict=True)
        ]

    def load(self, code: str, start: int, end: int | None, size: int) -> None:
        """A source states what was so from a start on."""
        self.main.setdefault(code, {})[start] = (end, size)

    def change(self, code: str, start: int, end: int | None, size: int) -> bool:
        """As the edit; False where there is nothing to change."""
        line = self.timeline(code, in_branch=True)
        hit = next((one for one in line if one[0] <= start and (one[1] is None or start < one[1])), None)
        if hit is None:
            return False
        first, last, old = hit
        stop = min([one for one in (end, last) if one is not None], default=None)
        new = [(first, start, old)] if first < start else []
        new.append((start, stop, size))
        if end is not None and (last is None or end < last):
            new.append((end, last, old))
        self.branch[code] = sorted([one for one in line if one != hit] + new)
        return True

    def remove(self, code: str, start: int) -> bool:
        """As the edit; False where there is nothing to remove."""
        line = self.timeline(code, in_branch=True)
        if not any(one[1] is None or start < one[1] for one in line):
            return False
        kept = [one for one in line if one[1] is not None and one[1] <= start]
        cut = [(first, start, size) for first, last, size in line if first < start and (last is None or last > start)]
        self.branch[code] = kept + cut
        return True

    def add(self, code: str, start: int, end: int | None, size: int) -> bool:
        """As the edit; False where something is there."""
        line = self.timeline(code, in_branch=True)
        if any((end is None or first < end) and (last is None or start < last) for first, last, _ in line):
            return False
        self.branch[code] = sorted([*line, (start, end, size)])
        return True

    def shown(self, hour: int, *, in_branch: bool) -> dict[str, int]:
        """The sizes at an hour."""
        return {
            code: size
            for code in IDS
            for first, last, size in self.timeline(code, in_branch=in_branch)
            if first <= hour and (last is None or hour < last)
        }


hours = st.integers(0, 12)
ends = st.one_of(st.none(), st.integers(1, 8))
operations = st.lists(
    st.tuples(st.sampled_from(["load", "load", "load", "change", "remove", "add"]), st.sampled_from(IDS), hours, ends),
    min_size=1,
    max_size=9,
)


@pytest.fixture(scope="module")
def lab(cluster: Cluster) -> Iterator[Database]:
    database = private_database(cluster, "bitemporal")
    database.migrate()
    with database.writing() as connection:
        apply(connection, CATALOG, CITY)
    yield database
    LOOP.run(database.aclose())
    LOOP.close()


def emptied(database: Database) -> None:
    names = [table.fullname for table in (dataset_table(THINGS, CITY.srid), branch_table(THINGS, CITY.srid))]
    with database.writing() as connection:
        connection.exec_driver_sql(
            f"TRUNCATE {', '.join(names)}, twin.versions, twin.branch_edits, twin.branches CASCADE"
        )


def said(operation: str, code: str, start: int, end: int | None, size: int) -> dict[str, Any]:
    first, last = at(start), at(end)
    times = {"from": first.isoformat() if first else None, "to": last.isoformat() if last else None}
    own: dict[str, Any] = {"do": operation, "dataset": "lab.things"}
    match operation:
        case "change":
            return {**own, **times, "id": code, "properties": {"size": size}}
        case "remove":
            return {**own, "from": times["from"], "id": code}
        case _:
            return {**own, **times, "properties": {"code": code, "size": size}, "geometry": POINT}


def shown(database: Database, hour: int, known_at: dt.datetime | None, branch: Branch) -> dict[str, int]:
    view = View(Span.instant(START + dt.timedelta(hours=hour)), known_at, branch, AUTHOR.audience)

    async def asked() -> str:
        async with database.reading(AUTHOR.audience) as connection:
            page = await items(connection, THINGS, view, CITY, ItemsQuery(limit=100), Writing())
            return page.features

    found = json.loads(LOOP.run(asked()))
    assert len(found) == len({one["id"] for one in found}), "one state at a time"
    return {one["id"]: one["properties"]["size"] for one in found}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations, probes=st.lists(st.tuples(hours, st.integers(0, 9)), min_size=3, max_size=6))
def test_every_view_shows_what_the_oracle_says(lab: Database, operations: Any, probes: Any) -> None:
    emptied(lab)
    with lab.writing() as connection:
        branch = create(connection, "what-if", AUTHOR, starts_at=START)
    oracle = Oracle()
    known: list[tuple[dt.datetime, Oracle]] = [(dt.datetime.now(dt.UTC), copy.deepcopy(oracle))]
    for number, (operation, code, start, length) in enumerate(operations):
        end, size = None if length is None else start + length, number + 1
        if operation == "load":
            oracle.load(code, start, end, size)
            row = {"id": code, "code": code, "size": size, "valid_start": at(start), "valid_end": at(end)}
            with lab.writing() as connection:
                write(connection, THINGS, CITY, rows_of(THINGS, row), 1, dt.datetime.now(dt.UTC))
        else:
            arguments = (code, start) if operation == "remove" else (code, start, end, size)
            fits = getattr(oracle, operation)(*arguments)
            try:
                with lab.writing() as connection:
                    edit(
                        connection,
                        CATALOG,
                        CITY,
                        find(connection, "what-if"),
                        AUTHOR,
                        parse_edits(said(operation, code, start, end, size)),
                    )
            except (NotFound, Conflict):
                assert not fits, (operation, code, start, end)
            else:
                assert fits, (operation, code, start, end)
        known.append((dt.datetime.now(dt.UTC), copy.deepcopy(oracle)))
    for hour, step in [*probes, *((hour, len(known) - 1) for hour in (0, 6, 12))]:
        moment, then = known[min(step, len(known) - 1)]
        for in_branch, name in ((False, MAIN), (True, branch.branch)):
            assert shown(lab, hour, moment, name) == then.shown(hour, in_branch=in_branch), (hour, step, in_branch)
    for hour in (0, 3, 6, 9, 12):
        assert shown(lab, hour, None, branch.branch) == oracle.shown(hour, in_branch=True)
    with lab.writing() as connection:
        propose(connection, find(connection, "what-if"), AUTHOR)
        merge(connection, CATALOG, CITY, find(connection, "what-if"), REVIEWER, {"*": "branch"})
    for hour in (0, 3, 6, 9, 12):
        assert shown(lab, hour, None, MAIN) == oracle.shown(hour, in_branch=True), "merged"
        assert shown(lab, hour, known[-1][0], MAIN) == oracle.shown(hour, in_branch=False), "and before"
    assert overlaps(lab) == 0


def overlaps(database: Database) -> int:
    question = "SELECT count(*) FROM lab.things a JOIN lab.things b USING (id) WHERE a.row < b.row"
    with database.engine.connect() as connection:
        return int(connection.scalar(sa.text(f"{question} AND a.valid && b.valid AND a.recorded && b.recorded")) or 0)
