"""Where indicators have to be computed again: noted with the rows that changed, worked off a little later.

A feed changes rows many times a second; an hour of them is summed up again every few seconds. Between the two the
places stand in `twin.dirty`, so that nothing is forgotten whoever is killed.
"""

import sqlalchemy as sa

from layers.contract import Contract
from layers.indicators import Dirty, refresh
from layers.versions import lock_dataset, mark_changed
from twin.city import City
from twin.database import Database

__all__ = ["mark_dirty", "refresh_dirty", "waiting_for_refresh"]

_MARK = """
    insert into twin.dirty (dataset, cell, observed_at)
    select distinct :dataset, cell, coalesce(date_trunc('minute', observed_at), '-infinity')
    from _dirty where cell is not null
    on conflict do nothing
"""
_TAKE = """
    with taken as (delete from twin.dirty where dataset = :dataset returning cell, observed_at)
    insert into _dirty select cell, nullif(observed_at, '-infinity') from taken
"""


def mark_dirty(connection: sa.Connection, contract: Contract, city: City, dirty: Dirty | None) -> None:
    """Note the places that a write changed, in its transaction. None, a first write, is computed at once."""
    if dirty is None:
        refresh(connection, contract, city, None)
    elif contract.indicators:
        connection.execute(sa.text(_MARK), {"dataset": contract.id})


def waiting_for_refresh(connection: sa.Connection) -> list[str]:
    """The datasets whose indicators have to be computed again."""
    return list(connection.scalars(sa.text("select distinct dataset from twin.dirty order by dataset")))


def refresh_dirty(database: Database, contract: Contract, city: City) -> bool:
    """Compute the indicators of a dataset again where rows changed. Returns whether there was anything to do."""
    with database.writing() as connection:
        lock_dataset(connection, contract.id)
        dirty = Dirty.none(connection)
        taken = connection.execute(sa.text(_TAKE), {"dataset": contract.id}).rowcount
        if not taken:
            return False
        refresh(connection, contract, city, dirty)
        moment = connection.scalar(sa.select(sa.func.clock_timestamp()))
        if moment is not None:
            mark_changed(connection, contract.id, moment)
    return True
