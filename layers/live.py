"""What changes in a dataset, as it changes: the features that are new or other than before, and the ids of those gone.

Of a stream a feature is known by its subject, and shown where it was last; of other datasets by its id.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.features import Writing, feature_columns, feature_rows
from layers.query import visible
from layers.tables import dataset_table
from layers.versions import versions
from twin.city import City
from twin.view import View

__all__ = ["MOST_LIVE", "Change", "LiveFeature", "changed_at", "changes_since"]

MOST_LIVE = 50_000
"""Datasets with more features than this are followed by their changes only."""

_AS_WRITTEN = Writing()


@dataclass(frozen=True, slots=True)
class LiveFeature:
    """A feature: by what it is known, its text as GeoJSON, its box (west, south, east, north), None without a place."""

    key: str
    text: str
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What changed until `moment`; `whole` says that these are all features, not only those that changed."""

    moment: dt.datetime
    whole: bool
    features: tuple[LiveFeature, ...]
    removed: tuple[str, ...]


async def changed_at(connection: AsyncConnection, dataset: str) -> dt.datetime | None:
    """When the dataset last changed; None when it never did."""
    return (await connection.execute(sa.select(versions.c.changed_at).where(versions.c.dataset == dataset))).scalar()


async def changes_since(
    connection: AsyncConnection, contract: Contract, view: View, city: City, since: dt.datetime | None
) -> Change | None:
    """What changed after `since`, as the view's audience may see it; None for nothing. Without `since`, all there is.

    Looked up before the rows, the moment is never newer than they are: what comes in between is told twice.
    """
    moment = await changed_at(connection, contract.id)
    if moment is None or (since is not None and moment <= since):
        return None
    shown = visible(contract, view, city)
    known_by = shown.rows.c.subject if contract.is_stream else shown.rows.c.id
    columns = [known_by.label("id"), *feature_columns(contract, shown.rows, _AS_WRITTEN)[1:]]
    if since is None:
        page = shown.select(*columns).limit(MOST_LIVE + 1)
        features = await _features(connection, page, contract)
        return Change(moment, whole=True, features=features if len(features) <= MOST_LIVE else (), removed=())
    newer = shown.where(sa.func.lower(shown.rows.c.recorded) > since)
    features = await _features(connection, newer.select(*columns), contract)
    if contract.is_stream:
        return Change(moment, whole=False, features=features, removed=())
    rows = dataset_table(contract, city.srid)
    ended = (
        sa.select(rows.c.id)
        .distinct()
        .where(sa.func.upper(rows.c.recorded) > since, rows.c.id.not_in(shown.select(known_by)))
    )
    removed = tuple((await connection.execute(ended)).scalars())
    return Change(moment, whole=False, features=features, removed=removed)


async def _features(
    connection: AsyncConnection, page: sa.Select[*tuple[Any, ...]], contract: Contract
) -> tuple[LiveFeature, ...]:
    found: list[LiveFeature] = []
    for row in await connection.execute(feature_rows(page, contract, _AS_WRITTEN)):
        key, text, *box = row
        found.append(LiveFeature(key, text, None if box[0] is None else (box[0], box[1], box[2], box[3])))
    return tuple(found)
