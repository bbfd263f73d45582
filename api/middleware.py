"""What holds for every answer, whatever the route: limits, security headers, and HEAD where there is GET."""

import ipaddress
import re
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from twin.errors import InvalidRequest, LimitExceeded

__all__ = ["Guard"]

_PROTOCOL_PREFIX = "token."
_LONGEST_URL = 8_192
_LARGEST_BODY = 4_000_000
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
}
_HTTPS_ONLY = "max-age=31536000"


class Guard:
    """ASGI middleware: refuses what is too long before anything reads it, and adds the headers that a route did not."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None = None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            scope = _with_token(scope)
            await (_refusal(scope) or self._misnamed(scope) or self._app)(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":  # as a proxy of TWIN_PROXIES says, or the server itself
                    headers.setdefault("Strict-Transport-Security", _HTTPS_ONLY)
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        refusal = _refusal(scope) or self._misnamed(scope)
        if refusal is None and "content-length" not in Headers(scope=scope):
            receive, refusal = await _within_limit(receive)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, guarded)

    def _misnamed(self, scope: Scope) -> ASGIApp | None:
        """Refuse a Host that is not ours: links are made of it, and a page elsewhere must not pass for us."""
        if self._hosts is None:
            return None
        host = Headers(scope=scope).get("host", "")
        name = urlsplit(f"//{host}").hostname if _HOST.fullmatch(host) else None
        if name is not None and (name == "localhost" or name in self._hosts or _is_address(name)):
            return None
        what = f"this server is not called {host[:60]!r}. Name it in TWIN_HOSTS if it is."
        return problem(HTTPStatus.MISDIRECTED_REQUEST, InvalidRequest.code, what)


def _with_token(scope: Scope) -> Scope:
    """A WebSocket's request with the token that it shows as a protocol: browsers let it set no header."""
    headers = Headers(scope=scope)
    protocols = (one.strip() for one in headers.get("sec-websocket-protocol", "").split(","))
    token = next((one.removeprefix(_PROTOCOL_PREFIX) for one in protocols if one.startswith(_PROTOCOL_PREFIX)), None)
    if token is None or "authorization" in headers:
        return scope
    return {**scope, "headers": [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]}


async def _within_limit(receive: Receive) -> tuple[Receive, ASGIApp | None]:
    """A body whose length nobody has told, read as far as it may go: the same again, and a refusal if it is longer."""
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > _LARGEST_BODY:
            return receive, _too_large()
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    waiting = iter(messages)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return again, None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refusal(scope: Scope) -> ASGIApp | None:
    length = len(scope["raw_path"]) + len(scope["query_string"])
    if length > _LONGEST_URL:
        what = f"the address has {length:,} characters; {_LONGEST_URL:,} are allowed."
        return problem(HTTPStatus.REQUEST_URI_TOO_LONG, LimitExceeded.code, what)
    size = Headers(scope=scope).get("content-length", "0")
    if not size.isdecimal() or int(size) > _LARGEST_BODY:
        return _too_large()
    return None


def _too_large() -> ASGIApp:
    what = f"a request may carry {_LARGEST_BODY:,} bytes."
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, LimitExceeded.code, what)
