"""What holds for every answer, whatever the route: limits, security headers, and HEAD where there is GET."""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from twin.errors import LimitExceeded

__all__ = ["Guard"]

_LONGEST_URL = 8_192
_LARGEST_BODY = 1_000_000
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class Guard:
    """ASGI middleware: refuses what is too long before anything reads it, and adds the headers that a route did not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        refusal = _refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, guarded)


def _refusal(scope: Scope) -> ASGIApp | None:
    length = len(scope["raw_path"]) + len(scope["query_string"])
    if length > _LONGEST_URL:
        what = f"the address has {length:,} characters; {_LONGEST_URL:,} are allowed."
        return problem(HTTPStatus.REQUEST_URI_TOO_LONG, LimitExceeded.code, what)
    size = Headers(scope=scope).get("content-length", "0")
    if not size.isdecimal() or int(size) > _LARGEST_BODY:
        what = f"a request may carry {_LARGEST_BODY:,} bytes."
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, LimitExceeded.code, what)
    return None
