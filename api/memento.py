"""Time travel for any HTTP client (Memento, RFC 7089): every resource that takes a View is its own TimeGate.

`Accept-Datetime` says as known when, like the parameter `known-at`, which goes before it. An answer about an earlier
knowledge carries `Memento-Datetime`, and links to the resource as it is now and, of a record, to all its versions.
"""

import datetime as dt
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import urlencode

from fastapi import Request, Response

from twin.errors import InvalidRequest
from twin.view import View

__all__ = ["accepted_datetime", "add_memento"]

_HEADER = "accept-datetime"


def accepted_datetime(request: Request) -> dt.datetime | None:
    """The moment of the Accept-Datetime header; None without one. Raises InvalidRequest for what is no HTTP date."""
    text = request.headers.get(_HEADER)
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError as error:
        raise InvalidRequest(
            f"{text[:60]!r} is no HTTP date.", where=_HEADER, remedy="Write Thu, 26 Nov 2026 08:00:00 GMT."
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def add_memento(request: Request, answer: Response, view: View) -> None:
    """Add the headers of Memento to an answer about a view; links where it is of another time, or of one record."""
    vary = answer.headers.get("vary")
    answer.headers["Vary"] = f"{vary}, Accept-Datetime" if vary else "Accept-Datetime"
    path = f"{str(request.base_url).rstrip('/')}{request.scope['raw_path'].decode('ascii')}"  # as it was sent: encoded
    links: list[str] = []
    if "fid" in request.path_params:
        links.append(f'<{path.removesuffix("/history")}/history>; rel="timemap"')
    if view.known_at is not None:
        asked = [(name, value) for name, value in request.query_params.multi_items() if name != "known-at"]
        links.append(f'<{path}{"?" + urlencode(asked) if asked else ""}>; rel="original timegate"')
        answer.headers["Memento-Datetime"] = format_datetime(view.known_at.astimezone(dt.UTC), usegmt=True)
    if links:
        known = answer.headers.get("link")
        answer.headers["Link"] = ", ".join([*([known] if known else []), *links])
