"""Features: the one place where a View becomes SQL, and the questions about records.

Every door (items, tiles, cells, exports) reads what `visible` gives; none looks at a table by itself.
"""

import base64
import datetime as dt
import hashlib
from dataclasses import dataclass, replace
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract, seconds
from layers.filters import filter_condition
from layers.tables import dataset_table, latest_table, open_rows
from twin.city import City
from twin.errors import InvalidRequest, NotFound
from twin.view import MAIN, Span, View

__all__ = ["Box", "ItemsQuery", "Page", "feature_json", "item", "items", "selection", "visible"]

_LOOK_BACK = dt.timedelta(days=1)
_EXACT_COUNT = 100_000
_WEB_MERCATOR = 3857
_OWN_PROPERTIES = ("place_method", "place_accuracy_m", "place_source")

Now = sa.func.now()


def visible(contract: Contract, view: View, city: City) -> sa.Subquery:
    """The rows of a dataset that a View shows, as a subquery with the columns of the dataset's table.

    States are shown when they are valid at the view's time. Streams show the newest row of each subject, at an instant
    not older than three times what the contract calls late (a day when it says nothing); over an interval all its rows.
    Raises NotFound for a branch that does not exist.
    """
    if view.branch != MAIN:
        raise NotFound(f"no branch is called {view.branch!r}.", remedy="Leave branch out: main is the city as it is.")
    if contract.is_stream:
        return _visible_stream(contract, view, city).subquery("visible")
    table = dataset_table(contract, city.srid)
    return sa.select(table).where(_known(table, view), _valid(table, view.valid_at)).subquery("visible")


def _known(table: sa.Table, view: View) -> sa.ColumnElement[bool]:
    """Rows of main as known at the view's time."""
    if view.known_at is None:
        return open_rows(table)
    return sa.and_(table.c.branch == 0, table.c.recorded.contains(view.known_at))


def _valid(table: sa.Table, span: Span | None) -> sa.ColumnElement[bool]:
    if span is None:
        return table.c.valid.contains(Now)
    if span.is_instant:
        return table.c.valid.contains(span.start)
    return table.c.valid.overlaps(sa.func.tstzrange(span.start, span.end, "[]"))


