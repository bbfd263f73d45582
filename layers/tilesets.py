"""Tilesets as their clients know them: addresses, TileJSON and the metadata of OGC API Tiles."""

import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from layers.contract import Contract
from twin.city import City
from twin.errors import InvalidRequest
from twin.view import View

__all__ = ["MATRIX_SET", "MATRIX_SET_URI", "MEDIA_TYPE", "TILE_MATRIX_SET", "TileAddress", "tilejson", "tileset"]

MATRIX_SET = "WebMercatorQuad"
MATRIX_SET_URI = "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad"
MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
MAX_ZOOM = 22

_HALF_WORLD_M = 20_037_508.342789244
_DEEPEST_USEFUL = 16  # its raster unit is 0.15 m; deeper zooms are drawn from it
_PIXEL_M = 0.00028  # OGC's standard pixel


@dataclass(frozen=True, slots=True)
class TileAddress:
    """A tile of the WebMercatorQuad matrix set."""

    z: int
    x: int
    y: int

    @classmethod
    def checked(cls, z: int, x: int, y: int) -> "TileAddress":
        """The address. Raises InvalidRequest when there is no such tile."""
        if not 0 <= z <= MAX_ZOOM:
            raise InvalidRequest(f"there is no zoom {z}.", remedy=f"Zooms go from 0 to {MAX_ZOOM}.")
        if not (0 <= x < 1 << z and 0 <= y < 1 << z):
            raise InvalidRequest(f"zoom {z} has no tile {x},{y}.", remedy=f"x and y go from 0 to {(1 << z) - 1}.")
        return cls(z, x, y)

    @property
    def width_m(self) -> float:
        """Length of an edge in metres of the Mercator plane."""
        return 2 * _HALF_WORLD_M / (1 << self.z)

    @property
    def corner_m(self) -> tuple[float, float]:
        """West and south edge in metres of the Mercator plane."""
        return self.x * self.width_m - _HALF_WORLD_M, _HALF_WORLD_M - (self.y + 1) * self.width_m

    def box_deg(self, margin: float = 0.0) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees, widened on all sides by a share of the tile."""
        count = 1 << self.z
        west, east = ((edge / count * 360) - 180 for edge in (self.x - margin, self.x + 1 + margin))
        south, north = (_latitude_deg(edge / count) for edge in (self.y + 1 + margin, self.y - margin))
        return west, south, east, north


def _latitude_deg(share: float) -> float:
    """Latitude of a share of the Mercator square, from its north edge."""
    return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * share))))


def tilejson(contract: Contract, city: City, base_url: str, view: View) -> dict[str, Any]:
    """TileJSON 3.0 of a dataset as a view shows it."""
    layer = {
        "id": contract.id,
        "description": contract.title.en,
        "fields": {"id": "Id", **{name: spec.title.en for name, spec in contract.fields.items()}},
    }
    return {
        "tilejson": "3.0.0",
        "name": contract.title.zh,
        "attribution": contract.owner,
        "tiles": [f"{base_url}/collections/{contract.id}/tiles/{MATRIX_SET}/{{z}}/{{y}}/{{x}}{_question(view)}"],
        "bounds": list(city.bounds),
        "minzoom": contract.style.minzoom,
        "maxzoom": _DEEPEST_USEFUL,
        "vector_layers": [layer],
    }


def tileset(contract: Contract, city: City, base_url: str, view: View) -> dict[str, Any]:
    """The tileset metadata of OGC API Tiles, of a dataset as a view shows it."""
    path = f"{base_url}/collections/{contract.id}/tiles/{MATRIX_SET}"
    west, south, east, north = city.bounds
    return {
        "title": contract.title.zh,
        "dataType": "vector",
        "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
        "tileMatrixSetURI": MATRIX_SET_URI,
        "layers": [{"id": contract.id, "dataType": "vector"}],
        "boundingBox": {"lowerLeft": [west, south], "upperRight": [east, north]},
        "links": [
            {"href": f"{path}{_question(view)}", "rel": "self", "type": "application/json"},
            {
                "href": f"{path}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}{_question(view)}",
                "rel": "item",
                "type": MEDIA_TYPE,
                "templated": True,
            },
            {"href": f"{path}/tilejson.json{_question(view)}", "rel": "describedby", "type": "application/json"},
        ],
    }


def _question(view: View) -> str:
    """The part of an address that asks for a view."""
    return f"?{urlencode(view.parameters)}" if view.parameters else ""


def _matrix(zoom: int) -> dict[str, Any]:
    cell_m = 2 * _HALF_WORLD_M / 256 / (1 << zoom)
    return {
        "id": str(zoom),
        "scaleDenominator": cell_m / _PIXEL_M,
        "cellSize": cell_m,
        "pointOfOrigin": [-_HALF_WORLD_M, _HALF_WORLD_M],
        "tileWidth": 256,
        "tileHeight": 256,
        "matrixWidth": 1 << zoom,
        "matrixHeight": 1 << zoom,
    }


TILE_MATRIX_SET: dict[str, Any] = {
    "id": MATRIX_SET,
    "title": "Google Maps Compatible for the World",
    "uri": MATRIX_SET_URI,
    "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
    "orderedAxes": ["X", "Y"],
    "wellKnownScaleSet": "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible",
    "tileMatrices": [_matrix(zoom) for zoom in range(MAX_ZOOM + 1)],
}
"""WebMercatorQuad (OGC 17-083r4, annex D)."""
