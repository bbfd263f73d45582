"""Two small cities behind a real server.

One has a few records of every dataset, written straight into the tables: for tests of the HTTP interface, whatever the
data. The other is the demonstration city, loaded as `make demo` loads it: for tests from end to end.
"""

import asyncio
import datetime as dt
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
import uvicorn

from api.app import create_app
from api.livesocket import SOCKETS
from ingest.demo.load import load_demo
from ingest.pipeline import Loader
from layers.catalog import Catalog, catalog
from layers.contract import Contract, FieldSpec
from layers.indicators import refresh
from layers.store import apply
from layers.versions import mark_changed
from tests.layers.park import CITY, put
from twin.access import PUBLIC, Audience, issue_token
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.grid import cells_of_points

SECRET = "known to these tests only: " + "x" * 64
RECORDS = 40
DEMO_SCALE, DEMO_SEED = 0.03, 1616  # the smallest that has something for every dataset

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A running server, and the database behind it."""

    url: str
    database: Database
    catalog: Catalog
    client: httpx.Client = field(repr=False)

    def get(
        self, path: str, audience: Audience = PUBLIC, headers: Mapping[str, str] | None = None, **parameters: Any
    ) -> httpx.Response:
        """Ask as an audience. `_` in the names of parameters stands for `-`; other hosts' addresses are refused."""
        assert path.startswith((self.url, "/")), f"{path} leads elsewhere"
        query = {name.rstrip("_").replace("_", "-"): value for name, value in parameters.items()}
        return self.client.get(path, params=query or None, headers={**bearer(audience), **(headers or {})})

    def json(self, path: str, audience: Audience = PUBLIC, **parameters: Any) -> Any:
        """The JSON of an answer that has to be good."""
        answer = self.get(path, audience, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def scalar(self, question: str) -> Any:
        """What the database says itself."""
        with self.database.engine.connect() as connection:
            return connection.execute(sa.text(question)).scalar()


def bearer(audience: Audience) -> dict[str, str]:
    """The header of an audience; none for the public."""
    if audience == PUBLIC:
        return {}
    token = issue_token(audience, SECRET, person="tester", lifetime=dt.timedelta(hours=1))
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def serve(cluster: Cluster) -> Iterator[Served]:
    """Write the city of a few records into a database of its own, and serve it on a free port of this machine."""
    with _applied(cluster, "served") as database:
        fill(database, catalog())
        with _answering(database) as served:
            yield served


@contextmanager
def serve_demo(cluster: Cluster, home: Path) -> Iterator[Served]:
    """Load the demonstration city, at the smallest scale, into a database of its own, and serve it."""
    with _applied(cluster, "demo") as database:
        load_demo(Loader(database, catalog(), CITY, home), scale=DEMO_SCALE, seed=DEMO_SEED, say=_LOG.info)
        with _answering(database) as served:
            yield served


@contextmanager
def _applied(cluster: Cluster, name: str) -> Iterator[Database]:
    """A database with the tables, roles and grants of the catalogue."""
    database = private_database(cluster, name, timeout_s=60)
    database.migrate()
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
    yield database
    asyncio.run(database.aclose())


@contextmanager
def _answering(database: Database) -> Iterator[Served]:
    with serving(database) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield Served(url, database, catalog(), client)


@contextmanager
def serving(database: Database, contracts: Catalog | None = None, home: Path | None = None) -> Iterator[str]:
    """Run the application in uvicorn, in a thread, while the block runs; gives its address."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create_app(database, contracts or catalog(), CITY, SECRET, home=home)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, **SOCKETS)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def fill(database: Database, contracts: Catalog) -> None:
    """Some records of every dataset, their indicators, and what tells the server of them."""
    for number, contract in enumerate(contracts):
        if contract.kind == "coverage":
            continue
        put(database, contracts, contract.id, list(records(contract, number)))
        with database.writing() as connection:
            refresh(connection, contract, CITY, None)
            mark_changed(connection, contract.id, dt.datetime.now(dt.UTC))


def records(contract: Contract, seed: int, number: int = RECORDS) -> Iterator[dict[str, Any]]:
    """Records of a dataset: places around the city's centre, values by the types and ranges of the fields."""
    random = np.random.default_rng(seed)
    lon, lat = CITY.centre
    hour = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    for at in range(number):
        x, y = lon + float(random.normal(0, 0.05)), lat + float(random.normal(0, 0.05))
        row = {name: value(name, spec, at, random) for name, spec in contract.fields.items()}
        row["id"] = f"{contract.name}-{at:04}"
        row["wkt"] = shape(contract.geometry, x, y)
        row["cell"] = int(cells_of_points([x], [y], CITY.resolutions.finest)[0])
        if contract.is_stream:
            row["subject"] = f"{contract.name}-{at % 8}"
            row["observed_at"] = hour - dt.timedelta(minutes=3 + 8 * at)
            row["id"] = f"{row['subject']}:{row['observed_at'].isoformat()}:{at}"
        yield row


def shape(geometry: str, x: float, y: float) -> str:
    """A point, a short line or a small square."""
    if geometry in {"point", "any"}:
        return f"POINT({x:.6f} {y:.6f})"
    if geometry == "line":
        return f"LINESTRING({x:.6f} {y:.6f}, {x + 0.004:.6f} {y + 0.002:.6f})"
    ring = [(x, y), (x + 0.003, y), (x + 0.003, y + 0.003), (x, y + 0.003), (x, y)]
    return f"POLYGON(({', '.join(f'{a:.6f} {b:.6f}' for a, b in ring)}))"


def value(name: str, spec: FieldSpec, at: int, random: np.random.Generator) -> Any:
    """A value of a field's type and range."""
    low, high = spec.range or (0.0, 100.0)
    number = float(low + random.random() * (min(high, low + 1000) - low))
    values = {
        "string": list(spec.values)[at % len(spec.values)] if spec.values else f"{name} {at}",
        "integer": int(number),
        "float": round(number, 3),
        "boolean": bool(at % 3),
        "date": dt.date(2026, 1, 1) + dt.timedelta(days=at),
        "datetime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=at),
    }
    return values[spec.type]
