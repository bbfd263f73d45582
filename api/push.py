"""`/push/{feed}`: what others send of themselves: notifications of context brokers, observations, plain JSON or CSV.

A feed of `sources.toml` with `transport = "push"` names the secret that its sender shows as a bearer token. What is
sent is answered with 202 once it is on disk; `twin ingest run` reads it.
"""

import asyncio
import hmac
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from api.answers import json_response
from api.context import context_of
from api.problems import Unidentified
from layers.arrivals import keep
from twin.disk import need_room
from twin.errors import InvalidRequest, SetupError

__all__ = ["router"]

router = APIRouter(tags=["Live"])

_HEADERS = {"Cache-Control": "no-store"}


@router.post("/push/{feed}", response_class=Response, status_code=HTTPStatus.ACCEPTED)
async def receive(request: Request, feed: str) -> Response:
    """Take in one message of a feed. Who does not show its secret does not learn whether there is one."""
    if request.query_params:
        raise InvalidRequest("there are no parameters here.", where=next(iter(request.query_params))[:40])
    context = context_of(request)
    door = context.doors.get(feed)
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    known = door[1] if door is not None else ""
    if door is None or scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), known.encode()):
        raise Unidentified("this is not the token of the feed.", remedy="Send Authorization: Bearer <its secret>.")
    request.state.proved = f"feed {feed}"  # for api/limits.py
    message = await request.body()
    if not message:
        raise InvalidRequest("there is nothing in the request.", where="body", remedy="Send one message.")
    home = context.home
    if home is None:
        raise SetupError("there is no state folder to keep what is pushed.", remedy="Set TWIN_HOME.")
    need_room(home)
    seal = any(context.catalog[dataset].names_somebody for dataset in door[0].datasets)
    await asyncio.to_thread(keep, context.database, home, feed, [message], seal=seal)
    return json_response({"received": 1}, status=HTTPStatus.ACCEPTED, headers=_HEADERS)
