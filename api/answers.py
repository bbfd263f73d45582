"""Answers: JSON in UTF-8, links, and which format and language a client asked for."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from twin.errors import InvalidRequest

__all__ = [
    "EXPORT_TYPES",
    "GEOJSON",
    "JSON",
    "PROBLEM",
    "chosen_format",
    "json_response",
    "json_text",
    "language",
    "link",
    "url_of",
]

JSON = "application/json"
GEOJSON = "application/geo+json"
PROBLEM = "application/problem+json"

EXPORT_TYPES = {
    "csv": "text/csv",
    "flatgeobuf": "application/flatgeobuf",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
"""Media types of the files that records are exported as, by the word of `f`."""

_LANGUAGES = ("zh", "en")


def json_text(body: object) -> str:
    """JSON text; it has no escapes for letters and no NaN."""
    return orjson.dumps(body).decode()


def json_response(
    body: object,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A JSON answer in UTF-8."""
    return Response(orjson.dumps(body), status, dict(headers or {}), media_type)


def url_of(request: Request, path: str, **parameters: object) -> str:
    """The absolute address of a path of this server, with those parameters that are not None."""
    query = urlencode({name.replace("_", "-"): value for name, value in parameters.items() if value is not None})
    return f"{str(request.base_url).rstrip('/')}{path}{'?' + query if query else ''}"


def link(href: str, rel: str, media_type: str = JSON, title: str | None = None, **more: object) -> dict[str, Any]:
    """A link object of OGC API Common."""
    return {"href": href, "rel": rel, "type": media_type, **({"title": title} if title else {}), **more}


def language(request: Request) -> str:
    """`zh` or `en`: the parameter `lang`, else the first of the two that the client prefers, else `zh`.

    Raises InvalidRequest for another `lang`.
    """
    asked = request.query_params.get("lang")
    if asked is not None:
        if asked not in _LANGUAGES:
            raise InvalidRequest(f"there is no language {asked!r}.", where="lang", remedy="Use zh or en.")
        return asked
    preferred = (word[:2] for word in _preferred(request.headers.get("accept-language", "")))
    return next((word for word in preferred if word in _LANGUAGES), "zh")


def chosen_format(request: Request, media_types: Mapping[str, str]) -> str:
    """The format a client wants, out of `media_types` (format word to media type; the first is the default).

    The parameter `f` decides, else the Accept header. Raises InvalidRequest for a format that is not offered.
    """
    asked = request.query_params.get("f")
    if asked is not None:
        if asked not in media_types:
            known = ", ".join(media_types)
            raise InvalidRequest(f"f={asked[:40]} is not offered here.", where="f", remedy=f"Use one of: {known}.")
        return asked
    words = {media_type: word for word, media_type in media_types.items()}
    preferred = _preferred(request.headers.get("accept", ""))
    return next((words[media_type] for media_type in preferred if media_type in words), next(iter(media_types)))


def _preferred(header: str) -> Iterator[str]:
    """The values of an Accept header, those with the higher q first (RFC 9110, section 12.4.2)."""
    ranked: list[tuple[float, str]] = []
    for part in header.lower().split(","):
        value, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        ranked.append((float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0, value))
    ranked.sort(key=lambda pair: -pair[0])
    return (value for quality, value in ranked if value and quality > 0)
