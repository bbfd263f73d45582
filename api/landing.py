"""`/`, `/conformance` and `/docs`: where people and programs start."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.answers import chosen_format, json_response, language, link, url_of
from api.context import Context, audience_of, context_of, readable, strict_parameters
from api.facts import Facts, facts
from api.html import docs_page, landing_page
from twin.access import Audience

__all__ = ["router"]

router = APIRouter(tags=["Landing"], dependencies=[Depends(strict_parameters)])

CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tileset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/mvt",
]

_FORMATS = {"json": "application/json", "html": "text/html"}
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@router.get("/")
async def landing(request: Request, audience: Annotated[Audience, Depends(audience_of)]) -> Response:
    """The landing page: HTML for people, OGC API Common for programs."""
    context = context_of(request)
    contracts = readable(context, audience)
    async with context.database.reading(audience) as connection:
        known = await facts(connection, context, contracts)
    if chosen_format(request, _FORMATS) == "html":
        page = landing_page(context, contracts, known, language(request))
        return _page(page)
    return json_response(_body(request, context, known, audience), headers={"Vary": "Accept, Authorization"})


@router.get("/conformance")
async def conformance() -> Response:
    """The OGC conformance classes that hold."""
    return json_response({"conformsTo": CONFORMANCE})


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The OpenAPI document for people: no script, nothing from elsewhere."""
    return _page(docs_page(request.app.openapi(), language(request)))


def _page(text: str) -> Response:
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Vary": "Accept, Accept-Language, Authorization"}
    return Response(text, media_type="text/html; charset=utf-8", headers=headers)


def _body(request: Request, context: Context, known: dict[str, Facts], audience: Audience) -> dict[str, Any]:
    city, lang = context.city, language(request)
    rel = "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes"
    openapi = "application/vnd.oai.openapi+json;version=3.1"
    return {
        "title": f"{city.title.of(lang)} City Twin",
        "description": {"zh": "城市的地理空间数字孪生", "en": "A geospatial digital twin of the city"}[lang],
        "links": [
            link(url_of(request, "/"), "self"),
            link(url_of(request, "/", f="html"), "alternate", "text/html"),
            link(url_of(request, "/api"), "service-desc", openapi),
            link(url_of(request, "/docs"), "service-doc", "text/html"),
            link(url_of(request, "/conformance"), "conformance"),
            link(url_of(request, "/collections"), "data"),
            link(url_of(request, "/tileMatrixSets"), rel),
            link(url_of(request, "/indicators"), "indicators"),
            link(url_of(request, "/maps/public"), "map", "text/html"),
        ],
        "twin": {
            "city": {
                "id": city.id,
                "code": city.code,
                "title": city.title.model_dump(),
                "bounds": list(city.bounds),
                "centre": list(city.centre),
                "zone": city.zone,
                "resolutions": city.resolutions.model_dump(),
                "map_approval_no": city.map_approval_no,
            },
            "synthetic": any(fact.synthetic for fact in known.values()),
            "audience": audience.name,
        },
    }
