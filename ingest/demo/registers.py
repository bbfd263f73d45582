"""What the synthetic city's devices know of the city: which of them there are, and where they move."""

from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa

from ingest.demo.plane import Geometries
from layers.catalog import Catalog
from layers.query import visible
from layers.tables import dataset_table, open_rows
from twin.city import City
from twin.database import Database
from twin.view import View

__all__ = ["Known"]

_SHORTEST_LINE_DEG = 0.005


class Known:
    """Reads the datasets of one city."""

    def __init__(self, database: Database, catalog: Catalog, city: City) -> None:
        self.city = city
        self._database, self._catalog = database, catalog

    def rows(self, dataset: str, *fields: str) -> list[tuple[Any, ...]]:
        """Fields of all things of a dataset now, with longitude and latitude, in order of their ids."""
        contract = self._catalog[dataset]
        shown = visible(contract, View(), self.city)
        middle = sa.func.ST_PointOnSurface(shown.rows.c.geom)
        columns = [shown.rows.c[name] for name in fields]
        order = shown.rows.c.subject if contract.is_stream else shown.rows.c.id
        chosen = shown.select(*columns, sa.func.ST_X(middle), sa.func.ST_Y(middle)).order_by(order)
        with self._database.writing() as connection:
            return [tuple(row) for row in connection.execute(chosen)]

    def lines(self, dataset: str) -> Geometries:
        """The long lines of a dataset."""
        table = dataset_table(self._catalog[dataset], self.city.srid)
        long_ones = sa.and_(open_rows(table), sa.func.ST_Length(table.c.geom) > _SHORTEST_LINE_DEG)
        chosen = sa.select(sa.func.ST_AsBinary(table.c.geom)).where(long_ones).order_by(table.c.id)
        with self._database.writing() as connection:
            return np.array([shapely.from_wkb(bytes(row)) for row in connection.scalars(chosen)], dtype=object)
