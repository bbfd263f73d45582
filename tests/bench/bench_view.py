"""One View: other times and branches against the city of now, the audit log, numbers about people."""

import asyncio
import datetime as dt
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from api.auditing import AuditLog
from layers.branching.edits import edit, parse_edits
from layers.branching.registry import Listed, create
from layers.catalog import Catalog
from layers.diff import difference_cells
from layers.features import Writing
from layers.query import Box, ItemsQuery, items
from layers.tiles import tile
from layers.tilesets import TileAddress
from tests.bench.harness import Case, Measured, measure
from tests.layers.park import CITY, made, park_catalog
from twin.access import Audience, Caller
from twin.audit import Entry, append, who_looked
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.grid import cells_of_points
from twin.privacy import partition, rounded
from twin.view import Span, View

__all__ = ["run"]

_TREES, _VERSIONS = 20_000, 20
_READS = 20
_ENTRIES = 1_000_000
_TOGETHER = 32
PLANNER = Caller(Audience("planner"), "bench")
THEN = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
_PACKAGES = ("sqlalchemy", "psycopg")


def run() -> list[Measured]:
    """Fill a database of its own and measure all cases."""
    with _park() as park:
        return [measure(case) for case in _cases(park)]


class _Park:
    """A park of trees that were corrected often, a branch with 1,000 edits and one with 10,000."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self.database, self.catalog = database, catalog
        self.loop = asyncio.Runner()
        self.trees = catalog["parks.trees"]

    def ask(self, question: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        """The answer of a question that a planner asks."""

        async def asked() -> Any:
            async with self.database.reading(PLANNER.audience, timeout_s=60) as connection:
                return await question(connection)

        return self.loop.run(asked())

    def boxes(self, view: View) -> Callable[[], object]:
        """Reads of the records in small boxes."""
        west = [117.0 + k * 0.02 for k in range(_READS)]
        queries = [ItemsQuery(box=Box(x, 34.7, x + 0.05, 34.75), limit=1000) for x in west]
        return lambda: [
            self.ask(lambda c, q=q: items(c, self.trees, view, CITY, q, Writing(), matched=0)) for q in queries
        ]

    def tiles(self, view: View) -> Callable[[], object]:
        """Reads of tiles of zoom 13 with a few hundred records each."""
        addresses = [TileAddress(13, 6762 + k % 5, 3250 + k // 5) for k in range(_READS)]
        return lambda: [self.ask(lambda c, a=a: tile(c, self.trees, view, CITY, a)) for a in addresses]

    def branch_only(self, name: str) -> Listed:
        """An empty branch."""
        with self.database.writing() as connection:
            return create(connection, name, PLANNER)

    def branch(self, name: str, number: int) -> Listed:
        """A branch in which so many records are changed."""
        with self.database.writing() as connection:
            made_ = create(connection, name, PLANNER)
            said = [
                {"do": "change", "dataset": "parks.trees", "id": f"t{k}", "properties": {"height_m": 1.0}}
                for k in range(1, number + 1)
            ]
            edit(connection, self.catalog, CITY, made_, PLANNER, parse_edits(said))
        return made_


def _cases(park: _Park) -> Iterator[Case]:
    now, then = View(audience=PLANNER.audience), View(known_at=THEN, audience=PLANNER.audience)
    both = View(Span.instant(THEN), THEN, audience=PLANNER.audience)
    history = f"{_VERSIONS} versions a feature"
    for what, view in (("as known then", then), ("as true and known then", both)):
        for kind, reads in (("boxes", park.boxes), ("tiles", park.tiles)):
            yield _against(f"{_READS} {kind} {what}, {history}", reads(view), "now", reads(now), ">= 0.67x (1.5 times)")
    branch = View(branch=park.branch("few", 1_000).branch, audience=PLANNER.audience)
    yield _against(
        f"{_READS} tiles of a branch of 1,000 edits", park.tiles(branch), "main", park.tiles(now), ">= 0.77x"
    )
    many = View(branch=park.branch("many", 10_000).branch, audience=PLANNER.audience)
    names = iter(range(1_000_000))
    yield _alone("make a branch", lambda: park.branch_only(f"b{next(names)}"), 1, "branches", "<= 1 s")
    yield _alone(
        "difference map (r9) of 10,000 edits",
        lambda: park.ask(lambda c: difference_cells(c, park.trees, (now, many), CITY, 9)),
        1,
        "maps",
        "<= 3 s",
    )
    yield from _audit_cases(park)
    rng = np.random.default_rng(1)
    cells = np.unique(cells_of_points(rng.uniform(116.8, 117.9, 90_000), rng.uniform(34.4, 35.3, 90_000), 9))
    people = rng.poisson(15, len(cells)).astype(np.int64)
    yield _alone(
        f"privacy partition and rounding of {len(cells):,} cells",
        lambda: rounded(b"k" * 32, "x", (found := partition(cells, people, coarsest=4)).cells, found.people),
        len(cells),
        "cells",
        "<= 0.2 s",
    )


def _audit_cases(park: _Park) -> Iterator[Case]:
    with park.database.writing() as connection:
        append(connection, [Entry("read", PLANNER)])
        connection.exec_driver_sql(
            "INSERT INTO twin.audit SELECT 1000 + k, now(), 'p' || mod(k, 100), 'planner', 'read', 'video.cameras',"
            " CASE WHEN mod(k, 3) = 0 THEN ARRAY['c' || mod(k, 12000), 'c' || mod(k, 7000)] END,"
            " CASE WHEN mod(k, 3) = 1"
            " THEN ARRAY[117 + mod(k, 100) * 0.01, 34.5, 117.02 + mod(k, 100) * 0.01, 34.52] END,"
            f" '', 'granted', '', '{{}}', sha256('x') FROM generate_series(1, {_ENTRIES}) AS k"
        )
        connection.exec_driver_sql("ANALYZE twin.audit")

    def who() -> None:
        with park.database.writing() as connection:
            who_looked(connection, "video.cameras", "c77", (117.5, 34.51, 117.5, 34.51))

    yield _alone(f"who looked at a camera, of {_ENTRIES:,} entries", who, 1, "answers", "<= 1 s")
    log = AuditLog(park.database, None)

    async def together() -> None:
        await asyncio.gather(*(log.append(Entry("read", PLANNER, "video.cameras")) for _ in range(_TOGETHER)))

    yield _alone(
        f"{_TOGETHER} readers put on record at once, durably",
        lambda: park.loop.run(together()),
        _TOGETHER,
        "entries",
        "written down",
    )


def _against(name: str, ours: Callable[[], object], peer: str, theirs: Callable[[], object], target: str) -> Case:
    return Case(name, ours, {peer: theirs}, _READS, "reads", target, packages=_PACKAGES)


def _alone(name: str, ours: Callable[[], object], count: int, unit: str, target: str) -> Case:
    return Case(name, ours, {}, count, unit, target, packages=_PACKAGES)


@contextmanager
def _park() -> Iterator[_Park]:
    folder = Path(tempfile.mkdtemp(prefix="twin-bench-"))
    folder.chmod(0o755)
    cluster = Cluster(folder)
    cluster.start()
    try:
        database = private_database(cluster, "view")
        database.migrate()
        catalog = park_catalog(folder / "catalog")
        made(database, catalog)
        _fill(database)
        yield _Park(database, catalog)
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def _fill(database: Database) -> None:
    """Every tree was recorded twenty times, month by month; only the last version is still held true."""
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO parks.trees (id, tree_id, height_m, valid, recorded, geom, cell)"
            " SELECT 't' || k, 't' || k, v, '[-infinity,)',"
            " tstzrange(timestamptz '2026-01-01Z' + v * interval '15 days',"
            f" CASE WHEN v < {_VERSIONS} THEN timestamptz '2026-01-01Z' + (v + 1) * interval '15 days' END),"
            " ST_SetSRID(ST_MakePoint(116.9 + mod(k, 1000) * 0.0008, 34.5 + k / 1000 * 0.03), 4490), 622236750694711295"
            f" FROM generate_series(1, {_TREES}) AS k, generate_series(1, {_VERSIONS}) AS v"
        )
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("ANALYZE parks.trees")
        connection.commit()
