"""`/areas`: districts, towns, statutory grid cells: their outlines, what they share, indicators over them."""

import asyncio
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import GEOJSON, json_response, link, url_of
from api.auditing import ViewRoute, open_entry
from api.context import Context, caller_of, context_of, indicator_of, readable, strict_parameters, view_of
from layers.cells import parts
from layers.contract import Contract
from layers.crosswalk import (
    AreaTotals,
    AreaUnits,
    By,
    People,
    area_rows,
    area_units,
    people_rows,
    shares_of_cells,
    totals,
)
from twin.access import Caller
from twin.errors import InvalidRequest, LimitExceeded, NotFound
from twin.grid import cell_to_text, cells_of_geometries
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Areas"], dependencies=[Depends(strict_parameters)])

_MOST_CELLS = 100_000
_TIMEOUT_S = 30.0
_HEADERS = {"Cache-Control": "no-cache", "Vary": "Authorization"}

ByParameter = Annotated[By, Query(description="what cells are shared by: their surface, or their people")]


@router.get("/areas", response_class=Response)
async def read_kinds(request: Request, view: Annotated[View, Depends(view_of)]) -> Response:
    """The kinds of areas that the audience may read."""
    found = [
        {
            "kind": kind,
            "title": (contract.title if groups is None or kind != groups.kind else groups.title).model_dump(),
            "partition": contract.areas.partition,
            "collection": contract.id,
            "links": [link(url_of(request, f"/areas/{kind}"), "items")],
        }
        for contract in readable(context_of(request), view.audience)
        if contract.areas is not None
        for groups in [contract.areas.groups]
        for kind in contract.areas.kinds
    ]
    return json_response({"links": [link(url_of(request, "/areas"), "self")], "kinds": found}, headers=_HEADERS)


@router.get("/areas/{kind}", response_class=Response)
async def read_areas(
    request: Request,
    kind: str,
    view: Annotated[View, Depends(view_of)],
    caller: Annotated[Caller, Depends(caller_of)],
) -> Response:
    """The areas of a kind: code, name, size."""
    contract, areas = await _areas(request, kind, view, caller)
    found = [
        {"code": code, "name": name, "km2": round(km2, 6)}
        for code, name, km2 in zip(areas.codes, areas.names, areas.km2.tolist(), strict=True)
    ]
    links = [link(url_of(request, f"/collections/{contract.id}/items"), "items", GEOJSON)]
    return json_response({"links": links, "kind": kind, "areas": found}, headers=_HEADERS)


@router.get("/areas/{kind}/indicators/{indicator}", response_class=Response)
async def read_totals(
    request: Request,
    kind: str,
    indicator: str,
    view: Annotated[View, Depends(view_of)],
    caller: Annotated[Caller, Depends(caller_of)],
    by: ByParameter = "area",
) -> Response:
    """An indicator over the areas of a kind. Sums are conserved: the areas and the outside add up to the total."""
    context = context_of(request)
    contract, found = indicator_of(context, indicator, view.audience)
    _, areas = await _areas(request, kind, view, caller)
    people = await _people(context, view) if by == "people" else None
    async with context.database.reading(view.audience, timeout_s=_TIMEOUT_S) as connection:
        bucket, source = await parts(connection, contract, found, view, context.city)
        c = source.c
        rows = (await connection.execute(source.select().with_only_columns(
            c.cell, c.n, c.total, c.smallest, c.largest).order_by(c.cell).limit(_MOST_CELLS + 1))).all()  # fmt: skip
    if len(rows) > _MOST_CELLS:
        raise LimitExceeded(f"{indicator} has over {_MOST_CELLS:,} cells.", remedy="Read it by cells, in boxes.")
    cells = np.array([row.cell for row in rows], dtype=np.int64)

    def count() -> AreaTotals:
        return totals(found, rows, shares_of_cells(cells, areas, people), areas)

    answer = await asyncio.to_thread(count)
    body = {
        "indicator": found.id,
        "unit": found.unit,
        "kind": kind,
        "by": by,
        "datetime": bucket,
        "areas": [
            {"code": code, "name": name, "value": _plain(value), "n": n}
            for code, name, value, n in zip(areas.codes, areas.names, answer.value, answer.n, strict=True)
        ],
        "outside": {"value": _plain(answer.outside[0]), "n": answer.outside[1]},
        "total": {"value": _plain(answer.total[0]), "n": answer.total[1]},
    }
    return json_response(body, headers=_HEADERS)


