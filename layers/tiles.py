"""Vector tiles: a dataset as Mapbox Vector Tiles (MVT 2.1), written by PostGIS from the rows that a View shows.

A tile is never larger than 500 kB and never has a blank part where there are records: where too many records fall into
a tile, one stands for each square of a grid over it, the largest, and those larger than a few squares all stay.
"""

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.query import visible
from twin.city import City
from twin.errors import InvalidRequest
from twin.view import View

__all__ = [
    "MAX_TILE_BYTES",
    "MEDIA_TYPE",
    "TILE_MATRIX_SET",
    "TileAddress",
    "TileCache",
    "etag",
    "tile",
    "tilejson",
    "tileset",
]

MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
MAX_TILE_BYTES = 500_000
MAX_ZOOM = 22

_EXTENT, _BUFFER = 4096, 64
_HALF_WORLD_M = 20_037_508.342789244
_MERCATOR = 3857
_MATRIX_SET = "WebMercatorQuad"
_GRIDS = (128, 64, 32, 16)
"""Squares along a tile's edge, from the finest thinning to the coarsest."""
_FEW = 4_000
"""So many records are drawn whole."""
_LARGE_SQUARES = 4
_SIMPLIFIED_BELOW_ZOOM = 14
_SAFE_INTEGER = (1 << 53) - 1
_PIXEL_M = 0.00028

Column = sa.ColumnElement[Any]


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


async def tile(connection: AsyncConnection, contract: Contract, view: View, city: City, address: TileAddress) -> bytes:
    """The tile of a dataset; empty bytes where it shows nothing.

    One layer named like the dataset. A feature's integer id comes from its text `id`, so it is the same in all tiles.
    """
    hits = _hits(contract, view, city, address)
    some = sa.select(sa.literal_column("1")).select_from(hits).limit(_FEW + 1).subquery()
    number = (await connection.execute(sa.select(sa.func.count()).select_from(some))).scalar_one()
    if number == 0:
        return b""
    found = b""
    for grid in (*((None,) if number <= _FEW else ()), *_GRIDS):
        statement = _encoded(contract, hits, address, grid)
        found = bytes((await connection.execute(statement)).scalar() or b"")
        if len(found) <= MAX_TILE_BYTES:
            break
    return found


def _hits(contract: Contract, view: View, city: City, address: TileAddress) -> sa.Subquery:
    """The rows whose box touches the tile or its buffer."""
    rows = visible(contract, view, city)
    box = sa.func.ST_MakeEnvelope(*address.box_deg(_BUFFER / _EXTENT), city.srid)
    return sa.select(rows).where(rows.c.geom.op("&&")(box)).subquery("hits")


def _encoded(contract: Contract, hits: sa.Subquery, address: TileAddress, grid: int | None) -> sa.Select[Any]:
    """The statement that writes the layer, thinned over a grid or, with None, whole."""
    west, south = address.corner_m
    width = address.width_m
    bounds = sa.func.ST_MakeEnvelope(west, south, west + width, south + width, _MERCATOR)
    rows = hits if grid is None else _thinned(hits, address, grid)
    plane = sa.func.ST_Transform(rows.c.geom, _MERCATOR)
    if contract.geometry != "point" and (address.z < _SIMPLIFIED_BELOW_ZOOM or grid is not None):
        tolerance = width / _EXTENT * (_GRIDS[0] / (grid or _GRIDS[0]))
        plane = sa.func.ST_Simplify(plane, tolerance, sa.true())
    number = sa.func.hashtextextended(rows.c.id, 0).op("&")(sa.literal_column(str(_SAFE_INTEGER), sa.BigInteger()))
    features = sa.select(
        number.label("__number"),
        rows.c.id,
        *(_attribute(contract, rows, name) for name in _attributes(contract, thinned=grid is not None)),
        sa.func.ST_AsMVTGeom(plane, bounds, _EXTENT, _BUFFER, sa.true()).label("__geometry"),
    ).subquery("features")
    drawn = sa.select(features).where(features.c["__geometry"].is_not(None)).subquery("drawn")
    layer = sa.func.ST_AsMVT(sa.text("drawn.*"), contract.id, _EXTENT, "__geometry", "__number")
    return sa.select(layer).select_from(drawn)


