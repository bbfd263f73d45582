"""`/collections/{id}/items`: the records (OGC API Features parts 1 to 3), also as files."""

from collections.abc import AsyncIterator
from dataclasses import astuple
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.answers import EXPORT_TYPES, GEOJSON, JSON, chosen_format, json_text, link, url_of
from api.auditing import ViewRoute, add_to_entry, is_on_record
from api.context import Asked, asked, strict_parameters
from api.parameters import CRS84, BboxCrsParameter, BboxParameter, CrsParameter, parse_box, parse_crs
from layers.export import EXPORTS, MOST_EXPORTED, Export
from layers.features import Writing
from layers.history import history
from layers.query import ItemsQuery, Page, Slice, count, item, items, next_token
from twin.errors import InvalidRequest, LimitExceeded

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Features"], dependencies=[Depends(strict_parameters)])

_MOST_ITEMS = 10_000
_DEFAULT_ITEMS = 100
_EXPORT_TIMEOUT_S = 120.0
_FORMATS = {"json": GEOJSON, **EXPORT_TYPES}
_SUFFIXES = {"flatgeobuf": "fgb", "arrow": "arrows"}
_NUMBERED = {"description": "GeoJSON, or the file that was asked for"}
_CONTENT = {"content": {media_type: {} for media_type in _FORMATS.values()}}


def query_of(
    ask: Annotated[Asked, Depends(asked)],
    bbox: BboxParameter = None,
    bbox_crs: BboxCrsParameter = None,
    limit: Annotated[int | None, Query(ge=1, description="how many; a page has at most 10,000, a file 100,000")] = None,
    offset: Annotated[str | None, Query(max_length=1000, description="the token of a `next` link")] = None,
    filter_: Annotated[str | None, Query(alias="filter", description="CQL2, text or JSON")] = None,
    filter_lang: Annotated[str | None, Query(alias="filter-lang", pattern="^cql2-(text|json)$")] = None,
    filter_crs: Annotated[str | None, Query(alias="filter-crs", max_length=100, description="CRS84 only")] = None,
) -> ItemsQuery:
    """The question about records that a request asks, not knowing how many a format gives (limit 0: not said)."""
    if filter_crs is not None and filter_crs != CRS84:
        raise InvalidRequest("geometries in a filter are CRS84.", where="filter-crs", remedy=f"Use {CRS84}.")
    if filter_ is not None and filter_lang is not None:
        is_json = filter_.lstrip().startswith("{")
        if is_json != (filter_lang == "cql2-json"):
            raise InvalidRequest(f"the filter is not {filter_lang}.", where="filter-lang", remedy="Leave it out.")
    box_crs = parse_crs(bbox_crs, ask.context.city, "bbox-crs")
    box = parse_box(bbox, box_crs) if bbox is not None else None
    return ItemsQuery(box=box, filter=filter_, limit=limit or 0, after=offset)


def writing_of(
    ask: Annotated[Asked, Depends(asked)],
    crs: CrsParameter = None,
    properties: Annotated[str | None, Query(max_length=2000, description="names, separated by commas")] = None,
) -> Writing:
    """How the records are written."""
    names = tuple(name.strip() for name in properties.split(",")) if properties is not None else None
    for name in names or ():
        if name not in ask.contract.fields:
            known = ", ".join(ask.contract.fields)
            what = f"there is no property {name[:40]!r}."
            raise InvalidRequest(what, where="properties", remedy=f"There are: {known}.")
    written = parse_crs(crs, ask.context.city)
    return Writing(properties=names, crs=written.srid, latitude_first=written.latitude_first)


AsWritten = Annotated[Writing, Depends(writing_of)]


@router.get("/collections/{collection}/items", response_class=Response, responses={200: {**_NUMBERED, **_CONTENT}})
async def read_items(
    request: Request,
    ask: Annotated[Asked, Depends(asked)],
    query: Annotated[ItemsQuery, Depends(query_of)],
    writing: AsWritten,
) -> Response:
    """The records of a collection, a page at a time, or with `f=csv|flatgeobuf|arrow|parquet` as a file."""
    word = chosen_format(request, _FORMATS)
    if query.box is not None:
        add_to_entry(request, box=astuple(query.box))
    if word != "json":
        return await _export(request, word, ask, query, writing)
    query = query.at_most(_MOST_ITEMS, _DEFAULT_ITEMS)
    async with ask.context.database.reading(ask.view.audience) as connection:
        matched = None
        if ask.view.is_current and query.box is None and query.filter is None:
            matched = (await ask.context.facts.of(connection, [ask.contract], ask.view.audience))[ask.contract.id].count
        page = await items(connection, ask.contract, ask.view, ask.context.city, query, writing, matched=matched)
    if is_on_record(request):
        add_to_entry(request, ids=tuple(feature["id"] for feature in orjson.loads(page.features)))
    return Response(_feature_collection(request, page), media_type=GEOJSON, headers=_headers(request, page.next))


