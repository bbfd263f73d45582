"""`/audit`: who did what, for administrators. Looking at it is put on record too."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime
from sqlalchemy import Connection

from api.answers import json_response, link
from api.auditing import ViewRoute
from api.context import Context, caller_of, context_of, strict_parameters
from layers.extents import extent_of
from twin.access import Caller
from twin.audit import Entry, append, entries, verify, who_looked
from twin.errors import NotAllowed

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Operations"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}


def _auditor(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    if caller.audience.name != "administrator":
        raise NotAllowed("the audit log is for administrators.", remedy="Send their token.")
    return caller


Auditor = Annotated[Caller, Depends(_auditor)]


@contextmanager
def _on_record(context: Context, entry: Entry) -> Generator[Connection]:
    """A connection to read the log with. That somebody does is on record before they see anything."""
    with context.database.writing() as connection:
        append(connection, [entry])
    with context.database.inspecting() as connection:
        yield connection


@router.get("/audit", response_class=Response)
def read_audit(
    request: Request,
    caller: Auditor,
    dataset: Annotated[str | None, Query(max_length=100)] = None,
    person: Annotated[str | None, Query(max_length=120)] = None,
    action: Annotated[str | None, Query(max_length=20)] = None,
    since: Annotated[AwareDatetime | None, Query(description="from then on")] = None,
    until: Annotated[AwareDatetime | None, Query(description="before then")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="only those with a smaller number")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """Entries of the audit log, the newest first."""
    entry = Entry("audit", caller, dataset, detail={"query": str(request.url.query)[:2_000]})
    with _on_record(context_of(request), entry) as connection:
        found = entries(
            connection,
            dataset=dataset,
            person=person,
            action=action,
            since=since,
            until=until,
            before=before,
            limit=limit,
        )
    links = [link(str(request.url), "self")]
    if len(found) == limit:
        links.append(link(str(request.url.include_query_params(before=found[-1].seq)), "next"))
    said: list[dict[str, Any]] = [{**asdict(one), "hash": one.hash.hex()} for one in found]
    return json_response({"links": links, "entries": said}, headers=_HEADERS)


@router.get("/audit/who", response_class=Response)
def read_who(
    request: Request,
    caller: Auditor,
    dataset: Annotated[str, Query(max_length=100)],
    id_: Annotated[str, Query(alias="id", max_length=400, description="the record")],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """Who was shown a record: for certain, or possibly as part of an area or of the whole dataset."""
    context = context_of(request)
    contract = context.catalog[dataset]
    with _on_record(context, Entry("audit", caller, dataset, (id_,), detail={"question": "who"})) as connection:
        extent = extent_of(connection, contract, context.city, id_)
        found = who_looked(connection, dataset, id_, extent, limit=limit)
    return json_response({"dataset": dataset, "id": id_, "looks": [asdict(one) for one in found]}, headers=_HEADERS)


@router.get("/audit/verify", response_class=Response)
def read_verification(request: Request, caller: Auditor) -> Response:
    """Whether the chain of the log is whole: how many entries were checked, and the first fault in words."""
    context = context_of(request)
    with _on_record(context, Entry("audit", caller, detail={"question": "verify"})) as connection:
        found = verify(connection, context.audit.kept_head())
    head = {"seq": found.head[0], "hash": found.head[1].hex()}
    return json_response({"checked": found.checked, "fault": found.fault, "head": head}, headers=_HEADERS)