def _thinned(hits: sa.Subquery, address: TileAddress, grid: int) -> sa.Subquery:
    """One row for each square of a grid over the tile, the largest of those whose middle lies in it; and large rows."""
    west, south, east, north = address.box_deg()
    step_x, step_y = (east - west) / grid, (north - south) / grid
    g, func = hits.c.geom, sa.func
    at_x = func.floor(((func.ST_XMin(g) + func.ST_XMax(g)) / 2 - west) / step_x)
    at_y = func.floor(((func.ST_YMin(g) + func.ST_YMax(g)) / 2 - south) / step_y)
    size = func.greatest(func.ST_XMax(g) - func.ST_XMin(g), func.ST_YMax(g) - func.ST_YMin(g))
    # Of equals a hash decides, not the order in which they are stored: the same one stands in every answer.
    rank = func.row_number().over(partition_by=(at_x, at_y), order_by=(size.desc(), func.hashtext(hits.c.id)))
    ranked = sa.select(hits, rank.label("__rank"), size.label("__size")).subquery("ranked")
    kept = sa.or_(ranked.c["__rank"] == 1, ranked.c["__size"] > _LARGE_SQUARES * step_x)
    return sa.select(ranked).where(kept).subquery("thinned")


def _attributes(contract: Contract, *, thinned: bool) -> list[str]:
    """The fields that a tile carries: all, or where records are thinned those that the style looks at."""
    if not thinned:
        return list(contract.fields)
    style = contract.style
    parts = (style.circle, style.line, style.fill)
    looked_at = {style.label, *(part.colour for part in parts if part is not None)}
    return [name for name in contract.fields if name in looked_at]


def _attribute(contract: Contract, rows: sa.FromClause, name: str) -> Column:
    """A field as a tile can carry it: times become texts."""
    column = rows.c[name]
    is_time = contract.fields[name].type in {"datetime", "date"}
    return (sa.cast(column, sa.Text()) if is_time else column).label(name)


def etag(contract: Contract, version: int, view: View) -> str:
    """A weak validator of the dataset's answers: it changes with the dataset, the audience and the view.

    A view without a fixed time moves with the clock, so its validator holds for the rows' changes only.
    """
    text = f"{contract.id} {version} {view!r}"
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'


class TileCache:
    """Packed tiles by their key; those not asked for longest go first.

    A key names all that a tile depends on: dataset, version, view (with its audience) and address.
    """

    def __init__(self, max_bytes: int = 128_000_000) -> None:
        self._tiles: OrderedDict[object, bytes] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def get(self, key: object) -> bytes | None:
        """The tile of a key; None when it is not there."""
        found = self._tiles.get(key)
        if found is not None:
            self._tiles.move_to_end(key)
        return found

    def put(self, key: object, packed: bytes) -> None:
        """Keep a tile."""
        self._bytes += len(packed) - len(self._tiles.pop(key, b""))
        self._tiles[key] = packed
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._tiles.popitem(last=False)[1])


def tilejson(contract: Contract, city: City, base_url: str) -> dict[str, Any]:
    """TileJSON 3.0 of a dataset."""
    layer = {
        "id": contract.id,
        "description": contract.title.en,
        "fields": {name: spec.title.en for name, spec in contract.fields.items()},
    }
    return {
        "tilejson": "3.0.0",
        "name": contract.title.zh,
        "attribution": contract.owner,
        "tiles": [f"{base_url}/collections/{contract.id}/tiles/{_MATRIX_SET}/{{z}}/{{y}}/{{x}}"],
        "bounds": list(city.bounds),
        "minzoom": contract.style.minzoom,
        "maxzoom": MAX_ZOOM,
        "vector_layers": [layer],
    }


def tileset(contract: Contract, city: City, base_url: str) -> dict[str, Any]:
    """The tileset metadata of OGC API Tiles."""
    path = f"{base_url}/collections/{contract.id}/tiles/{_MATRIX_SET}"
    west, south, east, north = city.bounds
    return {
        "title": contract.title.zh,
        "dataType": "vector",
        "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
        "tileMatrixSetURI": "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad",
        "layers": [{"id": contract.id, "dataType": "vector"}],
        "boundingBox": {"lowerLeft": [west, south], "upperRight": [east, north]},
        "links": [
            {"href": path, "rel": "self", "type": "application/json"},
            {
                "href": f"{path}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}",
                "rel": "item",
                "type": MEDIA_TYPE,
                "templated": True,
            },
            {"href": f"{path}/tilejson.json", "rel": "describedby", "type": "application/json"},
        ],
    }


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
    "id": _MATRIX_SET,
    "title": "Google Maps Compatible for the World",
    "uri": "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad",
    "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
    "orderedAxes": ["X", "Y"],
    "wellKnownScaleSet": "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible",
    "tileMatrices": [_matrix(zoom) for zoom in range(MAX_ZOOM + 1)],
}
"""WebMercatorQuad (OGC 17-083r4, annex D)."""
