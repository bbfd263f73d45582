"""`/grants`: rights given beside the contracts; administrators give and end them, others see their own."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.answers import json_response, link, url_of
from api.auditing import ViewRoute
from api.context import caller_of, context_of, strict_parameters
from layers.granting import Granted, give, granted, revoke, withdraw_tokens
from twin.access import PUBLIC, Audience, Caller
from twin.errors import NotAllowed

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Access"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}


class NewGrant(BaseModel):
    """A right to read one dataset: for an audience or one person in it, everywhere or in the area of a record."""

    model_config = ConfigDict(extra="forbid")

    audience: str = Field(max_length=60)
    person: str = Field(default="", max_length=120)
    dataset: str = Field(max_length=100)
    area: str | None = Field(default=None, max_length=400, description="<dataset>/<id>; unset: everywhere")
    purpose: str = Field(min_length=1, max_length=500)
    until: AwareDatetime


class Withdrawn(BaseModel):
    """Whose tokens are good no more."""

    model_config = ConfigDict(extra="forbid")

    person: str = Field(min_length=1, max_length=120)


def _administrator(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    if caller.audience.name != "administrator":
        raise NotAllowed("only administrators give and end rights.", remedy="Ask one of them.")
    return caller


Administrator = Annotated[Caller, Depends(_administrator)]


@router.get("/grants", response_class=Response)
def read_grants(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
    """The grants that hold; of those who are no administrators the ones that are given to themselves."""
    if caller.audience.name == PUBLIC.name:
        raise NotAllowed("the public has no grants.", remedy="Send a token.")
    with context_of(request).database.inspecting() as connection:
        found = granted(connection)
    if caller.audience.name != "administrator":
        found = [
            one for one in found if one.audience.name == caller.audience.name and one.person in {"", caller.person}
        ]
    body = {"links": [link(url_of(request, "/grants"), "self")], "grants": [_said(one) for one in found]}
    return json_response(body, headers=_HEADERS)


@router.post("/grants", response_class=Response, status_code=201)
def give_grant(request: Request, caller: Administrator, new: NewGrant) -> Response:
    """Give a right to read one dataset. It holds within a second, at every door."""
    context = context_of(request)
    what = Granted(Audience(new.audience), new.dataset, new.purpose, new.until, new.person, new.area)
    with context.database.writing() as connection:
        number = give(connection, context.catalog, context.city, what, caller)
        made = next(one for one in granted(connection) if one.number == number)
    headers = _HEADERS | {"Location": url_of(request, f"/grants/{number}")}
    return json_response(_said(made), status=HTTPStatus.CREATED, headers=headers)


@router.delete("/grants/{number}", response_class=Response, status_code=204)
def end_grant(request: Request, caller: Administrator, number: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> Response:
    """End a grant now."""
    context = context_of(request)
    with context.database.writing() as connection:
        revoke(connection, context.catalog, context.city, number, caller)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=_HEADERS)


@router.post("/tokens/withdrawn", response_class=Response, status_code=204)
def withdraw(request: Request, caller: Administrator, whose: Withdrawn) -> Response:
    """Make all tokens of a person that were issued until now good no more."""
    with context_of(request).database.writing() as connection:
        withdraw_tokens(connection, whose.person, caller)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=_HEADERS)


def _said(one: Granted) -> dict[str, Any]:
    return {**asdict(one), "audience": one.audience.name}
