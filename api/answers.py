"""Answers: JSON in UTF-8, links, and which format and language a client asked for."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from twin.errors import InvalidRequest

__all__ = ["GEOJSON", "JSON", "chosen_format", "json_response", "language", "link", "url_of"]

JSON = "application/json"
GEOJSON = "application/geo+json"


def json_response(
    body: object,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A JSON answer: UTF-8, not escaped, no NaN."""
    return Response(orjson.dumps(body), status, dict(headers or {}), media_type)


def url_of(request: Request, path: str, **parameters: object) -> str:
    """The absolute address of a path of this server, with those parameters that are not None."""
    query = urlencode({name.replace("_", "-"): value for name, value in parameters.items() if value is not None})
    return f"{str(request.base_url).rstrip('/')}{path}{'?' + query if query else ''}"


def link(href: str, rel: str, media_type: str = JSON, title: str | None = None, **more: object) -> dict[str, Any]:
    """A link object of OGC API Common."""
    return {"href": href, "rel": rel, "type": media_type, **({"title": title} if title else {}), **more}


def language(request: Request) -> str:
    """`zh` or `en`: the parameter `lang`, else the first of the two that the client accepts, else `zh`."""
    asked = request.query_params.get("lang")
    if asked in {"zh", "en"}:
        return asked
    for part in request.headers.get("accept-language", "").lower().split(","):
        if part.strip()[:2] in {"zh", "en"}:
            return part.strip()[:2]
    return "zh"


def chosen_format(request: Request, media_types: Mapping[str, str]) -> str:
    """The format a client wants, out of `media_types` (format word to media type; the first is the default).

    The parameter `f` decides, else the Accept header. Raises InvalidRequest for a format that is not offered.
    """
    asked = request.query_params.get("f")
    if asked is not None:
        if asked not in media_types:
            raise InvalidRequest(f"f={asked} is not offered here.", remedy=f"Use one of: {', '.join(media_types)}.")
        return asked
    for part in request.headers.get("accept", "").split(","):
        wanted = part.split(";")[0].strip()
        for word, media_type in media_types.items():
            if wanted == media_type:
                return word
    return next(iter(media_types))
