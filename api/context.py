"""What every request needs: the database, the catalogue, who asks, and which city they look at."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from starlette.requests import HTTPConnection

from api.auditing import AuditLog, open_entry
from api.bodies import require_plain
from api.facts import Facts
from api.gazetteers import Gazetteers
from api.liveboard import LiveBoard
from api.memento import accepted_datetime
from api.networks import Networks
from api.problems import Unidentified
from api.rights import Rights
from api.standing import Standing
from layers.catalog import Catalog
from layers.contract import Contract, Indicator
from layers.feeds import Doors, PushFeed
from layers.grants import may_read, seen_by
from layers.tilecache import TileCache
from twin.access import NOBODY, Audience, Caller, read_token
from twin.city import City
from twin.database import Database
from twin.errors import InvalidRequest, NotAllowed, NotFound
from twin.oidc import Provider, issuer_of
from twin.view import MAIN, Span, View, parse_moment

__all__ = [
    "Asked",
    "Context",
    "asked",
    "audience_of",
    "caller_of",
    "context_of",
    "contract_of",
    "indicator_of",
    "readable",
    "readable_indicators",
    "strict_parameters",
    "view_of",
]

_ALWAYS = frozenset({"f", "lang"})
_LONGEST_PURPOSE = 200


@dataclass(frozen=True)
class Context:
    """What the application works with. `facts`, `rights` and `tiles` hold what may be looked up or made again."""

    database: Database
    catalog: Catalog
    city: City
    secret: str = field(repr=False)
    facts: Facts
    rights: Rights
    audit: AuditLog
    gazetteers: Gazetteers
    networks: Networks
    live: LiveBoard
    standing: Standing
    provider: Provider | None = None
    home: Path | None = None
    doors: Doors = field(default_factory=dict[str, tuple[PushFeed, str]], repr=False)
    tiles: TileCache = field(default_factory=TileCache)


def context_of(request: HTTPConnection) -> Context:
    """The context of the application that answers."""
    return request.app.state.context


async def caller_of(request: HTTPConnection) -> Caller:
    """Who asks: whom the bearer token stands for, with the grants that hold for them now; the public without a token.

    Raises Unidentified for a token that is forged, expired or withdrawn, and for another kind of credentials.
    """
    address = request.client.host if request.client else ""
    purpose = request.headers.get("twin-purpose", "")[:_LONGEST_PURPOSE]
    header = request.headers.get("authorization")
    if header is None:
        return replace(NOBODY, address=address, purpose=purpose)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unidentified("the credentials are no bearer token.", remedy="Send Authorization: Bearer <token>.")
    context = context_of(request)
    try:
        caller = await context.rights.of(await _signed(context, token.strip()))
    except NotAllowed as error:
        raise Unidentified(error.what, remedy=error.remedy) from error
    request.state.proved = f"{caller.audience.name} {caller.person}"  # for api/limits.py
    return replace(caller, address=address, purpose=purpose)


async def _signed(context: Context, token: str) -> Caller:
    """Whom a token stands for: one of the identity provider's, or one that the twin signed itself."""
    if context.provider is not None and issuer_of(token) == context.provider.issuer:
        return await asyncio.to_thread(context.provider.read, token)
    return read_token(token, context.secret)


async def audience_of(caller: Annotated[Caller, Depends(caller_of)]) -> Audience:
    """The audience as which somebody asks."""
    return caller.audience


async def view_of(
    request: Request,
    audience: Annotated[Audience, Depends(audience_of)],
    datetime: Annotated[
        str | None, Query(max_length=80, description="true in the world then: t, t/t, ../t, t/..")
    ] = None,
    known_at: Annotated[str | None, Query(alias="known-at", max_length=40, description="as known then")] = None,
    branch: Annotated[str, Query(max_length=60, description="a what-if; main is the city as it is")] = MAIN.name,
) -> View:
    """The View that a request asks for."""
    view = View(
        valid_at=Span.parse(datetime) if datetime is not None else None,
        known_at=parse_moment(known_at) if known_at is not None else accepted_datetime(request),
        branch=await context_of(request).rights.branch(branch, audience),
        audience=audience,
    )
    request.state.view = view
    return view


@dataclass(frozen=True, slots=True)
class Asked:
    """One dataset as a request asks for it."""

    context: Context
    contract: Contract
    view: View


def readable(context: Context, audience: Audience) -> list[Contract]:
    """The contracts of the datasets that an audience may read, as it knows them."""
    return [
        seen_by(contract, audience) for contract in context.catalog if may_read(contract.data_class, contract, audience)
    ]


def readable_indicators(context: Context, audience: Audience) -> Iterator[tuple[Contract, Indicator]]:
    """The indicators that an audience may read, each with its contract as the audience knows it."""
    for contract in context.catalog:
        seen = seen_by(contract, audience)
        for indicator in seen.indicators:
            if may_read(indicator.data_class or contract.data_class, contract, audience):
                yield seen, indicator


def indicator_of(context: Context, name: str, audience: Audience) -> tuple[Contract, Indicator]:
    """An indicator that the audience may read. Others are as absent as those that do not exist: raises NotFound."""
    for contract, indicator in readable_indicators(context, audience):
        if indicator.id == name:
            return contract, indicator
    raise NotFound(f"no indicator is called {name[:80]!r}.", remedy="See /indicators.")


async def contract_of(request: Request, collection: str, caller: Annotated[Caller, Depends(caller_of)]) -> Contract:
    """The dataset of the path. One that the audience may not read is as absent as one that does not exist."""
    contract = context_of(request).catalog.contracts.get(collection)
    if contract is not None:
        if may_read(contract.data_class, contract, caller.audience):
            return seen_by(contract, caller.audience)
        open_entry(request, contract, caller)
    raise NotFound(f"no collection is called {collection[:80]!r}.", remedy="See /collections.")


async def asked(
    request: Request,
    contract: Annotated[Contract, Depends(contract_of)],
    caller: Annotated[Caller, Depends(caller_of)],
    view: Annotated[View, Depends(view_of)],
) -> Asked:
    """The dataset of the path and the view of the parameters: with it, records can be read."""
    open_entry(request, contract, caller)
    return Asked(context_of(request), contract, view)


async def strict_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know (OGC API Common), and bodies that nothing can hold.

    A typing error is no filter. Raises InvalidRequest.
    """
    known = _ALWAYS | set(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            what = f"there is no parameter {name[:40]!r} here."
            raise InvalidRequest(what, where=name[:40], remedy=f"There are: {', '.join(sorted(known))}.")
        if len(request.query_params.getlist(name)) > 1:
            raise InvalidRequest(f"the parameter {name!r} stands there twice.", where=name)
    await require_plain(request)


def _names(dependant: Dependant) -> Iterable[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for other in dependant.dependencies:
        yield from _names(other)
