"""Every version of a record: what held when (valid), and when the twin knew it (recorded)."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.query import ItemsQuery, Page, feature_json
from layers.tables import dataset_table
from twin.city import City
from twin.errors import NotFound
from twin.view import View

__all__ = ["history"]

_MOST_VERSIONS = 1_000


async def history(connection: AsyncConnection, contract: Contract, view: View, city: City, fid: str) -> Page:
    """The versions of a record in main, newest knowledge first, as GeoJSON features.

    A version that is still held to be true has no `recorded_to`. With `view.known_at`, only what was known then or
    before. Raises NotFound when there never was a record of this id.
    """
    table = dataset_table(contract, city.srid)
    same = sa.or_(table.c.id == fid, table.c.subject == fid) if contract.is_stream else table.c.id == fid
    rows = sa.select(table).where(same, table.c.branch == 0)
    if view.known_at is not None:
        rows = rows.where(sa.func.lower(table.c.recorded) <= view.known_at)
    newest_first = sa.func.lower(table.c.recorded).desc(), table.c.row.desc()
    versions = rows.order_by(*newest_first).limit(_MOST_VERSIONS).subquery("versions")
    feature = feature_json(contract, versions, ItemsQuery(), city)
    found = [str(text) for text in (await connection.execute(sa.select(sa.cast(feature, sa.Text)))).scalars()]
    if not found:
        raise NotFound(f"{contract.id} never had a record {fid!r}.", remedy="Look for it in its items.")
    return Page(f"[{','.join(found)}]", len(found), len(found), None)
