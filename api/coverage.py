"""`/dispatch/coverage`: which streets somebody comes to in time, and which nobody does."""

import asyncio
from typing import Annotated, Any

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import GEOJSON, json_response, link
from api.auditing import ViewRoute
from api.context import caller_of, context_of, strict_parameters, view_of
from api.differences import require_readable
from api.dispatch import MOST_AWAY_M, ProfileParameter, network_of, resources_in, travelling, words_of
from layers.roads.following import Following
from layers.roads.isochrone import area_of, reached
from layers.roads.network import SHUT_MS
from layers.roads.resources import Resources, Wanted
from twin.access import Caller
from twin.errors import InvalidRequest
from twin.grid import cell_area_m2, cell_to_text, parents
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Dispatch"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}
_COARSEST, _USUAL = 6, 9


@router.get("/dispatch/coverage", response_class=Response)
async def read_coverage(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    view: Annotated[View, Depends(view_of)],
    resource: Annotated[str, Query(max_length=100, description="the dataset of the resources")],
    minutes: Annotated[float, Query(gt=0, le=60, description="in time")] = 8,
    profile: ProfileParameter = None,
    kind: Annotated[str | None, Query(max_length=200, description="one kind or several, by commas")] = None,
    filter: Annotated[str | None, Query(max_length=8_192, description="CQL2 over the dataset's fields")] = None,  # noqa: A002
    available: Annotated[bool, Query(description="only those that can be sent now")] = True,  # noqa: FBT002
    resolution: Annotated[int, Query(ge=_COARSEST, le=15, description="of the H3 cells")] = _USUAL,
) -> Response:
    """Two areas of the streets: where the first resource comes within `minutes`, and where none does; by cells."""
    context = context_of(request)
    finest = context.city.resolutions.finest
    if resolution > finest:
        raise InvalidRequest(f"cells are no finer than {finest} here.", where="resolution", remedy=f"Use {finest}.")
    contract = require_readable(request, caller, resource)
    following = await context.networks.of(view, travelling(contract, profile))
    resources = await resources_in(request, contract, view, Wanted(filter, words_of(kind), (), available))
    limit_ms = round(minutes * 60_000)
    body = await asyncio.to_thread(_coverage, following, resources, limit_ms, finest, resolution)
    body |= {
        "resource": contract.id,
        "minutes": minutes,
        "network": network_of(request, view, following),
        "links": [link(str(request.url), "self", GEOJSON)],
    }
    return json_response(body, media_type=GEOJSON, headers=_HEADERS)


def _coverage(
    following: Following, resources: Resources, limit_ms: int, finest: int, resolution: int
) -> dict[str, Any]:
    """The areas and their cells. A coarse cell counts as reached when all streets in it are."""
    spots = following.router.locator.near(resources.lon, resources.lat, MOST_AWAY_M)
    usable = np.flatnonzero((spots.edge >= 0) & np.array([reason is None for reason in resources.reasons], dtype=bool))
    cells = following.cells(finest)
    times = np.full(len(cells.cell), SHUT_MS)
    if len(usable):
        fine, ms = reached(following.router, spots.where(usable), limit_ms, cells)
        times[np.searchsorted(cells.cell, fine)] = ms
    coarse, at = np.unique(parents(cells.cell, resolution), return_inverse=True)
    latest = np.zeros(len(coarse))
    np.maximum.at(latest, at, times)
    inside = latest <= limit_ms
    features = [
        _feature(name, coarse[some], resolution) for name, some in (("reached", inside), ("not_reached", ~inside))
    ]
    seconds = [None if one > limit_ms else round(one / 1000, 1) for one in latest.tolist()]
    return {
        "type": "FeatureCollection",
        "features": features,
        "resources": len(usable),
        "share_of_streets": round(float((times <= limit_ms).mean()), 4),
        "resolution": resolution,
        "cells": [{"cell": cell, "s": one} for cell, one in zip(cell_to_text(coarse), seconds, strict=True)],
    }


def _feature(name: str, cells: np.ndarray[Any, np.dtype[np.int64]], resolution: int) -> dict[str, Any]:
    area = shapely.set_precision(area_of(cells, resolution), 1e-7, mode="pointwise")
    return {
        "type": "Feature",
        "id": name,
        "geometry": orjson.Fragment(shapely.to_geojson(area)),
        "properties": {
            "cells": len(cells),
            "area_km2": round(float(cell_area_m2(cells).sum()) / 1e6, 3) if len(cells) else 0.0,
        },
    }
