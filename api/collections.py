"""`/collections`: the datasets as OGC API collections, with what a page needs to draw them under `twin`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.answers import EXPORT_TYPES, GEOJSON, json_response, language, link, url_of
from api.auditing import ViewRoute
from api.context import Context, audience_of, context_of, contract_of, readable, strict_parameters
from api.facts import Fact
from api.parameters import CRS84, crs_list, storage_crs
from layers.contract import Contract, FieldSpec
from layers.grants import may_read
from layers.style import legend, maplibre_layers
from twin.access import Audience

__all__ = ["router"]

router = APIRouter(route_class=ViewRoute, tags=["Collections"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-cache", "Vary": "Authorization, Accept-Language"}
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_TILESETS = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector"
_JSON_TYPES = {"string": "string", "integer": "integer", "float": "number", "boolean": "boolean"}
_JSON_FORMATS = {"datetime": "date-time", "date": "date"}


@router.get("/collections", response_class=Response)
async def read_collections(request: Request, audience: Annotated[Audience, Depends(audience_of)]) -> Response:
    """The collections that the audience may read."""
    context = context_of(request)
    contracts = readable(context, audience)
    async with context.database.reading(audience) as connection:
        known = await context.facts.of(connection, contracts, audience)
    found = [_collection(request, context, contract, known[contract.id], audience) for contract in contracts]
    links = [link(url_of(request, "/collections"), "self"), link(url_of(request, "/"), "root")]
    return json_response({"links": links, "collections": found}, headers=_HEADERS)


@router.get("/collections/{collection}", response_class=Response)
async def read_collection(
    request: Request,
    contract: Annotated[Contract, Depends(contract_of)],
    audience: Annotated[Audience, Depends(audience_of)],
) -> Response:
    """One collection."""
    context = context_of(request)
    async with context.database.reading(audience) as connection:
        known = await context.facts.of(connection, [contract], audience)
    return json_response(_collection(request, context, contract, known[contract.id], audience), headers=_HEADERS)


@router.get("/collections/{collection}/queryables", response_class=Response)
async def read_queryables(request: Request, contract: Annotated[Contract, Depends(contract_of)]) -> Response:
    """The names a filter may use, as JSON Schema (OGC API Features part 3)."""
    lang = language(request)
    fields = {name: _schema(spec, lang) for name, spec in contract.fields.items()}
    body = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": url_of(request, f"/collections/{contract.id}/queryables"),
        "type": "object",
        "title": contract.title.of(lang),
        "properties": {"id": {"type": "string"}, **fields, "geometry": {"format": "geometry-any"}},
        "additionalProperties": False,
    }
    return json_response(body, media_type="application/schema+json", headers=_HEADERS)


def _schema(spec: FieldSpec, lang: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"title": spec.title.of(lang), "type": _JSON_TYPES.get(spec.type, "string")}
    if spec.type in _JSON_FORMATS:
        schema["format"] = _JSON_FORMATS[spec.type]
    if spec.values:
        schema["enum"] = list(spec.values)
    if spec.range:
        schema["minimum"], schema["maximum"] = spec.range
    return schema


def _collection(
    request: Request, context: Context, contract: Contract, known: Fact, audience: Audience
) -> dict[str, Any]:
    lang, path = language(request), f"/collections/{contract.id}"
    return {
        "id": contract.id,
        "title": contract.title.of(lang),
        "description": (contract.description or contract.title).of(lang),
        "itemType": "feature",
        "extent": {
            "spatial": {"bbox": [list(known.bounds or context.city.bounds)], "crs": CRS84},
            "temporal": {"interval": [[None, None]]},
        },
        "crs": crs_list(context.city),
        "storageCrs": storage_crs(context.city),
        "links": [
            link(url_of(request, path), "self"),
            link(url_of(request, f"{path}/items"), "items", GEOJSON),
            *(
                link(url_of(request, f"{path}/items", f=word), "items", media_type)
                for word, media_type in EXPORT_TYPES.items()
            ),
            link(url_of(request, f"{path}/queryables"), _QUERYABLES, "application/schema+json"),
            link(url_of(request, f"{path}/tiles"), _TILESETS),
        ],
        "twin": _for_pages(context, contract, known, audience),
    }


def _for_pages(context: Context, contract: Contract, known: Fact, audience: Audience) -> dict[str, Any]:
    """What a page needs to list, draw and explain the dataset, in both languages."""
    return {
        "title": contract.title.model_dump(),
        "description": (contract.description or contract.title).model_dump(),
        "system": contract.system,
        "system_title": context.catalog.systems[contract.system].title.model_dump(),
        "kind": contract.kind,
        "geometry": contract.geometry,
        "class": contract.data_class,
        "owner": contract.owner,
        "rate": contract.rate,
        "count": known.count,
        "synthetic": known.synthetic,
        "updated_at": known.updated_at,
        "version": known.version,
        "fields": {name: _field(spec) for name, spec in contract.fields.items()},
        "indicators": [
            indicator.id
            for indicator in contract.indicators
            if may_read(indicator.data_class or contract.data_class, contract, audience)
        ],
        "style": {
            "layers": maplibre_layers(contract),
            "legend": legend(contract),
            "minzoom": contract.style.minzoom,
            "default": contract.style.default,
            "label": contract.style.label,
        },
    }


def _field(spec: FieldSpec) -> dict[str, Any]:
    values = {code: title.model_dump() for code, title in spec.values.items()}
    return {
        "type": spec.type,
        "title": spec.title.model_dump(),
        "unit": spec.unit,
        **({"values": values} if values else {}),
    }
