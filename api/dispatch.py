"""`/dispatch`: which resources reach a place first, by what travel takes now."""

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import GEOJSON, json_response, link
from api.auditing import ViewRoute, add_to_entry
from api.context import caller_of, context_of, readable, strict_parameters, view_of
from api.differences import require_readable
from api.roads import STAFF
from api.whereabouts import Whereabouts, whereabouts
from layers.contract import Contract
from layers.refusals import wrong_questions
from layers.roads.conditions import Condition
from layers.roads.following import Following
from layers.roads.guiding import guide
from layers.roads.network import SHUT_MS
from layers.roads.resources import Resources, Wanted, resource_rows, resources_of
from layers.roads.routing import Found, Way
from layers.roads.spots import Spot, Spots
from twin.access import Caller
from twin.errors import InvalidRequest
from twin.view import View

__all__ = [
    "MOST_AWAY_M",
    "ProfileParameter",
    "network_of",
    "on_road",
    "place_of",
    "resources_in",
    "router",
    "travelling",
    "words_of",
]

router = APIRouter(route_class=ViewRoute, tags=["Dispatch"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}
_MOST = 100
MOST_AWAY_M = 2_000.0
"""How far from a road a place may be."""
_NAMED = 50

ProfileParameter = Annotated[
    str | None, Query(max_length=40, description="who travels: car, ambulance, fire_engine, walking")
]


@router.get("/dispatch/nearest", response_class=Response)
async def read_nearest(  # noqa: PLR0913, PLR0917  (what may be asked)
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    view: Annotated[View, Depends(view_of)],
    where: Annotated[Whereabouts, Depends(whereabouts)],
    resource: Annotated[str, Query(max_length=100, description="the dataset of the resources")],
    k: Annotated[int, Query(ge=1, le=_MOST, description="how many")] = 5,
    profile: ProfileParameter = None,
    kind: Annotated[str | None, Query(max_length=200, description="one kind or several, by commas")] = None,
    skills: Annotated[str | None, Query(max_length=200, description="skills that all are needed")] = None,
    filter: Annotated[str | None, Query(max_length=8_192, description="CQL2 over the dataset's fields")] = None,  # noqa: A002
    available: Annotated[bool, Query(description="only those that can be sent now")] = True,  # noqa: FBT002
    within_s: Annotated[float | None, Query(gt=0, le=86_400, description="no later than that, seconds")] = None,
    path: Annotated[bool, Query(description="with their paths")] = True,  # noqa: FBT002
) -> Response:
    """The resources that reach a place first: how long, how far, by which path; and why not the others."""
    contract = require_readable(request, caller, resource)
    travels = travelling(contract, profile)
    following = await context_of(request).networks.of(view, travels)
    place = on_road(following, where)
    wanted = Wanted(filter, words_of(kind), words_of(skills), available)
    resources = await resources_in(request, contract, view, wanted)
    limit_ms = SHUT_MS - 1 if within_s is None else round(within_s * 1000)
    answer = _nearest(following, place, resources, k, limit_ms, with_path=path)
    closing = [_told(request, view, one) for one in following.closing(place.edge)]
    notes = _notes(closing, resources, is_empty=not answer["features"])
    add_to_entry(request, ids=tuple(one["id"] for one in answer["features"]))
    body = {
        "type": "FeatureCollection",
        "numberReturned": len(answer["features"]),
        "place": place_of(following, where, place),
        "network": network_of(request, view, following),
        **answer,
        **({"notes": notes} if notes else {}),
        "resource": contract.id,
        "links": [link(str(request.url), "self", GEOJSON)],
    }
    return json_response(body, media_type=GEOJSON, headers=_HEADERS)


def travelling(contract: Contract, profile: str | None) -> str:
    """Who travels: the profile that is asked for, else that of the dataset.

    Raises InvalidRequest for a dataset whose records are no places to set out from.
    """
    if contract.geometry not in {"point", "polygon", "any"} or contract.kind == "coverage":
        raise InvalidRequest(f"{contract.id} has nothing that can travel.", where="resource", remedy="Name another.")
    return profile or (contract.dispatch.profile if contract.dispatch is not None else "car")


def words_of(text: str | None) -> tuple[str, ...]:
    """The words of a list by commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def on_road(following: Following, where: Whereabouts) -> Spot:
    """The place on the network. Raises InvalidRequest where no road is near."""
    spots = following.router.locator.near(np.array([where.lon]), np.array([where.lat]), MOST_AWAY_M)
    if spots.edge[0] < 0:
        raise InvalidRequest(
            f"no road for {following.profile.id} is within {MOST_AWAY_M:,.0f} m of {where.lon:.5f}, {where.lat:.5f}.",
            where="lon",
            remedy="Name a place nearer to a road, or another profile.",
        )
    return spots[0]


async def resources_in(request: Request, contract: Contract, view: View, wanted: Wanted) -> Resources:
    """The resources that a question may mean, as the caller's audience reads them."""
    context = context_of(request)
    question = resource_rows(contract, view, context.city, wanted)
    async with context.database.reading(view.audience) as connection:
        with wrong_questions():
            rows = (await connection.execute(question)).all()
    return resources_of(contract, rows, wanted)


def _nearest(
    following: Following, place: Spot, resources: Resources, k: int, limit_ms: int, *, with_path: bool
) -> dict[str, Any]:
    """The features, the nearest first, and why the others are not among them."""
    spots = following.router.locator.near(resources.lon, resources.lat, MOST_AWAY_M)
    reasons = list(resources.reasons)
    for at in np.flatnonzero(spots.edge < 0).tolist():
        reasons[at] = reasons[at] or "no_road_near"
    usable = np.array([at for at, reason in enumerate(reasons) if reason is None], dtype=np.int64)
    found, ways = _search(following, place, spots.where(usable), k, limit_ms, with_path=with_path)
    chosen = [int(usable[one.thing]) for one in found]
    is_whole = len(found) < k  # all that come in time are there
    for at in set(usable.tolist()) - set(chosen):
        reasons[at] = "unreachable" if is_whole and limit_ms == SHUT_MS - 1 else "later"
    features = [
        _feature(following, resources, at, one, way, spots[at])
        for at, one, way in zip(chosen, found, ways, strict=True)
    ]
    left = [(at, reason) for at, reason in enumerate(reasons) if reason is not None]
    others = [{"id": resources.ids[at], "reason": reason} for at, reason in left[:_NAMED]]
    return {
        "features": features,
        "others": {"counts": dict(Counter(reason for _, reason in left)), "some": others},
    }


def _search(
    following: Following, place: Spot, spots: Spots, k: int, limit_ms: int, *, with_path: bool
) -> tuple[list[Found], list[Way | None]]:
    if not len(spots):
        return [], []
    router = following.router
    fleet = router.fleet(spots)
    found = router.nearest(place, fleet, min(k, len(spots)), limit_ms)
    ways = router.ways(place, fleet, found) if with_path else []
    return found, [*ways] if with_path else [None] * len(found)


def _told(request: Request, view: View, one: Condition) -> str:
    """A closure as an audience may know it: records by who reads their dataset, the others' reasons by the staff."""
    if one.of_record:
        return f"{one.id} {one.reason}".strip() if one.source in _datasets(request, view) else "not told"
    return f"{one.id} {one.reason}" if view.audience.name in STAFF or view.audience.name == one.source else one.id


def _datasets(request: Request, view: View) -> set[str]:
    return {one.id for one in readable(context_of(request), view.audience)}


def _notes(closing: list[str], resources: Resources, *, is_empty: bool) -> list[str]:
    """What somebody should know of an answer. `closing`: what closes the place."""
    notes: list[str] = []
    if closing:
        notes.append(f"the place lies in a closure ({'; '.join(closing)}): the last stretch leads into it")
    if not resources.ids:
        notes.append("no resource is meant by the question")
    elif is_empty:
        notes.append("none of them comes there; see `others`")
    return notes


def _feature(
    following: Following, resources: Resources, at: int, one: Found, way: Way | None, spot: Spot
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "eta_s": round(one.ms / 1000, 1),
        "label": resources.labels[at],
        "kind": resources.kinds[at],
        "from_road_m": round(float(spot.away_m), 1),
    }
    if way is not None:
        told = guide(following.router.traffic, way)
        properties |= {
            "distance_m": round(told.distance_m, 1),
            "closed_m": round(told.closed_m, 1),
            "path": {"type": "LineString", "coordinates": np.round(told.line, 7).tolist()},
            "steps": [asdict(step) for step in told.steps],
        }
    return {
        "type": "Feature",
        "id": resources.ids[at],
        "geometry": {"type": "Point", "coordinates": np.round([resources.lon[at], resources.lat[at]], 7).tolist()},
        "properties": properties,
    }


def place_of(following: Following, where: Whereabouts, spot: Spot) -> dict[str, Any]:
    """A place as answers tell it: how it was found, and which road it lies on."""
    network = following.router.network
    return {
        **asdict(where),
        "road": network.record(spot.edge),
        "road_name": network.name(spot.edge) or network.number(spot.edge),
        "from_road_m": round(float(spot.away_m), 1),
    }


def network_of(request: Request, view: View, following: Following) -> dict[str, Any]:
    """Which network answered, and what held on it, as far as the view's audience may know."""
    mine = _datasets(request, view)
    return {
        "profile": following.profile.id,
        "digest": following.router.network.digest,
        "conditions": sorted(one.id for one in following.conditions if not one.of_record or one.source in mine),
    }
