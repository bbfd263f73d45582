"""`/roads`: closures and speeds, each with author, reason and end."""

import asyncio
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from shapely.errors import ShapelyError

from api.answers import GEOJSON, json_response, json_text, link, url_of
from api.auditing import ViewRoute
from api.context import Context, caller_of, context_of, strict_parameters, view_of
from api.differences import require_readable
from layers.query import ItemsQuery, selected
from layers.roads.conditions import Condition, end, end_source, holding, say
from layers.roads.profiles import profile as profile_named
from layers.roads.stretches import stretch
from twin.access import Caller
from twin.errors import InvalidRequest, NotAllowed
from twin.geometry import METRES_PER_DEGREE
from twin.view import View

__all__ = ["STAFF", "router"]

router = APIRouter(route_class=ViewRoute, tags=["Roads"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}
_MAY_SAY = frozenset({"dispatch", "operations", "administrator"})
STAFF = _MAY_SAY | {"planner"}
"""Who reads why roads are closed."""
_MOST_SHAPES = 5_000
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


class Stretch(BaseModel):
    """A road by its number, from one stake to another, in kilometres."""

    model_config = ConfigDict(extra="forbid")

    road: str = Field(min_length=1, max_length=40)
    from_km: float = Field(ge=0, le=10_000, allow_inf_nan=False)
    to_km: float = Field(ge=0, le=10_000, allow_inf_nan=False)


class Around(BaseModel):
    """A record of a dataset, an incident for example, and how far around it."""

    model_config = ConfigDict(extra="forbid")

    collection: str = Field(max_length=100)
    record: str = Field(max_length=400)
    radius_m: float = Field(default=50, gt=0, le=5_000)


class Within(BaseModel):
    """The areas of a dataset, a flood for example; `filter` (CQL2) chooses some."""

    model_config = ConfigDict(extra="forbid")

    collection: str = Field(max_length=100)
    filter: str | None = Field(default=None, max_length=8_192)


class NewCondition(BaseModel):
    """Where, why, until when. One of `geometry` (GeoJSON: line, area), `stretch`, `around`, `within` says where."""

    model_config = ConfigDict(extra="forbid")

    geometry: dict[str, Any] | None = None
    stretch: Stretch | None = None
    around: Around | None = None
    within: Within | None = None
    reason: str = Field(min_length=1, max_length=500)
    profiles: tuple[str, ...] = Field(default=(), max_length=10, description="whom it concerns; none: all who drive")
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None


class NewSpeed(NewCondition):
    """How fast: `factor` of the usual speed, said by `source`."""

    factor: float = Field(gt=0, le=3, allow_inf_nan=False)
    source: str = Field(pattern=r"^[a-z][a-z0-9_.-]{0,59}$")


def _speaker(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Who may say what holds on the roads: the control rooms, and the department whose roads they are."""
    roads = [f"department:{one.system}" for one in context_of(request).catalog if one.roads is not None]
    if caller.audience.name not in _MAY_SAY and caller.audience.name not in roads:
        raise NotAllowed("only the control rooms and the roads' department close roads.", remedy="Tell them.")
    return caller


def _reader(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    if caller.audience.name not in STAFF:
        return _speaker(request, caller)
    return caller


Speaker = Annotated[Caller, Depends(_speaker)]
Reader = Annotated[Caller, Depends(_reader)]


@router.get("/roads/network", response_class=Response)
async def read_network(
    request: Request,
    view: Annotated[View, Depends(view_of)],
    profile: Annotated[str, Query(max_length=40, description="who travels")] = "car",
) -> Response:
    """The network of one who travels: how large it is, and what of the roads is no part of it."""
    following = await context_of(request).networks.of(view, profile)
    network, report = following.router.network, asdict(following.router.network.report)
    body = {"profile": following.profile.model_dump(exclude_none=True), "digest": network.digest, "report": report}
    return json_response(body, headers=_HEADERS)


@router.get("/roads/closures", response_class=Response)
def read_closures(request: Request, _: Reader) -> Response:
    """The closures that hold now and were said here; those of datasets are in `/collections`."""
    return _listed(request, "closures", closes=True)


@router.get("/roads/speeds", response_class=Response)
def read_speeds(request: Request, _: Reader) -> Response:
    """The speeds that hold now."""
    return _listed(request, "speeds", closes=False)


@router.post("/roads/closures", response_class=Response, status_code=201)
async def close_roads(request: Request, caller: Speaker, new: NewCondition) -> Response:
    """Close roads. Whoever asks the way is led around them from now on; an incident in there is still reached."""
    return await _say(request, caller, new, 0.0, caller.audience.name)


@router.post("/roads/speeds", response_class=Response, status_code=201)
async def slow_roads(request: Request, caller: Speaker, new: NewSpeed) -> Response:
    """Say how fast roads are. What one source says adds to what it said before; sources are multiplied."""
    return await _say(request, caller, new, new.factor, new.source)


@router.delete("/roads/closures/{number}", response_class=Response, status_code=204)
def open_roads(request: Request, caller: Speaker, number: Number) -> Response:
    """End a closure now."""
    return _end(request, caller, number, closes=True)


@router.delete("/roads/speeds/{number}", response_class=Response, status_code=204)
def end_speed(request: Request, caller: Speaker, number: Number) -> Response:
    """End a speed now."""
    return _end(request, caller, number, closes=False)


@router.delete("/roads/speeds", response_class=Response)
def reset_speeds(
    request: Request, caller: Speaker, source: Annotated[str, Query(pattern=r"^[a-z][a-z0-9_.-]{0,59}$")]
) -> Response:
    """Take back all that a source has said."""
    context = context_of(request)
    with context.database.writing() as connection:
        count = end_source(connection, source, caller)
    context.networks.refresh()
    return json_response({"ended": count}, headers=_HEADERS)


async def _say(request: Request, caller: Caller, new: NewCondition, factor: float, source: str) -> Response:
    context = context_of(request)
    for name in new.profiles:
        profile_named(name)
    shape, said = await _shape(request, caller, new)
    travels = new.profiles[0] if new.profiles else "car"
    following = await context.networks.of(View(audience=caller.audience), travels)
    what = Condition(
        "", source, factor, shape, new.reason, caller.person, new.profiles, new.starts_at, new.ends_at, said
    )
    count = await asyncio.to_thread(following.require_sensible, what)
    made = await asyncio.to_thread(_written, context, what, caller)
    context.networks.refresh()
    where = "closures" if made.closes else "speeds"
    headers = _HEADERS | {"Location": url_of(request, f"/roads/{where}/{made.id}")}
    body = _feature(made)
    body["properties"]["road_pieces"] = count
    return json_response(body, status=HTTPStatus.CREATED, media_type=GEOJSON, headers=headers)


def _written(context: Context, what: Condition, caller: Caller) -> Condition:
    with context.database.writing() as connection:
        return say(connection, what, caller)


def _end(request: Request, caller: Caller, number: int, *, closes: bool) -> Response:
    context = context_of(request)
    with context.database.writing() as connection:
        end(connection, number, caller, closes=closes)
    context.networks.refresh()
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=_HEADERS)


def _listed(request: Request, what: str, *, closes: bool) -> Response:
    with context_of(request).database.inspecting() as connection:
        found = [one for one in holding(connection) if one.closes == closes]
    body = {
        "type": "FeatureCollection",
        "links": [link(url_of(request, f"/roads/{what}"), "self", GEOJSON)],
        "features": [_feature(one) for one in found],
    }
    return json_response(body, media_type=GEOJSON, headers=_HEADERS)


def _feature(one: Condition) -> dict[str, Any]:
    properties = {
        "reason": one.reason,
        "author": one.author,
        "source": one.source,
        "profiles": list(one.profiles),
        "starts_at": one.starts_at,
        "ends_at": one.ends_at,
        "said": one.said,
        **({} if one.closes else {"factor": one.factor}),
    }
    text = shapely.to_geojson(shapely.set_precision(one.shape, 1e-7, mode="pointwise"))
    return {"type": "Feature", "id": one.id, "geometry": orjson.Fragment(text), "properties": properties}


async def _shape(request: Request, caller: Caller, new: NewCondition) -> tuple[shapely.Geometry, dict[str, Any]]:
    """What is meant, in degrees, and how it was said."""
    said = {name: getattr(new, name) for name in ("geometry", "stretch", "around", "within")}
    given = [name for name, value in said.items() if value is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "say where, once.", where="geometry", remedy="Send one of geometry, stretch, around and within."
        )
    if new.geometry is not None:
        return _drawn(new.geometry), {}
    if new.stretch is not None:
        return await _stretch(context_of(request), caller, new.stretch), {"stretch": new.stretch.model_dump()}
    if new.around is not None:
        return await _around(request, caller, new.around), {"around": new.around.model_dump()}
    if new.within is not None:
        return await _within(request, caller, new.within), {"within": new.within.model_dump()}
    raise AssertionError(given)


def _drawn(geometry: dict[str, Any]) -> shapely.Geometry:
    try:
        shape = shapely.from_geojson(json_text(geometry))
    except (ShapelyError, TypeError) as error:
        raise InvalidRequest(
            f"the geometry is no GeoJSON: {error}.", where="geometry", remedy="See RFC 7946."
        ) from error
    if shapely.is_empty(shape) or not shapely.is_valid(shape) or shapely.has_z(shape):
        raise InvalidRequest(
            f"the geometry cannot be used: {shapely.is_valid_reason(shape)}.", where="geometry", remedy="Draw it anew."
        )
    return shape


async def _stretch(context: Context, caller: Caller, said: Stretch) -> shapely.Geometry:
    """The line of a road between two stakes."""
    following = await context.networks.of(View(audience=caller.audience), "car")
    return stretch(following.router.network, said.road, said.from_km, said.to_km)


async def _around(request: Request, caller: Caller, said: Around) -> shapely.Geometry:
    """A circle around a record."""
    (shape,) = await _shapes(request, caller, said.collection, record=said.record)
    scale = np.array([np.cos(np.radians(shapely.get_y(shapely.centroid(shape)))), 1.0]) * METRES_PER_DEGREE
    wide = shapely.buffer(shapely.transform(shape, lambda xy: xy * scale), said.radius_m)
    return shapely.transform(wide, lambda xy: xy / scale)


async def _within(request: Request, caller: Caller, said: Within) -> shapely.Geometry:
    """The areas of a dataset."""
    return shapely.union_all(await _shapes(request, caller, said.collection, filter=said.filter))


async def _shapes(request: Request, caller: Caller, collection: str, **which: str | None) -> list[shapely.Geometry]:
    """The geometries of records of a dataset. Raises InvalidRequest where there are none, or too many."""
    contract = require_readable(request, caller, collection)
    context, view = context_of(request), View(audience=caller.audience)
    found = selected(contract, view, context.city, ItemsQuery(filter=which.get("filter")))
    if which.get("record") is not None:
        column = found.rows.c.subject if contract.is_stream else found.rows.c.id
        found = found.where(column == which["record"])
    question = found.where(found.rows.c.geom.is_not(None)).select(found.rows.c.geom.ST_AsBinary().label("geom"))
    async with context.database.reading(caller.audience) as connection:
        rows = (await connection.execute(question.limit(_MOST_SHAPES + 1))).all()
    if not rows:
        raise InvalidRequest(f"{collection} has no such place now.", where="collection", remedy="See its items.")
    if len(rows) > _MOST_SHAPES:
        raise InvalidRequest(f"more than {_MOST_SHAPES:,} areas are meant.", where="filter", remedy="Choose fewer.")
    return [shapely.from_wkb(bytes(row.geom)) for row in rows]
