"""Codes to places: computed where the code itself is a place, looked up in the dataset that lists it elsewhere."""

from collections.abc import Iterable
from typing import Any

import h3
import numpy as np
import shapely
import sqlalchemy as sa

from layers.contract import Contract
from layers.places.candidates import Candidate
from layers.places.extent import extent_m
from layers.places.gazetteer import Gazetteer
from layers.query import visible
from twin.city import City
from twin.geometry import inside
from twin.grid import cell_polygons, text_to_cell
from twin.identifiers import Identifier
from twin.view import View

__all__ = ["code_rows", "listing", "located", "placed_code"]

_KNOWN, _ADMINISTRATIVE = 0.98, 0.9


def listing(contracts: Iterable[Contract], code: Identifier) -> list[Contract]:
    """The datasets whose records go by codes of this kind."""
    return [
        contract
        for contract in contracts
        if len(contract.subject_key) == 1
        and contract.kind in {"feature", "event"}
        and (spec := contract.fields.get(contract.subject_key[0])) is not None
        and spec.code == code.kind
    ]


def code_rows(contract: Contract, view: View, city: City, code: Identifier) -> sa.Select[Any]:
    """The record of a dataset with this code, as a View shows it: `id`, `place_accuracy_m`, `geom` as WKB."""
    shown = visible(contract, view, city)
    columns = shown.rows.c
    key = columns[contract.subject_key[0]]
    return shown.where(key == code.text, columns.geom.is_not(None)).select(
        columns.id, columns.place_accuracy_m, sa.func.ST_AsBinary(columns.geom).label("geom")
    )


def located(contract: Contract, row: sa.Row[Any], gazetteer: Gazetteer) -> Candidate:
    """The place of a row of `code_rows`."""
    shape = shapely.from_wkb(bytes(row.geom))
    return _candidate(shape, float(row.place_accuracy_m or 0), gazetteer, (contract.id, row.id))


def placed_code(code: Identifier, gazetteer: Gazetteer, city: City) -> list[Candidate]:
    """The place of a code that says where it is: an H3 cell, a cell of the Beidou grid, an area, a road with a stake.

    None where it lies outside the city; the record of others is found by `listing`.
    """
    match code.kind:
        case "h3":
            shape = cell_polygons(text_to_cell([code.text]))[0]
            edge_m = h3.average_hexagon_edge_length(h3.get_resolution(code.text), unit="m")
            found = [_candidate(shape, edge_m, gazetteer, None)]
        case "beidou":
            west, south, east, north = (float(code.parts[edge]) for edge in ("west", "south", "east", "north"))
            found = [_candidate(shapely.box(west, south, east, north), 0.0, gazetteer, None)]
        case "area_code":
            found = [one._replace(confidence=_ADMINISTRATIVE) for one in gazetteer.area_of(code.text)]
        case "road_stake":
            found = gazetteer.resolve(code.text)
        case _:
            return []
    return [one for one in found if inside(np.array([one.lon]), np.array([one.lat]), city.bounds)[0]]


def _candidate(
    shape: shapely.Geometry, known_m: float, gazetteer: Gazetteer, record: tuple[str, str] | None
) -> Candidate:
    inner = shapely.point_on_surface(shape)
    lon, lat = float(shapely.get_x(inner)), float(shapely.get_y(inner))
    size_m = max(known_m, float(extent_m(np.array([shape], dtype=object))[0]))
    area = gazetteer.code_at(lon, lat)
    drawn = None if shapely.get_dimensions(shape) == 0 else shape
    return Candidate(lon, lat, size_m, "code", _KNOWN, area, record=record, shape=drawn)
