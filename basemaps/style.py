"""The basemap as a MapLibre style (https://maplibre.org/maplibre-style-spec/), drawn from our own collections.

One function makes it for every page: no glyphs (labels use the fonts of the client), no sprite, no foreign request.
The colours are those of `api/web/src/tokens.css`; a test holds the two together.

Each layer carries `metadata["twin:rank"]`, its height in the stack. Pages insert data between the ranks:
areas (10) lie under the road network, lines (30) and points (35) over it, labels (40) over all.
"""

from typing import Any, Literal, NamedTuple

from twin.city import City, city
from twin.errors import InvalidRequest

__all__ = ["FONTS", "TOKENS", "Theme", "style"]

Theme = Literal["light", "dark", "print"]
Json = dict[str, Any]

FONTS = ("Noto Sans SC", "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "sans-serif")
"""Fonts for labels, first found wins; MapLibre draws them with the client's own files."""

TOKENS: dict[Theme, dict[str, str]] = {
    "light": {
        "ground": "#f6f7f9",
        "outside": "#eaedf1",
        "water": "#cfe3f2",
        "line": "#dde3ea",
        "road": "#c3ccd8",
        "building": "#e3e7ed",
        "border": "#8d9bae",
        "text": "#17212e",
        "quiet": "#55657a",
    },
    "dark": {
        "ground": "#0b1320",
        "outside": "#080e18",
        "water": "#0e2238",
        "line": "#22324a",
        "road": "#2f4563",
        "building": "#18263a",
        "border": "#5a6f8c",
        "text": "#e8eef6",
        "quiet": "#9db0c8",
    },
    "print": {
        "ground": "#ffffff",
        "outside": "#ffffff",
        "water": "#d6e6f2",
        "line": "#d5d9de",
        "road": "#9aa3ae",
        "building": "#e6e8eb",
        "border": "#6b7685",
        "text": "#000000",
        "quiet": "#3c4653",
    },
}

GROUND, NETWORK, SOLID, LABELS = 0, 20, 25, 40

BOUNDARIES, TOWNS, PLACES = "sharing.boundaries", "sharing.towns", "sharing.place_names"
WATERS = "environment.waters"
ROADS, RAILWAYS, BUILDINGS = "transport.roads", "transport.railways", "housing.buildings"
# Deepest tile asked for; deeper zooms stretch it.
_MAXZOOM = {BOUNDARIES: 12, TOWNS: 10, PLACES: 13, WATERS: 14, ROADS: 14, RAILWAYS: 13, BUILDINGS: 15}


class _RoadClass(NamedTuple):
    names: tuple[str, ...]
    token: str
    minzoom: int
    width_px: tuple[float, float, float]  # at zoom 8, 12 and 16


# From the narrowest to the widest: the widest is drawn last, on top.
_ROAD_CLASSES = (
    _RoadClass(("footway", "steps", "track", "cycleway", "pedestrian"), "line", 15, (0, 0, 1.5)),
    _RoadClass(("residential", "service", "living_street", "other"), "line", 13, (0, 0.5, 4)),
    _RoadClass(("tertiary",), "line", 11, (0, 0.8, 5)),
    _RoadClass(("secondary",), "road", 11, (0.4, 1.2, 7)),
    _RoadClass(("primary",), "road", 9, (0.6, 1.6, 9)),
    _RoadClass(("trunk",), "road", 8, (0.8, 1.8, 9)),
    _RoadClass(("motorway",), "road", 5, (1, 2.4, 11)),
)
_STOREY_M = 3.0
_LONGEST_REF = 8  # longer ones are lists of numbers


def style(theme: str, lang: str, k: float, available: set[str], base_url: str) -> Json:
    """The basemap of the city as a MapLibre style.

    `theme` is `light`, `dark` or `print`; `lang` (`zh`, `en`) chooses the labels; `k` multiplies every width and
    letter (walls use viewport height / 1080); `available` are the dataset ids this reader may see, and nothing else
    becomes a source; `base_url` is the absolute address of the API. The districts' names come from the city profile.

    Raises InvalidRequest for another theme or language, or a `k` outside 0.5..8.
    """
    if theme not in TOKENS:
        raise InvalidRequest(f"no basemap is called {theme!r}.", remedy=f"Use one of {', '.join(TOKENS)}.")
    if lang not in {"zh", "en"}:
        raise InvalidRequest(f"labels in {lang!r} do not exist.", remedy="Use zh or en.")
    if not 0.5 <= k <= 8:
        raise InvalidRequest(f"the size factor {k} is outside 0.5..8.", remedy="Leave it out for 1.")
    draw = _Pen(theme, lang, k)
    used = [dataset for dataset in _MAXZOOM if dataset in available]
    layers: list[Json] = [draw.background(land_is_known=BOUNDARIES in available)]
    for dataset, make in _LAYERS:
        if dataset in available:
            layers += [{"source": dataset, "source-layer": dataset, **layer} for layer in make(draw)]
    if TOWNS in available and PLACES not in available:
        layers += [{"source": TOWNS, "source-layer": TOWNS, **layer} for layer in _town_labels(draw)]
    layers += [{"source": "districts", **layer} for layer in _district_labels(draw)]
    layers.sort(key=lambda layer: layer["metadata"]["twin:rank"])
    sources: Json = {dataset: _tiles(dataset, base_url) for dataset in used}
    sources["districts"] = {"type": "geojson", "data": _districts(city(), lang)}
    soft = {"anchor": "map", "intensity": 0.15, "position": [1.2, 210, 40]}
    return {"version": 8, "name": f"citytwin {theme}", "light": soft, "sources": sources, "layers": layers}


def _tiles(dataset: str, base_url: str) -> Json:
    address = f"{base_url.rstrip('/')}/collections/{dataset}/tiles/WebMercatorQuad/{{z}}/{{y}}/{{x}}"
    # Whole buildings appear at z14; below that their tiles would be asked for in vain.
    minzoom = 14 if dataset == BUILDINGS else 0
    return {"type": "vector", "tiles": [address], "minzoom": minzoom, "maxzoom": _MAXZOOM[dataset]}


def _districts(place: City, lang: str) -> Json:
    """Points that carry the names of the districts: a polygon would be labelled once in every tile it touches."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"name": district.title.of(lang)},
                "geometry": {"type": "Point", "coordinates": list(district.seat)},
            }
            for district in place.districts
        ],
    }


class _Pen:
    """Makes layers in one theme, language and size."""

    def __init__(self, theme: Theme, lang: str, k: float) -> None:
        self.tokens = TOKENS[theme]
        self.theme = theme
        self.lang = lang
        self.k = k

    def background(self, *, land_is_known: bool) -> Json:
        colour = self.tokens["outside" if land_is_known else "ground"]
        return _layer("background", "background", GROUND, paint={"background-color": colour})

    def zoomed(self, *stops: tuple[float, float]) -> list[Any]:
        """A size in px that grows with the zoom: (zoom, px) pairs."""
        return ["interpolate", ["linear"], ["zoom"], *(x for zoom, px in stops for x in (zoom, round(px * self.k, 2)))]

    @property
    def name(self) -> list[Any]:
        """The name in the reader's language, or the one there is."""
        return ["coalesce", ["get", "name_en"], ["get", "name"]] if self.lang == "en" else ["get", "name"]

    def label(self, id_: str, field: list[Any], size: list[Any], token: str = "quiet", **layout: object) -> Json:  # noqa: S107
        return _layer(
            id_,
            "symbol",
            LABELS,
            layout={"text-field": field, "text-font": list(FONTS), "text-size": size, "text-max-width": 8, **layout},
            paint={
                "text-color": self.tokens[token],
                "text-halo-color": self.tokens["ground"],
                "text-halo-width": round(1.5 * self.k, 2),
            },
        )


def _layer(id_: str, kind: str, rank: int, **rest: object) -> Json:
    return {"id": id_, "type": kind, "metadata": {"twin:rank": rank}, **rest}


def _boundaries(draw: _Pen) -> list[Json]:
    width = draw.zoomed((6, 0.6), (12, 1.6))
    line = {"line-color": draw.tokens["border"], "line-width": width, "line-dasharray": [4, 2], "line-opacity": 0.7}
    return [
        _layer("land", "fill", GROUND, paint={"fill-color": draw.tokens["ground"], "fill-antialias": False}),
        _layer("borders", "line", NETWORK, layout={"line-join": "round"}, paint=line),
    ]


def _waters(draw: _Pen) -> list[Json]:
    colour = draw.tokens["water"]
    large = ["any", [">=", ["zoom"], 11], ["!=", ["get", "kind"], "pond"]]  # a pond is a dot before
    return [
        _layer("water", "fill", GROUND, filter=["all", _is("Polygon"), large], paint={"fill-color": colour}),
        _layer(
            "rivers",
            "line",
            GROUND,
            filter=_is("LineString"),
            layout={"line-cap": "round", "line-join": "round"},
            paint={"line-color": colour, "line-width": draw.zoomed((8, 0.8), (12, 2.2), (16, 8))},
        ),
        draw.label("river-names", draw.name, draw.zoomed((11, 11), (15, 13)), **_ALONG)
        | {"minzoom": 11, "filter": _is("LineString")},
    ]


def _roads(draw: _Pen) -> list[Json]:
    layers: list[Json] = []
    for road in _ROAD_CLASSES:
        width = draw.zoomed(*zip((8, 12, 16), road.width_px, strict=True))
        layers.append(
            _layer(
                f"roads-{road.names[0]}",
                "line",
                NETWORK,
                minzoom=road.minzoom,
                filter=["in", ["get", "class"], ["literal", list(road.names)]],
                layout={"line-cap": "round", "line-join": "round"},
                paint={"line-color": draw.tokens[road.token], "line-width": width},
            )
        )
    names = draw.label("road-names", draw.name, draw.zoomed((12, 11), (16, 14)), **_ALONG) | {"minzoom": 12}
    return [*layers, names, _shields(draw)]


def _shields(draw: _Pen) -> dict[str, Any]:
    """Numbers of the main roads. A page that has an image `shield` puts it behind them."""
    layer = draw.label(
        "road-shields",
        ["get", "ref"],
        draw.zoomed((8, 10), (14, 12)),
        token="text",  # noqa: S106
        **{
            "symbol-placement": "line",
            "symbol-spacing": round(320 * draw.k),
            "icon-image": "shield",
            "icon-text-fit": "both",
            "icon-text-fit-padding": [2, 4, 2, 4],
            "text-rotation-alignment": "viewport",
            "icon-rotation-alignment": "viewport",
        },
    )
    main = ["in", ["get", "class"], ["literal", ["motorway", "trunk", "primary", "secondary"]]]
    numbered = ["all", main, ["has", "ref"], ["<=", ["length", ["get", "ref"]], _LONGEST_REF]]
    return layer | {"minzoom": 8, "filter": numbered}


def _railways(draw: _Pen) -> list[Json]:
    width = draw.zoomed((8, 0.6), (14, 2))
    return [
        _layer(
            "railways", "line", NETWORK, minzoom=8, paint={"line-color": draw.tokens["border"], "line-width": width}
        ),
        _layer(
            "railway-ties",
            "line",
            NETWORK,
            minzoom=11,
            paint={
                "line-color": draw.tokens["ground"],
                "line-width": draw.zoomed((11, 0.6), (14, 1.2)),
                "line-dasharray": [6, 6],
            },
        ),
    ]


def _buildings(draw: _Pen) -> list[Json]:
    colour, edge = draw.tokens["building"], draw.tokens["line"]
    flat = _layer("buildings", "fill", NETWORK, minzoom=14, paint={"fill-color": colour, "fill-outline-color": edge})
    if draw.theme == "print":
        return [flat]
    height_m = ["coalesce", ["get", "height_m"], ["*", _STOREY_M, ["coalesce", ["get", "floors"], 1]]]
    solid = _layer(
        "buildings-solid",
        "fill-extrusion",
        SOLID,
        minzoom=15,
        paint={"fill-extrusion-color": colour, "fill-extrusion-height": height_m, "fill-extrusion-opacity": 0.9},
    )
    return [flat | {"maxzoom": 15}, solid]


def _towns(draw: _Pen) -> list[Json]:
    paint = {"line-color": draw.tokens["border"], "line-width": draw.zoomed((10, 0.4), (14, 1)), "line-opacity": 0.4}
    return [_layer("town-borders", "line", NETWORK, minzoom=10, paint=paint)]


def _town_labels(draw: _Pen) -> list[Json]:
    """Names of towns from their areas, for a city without a list of place names: one in every tile an area touches."""
    return [draw.label("town-names", draw.name, draw.zoomed((10, 11), (14, 14))) | {"minzoom": 10, "maxzoom": 15}]


def _places(draw: _Pen) -> list[Json]:
    towns = draw.label("town-names", draw.name, draw.zoomed((10, 11), (14, 14)))
    small = draw.label("place-names", draw.name, draw.zoomed((12, 10), (16, 12)))
    return [
        small | {"minzoom": 12, "filter": _kind("village", "neighbourhood", "locality", "mountain")},
        towns | {"minzoom": 10, "maxzoom": 15, "filter": _kind("town")},
    ]


def _kind(*kinds: str) -> list[Any]:
    return ["in", ["get", "kind"], ["literal", list(kinds)]]


def _district_labels(draw: _Pen) -> list[Json]:
    size = draw.zoomed((7, 12), (11, 17))
    layout = {"text-letter-spacing": 0.08, "text-allow-overlap": True, "symbol-sort-key": 0}
    names = draw.label("district-names", ["get", "name"], size, "text", **layout)
    names["paint"]["text-halo-width"] = round(2 * draw.k, 2)
    return [names | {"maxzoom": 13}]


def _is(geometry: str) -> list[Any]:
    return ["==", ["geometry-type"], geometry]


_ALONG: Json = {"symbol-placement": "line", "symbol-spacing": 400, "text-max-angle": 30}

_LAYERS = (
    (BOUNDARIES, _boundaries),
    (WATERS, _waters),
    (BUILDINGS, _buildings),
    (RAILWAYS, _railways),
    (ROADS, _roads),
    (TOWNS, _towns),
    (PLACES, _places),
)
