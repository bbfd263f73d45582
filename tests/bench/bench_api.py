"""Tiles and features over HTTP: the largest tiles, and requests a second against tipg over the same rows.

Both servers run as one process each, over one database; the client keeps eight requests in flight. tipg reads plain
tables with the same fields and the indexes it needs.
"""

import asyncio
import datetime as dt
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from layers.catalog import Catalog, catalog
from layers.contract import Contract
from layers.store import apply
from layers.tables import dataset_table
from layers.versions import mark_changed
from tests.bench.harness import Case, Figure, Measured, measure
from tests.bench.many import BUILDINGS, POINTS, ROADS, fill, spots
from tests.bench.serving import serving
from twin.access import Audience, issue_token
from twin.city import City, load_city
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.keys import secret

__all__ = ["run"]

_DATASETS = (POINTS, BUILDINGS, ROADS)
_ZOOMS = range(10, 17)
_DENSEST = 12
_IN_FLIGHT = 8
_BOXES = 60
_PACKAGES = ("tipg", "fastapi", "sqlalchemy", "psycopg", "asyncpg")

_OURS = """
import sys
from dataclasses import replace
import uvicorn
from api.app import app_from_settings
from layers.tilecache import TileCache
app = app_from_settings()
app.state.context = replace(app.state.context, tiles=TileCache(int(sys.argv[2])))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""

Tile = tuple[int, int, int]  # z, x, y


@dataclass(frozen=True, slots=True)
class _Servers:
    """Addresses of our server without and with its tile cache, of tipg, and the header of a reader."""

    ours: str
    cached: str
    tipg: str
    headers: dict[str, str]


def run() -> list[Measured]:
    """Fill the database, measure the largest tile of each layer and zoom, then all cases."""
    with _servers() as servers:
        densest = _densest_tiles()
        sizes = [_largest(servers, dataset, densest, zoom) for dataset in _DATASETS for zoom in _ZOOMS]
        return [*sizes, *(measure(case) for case in _cases(servers, densest))]


def _cases(servers: _Servers, densest: list[Tile]) -> Iterator[Case]:
    for dataset in _DATASETS:
        peer = f"{servers.tipg}/collections/peer.{dataset.split('.')[1]}"
        theirs = [f"{peer}/tiles/WebMercatorQuad/{z}/{x}/{y}" for z, x, y in densest]
        for what, server in (("made anew", servers.ours), ("kept", servers.cached)):
            ours = [_tile_url(server, dataset, tile) for tile in densest]
            yield _case(f"the densest tiles of {dataset}, z10-16, {what}", ours, theirs, servers.headers, "tiles")
        boxes = list(_boxes())
        ours = [f"{servers.ours}/collections/{dataset}/items?bbox={box}&limit=1000" for box in boxes]
        theirs = [f"{peer}/items?bbox={box}&limit=1000" for box in boxes]
        _require_the_same(ours, theirs, servers.headers)
        yield _case(f"items of {dataset} in a box, limit 1000", ours, theirs, servers.headers, "pages")


def _case(name: str, ours: list[str], theirs: list[str], headers: dict[str, str], unit: str) -> Case:
    return Case(
        name,
        lambda: _fetch(ours, headers),
        {"tipg": lambda: _fetch(theirs, {})},
        len(ours),
        unit,
        "written down",
        packages=_PACKAGES,
    )


def _largest(servers: _Servers, dataset: str, tiles: list[Tile], zoom: int) -> Figure:
    found = [
        len(body)
        for body in _fetch([_tile_url(servers.ours, dataset, t) for t in tiles if t[0] == zoom], servers.headers)
    ]
    return Figure(f"largest tile of {dataset}, z{zoom}", max(found) / 1000, "kB", "<= 500 kB")


def _tile_url(server: str, dataset: str, tile: Tile) -> str:
    z, x, y = tile
    return f"{server}/collections/{dataset}/tiles/WebMercatorQuad/{z}/{y}/{x}"


def _fetch(urls: Sequence[str], headers: dict[str, str]) -> list[bytes]:
    """The bodies of all answers, which have to be good."""

    async def all_of_them() -> list[bytes]:
        gate = asyncio.Semaphore(_IN_FLIGHT)
        async with httpx.AsyncClient(headers=headers, timeout=120) as client:

            async def one(url: str) -> bytes:
                async with gate:
                    answer = await client.get(url)
                return answer.raise_for_status().content

            return await asyncio.gather(*map(one, urls))

    return asyncio.run(all_of_them())


def _require_the_same(ours: list[str], theirs: list[str], headers: dict[str, str]) -> None:
    """Both servers have to find as many records in each box."""
    for mine, other in zip(ours[:10], theirs[:10], strict=True):
        found = [httpx.get(url, headers=head, timeout=60).json() for url, head in ((mine, headers), (other, {}))]
        counts = [(body["numberMatched"], body["numberReturned"]) for body in found]
        if counts[0] != counts[1]:
            raise AssertionError(f"{mine} and {other} find {counts}")


def _densest_tiles() -> list[Tile]:
    """The fullest tiles of each zoom, by where the clusters put their places."""
    lon, lat = spots(np.random.default_rng(7), 100_000)
    found: list[Tile] = []
    for zoom in _ZOOMS:
        x = ((lon + 180) / 360 * 2**zoom).astype(int)
        y = ((1 - np.arcsinh(np.tan(np.radians(lat))) / math.pi) / 2 * 2**zoom).astype(int)
        tiles, counts = np.unique(np.stack([x, y], axis=1), axis=0, return_counts=True)
        fullest = tiles[np.argsort(-counts)[:_DENSEST]]
        found += [(zoom, int(across), int(down)) for across, down in fullest]
    return found


def _boxes() -> Iterator[str]:
    """Boxes of about 2 km."""
    for lon, lat in zip(*spots(np.random.default_rng(8), _BOXES), strict=True):
        yield f"{lon - 0.01:.5f},{lat - 0.01:.5f},{lon + 0.01:.5f},{lat + 0.01:.5f}"


@contextmanager
def _servers() -> Iterator[_Servers]:
    """A filled database and three servers over it."""
    folder = Path(tempfile.mkdtemp(prefix="twin-"))
    folder.chmod(0o755)
    cluster, city, contracts = Cluster(folder, durable=False), load_city("zaozhuang"), catalog()
    cluster.start()
    try:
        _fill(private_database(cluster, city.id), contracts, city)
        address = cluster.url(database=city.id, tcp=True).set(drivername="postgresql")
        environment = {
            **os.environ,
            "TWIN_HOME": str(folder),
            "TWIN_CITY": city.id,
            "TWIN_RATE_PER_MINUTE": "0",
        }
        peer = {
            **os.environ,
            "DATABASE_URL": address.render_as_string(hide_password=False),
            "TIPG_DB_SCHEMAS": '["peer"]',
        }
        token = issue_token(Audience("planner"), secret(folder), person="tester", lifetime=dt.timedelta(hours=6))
        with ExitStack() as stack:
            uncached, cached, tipg = (
                stack.enter_context(serving(command, env))
                for command, env in (
                    (["-c", _OURS, "{port}", "0"], environment),
                    (["-c", _OURS, "{port}", "128000000"], environment),
                    (["-m", "uvicorn", "tipg.main:app", "--port", "{port}", "--no-access-log"], peer),
                )
            )
            yield _Servers(uncached, cached, tipg, {"Authorization": f"Bearer {token}"})
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def _fill(database: Database, contracts: Catalog, city: City) -> None:
    database.migrate()
    with database.writing() as connection:
        apply(connection, contracts, city)
        connection.exec_driver_sql("CREATE SCHEMA peer")
        for dataset in _DATASETS:
            fill(connection, contracts[dataset], city)
            mark_changed(connection, dataset, dt.datetime.now(dt.UTC))
            for statement in _peer_table(contracts[dataset], city):
                connection.exec_driver_sql(statement)
    asyncio.run(database.aclose())


def _peer_table(contract: Contract, city: City) -> Iterator[str]:
    """The rows as a plain table with the columns that our answers have."""
    names = ", ".join(f'"{name}"' for name in ("id", "geom", "place_method", "place_accuracy_m", *contract.fields))
    source = dataset_table(contract, city.srid).fullname
    yield f"CREATE TABLE peer.{contract.name} AS SELECT {names} FROM {source}"
    yield f"ALTER TABLE peer.{contract.name} ADD PRIMARY KEY (id)"
    yield f"CREATE INDEX ON peer.{contract.name} USING gist (geom)"
    yield f"ANALYZE peer.{contract.name}"
    yield f"ANALYZE {source}"
