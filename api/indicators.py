"""`/indicators`: numbers per H3 cell."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import EXPORT_TYPES, GEOJSON, chosen_format, json_response, link, url_of
from api.auditing import ViewRoute, add_to_entry, open_entry
from api.context import (
    audience_of,
    caller_of,
    context_of,
    indicator_of,
    readable_indicators,
    strict_parameters,
    view_of,
)
from api.parameters import BboxCrsParameter, BboxParameter, parse_box, parse_crs
from layers.cellfiles import explain, to_arrow, to_geojson, to_json
from layers.cells import CellsQuery, cells
from layers.contract import Contract, Indicator
from twin.access import Audience, Caller
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Indicators"], dependencies=[Depends(strict_parameters)])

_FORMATS = {"json": "application/json", "geojson": GEOJSON, "arrow": EXPORT_TYPES["arrow"]}
_WRITERS = {"json": to_json, "geojson": to_geojson, "arrow": to_arrow}
_HEADERS = {"Cache-Control": "no-cache", "Vary": "Authorization, Accept"}


@router.get("/indicators", response_class=Response)
async def read_indicators(request: Request, audience: Annotated[Audience, Depends(audience_of)]) -> Response:
    """The indicators that the audience may read."""
    found = [_indicator(request, *one) for one in readable_indicators(context_of(request), audience)]
    links = [link(url_of(request, "/indicators"), "self")]
    return json_response({"links": links, "indicators": found}, headers=_HEADERS)


@router.get("/indicators/{indicator}", response_class=Response)
async def read_indicator(
    request: Request, indicator: str, audience: Annotated[Audience, Depends(audience_of)]
) -> Response:
    """One indicator."""
    return json_response(_indicator(request, *indicator_of(context_of(request), indicator, audience)), headers=_HEADERS)


@router.get("/indicators/{indicator}/cells", response_class=Response)
async def read_cells(
    request: Request,
    indicator: str,
    view: Annotated[View, Depends(view_of)],
    resolution: Annotated[int | None, Query(ge=0, le=15)] = None,
    bbox: BboxParameter = None,
    bbox_crs: BboxCrsParameter = None,
) -> Response:
    """The cells of an indicator at a resolution; its own, the finest there is, when none is asked."""
    context = context_of(request)
    contract, found = indicator_of(context, indicator, view.audience)
    box_crs = parse_crs(bbox_crs, context.city, "bbox-crs")
    box = parse_box(bbox, box_crs) if bbox is not None else None
    query = CellsQuery(found.resolution if resolution is None else resolution, box, view)
    word = chosen_format(request, _FORMATS)
    async with context.database.reading(view.audience) as connection:
        table = await cells(connection, contract, found, query, context.city)
    body = await asyncio.to_thread(_WRITERS[word], table)
    return Response(body, media_type=_FORMATS[word], headers=_HEADERS)


@router.get("/indicators/{indicator}/cells/{cell}/explain", response_class=Response)
async def read_explanation(
    request: Request,
    indicator: str,
    cell: str,
    view: Annotated[View, Depends(view_of)],
    caller: Annotated[Caller, Depends(caller_of)],
) -> Response:
    """Where a cell's number comes from: rule, parts, records, freshness."""
    context = context_of(request)
    contract, found = indicator_of(context, indicator, view.audience)
    async with context.database.reading(view.audience) as connection:
        body = await explain(connection, contract, found, cell, view, context.city)
    if body["records"] is not None:
        open_entry(request, contract, caller)
        add_to_entry(request, ids=tuple(body["records"]))
    return json_response(body, headers=_HEADERS)


def _indicator(request: Request, contract: Contract, found: Indicator) -> dict[str, Any]:
    return {
        "id": found.id,
        "title": found.title.model_dump(),
        "unit": found.unit,
        "measure": found.measure,
        "where": {name: list(values) for name, values in found.where.items()},
        "window": found.window,
        "resolution": found.resolution,
        "coarsest": min(context_of(request).city.resolutions.coarsest, found.resolution),
        "per_km2": found.per_km2,
        "class": found.data_class or contract.data_class,
        "dataset": contract.id,
        "system": contract.system,
        "owner": contract.owner,
        "links": [
            link(url_of(request, f"/indicators/{found.id}"), "self"),
            link(url_of(request, f"/indicators/{found.id}/cells"), "cells"),
            link(url_of(request, f"/collections/{contract.id}"), "collection"),
        ],
    }
