"""Facts about datasets that answers repeat: version, number of records, when they changed, whether they are made up.

One small question tells the versions; what depends on a version is computed once and remembered.
"""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from api.context import Context
from layers.contract import Contract
from layers.query import visible
from layers.versions import versions
from twin.view import View

__all__ = ["Facts", "facts", "version_of"]

_SYNTHETIC = sa.text("select dataset from twin.batches where synthetic and finished_at is not null group by dataset")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer says of a dataset beside its contract."""

    version: int
    count: int
    updated_at: dt.datetime | None
    synthetic: bool


async def version_of(connection: AsyncConnection, dataset: str) -> int:
    """The dataset's version: it grows with each change; 0 when nothing was ever written."""
    question = sa.select(versions.c.version).where(versions.c.dataset == dataset)
    return (await connection.execute(question)).scalar() or 0


async def facts(connection: AsyncConnection, context: Context, contracts: list[Contract]) -> dict[str, Facts]:
    """The facts of each dataset, by id. The connection reads as an audience who may read all of `contracts`."""
    changes = {row.dataset: row for row in await connection.execute(sa.select(versions))}
    synthetic = set((await connection.execute(_SYNTHETIC)).scalars())
    found: dict[str, Facts] = {}
    for contract in contracts:
        change = changes.get(contract.id)
        count = 0 if change is None else await _count(connection, context, contract, change.version)
        found[contract.id] = Facts(
            version=change.version if change else 0,
            count=count,
            updated_at=change.changed_at if change else None,
            synthetic=contract.id in synthetic,
        )
    return found


async def _count(connection: AsyncConnection, context: Context, contract: Contract, version: int) -> int:
    """How many records are true now. The same for everyone who may read the dataset, so it is remembered for all."""
    key = ("count", contract.id)
    remembered = context.memory.get(key)
    if remembered is None or remembered[0] != version:
        rows = visible(contract, View(), context.city)
        number = (await connection.execute(sa.select(sa.func.count()).select_from(rows))).scalar_one()
        context.memory[key] = remembered = (version, number)
    return remembered[1]
