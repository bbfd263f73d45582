"""`/collections/{id}/items`: the records (OGC API Features parts 1 to 3)."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import GEOJSON, JSON, chosen_format, json_response, link, url_of
from api.context import Asked, asked, strict_parameters
from api.facts import version_of
from api.parameters import CRS84, parse_box, parse_crs
from layers.export import to_arrow, to_csv, to_flatgeobuf, to_parquet
from layers.history import history
from layers.query import ItemsQuery, Page, item, items, selection
from twin.errors import InvalidRequest

__all__ = ["router"]

router = APIRouter(tags=["Features"], dependencies=[Depends(strict_parameters)])

_MOST_ITEMS = 10_000
_MOST_EXPORTED = 100_000
_FORMATS = {
    "json": GEOJSON,
    "csv": "text/csv",
    "flatgeobuf": "application/flatgeobuf",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
_EXPORTS: dict[str, Callable[..., Awaitable[bytes]]] = {
    "csv": to_csv,
    "flatgeobuf": to_flatgeobuf,
    "arrow": to_arrow,
    "parquet": to_parquet,
}


def query_of(
    ask: Annotated[Asked, Depends(asked)],
    bbox: Annotated[str | None, Query(max_length=200)] = None,
    bbox_crs: Annotated[str | None, Query(alias="bbox-crs", max_length=100)] = None,
    crs: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1)] = 100,
    offset: Annotated[str | None, Query(max_length=1000, description="the token of a `next` link")] = None,
    properties: Annotated[str | None, Query(max_length=2000, description="names, separated by commas")] = None,
    filter_: Annotated[str | None, Query(alias="filter", description="CQL2, text or JSON")] = None,
    filter_lang: Annotated[str | None, Query(alias="filter-lang", pattern="^cql2-(text|json)$")] = None,  # noqa: ARG001
) -> ItemsQuery:
    """The question about records that a request asks. A limit above the most that is given is lowered to it."""
    city = ask.context.city
    names = tuple(name.strip() for name in properties.split(",")) if properties else None
    unknown = [name for name in names or () if name not in ask.contract.fields]
    if unknown:
        raise InvalidRequest(
            f"properties names {unknown[0]!r}, which is not a property.",
            remedy=f"There are: {', '.join(ask.contract.fields)}.",
        )
    box = parse_box(bbox, parse_crs(bbox_crs, city, "bbox-crs")) if bbox else None
    written = parse_crs(crs, city)
    return ItemsQuery(box, limit, offset, names, filter_, written.srid, latitude_first=written.latitude_first)


@router.get("/collections/{collection}/items")
async def read_items(
    request: Request, ask: Annotated[Asked, Depends(asked)], query: Annotated[ItemsQuery, Depends(query_of)]
) -> Response:
    """The records of a collection, a page at a time."""
    word = chosen_format(request, _FORMATS)
    if word != "json":
        return await _export(word, ask, query)
    query = query.at_most(_MOST_ITEMS)
    async with ask.context.database.reading(ask.view.audience) as connection:
        page = await items(connection, ask.contract, ask.view, ask.context.city, query)
    return Response(_feature_collection(request, page), media_type=GEOJSON, headers=_headers(request, ask))


@router.get("/collections/{collection}/items/{fid}")
async def read_item(
    request: Request, fid: str, ask: Annotated[Asked, Depends(asked)], crs: Annotated[str | None, Query()] = None
) -> Response:
    """One record."""
    city = ask.context.city
    written = parse_crs(crs, city)
    query = ItemsQuery(crs=written.srid, latitude_first=written.latitude_first)
    async with ask.context.database.reading(ask.view.audience) as connection:
        text = await item(connection, ask.contract, ask.view, city, fid, query)
    path = f"/collections/{ask.contract.id}"
    links = [
        link(url_of(request, f"{path}/items/{fid}"), "self", GEOJSON),
        link(url_of(request, path), "collection", JSON),
        link(url_of(request, f"{path}/items/{fid}/history"), "version-history", GEOJSON),
    ]
    body = text[:-1] + ',"links":' + _text(links) + "}"
    return Response(body, media_type=GEOJSON, headers=_headers(request, ask))


@router.get("/collections/{collection}/items/{fid}/history")
async def read_history(request: Request, fid: str, ask: Annotated[Asked, Depends(asked)]) -> Response:
    """Every version of a record: what held when, and when the twin knew it; newest knowledge first."""
    async with ask.context.database.reading(ask.view.audience) as connection:
        page = await history(connection, ask.contract, ask.view, ask.context.city, fid)
    return Response(_feature_collection(request, page), media_type=GEOJSON, headers=_headers(request, ask))


async def _export(word: str, ask: Asked, query: ItemsQuery) -> Response:
    query = query.at_most(_MOST_EXPORTED)
    async with ask.context.database.reading(ask.view.audience) as connection:
        version = await version_of(connection, ask.contract.id)
        chosen = selection(ask.contract, ask.view, ask.context.city, query)
        body = await _EXPORTS[word](connection, ask.contract, chosen, query, ask.context.city)
    suffix = {"flatgeobuf": "fgb"}.get(word, word)
    headers = {
        "Content-Disposition": f'attachment; filename="{ask.contract.id}.v{version}.{suffix}"',
        "Vary": "Authorization, Accept",
    }
    return Response(body, media_type=_FORMATS[word], headers=headers)


def _feature_collection(request: Request, page: Page) -> str:
    """The GeoJSON of a page: PostgreSQL wrote the features, only the frame is ours."""
    links = [link(str(request.url), "self", GEOJSON)]
    if page.next is not None:
        links.append(link(str(request.url.include_query_params(offset=page.next)), "next", GEOJSON))
    matched = f'"numberMatched":{page.matched},' if page.matched is not None else ""
    return (
        f'{{"type":"FeatureCollection",{matched}"numberReturned":{page.returned},'
        f'"links":{_text(links)},"features":{page.features}}}'
    )


def _text(value: object) -> str:
    return bytes(json_response(value).body).decode()


def _headers(request: Request, ask: Asked) -> dict[str, str]:
    uri = parse_crs(request.query_params.get("crs"), ask.context.city).uri if "crs" in request.query_params else CRS84
    return {"Content-Crs": f"<{uri}>", "Cache-Control": "no-cache", "Vary": "Authorization, Accept"}
