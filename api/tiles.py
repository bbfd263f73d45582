"""`/collections/{id}/tiles`: vector tiles (OGC API Tiles) and TileJSON."""

import gzip
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.answers import chosen_format, json_response, link, url_of
from api.context import Asked, asked, strict_parameters
from api.facts import version_of
from layers.tiles import MEDIA_TYPE, TILE_MATRIX_SET, TileAddress, etag, tile, tilejson, tileset
from twin.errors import NotFound

__all__ = ["router"]

router = APIRouter(tags=["Tiles"], dependencies=[Depends(strict_parameters)])

_MATRIX_SET = "WebMercatorQuad"
_GZIP_LEVEL = 4


@router.get("/tileMatrixSets")
async def tile_matrix_sets(request: Request) -> Response:
    """The tile matrix sets: one."""
    entry = {
        "id": _MATRIX_SET,
        "title": "Google Maps Compatible for the World",
        "uri": "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad",
        "links": [link(url_of(request, f"/tileMatrixSets/{_MATRIX_SET}"), "self")],
    }
    return json_response({"tileMatrixSets": [entry]})


@router.get("/tileMatrixSets/{matrix_set}")
async def tile_matrix_set(matrix_set: str) -> Response:
    """The definition of a tile matrix set."""
    _known(matrix_set)
    return json_response(TILE_MATRIX_SET)


@router.get("/collections/{collection}/tiles")
async def tilesets(request: Request, ask: Annotated[Asked, Depends(asked)]) -> Response:
    """The tilesets of a collection: one."""
    found = tileset(ask.contract, ask.context.city, _base(request))
    return json_response({"links": [link(str(request.url), "self")], "tilesets": [found]})


@router.get("/collections/{collection}/tiles/{matrix_set}")
async def one_tileset(request: Request, matrix_set: str, ask: Annotated[Asked, Depends(asked)]) -> Response:
    """The tileset of a collection: metadata of OGC API Tiles, or TileJSON with `f=tilejson`."""
    _known(matrix_set)
    if (
        chosen_format(request, {"json": "application/json", "tilejson": "application/vnd.mapbox.tilejson"})
        == "tilejson"
    ):
        return json_response(tilejson(ask.contract, ask.context.city, _base(request)))
    return json_response(tileset(ask.contract, ask.context.city, _base(request)))


@router.get("/collections/{collection}/tiles/{matrix_set}/tilejson.json")
async def read_tilejson(request: Request, matrix_set: str, ask: Annotated[Asked, Depends(asked)]) -> Response:
    """TileJSON of a collection, for map libraries."""
    _known(matrix_set)
    return json_response(tilejson(ask.contract, ask.context.city, _base(request)))


@router.get("/collections/{collection}/tiles/{matrix_set}/{z}/{y}/{x}", response_class=Response)
async def read_tile(
    request: Request, matrix_set: str, z: int, y: int, x: int, ask: Annotated[Asked, Depends(asked)]
) -> Response:
    """One tile: Mapbox Vector Tile, one layer named like the collection."""
    _known(matrix_set)
    address = TileAddress.checked(z, x, y)
    context, contract, view = ask.context, ask.contract, ask.view
    async with context.database.reading(view.audience) as connection:
        version = await version_of(connection, contract.id)
        tag = etag(contract, version, view)
        headers = {
            "ETag": tag,
            "Cache-Control": "private, max-age=0, must-revalidate",
            "Vary": "Authorization, Accept-Encoding",
        }
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        key = (contract.id, version, view, address)
        packed = context.tiles.get(key)
        if packed is None:
            packed = gzip.compress(await tile(connection, contract, view, context.city, address), _GZIP_LEVEL, mtime=0)
            context.tiles.put(key, packed)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=MEDIA_TYPE, headers={**headers, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(packed), media_type=MEDIA_TYPE, headers=headers)


def _known(matrix_set: str) -> None:
    if matrix_set != _MATRIX_SET:
        raise NotFound(f"no tile matrix set is called {matrix_set!r}.", remedy=f"There is one: {_MATRIX_SET}.")


def _base(request: Request) -> str:
    return url_of(request, "")
