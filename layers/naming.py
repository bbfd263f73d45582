"""Reads the named places that a View shows: what gazetteers are built from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
import shapely
import sqlalchemy as sa

from layers.contract import Contract
from layers.places.fix import Geometries
from layers.places.gazetteer import Gazetteer
from layers.places.named import NamedPlaces
from layers.query import visible
from twin.city import City
from twin.view import View

__all__ = ["gazetteer_of", "lists_names", "named_places", "named_rows"]

_OWN = ("id", "place_accuracy_m")


def lists_names(contract: Contract) -> bool:
    """Whether address texts may mention the records of a dataset, as far as its reader may see their names."""
    return contract.names is not None and all(name in contract.fields for name in contract.names.fields)


def named_rows(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    """The rows of a dataset that lists names, as a View shows them; what has neither name nor number is left out."""
    names = contract.names
    if names is None:
        raise ValueError(f"{contract.id} lists no names")
    shown = visible(contract, view, city)
    columns = shown.rows.c
    told = [name for name in (names.name, *names.also, names.road) if name is not None]
    chosen = [columns[name].in_(values) for name, values in names.where.items()]
    return shown.where(
        columns.geom.is_not(None), sa.or_(*(columns[name].is_not(None) for name in told)), *chosen
    ).select(
        *(columns[name] for name in _OWN),
        sa.func.ST_AsBinary(columns.geom).label("geom"),
        *(columns[name] for name in dict.fromkeys(names.fields)),
    )


def named_places(contract: Contract, rows: Sequence[sa.Row[Any]]) -> NamedPlaces:
    """The named places of the rows that `named_rows` selected."""
    if contract.names is None:
        raise ValueError(f"{contract.id} lists no names")
    columns = (*_OWN, *dict.fromkeys(contract.names.fields))
    frame = pl.DataFrame(
        {name: [getattr(row, name) for row in rows] for name in columns},
        schema_overrides={"id": pl.String},
        strict=False,
    )
    shapes: Geometries = shapely.from_wkb(np.array([bytes(row.geom) for row in rows], dtype=object))
    return NamedPlaces(contract.id, contract.names, frame, shapes)


def gazetteer_of(connection: sa.Connection, contracts: Iterable[Contract], view: View, city: City) -> Gazetteer:
    """The gazetteer of the named places that a View shows in these datasets; those that list none are passed over."""
    listing = [contract for contract in contracts if lists_names(contract)]
    parts = [named_places(one, connection.execute(named_rows(one, view, city)).all()) for one in listing]
    return Gazetteer(city, parts)