@router.get("/collections/{collection}/items/{fid:path}/history", response_class=Response)
async def read_history(
    request: Request, fid: str, ask: Annotated[Asked, Depends(asked)], writing: AsWritten
) -> Response:
    """Every version of a record: what held when, and when the twin knew it; newest knowledge first."""
    async with ask.context.database.reading(ask.view.audience) as connection:
        page = await history(connection, ask.contract, ask.view, ask.context.city, fid, writing)
    return Response(_feature_collection(request, page), media_type=GEOJSON, headers=_headers(request))


@router.get("/collections/{collection}/items/{fid:path}", response_class=Response)
async def read_item(request: Request, fid: str, ask: Annotated[Asked, Depends(asked)], writing: AsWritten) -> Response:
    """One record."""
    async with ask.context.database.reading(ask.view.audience) as connection:
        text = await item(connection, ask.contract, ask.view, ask.context.city, fid, writing)
    links = [
        link(str(request.url), "self", GEOJSON),
        link(url_of(request, f"/collections/{ask.contract.id}"), "collection", JSON),
        link(f"{str(request.url).split('?')[0]}/history", "version-history", GEOJSON),
    ]
    body = f'{text[:-1]},"links":{json_text(links)}}}'
    return Response(body, media_type=GEOJSON, headers=_headers(request))


async def _export(request: Request, word: str, ask: Asked, query: ItemsQuery, writing: Writing) -> Response:
    """A file of the records from the position on: all of them, or `limit`. Nothing is left out unsaid."""
    database, city = ask.context.database, ask.context.city
    part = Slice.of(ask.contract, ask.view, city, query)
    limit = min(query.limit or MOST_EXPORTED, MOST_EXPORTED)
    async with database.reading(ask.view.audience) as connection:
        matched = part.position.matched if part.position else await count(connection, part.found)
        following = await next_token(connection, part, limit, matched)
    if following is not None and not query.limit:
        raise LimitExceeded(
            f"there are more than {MOST_EXPORTED:,} records.",
            remedy="Narrow them by bbox or filter, or set limit and follow the Link header.",
        )
    export = Export(ask.contract, city, part, writing, limit)

    async def chunks() -> AsyncIterator[bytes]:
        async with database.reading(ask.view.audience, timeout_s=_EXPORT_TIMEOUT_S) as connection:
            async for chunk in EXPORTS[word](connection, export):
                yield chunk

    headers = _headers(request, following)
    headers["Content-Disposition"] = f'attachment; filename="{ask.contract.id}.{_SUFFIXES.get(word, word)}"'
    if matched is not None:
        headers["OGC-NumberMatched"] = str(matched)
    return StreamingResponse(await _begun(chunks()), media_type=_FORMATS[word], headers=headers)


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks with the first already made: what fails before it is an error document, not half a file."""
    first = await anext(chunks, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_them()


def _feature_collection(request: Request, page: Page) -> str:
    """The GeoJSON of a page: PostgreSQL wrote the features, only the frame is ours."""
    links = [link(str(request.url), "self", GEOJSON)]
    if page.next is not None:
        links.append(link(_next_url(request, page.next), "next", GEOJSON))
    matched = f'"numberMatched":{page.matched},' if page.matched is not None else ""
    return (
        f'{{"type":"FeatureCollection",{matched}"numberReturned":{page.returned},'
        f'"links":{json_text(links)},"features":{page.features}}}'
    )


def _next_url(request: Request, token: str) -> str:
    return str(request.url.include_query_params(offset=token))


def _headers(request: Request, token: str | None = None) -> dict[str, str]:
    """What all answers about records say: the coordinates' system, where the next page is, that others see others."""
    uri = request.query_params.get("crs", CRS84).strip("[]")
    headers = {"Content-Crs": f"<{uri}>", "Cache-Control": "no-cache", "Vary": "Authorization, Accept"}
    if token is not None:
        headers["Link"] = f'<{_next_url(request, token)}>; rel="next"'
    return headers
