"""What every request needs: the database, the catalogue, who asks, and which city they look at."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from layers.catalog import Catalog
from layers.contract import Contract
from layers.grants import may_read
from layers.tiles import TileCache
from twin.access import PUBLIC, Audience, read_token
from twin.city import City
from twin.database import Database
from twin.errors import InvalidRequest, NotAllowed, NotFound
from twin.view import MAIN, Span, View, parse_moment

__all__ = ["Asked", "Context", "asked", "audience_of", "context_of", "readable", "strict_parameters", "view_of"]

_ALWAYS = {"f", "lang"}


@dataclass(frozen=True)
class Context:
    """What the application works with. `memory` holds what may be computed again."""

    database: Database
    catalog: Catalog
    city: City
    secret: str
    tiles: TileCache = field(default_factory=TileCache)
    memory: dict[object, Any] = field(default_factory=dict[object, Any])


def context_of(request: Request) -> Context:
    """The context of the application that answers."""
    return request.app.state.context


def audience_of(request: Request) -> Audience:
    """Who asks: the bearer token's audience, the public without one.

    Raises NotAllowed for a token that is forged or has expired, or another kind of credentials.
    """
    header = request.headers.get("authorization")
    if header is None:
        return PUBLIC
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotAllowed("the credentials are no bearer token.", remedy="Send Authorization: Bearer <token>.")
    return read_token(token.strip(), context_of(request).secret)


def view_of(
    audience: Annotated[Audience, Depends(audience_of)],
    datetime: Annotated[str | None, Query(max_length=80, description="valid time: t, t/t, ../t or t/..")] = None,
    known_at: Annotated[str | None, Query(alias="known-at", max_length=40, description="as known then")] = None,
    branch: Annotated[str, Query(max_length=60, description="a what-if; main is the city as it is")] = MAIN,
) -> View:
    """The View that a request asks for."""
    return View(
        valid_at=Span.parse(datetime) if datetime else None,
        known_at=parse_moment(known_at) if known_at else None,
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


def asked(request: Request, collection: str, view: Annotated[View, Depends(view_of)]) -> Asked:
    """The dataset of the path. A dataset that the audience may not read is as absent as one that does not exist."""
    context = context_of(request)
    contract = context.catalog.contracts.get(collection)
    if contract is None or not may_read(contract.data_class, contract, view.audience):
        raise NotFound(f"no collection is called {collection!r}.", remedy="See /collections.")
    return Asked(context, contract, view)


def strict_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know (OGC API Common): a typing error is no filter.

    Raises InvalidRequest.
    """
    known = _ALWAYS | set(_names(request.scope["route"].dependant))
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise InvalidRequest(f"unknown parameter {unknown[0]!r}.", remedy=f"There are: {', '.join(sorted(known))}.")


def _names(dependant: Dependant) -> Iterable[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for other in dependant.dependencies:
        yield from _names(other)
