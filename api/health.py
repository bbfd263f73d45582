"""`/health`: whether the process lives, and whether it can answer."""

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from api.answers import json_response
from api.context import context_of
from twin.access import PUBLIC
from twin.errors import DatabaseUnavailable

__all__ = ["router"]

router = APIRouter(tags=["Operations"])


@router.get("/health/live")
async def live() -> Response:
    """The process lives."""
    return json_response({"status": "live"})


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """The database answers and holds the catalogue that this process works with. 503 otherwise."""
    context = context_of(request)
    async with context.database.reading(PUBLIC) as connection:
        applied = set((await connection.execute(sa.text("select id from twin.contracts"))).scalars())
    missing = sorted(context.catalog.contracts.keys() - applied)
    if missing:
        raise DatabaseUnavailable(
            f"the catalogue is not applied: {', '.join(missing[:5])} lack tables.", remedy="Run `twin catalog apply`."
        )
    return json_response({"status": "ready", "datasets": len(context.catalog)})
