"""The difference between two Views of a dataset: what a branch changed, what became known since last month.

Both views look at all times unless they name a moment, so a correction of the past shows as what it is: another state
of the same record. Only records that can differ are looked at.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.cells import parts, require_resolution, touched_cells, values_of
from layers.contract import Contract, Indicator
from layers.features import Writing, feature_columns, features
from layers.indicators import parent_sql
from layers.query import Visible, branch_ids, visible
from layers.tables import CONTENT_COLUMNS, all_rows, dataset_table
from twin.city import City
from twin.errors import InvalidRequest
from twin.view import MAIN, Span, View

__all__ = [
    "CellDifference",
    "Difference",
    "IndicatorDifference",
    "counts",
    "difference_cells",
    "differences",
    "indicator_difference",
    "since",
]

ChangeKind = Literal["added", "changed", "removed"]
_ALWAYS = Span(None, None)

Column = sa.ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One state of a record that the two views show differently: GeoJSON features, None where a view has none."""

    key: tuple[str, ...]
    change: ChangeKind
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class CellDifference:
    """How many states of records differ in an H3 cell; a record that moved counts where it is now."""

    cell: int
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class IndicatorDifference:
    """An indicator in the cells that a branch touches: `cell` (n,), `before` and `after` (n,) in its unit."""

    indicator: Indicator
    resolution: int
    cell: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two views of a dataset and the records that can differ between them."""

    contract: Contract
    before: View
    after: View
    city: City

    def candidates(self) -> sa.Select[Any]:
        """Ids (subjects of a stream) of the records that can differ."""
        table = dataset_table(self.contract, self.city.srid)
        key = table.c.subject if self.contract.is_stream else table.c.id
        branched = [view for view in (self.before, self.after) if view.branch != MAIN and not self.contract.is_stream]
        wanted = [branch_ids(self.contract, view, self.city) for view in branched]
        first, last = sorted((view.known_at for view in (self.before, self.after)), key=_as_known)
        if first != last:
            wanted.append(sa.select(key).where(all_rows(table), _moved(table, first, last)))
        return sa.select(sa.union(*wanted).subquery("wanted").c[0]) if wanted else sa.select(key).where(sa.false())

    def side(self, view: View, name: str) -> sa.Subquery:
        """The states that a view shows of the candidates, under their keys."""
        found = self.shown(view)
        columns = [found.rows.c[column] for column in ("id", "cell", *self._times, *self._content)]
        return found.select(*columns, *self.keys(found.rows)).subquery(name)

    def shown(self, view: View) -> Visible:
        """What a view shows of the candidates."""
        found = visible(self.contract, view, self.city)
        key = found.rows.c.subject if self.contract.is_stream else found.rows.c.id
        return found.where(key.in_(self.candidates()))

    def keys(self, rows: sa.FromClause) -> list[Column]:
        """What tells the states of the two views apart: the record, and over time its start or moment."""
        over_time = self.after.is_over_time
        if self.contract.is_stream:
            moment = sa.cast(rows.c.observed_at, sa.Text)
            return [rows.c.subject.label("key_0"), (moment if over_time else sa.literal("")).label("key_1")]
        start = sa.func.coalesce(sa.cast(sa.func.lower(rows.c.valid), sa.Text), "")
        return [rows.c.id.label("key_0"), (start if over_time else sa.literal("")).label("key_1")]

    @property
    def _times(self) -> tuple[str, ...]:
        return ("observed_at",) if self.contract.is_stream else ("valid",)

    @property
    def _content(self) -> list[str]:
        own = {"cell", *self._times}
        return [name for name in (*CONTENT_COLUMNS, *self.contract.fields) if name not in own]

    def joined(self) -> sa.Subquery:
        """key_0, key_1, change, cell of every state that differs."""
        a, b = self.side(self.before, "before"), self.side(self.after, "after")
        same = [a.c[name].is_not_distinct_from(b.c[name]) for name in (*self._content, *self._times)]
        change = sa.case((a.c.id.is_(None), "added"), (b.c.id.is_(None), "removed"), else_="changed")
        both = sa.and_(a.c.key_0 == b.c.key_0, a.c.key_1 == b.c.key_1)
        return (
            sa.select(
                sa.func.coalesce(b.c.key_0, a.c.key_0).label("key_0"),
                sa.func.coalesce(b.c.key_1, a.c.key_1).label("key_1"),
                change.label("change"),
                sa.func.coalesce(b.c.cell, a.c.cell).label("cell"),
            )
            .select_from(a.join(b, both, full=True))
            .where(sa.or_(a.c.id.is_(None), b.c.id.is_(None), sa.not_(sa.and_(*same))))
            .subquery("difference")
        )


def since(view: View, start: dt.datetime, end: dt.datetime | None) -> tuple[View, View]:
    """A view as known at `start`, and as known at `end` (None: now). Raises InvalidRequest when they are swapped."""
    if end is not None and end < start:
        raise InvalidRequest("`to` lies before `from`.", where="to", remedy="Swap the two.")
    return replace(view, known_at=start), replace(view, known_at=end)


async def differences(
    connection: AsyncConnection,
    contract: Contract,
    views: tuple[View, View],
    city: City,
    writing: Writing,
    *,
    limit: int,
    after: Sequence[str] = (),
) -> list[Difference]:
    """What differs between two views, in order of the keys, at most `limit` from the key `after` on."""
    pair = _pair(contract, views, city)
    found = pair.joined()
    keys = found.c.key_0, found.c.key_1
    question = sa.select(*keys, found.c.change).order_by(*keys).limit(limit)
    if after:
        question = question.where(sa.tuple_(*keys) > sa.tuple_(*(sa.literal(part) for part in after)))
    rows = (await connection.execute(question)).all()
    wanted = sorted({row[0] for row in rows})
    sides = [await _features(connection, pair, view, wanted, writing) for view in (pair.before, pair.after)]
    return [
        Difference((key, start), change, *(side.get((key, start)) for side in sides)) for key, start, change in rows
    ]


async def _features(
    connection: AsyncConnection, pair: _Pair, view: View, wanted: list[str], writing: Writing
) -> dict[tuple[str, str], dict[str, Any]]:
    """The features of a view that stand under these keys."""
    shown = pair.shown(view)
    keys = pair.keys(shown.rows)
    page = shown.where(keys[0].in_(wanted)).select(*feature_columns(pair.contract, shown.rows, writing), *keys)
    ordered = page.order_by(*keys)
    names = (await connection.execute(shown.where(keys[0].in_(wanted)).select(*keys).order_by(*keys))).all()
    number = max(1, len(names))
    text = (await connection.execute(features(ordered, pair.contract, writing, number))).one()[0]
    found: list[dict[str, Any]] = orjson.loads(f"[{text or ''}]")
    return {(row.key_0, row.key_1): feature for row, feature in zip(names, found, strict=True)}


async def counts(
    connection: AsyncConnection, contract: Contract, views: tuple[View, View], city: City
) -> dict[ChangeKind, int]:
    """How many states were added, changed and removed."""
    found = _pair(contract, views, city).joined()
    rows = await connection.execute(sa.select(found.c.change, sa.func.count()).group_by(found.c.change))
    said: dict[ChangeKind, int] = {"added": 0, "changed": 0, "removed": 0}
    said.update((row[0], row[1]) for row in rows)
    return said


async def difference_cells(
    connection: AsyncConnection, contract: Contract, views: tuple[View, View], city: City, resolution: int
) -> list[CellDifference]:
    """The difference as an H3 map: counts by cell at a resolution, or coarser where records are known no better."""
    found = _pair(contract, views, city).joined()
    cell = parent_sql(found.c.cell, resolution)
    numbers = [sa.func.count().filter(found.c.change == word) for word in ("added", "changed", "removed")]
    question = sa.select(cell, *numbers).where(found.c.cell.is_not(None)).group_by(cell).order_by(cell)
    return [CellDifference(*row) for row in await connection.execute(question)]


async def indicator_difference(
    connection: AsyncConnection, contract: Contract, indicator: Indicator, view: View, city: City, resolution: int
) -> IndicatorDifference:
    """What a branch makes of an indicator, in the cells that it touches; NaN where a city measures nothing.

    `view` is the branch's. Raises as `layers.cells.cells` does.
    """
    require_resolution(indicator, resolution, city)
    touched = touched_cells(contract, resolution, view, city)
    sides: list[dict[int, Any]] = []
    for each in (replace(view, branch=MAIN), view):
        _, source = await parts(connection, contract, indicator, each, city)
        cell, c, func = parent_sql(source.c.cell, resolution), source.c, sa.func
        sums = func.sum(c.n), func.sum(c.total), func.min(c.smallest), func.max(c.largest)
        rows = await connection.execute(sa.select(cell, *sums).where(cell.in_(touched)).group_by(cell))
        sides.append({row[0]: row for row in rows})
    cells = np.array(sorted({*sides[0], *sides[1]}), dtype=np.int64)
    nothing = (0, 0, None, None, None)
    before, after = (
        values_of(indicator, [side.get(cell, nothing) for cell in cells.tolist()], cells) for side in sides
    )
    return IndicatorDifference(indicator, resolution, cells, before, after)


def _pair(contract: Contract, views: tuple[View, View], city: City) -> _Pair:
    before, after = (view if view.valid_at is not None else replace(view, valid_at=_ALWAYS) for view in views)
    return _Pair(contract, before, after, city)


def _as_known(moment: dt.datetime | None) -> tuple[bool, dt.datetime]:
    """Moments in their order; None, all that is known, is the last."""
    return moment is None, moment or dt.datetime.min.replace(tzinfo=dt.UTC)


def _moved(table: sa.Table, first: dt.datetime | None, last: dt.datetime | None) -> Column:
    """Rows that became known, or stopped being held true, after `first` and not after `last`."""
    ends = sa.func.lower(table.c.recorded), sa.func.upper(table.c.recorded)
    moved = [sa.and_(end > first, *([end <= last] if last is not None else [])) for end in ends]
    return sa.or_(*moved)
