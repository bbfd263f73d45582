"""Where a question is asked from: a coordinate, or a text or code that means one place."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Depends, Query, Request

from api.context import caller_of, context_of, view_of
from api.places import candidates_of
from layers.places.candidates import Candidate
from twin.access import Caller
from twin.errors import Conflict, InvalidRequest
from twin.geometry import inside
from twin.view import View

__all__ = ["Whereabouts", "whereabouts"]

_AHEAD = 2.0
_NAMED = 5
_EXACT_M = 500.0


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A place: degrees in the city's datum, how exactly it is known, how it was found."""

    lon: float
    lat: float
    accuracy_m: float
    method: str


async def whereabouts(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    view: Annotated[View, Depends(view_of)],
    lon: Annotated[float | None, Query(ge=-180, le=180, allow_inf_nan=False)] = None,
    lat: Annotated[float | None, Query(ge=-90, le=90, allow_inf_nan=False)] = None,
    place: Annotated[str | None, Query(min_length=1, max_length=300, description="an address, a stake, a code")] = None,
) -> Whereabouts:
    """The place that a request names, by `lon` and `lat` or as `place`.

    Raises InvalidRequest where it names none, Conflict where it may mean several or is too large to travel to.
    """
    if (place is None) == (lon is None) or (lon is None) != (lat is None):
        raise InvalidRequest("say where.", where="place", remedy="Send lon and lat, or place.")
    if lon is not None and lat is not None:
        context = context_of(request)
        if not inside(np.array([lon]), np.array([lat]), context.city.bounds)[0]:
            raise InvalidRequest(
                f"{lon}, {lat} is not in {context.city.title.en}.", where="lon", remedy="Longitude comes first."
            )
        return Whereabouts(lon, lat, 0.0, "coordinate")
    found, notes = await candidates_of(request, caller, view, place or "")
    if not found:
        raise InvalidRequest(f"{'; '.join(notes)}.", where="place", remedy="See /places/resolve.")
    best = found[0]
    if any(best.confidence < _AHEAD * other.confidence for other in found[1:]):
        raise Conflict(
            f"it may mean {len(found)} places: {'; '.join(_told(one) for one in found[:_NAMED])}.",
            where="place",
            remedy="Name the town or district too, or send lon and lat.",
        )
    if best.accuracy_m > _EXACT_M:
        raise Conflict(
            f"it is only known within {best.accuracy_m:,.0f} m ({best.method}).",
            where="place",
            remedy="Say it more exactly, or send lon and lat.",
        )
    return Whereabouts(best.lon, best.lat, best.accuracy_m, best.method)


def _told(one: Candidate) -> str:
    return f"{one.method} {one.area} ({one.lon:.5f}, {one.lat:.5f})"
