"""Fixtures for all tests: a real PostgreSQL cluster per test process, a fresh database per test."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests import shared_data
from twin.cluster import Cluster
from twin.database import Database, private_database

if TYPE_CHECKING:
    from tests.api.city import Served

_TEMPLATE = "migrated"
_numbers = count(1)


def _make_home() -> Path:
    # Not pytest's tmp_path: that is closed to the user postgres, who runs the cluster when the tests run as root.
    home = Path(tempfile.mkdtemp(prefix="twin-"))
    home.chmod(0o755)
    return home


def _server(cluster: Cluster) -> psycopg.Connection:
    address = cluster.url().set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder (TWIN_HOME) for one test. A cluster started in it is stopped afterwards."""
    folder = _make_home()
    yield folder
    Cluster(folder, durable=False).stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _seed() -> Iterator[Path]:
    """A state folder with a stopped cluster that holds one migrated database: a copy is quicker than a new one."""
    folder = _make_home()
    made = Cluster(folder, durable=False)
    made.start()
    migrated = private_database(made, _TEMPLATE)
    migrated.migrate()
    asyncio.run(migrated.aclose())
    made.stop()
    yield folder
    shutil.rmtree(folder)


def _copy_cluster(seed: Path, home: Path) -> None:
    subprocess.run(["cp", "--archive", str(seed / "postgres"), str(home)], check=True)


@pytest.fixture
def made_home(home: Path, _seed: Path) -> Path:
    """As `home`, with a cluster that was made before, does not run, and holds the database `migrated`."""
    _copy_cluster(_seed, home)
    return home


@pytest.fixture(scope="session")
def cluster(_seed: Path) -> Iterator[Cluster]:
    """A running private cluster of this test process, without crash safety. Do not stop it: use `home` for that."""
    folder = _make_home()
    _copy_cluster(_seed, folder)
    running = Cluster(folder, durable=False)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    """A fresh database with the twin's own tables in it; dropped after the test."""
    name = f"test_{next(_numbers)}"
    quoted = sql.Identifier(name)
    with _server(cluster) as server:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        server.execute(create.format(quoted, sql.Identifier(_TEMPLATE)))
    fresh = private_database(cluster, name)
    yield fresh
    asyncio.run(fresh.aclose())
    with _server(cluster) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


@pytest.fixture(scope="session")
def served(cluster: Cluster) -> Iterator["Served"]:
    """A real server over a few records of every dataset, with its database beside it."""
    from tests.api.city import serve  # noqa: PLC0415  (the other tests do without a server)

    with serve(cluster) as running:
        yield running


@pytest.fixture(scope="session")
def demo_city(cluster: Cluster) -> Iterator["Served"]:
    """A real server over the small demonstration city, loaded by the real pipeline, with its database beside it.

    It is one for all tests of a process: do not change it.
    """
    from tests.api.city import serve_demo  # noqa: PLC0415

    folder = _make_home()
    with serve_demo(cluster, folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def served_city(demo_city: "Served") -> str:
    """The address of the server over the small demonstration city."""
    return demo_city.url


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Gives a file of the shared real data by its path, and skips the test where it is absent."""
    return shared_data.shared
