"""`/quarantine`: what could not enter a layer, and why, for those who can mend it."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import json_response, link, url_of
from api.auditing import ViewRoute, open_entry
from api.context import caller_of, context_of, strict_parameters
from layers.contract import Contract
from layers.grants import may_read
from layers.inbox import flow, quarantine_counts, quarantine_rows
from layers.reasons import ADVICE, TEXTS, Reason
from twin.access import Audience, Caller, department
from twin.errors import NotAllowed, NotFound

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Operations"], dependencies=[Depends(strict_parameters)])

_MOST_ROWS = 1_000
_MOST_HOURS = 24 * 31
_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}


def _mends(audience: Audience, contract: Contract) -> bool:
    """Whether an audience answers for a dataset's refused records: its department, and the administrator."""
    return audience.name == "administrator" or audience == department(contract.system)


def _mender(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    audience = caller.audience
    if audience.name != "administrator" and audience.system is None:
        raise NotAllowed("the quarantine is for departments and administrators.", remedy="Send their token.")
    return caller


@router.get("/quarantine", response_class=Response)
def read_quarantine(request: Request, caller: Annotated[Caller, Depends(_mender)]) -> Response:
    """How many records stand in quarantine, by dataset and reason; of a department its own."""
    context = context_of(request)
    with context.database.inspecting() as connection:
        counts = quarantine_counts(connection)
    found = [
        {
            **asdict(count),
            "title": TEXTS[Reason(count.reason)].model_dump(),
            "advice": ADVICE[Reason(count.reason)].model_dump(),
            "links": [link(url_of(request, f"/quarantine/{count.dataset}", reason=count.reason), "items")],
        }
        for count in counts
        if count.dataset in context.catalog.contracts and _mends(caller.audience, context.catalog[count.dataset])
    ]
    return json_response({"links": [link(url_of(request, "/quarantine"), "self")], "counts": found}, headers=_HEADERS)


@router.get("/quarantine/flow", response_class=Response)
def read_flow(
    request: Request,
    caller: Annotated[Caller, Depends(_mender)],
    dataset: Annotated[str | None, Query(max_length=100, description="only this dataset")] = None,
    hours: Annotated[int, Query(ge=1, le=_MOST_HOURS, description="how far back")] = 24,
) -> Response:
    """What became of what arrived, by dataset and hour: received = accepted + duplicate + quarantined."""
    context = context_of(request)
    with context.database.inspecting() as connection:
        found = flow(connection, dataset, hours)
    mine = [
        asdict(one)
        for one in found
        if one.dataset in context.catalog.contracts and _mends(caller.audience, context.catalog[one.dataset])
    ]
    return json_response({"links": [link(str(request.url), "self")], "flow": mine}, headers=_HEADERS)


@router.get("/quarantine/{dataset}", response_class=Response)
def read_quarantined(
    request: Request,
    dataset: str,
    caller: Annotated[Caller, Depends(_mender)],
    reason: Annotated[Reason | None, Query(description="only those refused for this reason")] = None,
    status: Annotated[Literal["open", "replayed", "dismissed"], Query()] = "open",
    after: Annotated[int, Query(ge=0, description="only those with a larger id")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
) -> Response:
    """The refused records of a dataset, as they arrived, in order of their ids.

    Records of personal and security data are shown only to those who may read the dataset.
    """
    context = context_of(request)
    contract = context.catalog.contracts.get(dataset)
    if contract is None or not _mends(caller.audience, contract):
        raise NotFound(f"no dataset is called {dataset[:80]!r}.", remedy="See /quarantine.")
    shown = may_read(contract.data_class, contract, caller.audience)
    if shown:
        open_entry(request, contract, caller)
    with context.database.inspecting() as connection:
        rows = quarantine_rows(connection, dataset, reason=reason, status=status, after=after, limit=limit)
    hidden: dict[str, Any] = {} if shown else {"record": None, "detail": None}
    found = [{**asdict(row), **hidden} for row in rows]
    links = [link(str(request.url), "self")]
    if len(rows) == limit:
        links.append(link(str(request.url.include_query_params(after=rows[-1].id)), "next"))
    return json_response({"links": links, "records": found}, headers=_HEADERS)
