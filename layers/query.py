"""Features: the one place where a View becomes SQL, and the questions about records.

Every door (items, tiles, cells, exports) reads what `visible` gives; none looks at a table by itself.
"""

import datetime as dt
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract, seconds
from layers.features import Writing, feature_columns, features
from layers.filters import filter_condition
from layers.paging import Position, fingerprint
from layers.refusals import wrong_questions
from layers.tables import all_rows, branch_table, dataset_table, latest_table, open_rows
from twin.access import PUBLIC
from twin.city import City
from twin.errors import NotFound
from twin.view import MAIN, View

__all__ = [
    "Box",
    "ItemsQuery",
    "Page",
    "Slice",
    "Visible",
    "as_known",
    "branch_ids",
    "count",
    "item",
    "items",
    "next_token",
    "order_of",
    "selected",
    "subjects_of",
    "visible",
]

_VIEWS_KEPT = 1024
_LOOK_BACK = dt.timedelta(days=1)
_EXACT_COUNT = 100_000
_MOST_COLONS = 16
_BOX_ROUNDING_DEG = 4e-5
"""PostGIS keeps the box of a geometry in single precision: at 180 degrees it may be this much too large or small."""
_INWARD = (1, 1, -1, -1)

Column = sa.ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Visible:
    """The rows that a View shows: a table or subquery with the columns of the dataset's table, and which of them."""

    rows: sa.FromClause
    conditions: tuple[Column, ...]

    def select(self, *columns: Column) -> sa.Select[Any]:
        """These columns of the rows."""
        return sa.select(*columns).select_from(self.rows).where(*self.conditions)

    def where(self, *conditions: Column) -> "Visible":
        """Those of the rows that fulfil further conditions."""
        return Visible(self.rows, (*self.conditions, *conditions))


def visible(contract: Contract, view: View, city: City) -> Visible:
    """The rows of a dataset that a View shows.

    States are shown when they are valid at the view's time. Streams show the newest row of each subject, at an instant
    not older than three times what the contract calls late (a day when it says nothing); over an interval all its rows.

    A branch shows main as it goes on, but of every record that it has changed its own rows instead. Streams flow
    through all branches alike.
    """
    return _visible(contract, replace(view, audience=PUBLIC), city.srid)


@lru_cache(_VIEWS_KEPT)
def _visible(contract: Contract, view: View, srid: int) -> Visible:
    """As `visible`. Writing it down takes longer than many a question, and whoever asks, it is the same."""
    if contract.is_stream:
        return _visible_stream(contract, view, srid)
    table = dataset_table(contract, srid)
    if view.branch != MAIN:
        return Visible(_over_main(contract, table, view, srid), ())
    if view.known_at is None:
        return Visible(table, (_known(table, view), _valid(table, view)))
    rows = sa.select(*as_known(table, view.known_at)).where(_known(table, view), _valid(table, view))
    return Visible(rows.subquery("visible"), ())


def as_known(table: sa.FromClause, moment: dt.datetime) -> list[Column]:
    """The columns of rows as they stood at a moment: what was closed later was open then."""
    recorded = table.c.recorded
    open_then = sa.func.tstzrange(sa.func.lower(recorded), sa.null())
    then = sa.case((sa.func.upper(recorded) > moment, open_then), else_=recorded)
    return [then.label("recorded") if column.name == "recorded" else column for column in table.columns]


