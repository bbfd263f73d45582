"""`/health`: whether the process lives, and whether it can answer."""

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response

from api.answers import json_response
from api.context import context_of, strict_parameters
from twin.access import PUBLIC
from twin.errors import DatabaseUnavailable, NotAllowed

__all__ = ["router"]

router = APIRouter(tags=["Operations"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store"}


@router.get("/health/live", response_class=Response)
async def live() -> Response:
    """The process lives."""
    return json_response({"status": "live"}, headers=_HEADERS)


@router.get("/health/ready", response_class=Response)
async def ready(request: Request) -> Response:
    """The database answers and holds the catalogue that this process works with. 503 otherwise."""
    context = context_of(request)
    try:
        async with context.database.reading(PUBLIC) as connection:
            applied = set((await connection.execute(sa.text("select id from twin.contracts"))).scalars())
    except NotAllowed:  # a catalogue that was never applied has granted nothing
        applied = set[str]()
    missing = sorted(context.catalog.contracts.keys() - applied)
    if missing:
        raise DatabaseUnavailable(
            f"the catalogue is not applied: {', '.join(missing[:5])} lack tables.", remedy="Run `twin catalog apply`."
        )
    return json_response({"status": "ready", "datasets": len(context.catalog)}, headers=_HEADERS)
