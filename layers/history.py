"""Every version of a record: what held when (valid), and when the twin knew it (recorded)."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.features import Writing, feature_columns, features
from layers.query import Page, as_known, subjects_of
from layers.tables import all_rows, branch_table, dataset_table
from twin.city import City
from twin.errors import NotFound
from twin.view import MAIN, View

__all__ = ["history"]

_MOST_VERSIONS = 1_000


async def history(
    connection: AsyncConnection, contract: Contract, view: View, city: City, fid: str, writing: Writing
) -> Page:
    """The versions of a record, newest knowledge first, as GeoJSON features; at most 1,000.

    A version whose `recorded` is open at its end is still held to be true. With `view.known_at`, only what was known
    then or before. A branch adds its own versions to main's. A stream's record goes by its id. Raises NotFound when
    there never was a record of this id.
    """
    table = _versions(contract, view, city)
    since = sa.func.lower(table.c.recorded)
    rows = sa.select(*feature_columns(contract, table, writing)).where(table.c.id == fid)
    if contract.is_stream:
        rows = rows.where(table.c.subject.in_(subjects_of(fid)))
    if view.known_at is not None:
        rows = rows.where(since <= view.known_at)
    newest_first = rows.order_by(since.desc(), table.c.row.desc()).limit(_MOST_VERSIONS)
    text, number, _ = (await connection.execute(features(newest_first, contract, writing, _MOST_VERSIONS))).one()
    if text is None:
        raise NotFound(f"{contract.id} never had a record {fid!r}.", remedy="Look for it in its items.")
    return Page(f"[{text}]", number, number, None)


def _versions(contract: Contract, view: View, city: City) -> sa.FromClause:
    """All rows of main, and those of the view's branch. What only says that a branch removed a record is left out."""
    main = dataset_table(contract, city.srid)
    names = [column.name for column in main.columns]
    at = view.known_at
    rows = sa.select(*(as_known(main, at) if at is not None else main.columns)).where(all_rows(main))
    if view.branch == MAIN or contract.is_stream:
        return rows.subquery("versions")
    own = branch_table(contract, city.srid)
    stated = sa.and_(own.c.branch == view.branch.number, sa.not_(sa.func.isempty(own.c.valid)))
    columns = [column for column in (as_known(own, at) if at is not None else own.columns) if column.name in names]
    return sa.union_all(rows, sa.select(*columns).where(stated)).subquery("versions")
