"""Fixtures for all tests: a real PostgreSQL cluster per test process, a fresh database per test."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests import shared_data
from twin.cluster import Cluster
from twin.database import Database, private_database

if TYPE_CHECKING:
    from tests.api.city import Served

_TEMPLATE = "template_migrated"
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
def cluster() -> Iterator[Cluster]:
    """A running private cluster of this test process, without crash safety. Do not stop it: use `home` for that."""
    folder = _make_home()
    running = Cluster(folder, durable=False)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _template(cluster: Cluster) -> str:
    migrated = private_database(cluster, _TEMPLATE)
    migrated.migrate()
    asyncio.run(migrated.aclose())
    return _TEMPLATE


@pytest.fixture
def database(cluster: Cluster, _template: str) -> Iterator[Database]:
    """A fresh database with the twin's own tables in it; dropped after the test."""
    name = f"test_{next(_numbers)}"
    with _server(cluster) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {_template} STRATEGY file_copy")
    fresh = private_database(cluster, name)
    yield fresh
    asyncio.run(fresh.aclose())
    with _server(cluster) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def served(cluster: Cluster) -> Iterator["Served"]:
    """A real server over a small loaded city, with its database beside it."""
    from tests.api.city import serve  # noqa: PLC0415  (the other tests do without a server)

    with serve(cluster) as running:
        yield running


@pytest.fixture(scope="session")
def served_city(served: "Served") -> str:
    """The address of a real server over a small loaded city."""
    return served.url


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Gives a file of the shared real data by its path, and skips the test where it is absent."""
    return shared_data.shared
