"""Differences between two views as GeoJSON: what a branch changed, what became known between two moments."""

from dataclasses import replace
from typing import Any

import orjson
from fastapi import Request

from api.answers import GEOJSON, link
from api.auditing import open_entry
from api.context import Context, context_of
from layers.contract import Contract
from layers.diff import Difference, differences
from layers.features import Writing
from layers.grants import may_read, seen_by
from layers.paging import Position, fingerprint
from twin.access import PUBLIC, Caller
from twin.errors import NotFound
from twin.view import View

__all__ = ["difference_collection", "require_readable"]


def require_readable(request: Request, caller: Caller, dataset: str) -> Contract:
    """The contract of a dataset as the caller knows it, to read its records. Raises NotFound for one they may not."""
    contract = context_of(request).catalog.contracts.get(dataset)
    if contract is not None:
        open_entry(request, contract, caller)
        if may_read(contract.data_class, contract, caller.audience):
            return seen_by(contract, caller.audience)
    raise NotFound(f"no collection is called {dataset[:80]!r}.", remedy="See /collections.")


async def difference_collection(
    request: Request,
    context: Context,
    contract: Contract,
    views: tuple[View, View],
    writing: Writing,
    *,
    limit: int,
    offset: str | None,
) -> dict[str, Any]:
    """A page of the states that differ, as a FeatureCollection; the next page's link where there is one.

    A feature is the state after (before, where it was removed); its properties say what changed, and hold the
    properties and the geometry from before where those are other.
    """
    question = fingerprint(contract.id, *(replace(view, audience=PUBLIC) for view in views))
    start = Position.read(offset, question).key if offset is not None else ()
    async with context.database.reading(views[1].audience) as connection:
        found = await differences(connection, contract, views, context.city, writing, limit=limit + 1, after=start)
    links = [link(str(request.url), "self", GEOJSON)]
    if len(found) > limit:
        token = Position(question, found[limit - 1].key, None).token()
        links.append(link(str(request.url.include_query_params(offset=token)), "next", GEOJSON))
    page = [_feature(one) for one in found[:limit]]
    return {"type": "FeatureCollection", "numberReturned": len(page), "links": links, "features": page}


def _feature(one: Difference) -> dict[str, Any]:
    shown = one.after or one.before or {}
    before = one.before if one.after is not None else None
    extra: dict[str, Any] = {"change": one.change}
    if before is not None:
        extra["before"] = before["properties"]
        if orjson.dumps(before["geometry"]) != orjson.dumps(shown["geometry"]):
            extra["geometry_before"] = before["geometry"]
    return {**shown, **extra}