def _visible_stream(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    if view.is_current:
        return sa.select(latest_table(contract, city.srid)).where(sa.literal_column("branch") == 0)
    table = dataset_table(contract, city.srid)
    rows = sa.select(*(column for column in table.columns if column.name != "row")).where(_known(table, view))
    span = view.valid_at
    if span is not None and not span.is_instant:
        bounds = [(span.start, table.c.observed_at.__ge__), (span.end, table.c.observed_at.__le__)]
        return rows.where(*(compare(moment) for moment, compare in bounds if moment is not None))
    moment = (span.start if span else None) or view.known_at or dt.datetime.now(dt.UTC)
    late = dt.timedelta(seconds=3 * seconds(contract.late_after)) if contract.late_after else _LOOK_BACK
    return (
        rows.where(table.c.observed_at <= moment, table.c.observed_at > moment - late)
        .distinct(table.c.subject)
        .order_by(table.c.subject, table.c.observed_at.desc())
    )


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the city's SRID: west, south, east, north in degrees."""

    west: float
    south: float
    east: float
    north: float

    def sql(self, srid: int) -> sa.ColumnElement[Any]:
        """The box as a PostGIS geometry."""
        return sa.func.ST_MakeEnvelope(self.west, self.south, self.east, self.north, srid)


@dataclass(frozen=True, slots=True)
class ItemsQuery:
    """Which records, how many, and how they are written.

    `crs` is the EPSG code of the answer's coordinates (None: as stored), written latitude first where asked.
    """

    box: Box | None = None
    limit: int = 10
    after: str | None = None
    properties: tuple[str, ...] | None = None
    filter: str | None = None
    crs: int | None = None
    latitude_first: bool = False

    def at_most(self, number: int) -> "ItemsQuery":
        """The same question for no more than `number` records."""
        return replace(self, limit=min(self.limit, number))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of records: a JSON array of GeoJSON features, their number, the token of the next page or None.

    `matched` is the number of all, None where counting them all would take too long.
    """

    features: str
    returned: int
    matched: int | None
    next: str | None


def selection(contract: Contract, view: View, city: City, query: ItemsQuery) -> sa.Select[Any]:
    """The rows that a question selects, unordered and unlimited. Raises as `visible` and `filter_condition` do."""
    rows = visible(contract, view, city)
    statement = sa.select(rows)
    if query.box is not None:
        # The box test uses the index and decides alone for points; the exact one is for lines and areas.
        box = query.box.sql(city.srid)
        statement = statement.where(rows.c.geom.op("&&")(box), sa.func.ST_Intersects(rows.c.geom, box))
    if query.filter is not None:
        names = {name: rows.c[name] for name in (*contract.fields, "id")} | {
            "geometry": rows.c.geom,
            "geom": rows.c.geom,
        }
        statement = statement.where(filter_condition(query.filter, names, city.srid))
    return statement


async def items(connection: AsyncConnection, contract: Contract, view: View, city: City, query: ItemsQuery) -> Page:
    """One page of the records that a question selects, in the order of their ids.

    Pages are chained by the id of their last record, so records that arrive meanwhile neither repeat nor hide others.
    Raises InvalidRequest for a token that belongs to another question.
    """
    chosen = selection(contract, view, city, query).subquery("chosen")
    statement = sa.select(chosen).order_by(chosen.c.id, chosen.c.recorded).limit(query.limit + 1)
    if query.after is not None:
        statement = statement.where(chosen.c.id > _last_id(query))
    page = statement.subquery("page")
    numbered = sa.select(page, sa.func.row_number().over().label("at")).subquery("numbered")
    feature = feature_json(contract, numbered, query, city)
    within = numbered.c["at"] <= query.limit
    row = (
        await connection.execute(
            sa.select(
                sa.func.coalesce(sa.func.string_agg(sa.cast(feature, sa.Text), ",").filter(within), ""),
                sa.func.count(),
                sa.func.max(numbered.c.id).filter(within),
            ).select_from(numbered)
        )
    ).one()
    text, found, last = row
    more = found > query.limit
    matched = await _count(connection, chosen)
    return Page(f"[{text}]", min(found, query.limit), matched, _token(last, query) if more else None)


async def item(
    connection: AsyncConnection, contract: Contract, view: View, city: City, fid: str, query: ItemsQuery
) -> str:
    """One record as GeoJSON text. Raises NotFound when the view shows none of this id."""
    rows = visible(contract, view, city)
    key = rows.c.subject if contract.is_stream else rows.c.id
    one = sa.select(rows).where(sa.or_(rows.c.id == fid, key == fid)).limit(1).subquery("one")
    found = (await connection.execute(sa.select(sa.cast(feature_json(contract, one, query, city), sa.Text)))).scalar()
    if found is None:
        raise NotFound(f"{contract.id} has no record {fid!r} in this view.", remedy="Look for it in its items.")
    return str(found)


def feature_json(contract: Contract, rows: sa.FromClause, query: ItemsQuery, city: City) -> sa.ColumnElement[Any]:
    """A row as a GeoJSON feature, built by PostgreSQL: Python touches no record."""
    names = [name for name in contract.fields if query.properties is None or name in query.properties]
    pairs: list[object] = [part for name in names for part in (sa.literal_column(f"'{name}'"), rows.c[name])]
    for name in _OWN_PROPERTIES:
        pairs += [sa.literal_column(f"'{name}'"), rows.c[name]]
    moments = {"recorded_from": sa.func.lower(rows.c.recorded), "recorded_to": sa.func.upper(rows.c.recorded)}
    if not contract.is_stream:
        moments |= {
            "valid_from": _finite(sa.func.lower(rows.c.valid)),
            "valid_to": _finite(sa.func.upper(rows.c.valid)),
        }
    for name, value in moments.items():
        pairs += [sa.literal_column(f"'{name}'"), value]
    target = query.crs or city.srid
    geometry = rows.c.geom if target == city.srid else sa.func.ST_Transform(rows.c.geom, target)
    if query.latitude_first:
        geometry = sa.func.ST_FlipCoordinates(geometry)
    digits = 2 if target == _WEB_MERCATOR else 7
    return sa.func.json_build_object(
        sa.literal_column("'type'"),
        sa.literal_column("'Feature'"),
        sa.literal_column("'id'"),
        rows.c.id,
        sa.literal_column("'geometry'"),
        sa.cast(sa.func.ST_AsGeoJSON(geometry, digits, 0), sa.JSON),
        sa.literal_column("'properties'"),
        _object(pairs),
    )


def _object(pairs: list[object]) -> sa.ColumnElement[Any]:
    """A JSON object of any size: PostgreSQL functions take at most 100 arguments."""
    step = 80
    parts = [sa.func.jsonb_build_object(*pairs[at : at + step]) for at in range(0, len(pairs), step)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.op("||")(part)
    return whole


def _finite(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A moment, or null where the range has no start or end."""
    return sa.case((sa.func.isfinite(moment), moment))


async def _count(connection: AsyncConnection, chosen: sa.FromClause) -> int | None:
    some = sa.select(sa.literal_column("1")).select_from(chosen).limit(_EXACT_COUNT + 1).subquery("some")
    number = (await connection.execute(sa.select(sa.func.count()).select_from(some))).scalar_one()
    return number if number <= _EXACT_COUNT else None


def _fingerprint(query: ItemsQuery) -> str:
    return hashlib.sha256(repr((query.box, query.filter)).encode()).hexdigest()[:8]


def _token(last: str, query: ItemsQuery) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([_fingerprint(query), last])).decode().rstrip("=")


def _last_id(query: ItemsQuery) -> str:
    """The id after which the page starts."""
    text = query.after or ""
    try:
        fingerprint, last = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError) as error:
        raise InvalidRequest("this offset is no token of ours.", remedy="Follow the `next` link of a page.") from error
    if fingerprint != _fingerprint(query) or not isinstance(last, str):
        raise InvalidRequest("this offset belongs to another question.", remedy="Start again without offset.")
    return last
