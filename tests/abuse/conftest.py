"""A city in which every text of every closed record is a canary that tells where it came from."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from layers.catalog import Catalog, catalog
from layers.store import apply
from tests.api.city import SECRET, fill
from tests.layers.park import CITY
from twin.cluster import Cluster
from twin.database import Database, private_database


@dataclass(frozen=True)
class Canaries:
    """The application, in this process, over the city of canaries."""

    app: FastAPI
    client: TestClient
    database: Database
    catalog: Catalog


@pytest.fixture(scope="package")
def canaries(cluster: Cluster) -> Iterator[Canaries]:
    """One for all tests here, which change nothing in it."""
    database, contracts = private_database(cluster, "canaries", timeout_s=60), catalog()
    database.migrate()
    with database.writing() as connection:
        apply(connection, contracts, CITY)
    fill(database, contracts)
    with database.writing() as connection:
        for contract in contracts:
            if contract.data_class == "open" or contract.kind == "coverage":
                continue
            texts = [
                name
                for name, spec in contract.fields.items()
                if spec.type == "string" and not spec.values and name not in contract.key
            ]
            sets = ", ".join(f"\"{name}\" = 'CANARY {contract.id}'" for name in [*texts, "place_source"])
            tables = [contract.id, f"{contract.id}__latest"] if contract.is_stream else [contract.id]
            for table in tables:
                connection.execute(sa.text(f"UPDATE {table} SET {sets}"))
    app = create_app(database, contracts, CITY, SECRET)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Canaries(app, client, database, contracts)
    asyncio.run(database.aclose())
