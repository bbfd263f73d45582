"""`/`, `/conformance` and `/docs`: where people and programs start."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.answers import chosen_format, json_response, language, link, url_of
from api.context import Context, audience_of, context_of, readable, strict_parameters
from api.facts import Fact
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
    "http://www.opengis.net/spec/cql2/1.0/conf/advanced-comparison-operators",
    "http://www.opengis.net/spec/cql2/1.0/conf/case-insensitive-comparison",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-spatial-functions",
    "http://www.opengis.net/spec/cql2/1.0/conf/arithmetic",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tileset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/mvt",
]

OPENAPI = "application/vnd.oai.openapi+json;version=3.1"

_FORMATS = {"json": "application/json", "html": "text/html"}
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@router.get("/", response_class=Response)
async def landing(request: Request, audience: Annotated[Audience, Depends(audience_of)]) -> Response:
    """The landing page: HTML for people, OGC API Common for programs."""
    context = context_of(request)
    contracts = readable(context, audience)
    async with context.database.reading(audience) as connection:
        known = await context.facts.of(connection, contracts, audience)
    if chosen_format(request, _FORMATS) == "html":
        page = landing_page(context, contracts, known, language(request))
        return _page(page)
    headers = {"Vary": "Accept, Accept-Language, Authorization", "Cache-Control": "no-cache"}
    return json_response(_body(request, context, known, audience), headers=headers)


@router.get("/conformance", response_class=Response)
async def conformance() -> Response:
    """The OGC conformance classes that hold."""
    return json_response({"conformsTo": CONFORMANCE})


@router.get("/api", response_class=Response, include_in_schema=False)
async def api(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return json_response(request.app.openapi(), media_type=OPENAPI)


@router.get("/docs", response_class=Response, include_in_schema=False)
async def docs(request: Request) -> Response:
    """The OpenAPI document for people: no script, nothing from elsewhere."""
    return _page(docs_page(request.app.openapi(), language(request)))


def _page(text: str) -> Response:
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Vary": "Accept, Accept-Language, Authorization"}
    return Response(text, media_type="text/html", headers=headers)


def _body(request: Request, context: Context, known: dict[str, Fact], audience: Audience) -> dict[str, Any]:
    city, lang = context.city, language(request)
    rel = "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes"
    return {
        "title": f"{city.title.of(lang)} City Twin",
        "description": {"zh": "城市的地理空间数字孪生", "en": "A geospatial digital twin of the city"}[lang],
        "links": [
            link(url_of(request, "/"), "self"),
            link(url_of(request, "/", f="html"), "alternate", "text/html"),
            link(url_of(request, "/api"), "service-desc", OPENAPI),
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
