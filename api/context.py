"""What every request needs: the database, the catalogue, who asks, and which city they look at."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from api.facts import Facts
from api.problems import Unidentified
from layers.catalog import Catalog
from layers.contract import Contract
from layers.grants import may_read
from layers.tilecache import TileCache
from twin.access import PUBLIC, Audience, read_token
from twin.city import City
from twin.database import Database
from twin.errors import InvalidRequest, NotAllowed, NotFound
from twin.view import MAIN, Span, View, parse_moment

__all__ = [
    "Asked",
    "Context",
    "asked",
    "audience_of",
    "context_of",
    "contract_of",
    "readable",
    "strict_parameters",
    "view_of",
]

_ALWAYS = frozenset({"f", "lang"})


@dataclass(frozen=True)
class Context:
    """What the application works with. `facts` and `tiles` hold what may be computed again."""

    database: Database
    catalog: Catalog
    city: City
    secret: str = field(repr=False)
    facts: Facts
    tiles: TileCache = field(default_factory=TileCache)


def context_of(request: Request) -> Context:
    """The context of the application that answers."""
    return request.app.state.context


def audience_of(request: Request) -> Audience:
    """Who asks: the bearer token's audience, the public without one.

    Raises Unidentified for a token that is forged or has expired, and for another kind of credentials.
    """
    header = request.headers.get("authorization")
    if header is None:
        return PUBLIC
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unidentified("the credentials are no bearer token.", remedy="Send Authorization: Bearer <token>.")
    try:
        return read_token(token.strip(), context_of(request).secret)
    except NotAllowed as error:
        raise Unidentified(error.what, remedy=error.remedy) from error


def view_of(
    audience: Annotated[Audience, Depends(audience_of)],
    datetime: Annotated[
        str | None, Query(max_length=80, description="true in the world then: t, t/t, ../t, t/..")
    ] = None,
    known_at: Annotated[str | None, Query(alias="known-at", max_length=40, description="as known then")] = None,
    branch: Annotated[str, Query(max_length=60, description="a what-if; main is the city as it is")] = MAIN,
) -> View:
    """The View that a request asks for."""
    return View(
        valid_at=Span.parse(datetime) if datetime is not None else None,
        known_at=parse_moment(known_at) if known_at is not None else None,
        branch=branch,
        audience=audience,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """One dataset as a request asks for it."""

    context: Context
    contract: Contract
    view: View


def readable(context: Context, audience: Audience) -> list[Contract]:
    """The contracts of the datasets that an audience may read."""
    return [contract for contract in context.catalog if may_read(contract.data_class, contract, audience)]


def contract_of(request: Request, collection: str, audience: Annotated[Audience, Depends(audience_of)]) -> Contract:
    """The dataset of the path. One that the audience may not read is as absent as one that does not exist."""
    contract = context_of(request).catalog.contracts.get(collection)
    if contract is None or not may_read(contract.data_class, contract, audience):
        raise NotFound(f"no collection is called {collection[:80]!r}.", remedy="See /collections.")
    return contract


def asked(
    request: Request,
    contract: Annotated[Contract, Depends(contract_of)],
    view: Annotated[View, Depends(view_of)],
) -> Asked:
    """The dataset of the path and the view of the parameters."""
    return Asked(context_of(request), contract, view)


def strict_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know (OGC API Common): a typing error is no filter.

    Raises InvalidRequest.
    """
    known = _ALWAYS | set(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            what = f"there is no parameter {name[:40]!r} here."
            raise InvalidRequest(what, where=name[:40], remedy=f"There are: {', '.join(sorted(known))}.")
        if len(request.query_params.getlist(name)) > 1:
            raise InvalidRequest(f"the parameter {name!r} stands there twice.", where=name)


def _names(dependant: Dependant) -> Iterable[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for other in dependant.dependencies:
        yield from _names(other)
