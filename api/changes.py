"""`/collections/{id}/changes`: what became known, or was corrected, between two moments."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import GEOJSON, json_response
from api.auditing import ViewRoute, add_to_entry
from api.context import Asked, asked, strict_parameters
from api.differences import difference_collection
from api.items import AsWritten
from layers.diff import since
from twin.errors import InvalidRequest
from twin.view import parse_moment

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Features"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-cache", "Vary": "Authorization"}


@router.get("/collections/{collection}/changes", response_class=Response)
async def read_changes(
    request: Request,
    ask: Annotated[Asked, Depends(asked)],
    writing: AsWritten,
    from_: Annotated[str, Query(alias="from", max_length=40, description="as known then")],
    to: Annotated[str | None, Query(max_length=40, description="and as known then; unset: now")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    offset: Annotated[str | None, Query(max_length=1000, description="the token of a `next` link")] = None,
) -> Response:
    """The states of records that are known otherwise at `to` than at `from`: added, changed or removed.

    Corrections of the past are among them: a report of last month, made as known then, differs from one made now by
    just these. With `datetime`, only what is true at that time.
    """
    if ask.view.known_at is not None:
        raise InvalidRequest("changes have `from` and `to` instead.", where="known-at", remedy="Leave it out.")
    end = parse_moment(to) if to is not None else None
    views = since(ask.view, parse_moment(from_), end)
    body = await difference_collection(request, ask.context, ask.contract, views, writing, limit=limit, offset=offset)
    add_to_entry(request, ids=tuple(feature["id"] for feature in body["features"]))
    return json_response(body, media_type=GEOJSON, headers=_HEADERS)