def branch_ids(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    """The ids of the records that a branch has changed, as known at the view's time."""
    return _branch_ids(contract, view, city.srid)


def _branch_ids(contract: Contract, view: View, srid: int) -> sa.Select[Any]:
    rows = branch_table(contract, srid)
    return sa.select(rows.c.id).where(rows.c.branch == view.branch.number, _known(rows, view))


def _over_main(contract: Contract, table: sa.Table, view: View, srid: int) -> sa.FromClause:
    """Main's rows of the records that a branch has left alone, and the branch's own of the others."""
    own = branch_table(contract, srid)
    columns = [column.name for column in table.columns]
    at = view.known_at
    # OFFSET 0 has it asked of each row by itself, from an index: a tile has few rows, a branch may have changed many.
    touched = (
        _branch_ids(contract, view, srid)
        .where(own.c.id == table.c.id)
        .correlate(table)
        .offset(sa.literal_column("0", sa.Integer()))
    )
    untouched = sa.not_(sa.exists(touched))
    rows = {one: as_known(one, at) if at is not None else list(one.columns) for one in (table, own)}
    main = sa.select(*rows[table]).where(_known(table, view), _valid(table, view), untouched)
    changed = sa.select(*(column for column in rows[own] if column.name in columns)).where(
        own.c.branch == view.branch.number, _known(own, view), _valid(own, view)
    )
    return sa.union_all(main, changed).subquery("visible")


def _known(table: sa.Table, view: View) -> Column:
    """Rows as known at the view's time."""
    if view.known_at is None:
        return open_rows(table)
    return sa.and_(all_rows(table), table.c.recorded.contains(view.known_at))


def _valid(table: sa.Table, view: View) -> Column:
    span = view.valid_at
    if span is None:
        return table.c.valid.contains(sa.func.now())
    if span.is_instant:
        return table.c.valid.contains(span.start)
    return table.c.valid.overlaps(sa.func.tstzrange(span.start, span.end, "[]"))


def _visible_stream(contract: Contract, view: View, srid: int) -> Visible:
    table = dataset_table(contract, srid)
    span, observed = view.valid_at, table.c.observed_at
    if span is not None and not span.is_instant:
        after = [observed >= span.start] if span.start is not None else []
        before = [observed <= span.end] if span.end is not None else []
        conditions = _known(table, view), *after, *before
        if view.known_at is None:
            return Visible(table, conditions)
        return Visible(sa.select(*as_known(table, view.known_at)).where(*conditions).subquery("visible"), ())
    moment = view.known_at if span is None else span.start
    if moment is None:
        return Visible(latest_table(contract, srid), ())
    late = dt.timedelta(seconds=3 * seconds(contract.late_after)) if contract.late_after else _LOOK_BACK
    columns = as_known(table, view.known_at) if view.known_at is not None else list(table.columns)
    recent = sa.select(*columns).where(_known(table, view), observed <= moment, observed > moment - late)
    newest = recent.ext(distinct_on(table.c.subject)).order_by(table.c.subject, observed.desc())
    return Visible(newest.subquery("visible"), ())


def order_of(contract: Contract, view: View) -> tuple[str, ...]:
    """The columns that order the rows of a view and tell any two of them apart.

    They are what stays when a record changes, so a page that starts after one neither repeats nor skips another.
    """
    if contract.is_stream:
        return ("subject", "observed_at") if view.is_over_time else ("subject",)
    return ("id", "row") if view.is_over_time else ("id",)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the city's SRID: west, south, east, north in degrees."""

    west: float
    south: float
    east: float
    north: float

    def meets(self, geom: Column, srid: int) -> Column:
        """The condition that a geometry meets the box.

        The index answers by the geometries' own boxes. Most of those lie well within this one and need no further look.
        """
        box = self._shape(srid)
        exact = sa.func.ST_Intersects(geom, box)
        if min(self.east - self.west, self.north - self.south) > 2 * _BOX_ROUNDING_DEG:
            inner = Box(*(edge + side * _BOX_ROUNDING_DEG for edge, side in zip(astuple(self), _INWARD, strict=True)))
            exact = sa.case((geom.op("@")(inner._shape(srid)), sa.true()), else_=exact)
        return sa.and_(geom.op("&&")(box), exact)

    def _shape(self, srid: int) -> Column:
        """The box as a geometry. Without width or height it is a line or a point, as it should be."""
        corners = sa.func.ST_MakePoint(self.west, self.south), sa.func.ST_MakePoint(self.east, self.north)
        return sa.func.ST_SetSRID(sa.func.ST_Envelope(sa.func.ST_MakeLine(*corners)), srid)


@dataclass(frozen=True, slots=True)
class ItemsQuery:
    """Which records and how many. `after` is the token of the page before."""

    box: Box | None = None
    filter: str | None = None
    limit: int = 10
    after: str | None = None

    def at_most(self, most: int, default: int) -> "ItemsQuery":
        """The same question for no more than `most` records, and for `default` when it asks for none."""
        return replace(self, limit=min(self.limit or default, most))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of records: the text of a JSON array of GeoJSON features, their number, the token of the next page.

    `matched` is the number of all that the question selects; None where counting them would take too long. `next` is
    None on the last page.
    """

    features: str
    returned: int
    matched: int | None
    next: str | None


def selected(contract: Contract, view: View, city: City, query: ItemsQuery) -> Visible:
    """The rows that a question selects, on whatever page. Raises as `visible` and `filter_condition` do."""
    found = visible(contract, view, city)
    if query.box is not None:
        found = found.where(query.box.meets(found.rows.c.geom, city.srid))
    if query.filter is not None:
        found = found.where(filter_condition(query.filter, contract, found.rows, city.srid))
    return found


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a question as SQL: its rows from a position on, in their order."""

    found: Visible
    order: tuple[Column, ...]
    question: str
    position: Position | None

    @classmethod
    def of(cls, contract: Contract, view: View, city: City, query: ItemsQuery) -> "Slice":
        """The page that a query asks for. Raises InvalidRequest for a token of another question."""
        found = selected(contract, view, city, query)
        question = fingerprint(contract.id, view.valid_at, view.known_at, view.branch, query.box, query.filter)
        position = Position.read(query.after, question) if query.after is not None else None
        order = tuple(found.rows.c[name] for name in order_of(contract, view))
        return cls(found, order, question, position)

    def select(self, limit: int, *columns: Column) -> sa.Select[Any]:
        """These columns of at most `limit` rows."""
        statement = self.found.select(*columns).order_by(*self.order).limit(limit)
        if self.position is None:
            return statement
        texts = zip(self.position.key, self.order, strict=True)
        last = [sa.cast(sa.literal(text, sa.Text()), column.type) for text, column in texts]
        return statement.where(sa.tuple_(*self.order) > sa.tuple_(*last) if len(last) > 1 else self.order[0] > last[0])

    def token(self, key: str, matched: int | None) -> str:
        """The token of the page after the row with this ordering key (JSON text)."""
        return Position(self.question, tuple(orjson.loads(key)), matched).token()

    @property
    def keys(self) -> list[Column]:
        """The ordering columns, under the names by which `features` knows them."""
        return [column.label(f"key_{number}") for number, column in enumerate(self.order)]


async def items(
    connection: AsyncConnection,
    contract: Contract,
    view: View,
    city: City,
    query: ItemsQuery,
    writing: Writing,
    *,
    matched: int | None = None,
) -> Page:
    """One page of the records that a question selects.

    Pages are chained by the key of their last record, so records that arrive meanwhile neither repeat nor hide others.
    The records are counted once, for the first page, unless the caller knows how many are `matched`; their number
    travels with the token.
    """
    part = Slice.of(contract, view, city, query)
    page = part.select(query.limit + 1, *feature_columns(contract, part.found.rows, writing), *part.keys)
    with wrong_questions():
        text, number, key = (await connection.execute(features(page, contract, writing, query.limit))).one()
        if matched is None:
            matched = part.position.matched if part.position else await count(connection, part.found)
    more = number > query.limit
    return Page(f"[{text or ''}]", min(number, query.limit), matched, part.token(key, matched) if more else None)


async def count(connection: AsyncConnection, found: Visible) -> int | None:
    """How many rows there are; None where there are more than 100,000: counting them would take too long."""
    some = found.select(sa.literal_column("1")).limit(_EXACT_COUNT + 1).subquery("some")
    with wrong_questions():
        number = (await connection.execute(sa.select(sa.func.count()).select_from(some))).scalar_one()
    return number if number <= _EXACT_COUNT else None


async def next_token(connection: AsyncConnection, part: Slice, limit: int, matched: int | None) -> str | None:
    """The token of the page after a page of `limit` rows; None when there is none."""
    edge = part.select(2, *part.keys).offset(limit - 1).subquery("edge")
    key = sa.func.json_build_array(*(sa.cast(column, sa.Text) for column in edge.c))
    with wrong_questions():
        rows = (await connection.execute(sa.select(sa.cast(key, sa.Text)).select_from(edge))).all()
    return part.token(rows[0][0], matched) if len(rows) > 1 else None


async def item(
    connection: AsyncConnection, contract: Contract, view: View, city: City, fid: str, writing: Writing
) -> str:
    """One record as the text of a GeoJSON feature. A stream's record goes by its id, or by its subject for the newest.

    Raises NotFound when the view shows none.
    """
    shown = visible(contract, view, city)
    key = shown.rows.c.subject if contract.is_stream else shown.rows.c.id
    text = await _written(connection, contract, shown.where(key == fid), writing)
    if text is None and contract.is_stream:
        table = dataset_table(contract, city.srid)
        columns = as_known(table, view.known_at) if view.known_at is not None else list(table.columns)
        here = _known(table, view), table.c.subject.in_(subjects_of(fid)), table.c.id == fid
        one = Visible(sa.select(*columns).where(*here).subquery("visible"), ())
        text = await _written(connection, contract, one, writing)
    if text is None:
        raise NotFound(f"{contract.id} has no record {fid!r} in this view.", remedy="Look for it in its items.")
    return text


async def _written(connection: AsyncConnection, contract: Contract, found: Visible, writing: Writing) -> str | None:
    one = found.select(*feature_columns(contract, found.rows, writing)).limit(1)
    return (await connection.execute(features(one, contract, writing, 1))).one()[0]


def subjects_of(fid: str) -> list[str]:
    """The subjects that an observation's id may have: its key without the time, wherever that stands between colons."""
    parts = fid.split(":")[:_MOST_COLONS]
    return [
        ":".join((*parts[:start], *parts[end:]))
        for start in range(len(parts))
        for end in range(start + 1, len(parts) + 1)
        if start > 0 or end < len(parts)
    ]
