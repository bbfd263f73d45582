"""`/branches`: what-ifs over the city, for everyone who has a token."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.answers import GEOJSON, json_response, link, url_of
from api.auditing import ViewRoute
from api.context import Context, caller_of, context_of, indicator_of, readable, strict_parameters
from api.differences import difference_collection, require_readable
from layers.branching.edits import MOST_EDITS, edit, parse_edits, verbs
from layers.branching.merging import Word, clashes, datasets_of, merge, propose, reopen
from layers.branching.registry import Listed, branches, create, discard, edits_of, find
from layers.contract import Contract
from layers.diff import counts, difference_cells, indicator_difference
from layers.features import Writing
from layers.grants import may_read
from twin.access import PUBLIC, Caller
from twin.errors import InvalidRequest, NotAllowed
from twin.grid import cell_to_text
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Branches"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}


def _signed_in(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    if caller.audience.name == PUBLIC.name:
        raise NotAllowed("the public sees no branches.", remedy="Send a token.")
    return caller


SignedIn = Annotated[Caller, Depends(_signed_in)]


class NewBranch(BaseModel):
    """What a new branch is called, and from when on its edits are true in the world (unset: from now on)."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=60)
    title: str = Field(default="", max_length=200)
    starts_at: AwareDatetime | None = None


