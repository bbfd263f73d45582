"""What changes in a dataset, as it changes: the features that are new or other than before, and the ids of those gone.

Of a stream a feature is known by its subject, and shown where it was last; of other datasets by its id.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.features import Writing, feature_columns, feature_rows
from layers.query import Visible, visible
from layers.tables import dataset_table
from layers.versions import versions
from twin.city import City
from twin.view import View

__all__ = ["MOST_LIVE", "Change", "LiveFeature", "Moved", "changed_at", "changes_since", "columns_since"]

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


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What changed until `moment`, in columns of n rows: points by their ids, and the ids of those gone.

    `numbers` (n,) float64 by field: lon and lat in degrees, numeric fields, booleans as 0 and 1, times as seconds since
    1970; NaN where there is none. `words` (n,) texts by field. `whole`: these are all there are.
    """

    moment: dt.datetime
    whole: bool
    ids: list[str]
    numbers: dict[str, npt.NDArray[np.float64]]
    words: dict[str, list[str | None]]
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
    columns = [_known_by(contract, shown.rows), *feature_columns(contract, shown.rows, _AS_WRITTEN)[1:]]
    if since is None:
        page = shown.select(*columns).limit(MOST_LIVE + 1)
        features = await _features(connection, page, contract)
        return Change(moment, whole=True, features=features if len(features) <= MOST_LIVE else (), removed=())
    features = await _features(connection, _newer(shown, since).select(*columns), contract)
    return Change(moment, False, features, await _ended(connection, contract, shown, city, since))  # noqa: FBT003


async def columns_since(
    connection: AsyncConnection, contract: Contract, view: View, city: City, since: dt.datetime | None
) -> Moved | None:
    """As `changes_since`, in columns, for datasets of points. Rows without a place are left out."""
    moment = await changed_at(connection, contract.id)
    if moment is None or (since is not None and moment <= since):
        return None
    shown = visible(contract, view, city)
    rows = shown.rows.c
    chosen = (
        shown.where(rows.geom.is_not(None)) if since is None else _newer(shown, since).where(rows.geom.is_not(None))
    )
    numbers, words = _columns(contract, shown.rows)
    page = chosen.select(
        _known_by(contract, shown.rows),
        *(column.label(f"number_{name}") for name, column in numbers.items()),
        *(column.label(f"word_{name}") for name, column in words.items()),
    ).limit(MOST_LIVE).subquery("page")  # fmt: skip
    # PostgreSQL writes each column as one value, so that Python touches no row.
    packed = sa.select(
        sa.func.json_agg(page.c.id).cast(sa.Text),
        *(_packed(page.c[f"number_{name}"]) for name in numbers),
        *(sa.func.json_agg(page.c[f"word_{name}"]).cast(sa.Text) for name in words),
    )
    ids, *found = (await connection.execute(packed)).one()
    arrays = [np.frombuffer(one or b"", ">f8").astype(np.float64) for one in found[: len(numbers)]]
    texts = [orjson.loads(one or "[]") for one in found[len(numbers) :]]
    return Moved(
        moment,
        since is None,
        orjson.loads(ids or "[]"),
        dict(zip(numbers, arrays, strict=True)),
        dict(zip(words, texts, strict=True)),
        await _ended(connection, contract, shown, city, since) if since is not None else (),
    )


def _columns(
    contract: Contract, rows: sa.FromClause
) -> tuple[dict[str, sa.ColumnElement[Any]], dict[str, sa.ColumnElement[Any]]]:
    """The columns that are numbers, and those that are texts."""
    # Also in a dataset of points a record may be known only by its area.
    is_point = sa.func.ST_GeometryType(rows.c.geom) == "ST_Point"
    point = sa.case((is_point, rows.c.geom), else_=sa.func.ST_PointOnSurface(rows.c.geom))
    numbers: dict[str, sa.ColumnElement[Any]] = {"lon": sa.func.ST_X(point), "lat": sa.func.ST_Y(point)}
    words: dict[str, sa.ColumnElement[Any]] = {}
    for name, spec in contract.fields.items():
        column = rows.c[name]
        match spec.type:
            case "string":
                words[name] = column
            case "datetime" | "date":
                numbers[name] = sa.extract("epoch", column)
            case "boolean":
                numbers[name] = column.cast(sa.Integer)
            case "integer" | "float":
                numbers[name] = column
    return numbers, words


def _packed(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bytes]:
    number = sa.func.coalesce(column.cast(sa.Double), sa.literal_column("'NaN'::float8"))
    return sa.func.string_agg(sa.func.float8send(number), sa.literal_column("''::bytea"))


def _known_by(contract: Contract, rows: sa.FromClause) -> sa.ColumnElement[str]:
    return (rows.c.subject if contract.is_stream else rows.c.id).label("id")


def _newer(shown: Visible, since: dt.datetime) -> Visible:
    return shown.where(sa.func.lower(shown.rows.c.recorded) > since)


async def _ended(
    connection: AsyncConnection, contract: Contract, shown: Visible, city: City, since: dt.datetime
) -> tuple[str, ...]:
    """The ids of what is true no longer; things of a stream stay where they were."""
    if contract.is_stream:
        return ()
    rows = dataset_table(contract, city.srid)
    known = shown.select(_known_by(contract, shown.rows))
    ended = sa.select(rows.c.id).distinct().where(sa.func.upper(rows.c.recorded) > since, rows.c.id.not_in(known))
    return tuple((await connection.execute(ended)).scalars())


async def _features(
    connection: AsyncConnection, page: sa.Select[*tuple[Any, ...]], contract: Contract
) -> tuple[LiveFeature, ...]:
    found: list[LiveFeature] = []
    for row in await connection.execute(feature_rows(page, contract, _AS_WRITTEN)):
        key, text, *box = row
        found.append(LiveFeature(key, text, None if box[0] is None else (box[0], box[1], box[2], box[3])))
    return tuple(found)
