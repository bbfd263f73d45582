"""`/basemaps/{theme}/style.json`: the map under the data, made of our own layers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import json_response, language, url_of
from api.context import audience_of, context_of, readable, strict_parameters
from basemaps.style import style
from twin.access import Audience
from twin.errors import NotFound

__all__ = ["router"]

router = APIRouter(tags=["Basemaps"], dependencies=[Depends(strict_parameters)])

_THEMES = ("light", "dark", "print")


@router.get("/basemaps/{theme}/style.json", response_class=Response)
async def read_style(
    request: Request,
    theme: str,
    audience: Annotated[Audience, Depends(audience_of)],
    k: Annotated[float, Query(gt=0, le=8, description="size factor for large walls")] = 1.0,
) -> Response:
    """A MapLibre style in one of the themes light, dark, print; asks nothing outside this server."""
    if theme not in _THEMES:
        raise NotFound(f"no theme is called {theme[:40]!r}.", remedy=f"There are: {', '.join(_THEMES)}.")
    available = {contract.id for contract in readable(context_of(request), audience)}
    body = style(theme, language(request), k, available, url_of(request, ""))
    return json_response(body, headers={"Cache-Control": "no-cache", "Vary": "Authorization, Accept-Language"})
