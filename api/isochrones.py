"""`/dispatch/isochrone` and `/dispatch/matrix`: what is reached within a time, and how long it takes between places."""

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import GEOJSON, json_response, link
from api.auditing import ViewRoute
from api.context import context_of, strict_parameters, view_of
from api.dispatch import MOST_AWAY_M, ProfileParameter, network_of, on_road, place_of
from api.whereabouts import Whereabouts, whereabouts
from layers.roads.following import Following
from layers.roads.isochrone import area_of, reached
from layers.roads.network import SHUT_MS
from layers.roads.spots import Spot, Spots
from twin.errors import InvalidRequest, LimitExceeded
from twin.geometry import inside
from twin.grid import cell_area_m2, cell_to_text, parents
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Dispatch"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}
_MOST_MINUTES, _MOST_RINGS, _COARSEST = 60.0, 10, 6
_MOST_PAIRS = 1_000_000
Place = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)]


@router.get("/dispatch/isochrone", response_class=Response)
async def read_isochrone(
    request: Request,
    view: Annotated[View, Depends(view_of)],
    where: Annotated[Whereabouts, Depends(whereabouts)],
    minutes: Annotated[str, Query(max_length=80, description="one number or several, by commas")] = "5,10,15",
    profile: ProfileParameter = None,
    direction: Annotated[Literal["from", "to"], Query(description="from the place, or from where to it")] = "from",
    resolution: Annotated[int | None, Query(ge=_COARSEST, description="of the H3 cells; unset: the finest")] = None,
    cells: Annotated[bool, Query(description="with the cells and the seconds to each")] = False,  # noqa: FBT002
) -> Response:
    """The areas that are reached within some times, the largest first, and the H3 cells of the streets in them."""
    context = context_of(request)
    finest = context.city.resolutions.finest
    if resolution is not None and resolution > finest:
        raise InvalidRequest(f"cells are no finer than {finest} here.", where="resolution", remedy=f"Use {finest}.")
    rings = _minutes(minutes)
    following = await context.networks.of(view, profile or "car")
    place = on_road(following, where)
    body = await asyncio.to_thread(
        _isochrone, following, place, rings, finest, resolution or finest, towards=direction == "to", with_cells=cells
    )
    body |= {
        "place": place_of(following, where, place),
        "network": network_of(request, view, following),
        "direction": direction,
        "links": [link(str(request.url), "self", GEOJSON)],
    }
    return json_response(body, media_type=GEOJSON, headers=_HEADERS)


def _minutes(text: str) -> list[float]:
    """The times, the longest first. Raises InvalidRequest for what is none."""
    try:
        found = sorted({float(part) for part in text.split(",")}, reverse=True)
    except ValueError:
        found = []
    if not found or len(found) > _MOST_RINGS or not all(0 < minutes <= _MOST_MINUTES for minutes in found):
        raise InvalidRequest(
            f"{text!r} are no minutes.",
            where="minutes",
            remedy=f"Write up to {_MOST_RINGS} numbers up to {_MOST_MINUTES:g}.",
        )
    return found


def _isochrone(
    following: Following,
    place: Spot,
    rings: list[float],
    finest: int,
    resolution: int,
    *,
    towards: bool,
    with_cells: bool,
) -> dict[str, Any]:
    limit_ms = round(rings[0] * 60_000)
    fine, ms = reached(following.router, Spots.one(place), limit_ms, following.cells(finest), towards=towards)
    coarse, at = np.unique(parents(fine, resolution), return_inverse=True)
    soonest = np.full(len(coarse), SHUT_MS)
    np.minimum.at(soonest, at, ms)
    features: list[dict[str, Any]] = []
    for minutes in rings:
        inside_it = coarse[soonest <= round(minutes * 60_000)]
        area = area_of(inside_it, resolution)
        features.append({
            "type": "Feature",
            "geometry": orjson.Fragment(shapely.to_geojson(shapely.set_precision(area, 1e-7, mode="pointwise"))),
            "properties": {
                "minutes": minutes,
                "cells": len(inside_it),
                "area_km2": round(float(cell_area_m2(inside_it).sum()) / 1e6, 3) if len(inside_it) else 0.0,
            },
        })  # fmt: skip
    told: dict[str, Any] = {"type": "FeatureCollection", "features": features, "resolution": resolution}
    if with_cells:
        seconds = np.round(soonest / 1000, 1).tolist()
        told["cells"] = [{"cell": cell, "s": one} for cell, one in zip(cell_to_text(coarse), seconds, strict=True)]
    return told


class MatrixQuestion(BaseModel):
    """From where and to where, as [longitude, latitude]; without `ends`, between all of `starts`."""

    model_config = ConfigDict(extra="forbid")

    starts: list[Place] = Field(min_length=1, max_length=5_000)
    ends: list[Place] | None = Field(default=None, min_length=1, max_length=5_000)


@router.post("/dispatch/matrix", response_class=Response)
async def read_matrix(
    request: Request,
    view: Annotated[View, Depends(view_of)],
    question: MatrixQuestion,
    profile: ProfileParameter = None,
) -> Response:
    """The seconds from every start to every end; null where there is no way, or no road near one of them."""
    ends = question.starts if question.ends is None else question.ends
    if len(question.starts) * len(ends) > _MOST_PAIRS:
        raise LimitExceeded(f"these are more than {_MOST_PAIRS:,} pairs.", where="starts", remedy="Ask for fewer.")
    following = await context_of(request).networks.of(view, profile or "car")
    bounds = context_of(request).city.bounds
    spots = [_spots(following, some, name, bounds) for name, some in (("starts", question.starts), ("ends", ends))]
    seconds = await asyncio.to_thread(_matrix, following, *spots)
    body = {
        "seconds": seconds,
        "from_road_m": {
            name: [None if np.isnan(away) else round(away, 1) for away in some.away_m.tolist()]
            for name, some in zip(("starts", "ends"), spots, strict=True)
        },
        "network": network_of(request, view, following),
    }
    return json_response(body, headers=_HEADERS)


def _spots(
    following: Following, places: list[list[float]], name: str, bounds: tuple[float, float, float, float]
) -> Spots:
    xy = np.array(places, dtype=np.float64)
    there = inside(xy[:, 0], xy[:, 1], bounds)
    if not there.all():
        first = int(np.argmin(there))
        raise InvalidRequest(
            f"{places[first]} is not in the city.", where=f"{name}/{first}", remedy="Longitude comes first."
        )
    return following.router.locator.near(xy[:, 0], xy[:, 1], MOST_AWAY_M)


def _matrix(following: Following, starts: Spots, ends: Spots) -> list[list[float | None]]:
    found = np.full((len(starts), len(ends)), np.nan)
    rows, columns = np.flatnonzero(starts.edge >= 0), np.flatnonzero(ends.edge >= 0)
    if len(rows) and len(columns):
        ms = following.router.matrix(starts.where(rows), ends.where(columns))
        found[np.ix_(rows, columns)] = np.where(ms < SHUT_MS, ms / 1000, np.nan)
    return [[None if np.isnan(one) else one for one in row] for row in found.tolist()]
