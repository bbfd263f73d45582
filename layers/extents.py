"""Where a record is, whoever asks: for the audit log, which has to know who was shown what."""

import sqlalchemy as sa

from layers.contract import Contract
from layers.query import subjects_of
from layers.tables import all_rows, dataset_table
from twin.audit import Box
from twin.city import City

__all__ = ["extent_of"]


def extent_of(connection: sa.Connection, contract: Contract, city: City, fid: str) -> Box | None:
    """The box in degrees of all that a record ever was; None where it has no place or never was.

    A stream's record goes by its id, or by its subject for all of that.
    """
    table = dataset_table(contract, city.srid)
    box = sa.func.ST_Extent(table.c.geom)
    sides = [side(box) for side in (sa.func.ST_XMin, sa.func.ST_YMin, sa.func.ST_XMax, sa.func.ST_YMax)]
    here = table.c.id == fid
    if contract.is_stream:
        here = sa.or_(table.c.subject == fid, sa.and_(table.c.subject.in_(subjects_of(fid)), here))
    found: list[float | None] = list(connection.execute(sa.select(*sides).where(here, all_rows(table))).one())
    west, south, east, north = (edge for edge in found if edge is not None) if None not in found else (0.0,) * 4
    return None if None in found else (west, south, east, north)
