"""What every JSON body has to be, whatever it says: not too deep, and nothing that a database cannot hold."""

import json
from typing import Any

import orjson
from fastapi import Request

from twin.errors import InvalidRequest, LimitExceeded

__all__ = ["require_plain"]

_DEEPEST = 64
_LARGEST = 2**63 - 1  # orjson reads no float that is not finite


async def require_plain(request: Request) -> None:
    """Refuse a JSON body with NaN, numbers that no column holds, the character NUL, nesting over 64, or a doubled name.

    Raises InvalidRequest or LimitExceeded.
    """
    body = await request.body()
    if not body:
        return
    try:
        _check(orjson.loads(body), 0)
        json.loads(body, object_pairs_hook=_without_doubles)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is no JSON: {error}.", where="body", remedy="See RFC 8259.") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Of two members of one name readers would see different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"{double[:60]!r} is there twice in one object.", where="body", remedy="Say it once.")
    return found


def _check(value: Any, depth: int) -> None:  # noqa: ANN401  (JSON)
    if depth > _DEEPEST:
        raise LimitExceeded(f"the body is nested deeper than {_DEEPEST}.", where="body", remedy="Flatten it.")
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest("a text holds the character NUL.", where="body", remedy="Leave it out.")
    elif isinstance(value, dict):
        for key, held in value.items():
            _check(key, depth + 1)
            _check(held, depth + 1)
    elif isinstance(value, list):
        for held in value:
            _check(held, depth + 1)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise InvalidRequest("a number is larger than any column holds.", where="body", remedy="Use a smaller one.")
