"""Registers: the current places of a dataset that other records refer to by id, read once until it changes."""

import numpy as np
import polars as pl
import shapely
import sqlalchemy as sa

from layers.catalog import Catalog
from layers.contract import Contract
from layers.naming import gazetteer_of
from layers.places.extent import extent_m
from layers.places.fix import Geometries, Register
from layers.places.gazetteer import Gazetteer
from layers.tables import dataset_table, latest_table, open_rows
from layers.versions import versions
from twin.city import City
from twin.database import Database
from twin.view import View

__all__ = ["Registers"]

_POINT = 0


class Registers:
    """Reads registers from the database and keeps them: for the length of one load, or until `renew` finds changes."""

    def __init__(self, database: Database, catalog: Catalog, city: City) -> None:
        self._database = database
        self._catalog = catalog
        self._city = city
        self._known: dict[str, Register] = {}
        self._gazetteer: Gazetteer | None = None
        self._seen: dict[str, int] | None = None

    def __call__(self, dataset: str) -> Register:
        """The register `dataset`. Raises NotFound when there is no such dataset."""
        if dataset not in self._known:
            self._known[dataset] = self._read(self._catalog[dataset])
        return self._known[dataset]

    def renew(self, connection: sa.Connection) -> None:
        """Forget what changed since the last call."""
        now = {
            row.dataset: row.version for row in connection.execute(sa.select(versions.c.dataset, versions.c.version))
        }
        before, self._seen = self._seen or {}, now
        changed = {dataset for dataset, version in now.items() if before.get(dataset) != version}
        for dataset in changed & self._known.keys():
            del self._known[dataset]
        if any(self._catalog[dataset].names for dataset in changed & self._catalog.contracts.keys()):
            self._gazetteer = None

    def gazetteer(self) -> Gazetteer:
        """The named places of the city as it is now."""
        if self._gazetteer is None:
            with self._database.writing() as connection:
                self._gazetteer = gazetteer_of(connection, self._catalog, View(), self._city)
        return self._gazetteer

    def _read(self, contract: Contract) -> Register:
        if contract.is_stream:
            table = latest_table(contract, self._city.srid)
            key, condition = table.c.subject, sa.true()
        else:
            table = dataset_table(contract, self._city.srid)
            key = table.c.id
            condition = sa.and_(open_rows(table), table.c.valid.contains(sa.func.now()))
        statement = sa.select(
            key.label("id"),
            table.c.cell,
            table.c.place_accuracy_m,
            sa.func.ST_AsBinary(table.c.geom).label("wkb"),
        ).where(condition, table.c.geom.is_not(None))
        with self._database.writing() as connection:
            rows = connection.execute(statement).all()
        shapes: Geometries = shapely.from_wkb(np.array([bytes(row.wkb) for row in rows], dtype=object))
        middles = shapely.point_on_surface(shapes)
        accuracy_m = np.array([row.place_accuracy_m for row in rows], dtype=np.float64)
        frame = pl.DataFrame(
            {
                "id": pl.Series([row.id for row in rows], dtype=pl.String),
                "cell": np.array([row.cell for row in rows], dtype=np.int64),
                # What is known to be somewhere in an area is known no better than the area's size.
                "place_accuracy_m": np.maximum(accuracy_m, extent_m(shapes)),
                "lon": shapely.get_x(middles),
                "lat": shapely.get_y(middles),
            }
        )
        shapes[shapely.get_type_id(shapes) == _POINT] = None
        return Register(frame, shapes)
