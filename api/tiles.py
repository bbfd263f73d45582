"""`/collections/{id}/tiles`: vector tiles (OGC API Tiles) and TileJSON."""

import asyncio
import gzip
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.answers import JSON, chosen_format, json_response, link, url_of
from api.auditing import ViewRoute, add_to_entry
from api.context import Asked, asked, contract_of, strict_parameters, view_of
from layers.contract import Contract
from layers.tiles import MARGIN, tile
from layers.tilesets import MATRIX_SET, MATRIX_SET_URI, MEDIA_TYPE, TILE_MATRIX_SET, TileAddress, tilejson, tileset
from twin.access import PUBLIC
from twin.errors import NotFound
from twin.view import View

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Tiles"], dependencies=[Depends(strict_parameters)])

_TILEJSON = "application/vnd.mapbox.tilejson+json"
_HEADERS = {"Cache-Control": "no-cache", "Vary": "Authorization"}
_GZIP_LEVEL = 4
_TIMEOUT_S = 30.0
"""A tile of a whole city looks at every record once; it is kept afterwards."""


@router.get("/tileMatrixSets", response_class=Response)
async def read_matrix_sets(request: Request) -> Response:
    """The tile matrix sets: one."""
    links = [link(url_of(request, f"/tileMatrixSets/{MATRIX_SET}"), "self")]
    entry = {"id": MATRIX_SET, "title": TILE_MATRIX_SET["title"], "uri": MATRIX_SET_URI, "links": links}
    return json_response({"tileMatrixSets": [entry]})


@router.get("/tileMatrixSets/{matrix_set}", response_class=Response)
async def read_matrix_set(matrix_set: str) -> Response:
    """The definition of a tile matrix set."""
    _require_known(matrix_set)
    return json_response(TILE_MATRIX_SET)


@router.get("/collections/{collection}/tiles", response_class=Response)
async def read_tilesets(
    request: Request, contract: Annotated[Contract, Depends(contract_of)], view: Annotated[View, Depends(view_of)]
) -> Response:
    """The tilesets of a collection: one."""
    found = tileset(contract, request.app.state.context.city, url_of(request, ""), view)
    body = {"links": [link(str(request.url), "self")], "tilesets": [found]}
    return json_response(body, headers=_HEADERS)


@router.get("/collections/{collection}/tiles/{matrix_set}", response_class=Response)
async def read_tileset(
    request: Request,
    matrix_set: str,
    contract: Annotated[Contract, Depends(contract_of)],
    view: Annotated[View, Depends(view_of)],
) -> Response:
    """The tileset of a collection: metadata of OGC API Tiles, or TileJSON with `f=tilejson`."""
    _require_known(matrix_set)
    word = chosen_format(request, {"json": JSON, "tilejson": _TILEJSON})
    made = tilejson if word == "tilejson" else tileset
    return json_response(made(contract, request.app.state.context.city, url_of(request, ""), view), headers=_HEADERS)


@router.get("/collections/{collection}/tiles/{matrix_set}/tilejson.json", response_class=Response)
async def read_tilejson(
    request: Request,
    matrix_set: str,
    contract: Annotated[Contract, Depends(contract_of)],
    view: Annotated[View, Depends(view_of)],
) -> Response:
    """TileJSON of a collection, for map libraries."""
    _require_known(matrix_set)
    return json_response(
        tilejson(contract, request.app.state.context.city, url_of(request, ""), view), headers=_HEADERS
    )


@router.get(
    "/collections/{collection}/tiles/{matrix_set}/{z}/{y}/{x}",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}, 304: {"description": "Not Modified"}},
)
async def read_tile(
    request: Request, matrix_set: str, z: int, y: int, x: int, ask: Annotated[Asked, Depends(asked)]
) -> Response:
    """One tile: Mapbox Vector Tile, one layer named like the collection."""
    _require_known(matrix_set)
    address = TileAddress.checked(z, x, y)
    context, contract, view = ask.context, ask.contract, ask.view
    add_to_entry(request, box=address.box_deg(MARGIN))
    edition = await context.facts.edition(contract, view)
    shared = "public" if view.audience == PUBLIC else "private"
    headers = {
        "ETag": edition.etag,
        "Cache-Control": f"{shared}, no-cache",  # keep it, and ask whether it is still good
        "Vary": "Authorization, Accept-Encoding",
    }
    if edition.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    packed = context.tiles.get((edition, address))
    if packed is None:
        async with context.database.reading(view.audience, timeout_s=_TIMEOUT_S) as connection:
            drawn = await tile(connection, contract, view, context.city, address)
        packed = await asyncio.to_thread(gzip.compress, drawn, _GZIP_LEVEL, mtime=0)
        context.tiles.put((edition, address), packed)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=MEDIA_TYPE, headers={**headers, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(packed), media_type=MEDIA_TYPE, headers=headers)


def _require_known(matrix_set: str) -> None:
    if matrix_set != MATRIX_SET:
        raise NotFound(f"no tile matrix set is called {matrix_set[:40]!r}.", remedy=f"There is one: {MATRIX_SET}.")
