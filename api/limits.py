"""How often somebody may ask: a token bucket for each person who is signed in, and for each address without a token.

What is asked costs by its weight: a tile little, a file of records much. Who sends many bad tokens is locked out for a
while, but for the tokens that have proved good: behind one address may be a whole town hall. A token has proved good
when the application has read it and said whose it is (`proved` in the request's state); a door that reads no tokens
answers to any word, and that proves nothing.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import EXPORT_TYPES
from api.problems import problem

__all__ = ["Allowance", "RateLimit"]

_MOST_KNOWN = 50_000
_MINUTE_S = 60.0
_COSTS = (("/health", 0.0), ("/tiles/", 1.0), ("/live", 1.0), ("/maps/", 1.0))
_ANSWERED = ("http.response.start", "websocket.http.response.start", "websocket.accept")
_FILE_COST, _USUAL_COST = 20.0, 2.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one caller may ask for: so many units a minute and at most so many at once, and when bad tokens lock out."""

    units_per_minute: float = 6_000
    burst: float = 3_000
    bad_tokens: int = 20
    lockout_s: float = 300.0

    def shared_by(self, workers: int) -> "Allowance":
        """Each of several processes' part of it: they do not know of one another."""
        return Allowance(self.units_per_minute / workers, self.burst / workers, self.bad_tokens, self.lockout_s)


@dataclass(slots=True)
class _Bucket:
    units: float
    at: float


class RateLimit:
    """ASGI middleware: 429 with Retry-After for who asks too much, before anything is looked up."""

    def __init__(self, app: ASGIApp, allowance: Allowance, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._allowance, self._clock = app, allowance, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._good: OrderedDict[str, str] = OrderedDict()
        self._bad: OrderedDict[str, list[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else ""
        header = Headers(scope=scope).get("authorization")
        token = hashlib.sha256(header.encode()).hexdigest() if header is not None else None
        person = self._good.get(token) if token is not None else None
        wait_s = self._locked_s(address) if token is not None and person is None else 0.0
        key = f"person {person}" if person is not None else f"address {address}"
        state = scope.setdefault("state", {})
        left, refill_s = self._take(key, _cost(scope)) if not wait_s else (0.0, 0.0)
        if wait_s or left < 0:
            refusal = _too_many(max(wait_s, refill_s), locked=bool(wait_s))
            await refusal(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] in _ANSWERED:
                if token is not None:
                    self._note(address, token, state.get("proved"), message.get("status", HTTPStatus.OK))
                message.setdefault("headers", [])
                MutableHeaders(scope=message)["RateLimit"] = _said(left)
            await send(message)

        await self._app(scope, receive, noted)

    def _take(self, key: str, cost: float) -> tuple[float, float]:
        """Take units from a bucket: what is left (less than nothing: refused), and how long until there are enough."""
        now, rate = self._clock(), self._allowance.units_per_minute / _MINUTE_S
        bucket = self._buckets.pop(key, None) or _Bucket(self._allowance.burst, now)
        bucket.units = min(self._allowance.burst, bucket.units + (now - bucket.at) * rate)
        bucket.at = now
        left = bucket.units - cost
        if left >= 0:
            bucket.units = left
        _remember(self._buckets, key, bucket)
        return left, max(0.0, -left / rate)

    def _locked_s(self, address: str) -> float:
        """For how many seconds unknown tokens of an address are still refused unseen."""
        times = self._bad.get(address, [])
        if len(times) < self._allowance.bad_tokens:
            return 0.0
        return max(0.0, times[-1] + self._allowance.lockout_s - self._clock())

    def _note(self, address: str, token: str, proved: str | None, status: int) -> None:
        """Learn from an answer whose a token is, or that it is bad; nothing from a door that did not read it."""
        if proved is not None:
            _remember(self._good, token, proved)
            return
        if status != HTTPStatus.UNAUTHORIZED:
            return
        self._good.pop(token, None)
        now = self._clock()
        times = [at for at in self._bad.pop(address, []) if now - at < self._allowance.lockout_s]
        _remember(self._bad, address, [*times, now][-self._allowance.bad_tokens :])


Value = TypeVar("Value")


def _remember(known: OrderedDict[str, Value], key: str, value: Value) -> None:
    known.pop(key, None)
    known[key] = value
    while len(known) > _MOST_KNOWN:
        known.popitem(last=False)


def _cost(scope: Scope) -> float:
    path = scope["path"]
    formats = [value for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name == "f"]
    accepted = "" if formats else Headers(scope=scope).get("accept", "").lower()
    if not EXPORT_TYPES.keys().isdisjoint(formats) or any(one in accepted for one in EXPORT_TYPES.values()):
        return _FILE_COST
    return next((cost for part, cost in _COSTS if part in path), _USUAL_COST)


def _said(left: float) -> str:
    """The RateLimit field (draft-ietf-httpapi-ratelimit-headers): what is left, and in how many seconds it is new."""
    return f'"default";r={int(left)};t={int(_MINUTE_S)}'


def _too_many(wait_s: float, *, locked: bool) -> ASGIApp:
    seconds = max(1, round(wait_s + 0.5))
    what = "too many bad tokens came from this address." if locked else "too many requests."
    headers = {"Retry-After": str(seconds), "Cache-Control": "no-store", "RateLimit": _said(0)}
    detail = f"{what} Try again in {seconds} seconds."
    return problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