class Review(BaseModel):
    """What to do about merging; `resolve` says whose word holds of each conflict (`<dataset>/<id>`, `*`: others)."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["propose", "approve"]
    resolve: dict[str, Word] = Field(default_factory=dict[str, Word], max_length=MOST_EDITS)


@router.get("/branches", response_class=Response)
def read_branches(request: Request, caller: SignedIn) -> Response:
    """The branches that are not discarded, the newest first, and the verbs that edits know."""
    context = context_of(request)
    with context.database.inspecting() as connection:
        found = branches(connection)
    allowed = {contract.id for contract in readable(context, caller.audience)}
    known = {verb: [one for one in datasets if one in allowed] for verb, datasets in verbs(context.catalog).items()}
    body = {
        "links": [link(url_of(request, "/branches"), "self")],
        "branches": [_branch(request, listed) for listed in found],
        "verbs": {verb: datasets for verb, datasets in known.items() if datasets},
    }
    return json_response(body, headers=_HEADERS)


@router.post("/branches", response_class=Response, status_code=201)
def make_branch(request: Request, caller: SignedIn, new: NewBranch) -> Response:
    """Make an empty branch."""
    with context_of(request).database.writing() as connection:
        listed = create(connection, new.name, caller, title=new.title, starts_at=new.starts_at)
    headers = _HEADERS | {"Location": url_of(request, f"/branches/{listed.name}")}
    return json_response(_branch(request, listed), status=HTTPStatus.CREATED, headers=headers)


@router.get("/branches/{branch}", response_class=Response)
def read_branch(request: Request, branch: str, caller: SignedIn) -> Response:
    """One branch, and the datasets it has changed."""
    context = context_of(request)
    with context.database.inspecting() as connection:
        listed = find(connection, branch)
        datasets = [contract.id for contract in _changed(context, connection, listed, caller)]
    return json_response(_branch(request, listed) | {"datasets": datasets}, headers=_HEADERS)


@router.delete("/branches/{branch}", response_class=Response, status_code=204)
def discard_branch(request: Request, branch: str, caller: SignedIn) -> Response:
    """Throw a branch away."""
    with context_of(request).database.writing() as connection:
        discard(connection, find(connection, branch), caller)
    return Response(status_code=204, headers=_HEADERS)


@router.get("/branches/{branch}/edits", response_class=Response)
def read_edits(
    request: Request,
    branch: str,
    caller: SignedIn,
    after: Annotated[int, Query(ge=0, description="only those with a larger id")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """What was done in a branch, in order; only in datasets that the caller may read."""
    context = context_of(request)
    allowed = [contract.id for contract in readable(context, caller.audience)]
    with context.database.inspecting() as connection:
        found = edits_of(connection, find(connection, branch), allowed, after=after, limit=limit)
    return json_response({"edits": [asdict(one) for one in found]}, headers=_HEADERS)


@router.post("/branches/{branch}/edits", response_class=Response)
def make_edits(request: Request, branch: str, caller: SignedIn, said: Annotated[Any, Body()]) -> Response:  # noqa: ANN401
    """Make edits, one or a list of at most 10,000: all of them or none."""
    context = context_of(request)
    wanted = parse_edits(said)
    with context.database.writing() as connection:
        done = edit(connection, context.catalog, context.city, find(connection, branch), caller, wanted)
    return json_response({"edits": [asdict(one) for one in done]}, headers=_HEADERS)


@router.get("/branches/{branch}/diff", response_class=Response)
async def read_difference(
    request: Request,
    branch: str,
    caller: SignedIn,
    collection: Annotated[str | None, Query(max_length=100, description="one dataset; unset: counts of all")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    offset: Annotated[str | None, Query(max_length=1000, description="the token of a `next` link")] = None,
) -> Response:
    """How a branch differs from main: counts by dataset, or the records of one before and after."""
    context = context_of(request)
    views = await _views(context, branch, caller)
    if collection is not None:
        contract = require_readable(request, caller, collection)
        body = await difference_collection(request, context, contract, views, Writing(), limit=limit, offset=offset)
        return json_response(body, media_type=GEOJSON, headers=_HEADERS)
    with context.database.inspecting() as connection:
        changed = _changed(context, connection, find(connection, branch), caller)
    async with context.database.reading(caller.audience) as connection:
        found = [{"dataset": one.id, **await counts(connection, one, views, context.city)} for one in changed]
    links = [link(url_of(request, f"/branches/{branch}/diff"), "self")]
    return json_response({"links": links, "datasets": found}, headers=_HEADERS)


@router.get("/branches/{branch}/diff/cells", response_class=Response)
async def read_difference_cells(
    request: Request,
    branch: str,
    caller: SignedIn,
    collection: Annotated[str | None, Query(max_length=100, description="a dataset: counts of its records")] = None,
    indicator: Annotated[str | None, Query(max_length=100, description="or an indicator: before and after")] = None,
    resolution: Annotated[int, Query(ge=0, le=15)] = 9,
) -> Response:
    """How a branch differs from main as an H3 map."""
    context = context_of(request)
    views = await _views(context, branch, caller)
    if (collection is None) == (indicator is None):
        raise InvalidRequest("name a collection or an indicator.", where="collection", remedy="One of the two.")
    if collection is not None:
        contract = require_readable(request, caller, collection)
        async with context.database.reading(caller.audience) as connection:
            found = await difference_cells(connection, contract, views, context.city, resolution)
        cells = [
            {"cell": f"{one.cell:x}", "added": one.added, "changed": one.changed, "removed": one.removed}
            for one in found
        ]
        return json_response({"collection": contract.id, "resolution": resolution, "cells": cells}, headers=_HEADERS)
    contract, wanted = indicator_of(context, indicator or "", caller.audience)
    async with context.database.reading(caller.audience) as connection:
        table = await indicator_difference(connection, contract, wanted, views[1], context.city, resolution)
    columns = cell_to_text(table.cell), table.before.tolist(), table.after.tolist()
    cells = [{"cell": cell, "before": was, "after": now} for cell, was, now in zip(*columns, strict=True)]
    return json_response(
        {"indicator": wanted.id, "unit": wanted.unit, "resolution": resolution, "cells": cells}, headers=_HEADERS
    )


@router.get("/branches/{branch}/merge", response_class=Response)
def read_merge(request: Request, branch: str, caller: SignedIn) -> Response:
    """What a merge would meet: the records that main has changed since the branch copied them."""
    context = context_of(request)
    with context.database.inspecting() as connection:
        listed = find(connection, branch)
        changed = _changed(context, connection, listed, caller)
        found = [one for contract in changed for one in clashes(connection, contract, context.city, listed)]
    return json_response({"state": listed.state, "conflicts": [asdict(one) for one in found]}, headers=_HEADERS)


@router.post("/branches/{branch}/merge", response_class=Response)
def review_branch(request: Request, branch: str, caller: SignedIn, review: Review) -> Response:
    """Propose a branch, or as a second person approve it: then its records become main's."""
    context = context_of(request)
    with context.database.writing() as connection:
        listed = find(connection, branch)
        if review.do == "propose":
            return json_response(_branch(request, propose(connection, listed, caller)), headers=_HEADERS)
        merged = merge(connection, context.catalog, context.city, listed, caller, review.resolve)
        listed = find(connection, branch)
    return json_response(_branch(request, listed) | {"merged": [asdict(one) for one in merged]}, headers=_HEADERS)


@router.delete("/branches/{branch}/merge", response_class=Response)
def reopen_branch(request: Request, branch: str, caller: SignedIn) -> Response:
    """Open a proposed branch for edits again."""
    with context_of(request).database.writing() as connection:
        listed = reopen(connection, find(connection, branch), caller)
    return json_response(_branch(request, listed), headers=_HEADERS)


async def _views(context: Context, branch: str, caller: Caller) -> tuple[View, View]:
    """Main and the branch, as the caller sees them."""
    found = await context.rights.branch(branch, caller.audience)
    return View(audience=caller.audience), View(branch=found, audience=caller.audience)


def _changed(context: Context, connection: sa.Connection, listed: Listed, caller: Caller) -> list[Contract]:
    """The datasets that a branch has changed and the caller may read."""
    found = datasets_of(connection, context.catalog, context.city, listed)
    return [contract for contract in found if may_read(contract.data_class, contract, caller.audience)]


def _branch(request: Request, listed: Listed) -> dict[str, Any]:
    path = f"/branches/{listed.name}"
    links = [
        link(url_of(request, path), "self"),
        *(link(url_of(request, f"{path}/{word}"), word) for word in ("edits", "diff", "merge")),
    ]
    return {**asdict(listed), "links": links}
