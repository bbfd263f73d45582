"""Ways from the twin's own layers of roads, as a View shows them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from layers.contract import Contract
from layers.query import visible
from layers.roads.profiles import class_speed_kmh
from layers.roads.tags import passage
from layers.roads.ways import Ways
from twin.city import City
from twin.view import View

__all__ = ["road_rows", "ways_of"]

Floats = NDArray[np.float64]

_ONE_WAY = {"forward": "yes", "backward": "-1", "both": "no"}
_DIGITS = 7
_ROW = 1 << 32


def road_rows(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    """The roads that a View shows, in the order of their ids: `id`, `geom` as WKB, and the fields that count."""
    shown = visible(contract, view, city)
    columns = shown.rows.c
    return (
        shown.where(columns.geom.is_not(None))
        .select(
            columns.id,
            sa.func.ST_AsBinary(columns.geom).label("geom"),
            *(columns[name] for name in dict.fromkeys(_fields(contract))),
        )
        .order_by(columns.id)
    )


def _fields(contract: Contract) -> list[str]:
    """The fields that a network is made of."""
    roads, names = contract.roads, contract.names
    if roads is None:
        raise ValueError(f"{contract.id} has no roads")
    told = (names.name, names.road, *(names.stakes or ())) if names is not None else ()
    return [name for name in (*roads.fields, *told) if name is not None]


def ways_of(contract: Contract, rows: Sequence[sa.Row[Any]]) -> Ways:
    """The ways of the rows that `road_rows` selected. Lines meet where they share a vertex, to a centimetre.

    Each part of a line of several is a way of its own; only lines of one part have stakes.
    """
    roads, names = contract.roads, contract.names
    if roads is None:
        raise ValueError(f"{contract.id} has no roads")
    lines, row_of = shapely.get_parts(shapely.from_wkb(np.array([bytes(row.geom) for row in rows], dtype=object)),
                                      return_index=True)  # fmt: skip
    xy, way_of = shapely.get_coordinates(lines, return_index=True)
    first = np.searchsorted(way_of, np.arange(len(lines) + 1)).astype(np.int64)
    whole = np.rint(xy * 10**_DIGITS).astype(np.int64)
    classes = list(class_speed_kmh())
    number = {name: at for at, name in enumerate(classes)}
    words = [getattr(row, roads.road_class) for row in rows]
    said = [getattr(row, roads.direction) if roads.direction is not None else None for row in rows]
    known = {pair: passage(pair[0], {"oneway": _ONE_WAY[pair[1]]} if pair[1] is not None else {})
             for pair in set(zip(words, said, strict=True))}  # fmt: skip
    passages = np.array([known[pair] for pair in zip(words, said, strict=True)], dtype=np.uint8).reshape(-1, 2)[row_of]
    single = np.bincount(row_of, minlength=len(rows))[row_of] == 1
    stakes = names.stakes if names is not None and names.stakes is not None else (None, None)
    start_km, end_km = (np.where(single, _column(rows, name)[row_of], np.nan) for name in stakes)
    at: list[int] = row_of.tolist()
    return Ways(
        first=first,
        node=whole[:, 0] * _ROW + whole[:, 1],
        lon=xy[:, 0].copy(),
        lat=xy[:, 1].copy(),
        ahead=passages[:, 0].copy(),
        back=passages[:, 1].copy(),
        classes=classes,
        road_class=np.array([number[word] for word in words], dtype=np.int64)[row_of],
        limit_kmh=_column(rows, roads.limit_kmh)[row_of],
        height_m=_column(rows, roads.height_m)[row_of],
        width_m=_column(rows, roads.width_m)[row_of],
        weight_t=_column(rows, roads.weight_t)[row_of],
        record=[rows[k].id for k in at],
        name=_texts(rows, names.name if names is not None else None, at),
        number=_texts(rows, names.road if names is not None else None, at),
        start_km=start_km,
        end_km=end_km,
    )


def _column(rows: Sequence[sa.Row[Any]], name: str | None) -> Floats:
    """A field as numbers, NaN where there is none."""
    if name is None:
        return np.full(len(rows), np.nan)
    return np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows], dtype=np.float64)


def _texts(rows: Sequence[sa.Row[Any]], name: str | None, at: list[int]) -> list[str | None]:
    return [getattr(rows[k], name) if name is not None else None for k in at]
