"""The HTTP application: `create_app` puts the routers together; `app_from_settings` is what the server starts."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from api import basemaps, collections, health, indicators, items, landing, pages, problems, tiles
from api.context import Context
from layers.catalog import Catalog, catalog
from twin import __version__
from twin.city import City, city
from twin.database import Database, connect
from twin.keys import secret
from twin.settings import settings

__all__ = ["app_from_settings", "create_app"]

_LONGEST_URL = 8_192
_ROUTERS = (landing, collections, items, tiles, indicators, basemaps, health, pages)


def create_app(database: Database, contracts: Catalog, profile: City, token_secret: str) -> FastAPI:
    """The application over a database, a catalogue and a city. `token_secret` is what tokens are signed with."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await database.aclose()

    app = FastAPI(
        title=f"City Twin {profile.title.zh} {profile.title.en}",
        version=__version__,
        openapi_url="/api",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.context = Context(database, contracts, profile, token_secret)
    problems.install(app)
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=4)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD"],
        allow_headers=["Authorization"],
        expose_headers=["Content-Crs", "ETag", "Link"],
    )
    app.middleware("http")(_guard)
    return app


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Limits and headers that hold for every answer."""
    if len(str(request.url)) > _LONGEST_URL:
        return problems.problem(problems.HTTPStatus.REQUEST_URI_TOO_LONG, "limit-exceeded", "the address is too long.")
    response = await call_next(request)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return response


def app_from_settings() -> FastAPI:
    """The application of this process's settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_app(connect(), catalog(), city(), secret(settings().home))