@router.get("/areas/{kind}/{code}", response_class=Response)
async def read_area(
    request: Request,
    kind: str,
    code: str,
    view: Annotated[View, Depends(view_of)],
    caller: Annotated[Caller, Depends(caller_of)],
) -> Response:
    """One area as a GeoJSON feature."""
    _, areas = await _areas(request, kind, view, caller)
    at = _numbered(areas, code)
    body = {
        "type": "Feature",
        "id": code,
        "geometry": orjson.Fragment(shapely.to_geojson(areas.shapes[at])),
        "properties": {"kind": kind, "code": code, "name": areas.names[at], "km2": round(float(areas.km2[at]), 6)},
    }
    return json_response(body, media_type=GEOJSON, headers=_HEADERS)


@router.get("/areas/{kind}/{code}/shares", response_class=Response)
async def read_shares(
    request: Request,
    kind: str,
    code: str,
    view: Annotated[View, Depends(view_of)],
    caller: Annotated[Caller, Depends(caller_of)],
    of: Annotated[str, Query(max_length=60, description="another kind of areas, or h3 for cells")] = "h3",
    resolution: Annotated[int, Query(ge=0, le=15, description="size of the cells it is made of")] = 9,
    by: ByParameter = "area",
) -> Response:
    """Of what an area consists: the cells, or the areas of another kind, and which share of them lies in it.

    Of cells the share is that of the cell; of areas that of this area, measured by cells of the resolution.
    """
    context = context_of(request)
    _, areas = await _areas(request, kind, view, caller)
    at = _numbered(areas, code)
    if not context.city.resolutions.coarsest <= resolution <= context.city.resolutions.finest:
        coarsest, finest = context.city.resolutions.coarsest, context.city.resolutions.finest
        raise InvalidRequest(f"the city has resolutions {coarsest} to {finest}.", where="resolution")
    other = None if of == "h3" else (await _areas(request, of, view, caller))[1]
    people = await _people(context, view) if by == "people" else None

    def shares() -> list[dict[str, Any]]:
        cells = np.unique(cells_of_geometries(areas.shapes[at : at + 1], resolution)[1])
        if len(cells) > _MOST_CELLS:
            raise LimitExceeded(f"it has {len(cells):,} cells.", remedy="Ask for a coarser resolution.")
        mine = shares_of_cells(cells, areas, people)
        own = mine.area == at
        held = np.zeros(len(cells))
        np.add.at(held, mine.cell[own], mine.share[own])
        if other is None:
            texts = cell_to_text(cells)
            return [{"cell": texts[k], "share": round(float(held[k]), 9)} for k in np.flatnonzero(held > 0)]
        theirs = shares_of_cells(cells, other, people)
        common = np.zeros(len(other.codes) + 1)
        np.add.at(common, theirs.area, theirs.share * held[theirs.cell])
        return [
            {
                "code": None if k == len(other.codes) else other.codes[k],
                "share": round(float(common[k] / held.sum()), 9),
            }
            for k in np.flatnonzero(common > 0)
        ]

    body = {"kind": kind, "code": code, "of": of, "by": by, "resolution": resolution,
            "shares": await asyncio.to_thread(shares)}  # fmt: skip
    return json_response(body, headers=_HEADERS)


async def _areas(request: Request, kind: str, view: View, caller: Caller) -> tuple[Contract, AreaUnits]:
    """The areas of a kind, from the dataset that lists them. Raises NotFound for a kind that the audience has not."""
    context = context_of(request)
    for contract in readable(context, view.audience):
        if contract.areas is not None and kind in contract.areas.kinds:
            open_entry(request, contract, caller)
            async with context.database.reading(view.audience, timeout_s=_TIMEOUT_S) as connection:
                rows = (await connection.execute(area_rows(contract, view, context.city))).all()
            return contract, await asyncio.to_thread(area_units, contract, kind, rows)
    raise NotFound(f"no kind of areas is called {kind[:60]!r}.", remedy="See /areas.")


async def _people(context: Context, view: View) -> People:
    """Where people are, by the first dataset that tells it. Raises NotFound where the audience may read none."""
    for contract in readable(context, view.audience):
        if contract.dasymetric is not None:
            async with context.database.reading(view.audience, timeout_s=_TIMEOUT_S) as connection:
                rows = (await connection.execute(people_rows(contract, view, context.city))).all()
            weights = [float(row.weight or 0) for row in rows]
            return People(np.array([row.cell for row in rows], dtype=np.int64), np.array(weights))
    raise NotFound("nothing that you may read says where people are.", remedy="Ask by=area.")


def _numbered(areas: AreaUnits, code: str) -> int:
    if code not in areas.codes:
        raise NotFound(f"no {areas.kind} has the code {code[:40]!r}.", remedy=f"See /areas/{areas.kind}.")
    return areas.codes.index(code)


def _plain(value: Decimal | None) -> Any:  # noqa: ANN401  (an integer, or a number with all its digits)
    """A JSON number with every digit of the decimal."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else orjson.Fragment(format(value, "f"))
