"""`/indicators`: numbers per H3 cell."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import GEOJSON, chosen_format, json_response, link, url_of
from api.context import Context, audience_of, context_of, strict_parameters, view_of
from api.facts import version_of
from api.parameters import parse_box, parse_crs
from layers.cells import CellsQuery, cells, explain, to_arrow, to_geojson, to_json
from layers.contract import Contract, Indicator
from layers.grants import may_read
from twin.access import Audience
from twin.errors import NotFound
from twin.view import View

__all__ = ["router"]

router = APIRouter(tags=["Indicators"], dependencies=[Depends(strict_parameters)])

_FORMATS = {"json": "application/json", "geojson": GEOJSON, "arrow": "application/vnd.apache.arrow.stream"}


@router.get("/indicators")
async def indicators(request: Request, audience: Annotated[Audience, Depends(audience_of)]) -> Response:
    """The indicators that the audience may read."""
    found = [
        _indicator(request, contract, indicator)
        for contract, indicator in context_of(request).catalog.indicators()
        if may_read(indicator.data_class or contract.data_class, contract, audience)
    ]
    return json_response({"links": [link(url_of(request, "/indicators"), "self")], "indicators": found})


@router.get("/indicators/{indicator}")
async def indicator(request: Request, indicator: str, audience: Annotated[Audience, Depends(audience_of)]) -> Response:
    """One indicator."""
    return json_response(_indicator(request, *_found(context_of(request), indicator, audience)))


@router.get("/indicators/{indicator}/cells")
async def read_cells(
    request: Request,
    indicator: str,
    view: Annotated[View, Depends(view_of)],
    resolution: Annotated[int | None, Query(ge=0, le=15)] = None,
    bbox: Annotated[str | None, Query(max_length=200)] = None,
    bbox_crs: Annotated[str | None, Query(alias="bbox-crs", max_length=100)] = None,
) -> Response:
    """The cells of an indicator at a resolution; its own, the finest there is, when none is asked."""
    context = context_of(request)
    contract, found = _found(context, indicator, view.audience)
    box = parse_box(bbox, parse_crs(bbox_crs, context.city, "bbox-crs")) if bbox else None
    query = CellsQuery(found.resolution if resolution is None else resolution, box, view)
    word = chosen_format(request, _FORMATS)
    async with context.database.reading(view.audience) as connection:
        version = await version_of(connection, contract.id)
        table = await cells(connection, contract, found, query, context.city)
    body = {"json": to_json, "geojson": to_geojson, "arrow": to_arrow}[word](table)
    headers = {"X-Dataset-Version": str(version), "Cache-Control": "no-cache", "Vary": "Authorization, Accept"}
    return Response(body, media_type=_FORMATS[word], headers=headers)


@router.get("/indicators/{indicator}/cells/{cell}/explain")
async def explain_cell(
    request: Request, indicator: str, cell: str, view: Annotated[View, Depends(view_of)]
) -> Response:
    """Where a cell's number comes from: rule, parts, records, freshness."""
    context = context_of(request)
    contract, found = _found(context, indicator, view.audience)
    async with context.database.reading(view.audience) as connection:
        return json_response(await explain(connection, contract, found, cell, view, context.city))


def _found(context: Context, name: str, audience: Audience) -> tuple[Contract, Indicator]:
    """An indicator that the audience may read; others are as absent as those that do not exist."""
    for contract, found in context.catalog.indicators():
        if found.id == name and may_read(found.data_class or contract.data_class, contract, audience):
            return contract, found
    raise NotFound(f"no indicator is called {name!r}.", remedy="See /indicators.")


def _indicator(request: Request, contract: Contract, found: Indicator) -> dict[str, Any]:
    return {
        "id": found.id,
        "title": found.title.model_dump(),
        "unit": found.unit,
        "measure": found.measure,
        "where": {name: list(values) for name, values in found.where.items()},
        "window": found.window,
        "resolution": found.resolution,
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
