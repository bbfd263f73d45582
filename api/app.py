"""The HTTP application: `create_app` puts the routers together; `app_from_settings` is what the server starts."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from api import (
    areas,
    audit,
    basemaps,
    branches,
    changes,
    collections,
    coverage,
    dispatch,
    grants,
    health,
    indicators,
    isochrones,
    items,
    landing,
    live,
    livesocket,
    metrics,
    pages,
    places,
    problems,
    push,
    quarantine,
    roads,
    tiles,
    within,
)
from api.answers import EXPORT_TYPES
from api.auditing import AuditLog
from api.context import Context
from api.facts import Facts
from api.gazetteers import Gazetteers
from api.limits import Allowance, RateLimit
from api.liveboard import LiveBoard
from api.middleware import Guard
from api.networks import Networks
from api.rights import Rights
from api.standing import Standing
from api.upkeep import keep_up
from layers.catalog import Catalog, catalog
from layers.feeds import doors_of
from twin import __version__
from twin.audit import HEAD_FILE
from twin.city import City, city
from twin.database import Database, connect
from twin.keys import secret
from twin.oidc import Provider, provider_of
from twin.settings import settings

__all__ = ["app_from_settings", "create_app"]

_ROUTERS = (
    landing,
    collections,
    changes,
    items,
    tiles,
    indicators,
    within,
    places,
    dispatch,
    isochrones,
    coverage,
    roads,
    areas,
    live,
    livesocket,
    push,
    branches,
    basemaps,
    quarantine,
    grants,
    audit,
    metrics,
    health,
)
_PACKED_TYPES = (*DEFAULT_EXCLUDED_CONTENT_TYPES, EXPORT_TYPES["parquet"])
_EXPOSED = ("Content-Crs", "ETag", "Link", "Memento-Datetime", "OGC-NumberMatched", "RateLimit", "Retry-After")


def create_app(
    database: Database,
    contracts: Catalog,
    profile: City,
    token_secret: str,
    provider: Provider | None = None,
    home: Path | None = None,
    allowance: Allowance | None = None,
    hosts: tuple[str, ...] | None = None,
) -> FastAPI:
    """The application over a database, a catalogue and a city.

    `token_secret` is what the twin's own tokens are signed with; `provider` an identity provider whose tokens are
    taken too; `home` is the state folder, in which the head of the audit log is kept and whose keys retention destroys.
    Without an `allowance` nobody is asked to slow down; without `hosts` it answers under any name.
    """
    facts = Facts(database, profile)
    gazetteers, board = Gazetteers(database, contracts, profile, facts), LiveBoard(database, profile)
    networks = Networks(database, contracts, profile, facts, home)
    rights, log = (
        Rights(database, contracts, profile),
        AuditLog(database, home / HEAD_FILE if home is not None else None),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        upkeep = asyncio.create_task(keep_up(database, contracts, profile, home)) if home is not None else None
        beside = [asyncio.create_task(task) for task in (gazetteers.warm(), networks.warm(), board.run())]
        yield
        for task in beside:
            task.cancel()
        board.close()
        if upkeep is not None:
            upkeep.cancel()
        await database.aclose()

    title = f"City Twin {profile.title.zh} {profile.title.en}"
    app = FastAPI(title=title, version=__version__, openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.context = Context(
        database,
        contracts,
        profile,
        token_secret,
        facts,
        rights,
        log,
        gazetteers,
        networks,
        board,
        Standing(database, contracts, profile, home),
        provider,
        home,
        doors_of(home, contracts),
    )
    problems.install(app)
    for module in _ROUTERS:
        app.include_router(module.router, responses=problems.RESPONSES)
    app.include_router(pages.router)
    app.openapi = lambda: _described(app)
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=4, exclude_content_types=_PACKED_TYPES)
    if allowance is not None:
        app.add_middleware(RateLimit, allowance=allowance)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD"],
        allow_headers=["Authorization"],
        expose_headers=_EXPOSED,
    )
    app.add_middleware(Guard, hosts=hosts)
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once: with bearer tokens, and problem documents instead of FastAPI's own errors."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, openapi_version="3.1.0", routes=app.routes)
        components = document.setdefault("components", {})
        components["schemas"] = {"Problem": _PROBLEM}
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        document["security"] = [{}, {"token": []}]
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema


_PROBLEM = {
    "type": "object",
    "title": "Problem (RFC 9457)",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "where": {"type": "string"},
    },
}


def app_from_settings() -> FastAPI:
    """The application of this process's settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = settings()
    allowance = Allowance(config.rate_per_minute, config.rate_burst).shared_by(config.workers)
    return create_app(
        connect(),
        catalog(),
        city(),
        secret(config.home),
        provider_of(config),
        config.home,
        allowance if config.rate_per_minute else None,
        config.hosts,
    )
