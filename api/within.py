"""`/indicators/{id}/within`: an indicator over an area drawn on the map."""

from typing import Annotated, Any

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Body, Depends, Request, Response

from api.answers import json_response
from api.auditing import ViewRoute
from api.context import context_of, indicator_of, strict_parameters, view_of
from layers.cells import CellsQuery, cells
from layers.query import Box
from layers.within import within
from twin.errors import InvalidRequest
from twin.geometry import Limits, check
from twin.grid import cell_to_text
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Indicators"], dependencies=[Depends(strict_parameters)])

_MOST_VERTICES = 1_000
_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}


@router.post("/indicators/{indicator}/within", response_class=Response)
async def read_within(
    request: Request,
    indicator: str,
    view: Annotated[View, Depends(view_of)],
    drawn: Annotated[dict[str, Any], Body(description="a GeoJSON polygon, CRS84, of at most 1,000 vertices")],
) -> Response:
    """The value over a drawn area, which stands for the cells whose middle lies in it."""
    context = context_of(request)
    contract, found = indicator_of(context, indicator, view.audience)
    area = _area(drawn, context.city.bounds)
    query = CellsQuery(found.resolution, Box(*area.bounds), view)
    async with context.database.reading(view.audience) as connection:
        table = await cells(connection, contract, found, query, context.city)
    answer = within(table, area)
    body = {
        "indicator": found.id,
        "unit": found.unit,
        "datetime": table.bucket,
        "value": answer.value,
        "n": answer.n,
        "cells": cell_to_text(answer.cell),
        "outline": orjson.Fragment(shapely.to_geojson(answer.outline)),
    }
    return json_response(body, headers=_HEADERS)


def _area(drawn: dict[str, Any], bounds: tuple[float, float, float, float]) -> shapely.Polygon | shapely.MultiPolygon:
    """The drawn area. Raises InvalidRequest for what is none; nothing is repaired while somebody waits."""
    try:
        area = shapely.force_2d(shapely.from_geojson(orjson.dumps(drawn)))
    except (shapely.GEOSException, TypeError, ValueError) as error:
        raise InvalidRequest("this is no GeoJSON geometry.", remedy="Send a Polygon (RFC 7946).") from error
    fault = check(np.array([area], dtype=object), bounds, Limits("polygon", _MOST_VERTICES))[0]
    if fault or not isinstance(area, shapely.Polygon | shapely.MultiPolygon):
        raise InvalidRequest(f"the area cannot be used: {str(fault).replace('_', ' ')}.", remedy="Draw it again.")
    return area
