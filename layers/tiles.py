"""Vector tiles: a dataset as Mapbox Vector Tiles (MVT 2.1), written by PostGIS from the rows that a View shows.

A tile is never larger than 500 kB and never has a blank part where there are records. Where too many records fall
into it, one stands for each square of a grid over the tile, the most important of them, and those larger than a few
squares all stay; a coarser grid follows until the tile is small enough. Which one stands is decided by its size and by
a hash of its id, never by the order in which records are stored. A shape too small for the tile's raster becomes the
smallest that can be seen, as in tippecanoe's tiny polygon reduction.
"""

import math
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from layers.contract import Contract
from layers.query import Visible, visible
from layers.tilesets import TileAddress
from twin.city import City
from twin.view import View

__all__ = ["MARGIN", "MAX_TILE_BYTES", "tile"]

MAX_TILE_BYTES = 500_000

_EXTENT, _BUFFER = 4096, 64
MARGIN = _BUFFER / _EXTENT
"""How much of its width a tile shows beyond each edge."""
_MERCATOR = 3857
_FEW = 6_000
"""So many records are drawn whole, with all their fields."""
_GRIDS = (90, 64, 45, 32, 23, 16, 11, 8)
"""Squares along a tile's edge: from one to the next a tile holds half as many records."""
_LARGE_SQUARES = 4
_LEAST_UNITS = 2  # raster units: an eighth of a pixel of a 256 px tile
_LABELS = ("name", "name_en", "ref", "class")
"""Fields by which base maps draw and label, kept where a tile is thinned."""

_SAFE_INTEGER = (1 << 53) - 1  # the largest that JavaScript holds exactly
_RANKS, _SIZES = 15, 255
_HASH_BITS = 47


async def tile(connection: AsyncConnection, contract: Contract, view: View, city: City, address: TileAddress) -> bytes:
    """The tile of a dataset; empty bytes where it shows nothing.

    One layer named like the dataset, with its fields and the text `id`. A feature's integer id is made of `id`, so it
    is the same in all tiles and at all times. Raises as `visible` does.
    """
    found = visible(contract, view, city)
    box = sa.func.ST_MakeEnvelope(*address.box_deg(MARGIN), city.srid)
    found = found.where(found.rows.c.geom.op("&&")(box))
    drawing = _Drawing(contract, address)
    number, drawn = (await connection.execute(drawing.whole(found))).one()
    if number == 0 or (drawn is not None and len(drawn) <= MAX_TILE_BYTES):
        return bytes(drawn or b"")
    level = 1 if contract.geometry == "point" else 0  # points weigh the same, so it is known where they end up
    while True:
        drawn = bytes((await connection.execute(drawing.thinned(found, level))).scalar() or b"")
        if len(drawn) <= MAX_TILE_BYTES or level == len(_GRIDS) - 1:
            return drawn
        # Each level halves the records, so the size tells how many levels are needed.
        level = min(level + max(1, math.ceil(math.log2(len(drawn) / MAX_TILE_BYTES))), len(_GRIDS) - 1)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """How one tile of a dataset is drawn, as SQL. Every name in it is the catalogue's.

    The text is the same for all tiles of a dataset, so it is written and compiled once; where the tile lies is said
    beside it, in `frame`.
    """

    contract: Contract
    address: TileAddress

    def frame(self, grid: int = 1) -> sa.CTE:
        """Where the tile lies: its bounds and raster unit on the Mercator plane, its squares in degrees."""
        west_m, south_m = self.address.corner_m
        width_m = self.address.width_m
        west, south, east, north = self.address.box_deg()
        bounds = sa.func.ST_MakeEnvelope(west_m, south_m, west_m + width_m, south_m + width_m, _MERCATOR)
        numbers = {
            "unit_m": width_m / _EXTENT,
            "west": west,
            "south": south,
            "step_x": (east - west) / grid,
            "step_y": (north - south) / grid,
        }
        columns = (sa.literal(number, sa.Double()).label(name) for name, number in numbers.items())
        return sa.select(bounds.label("bounds"), *columns).cte("frame")

    def whole(self, found: Visible) -> sa.Select[int, Any]:
        """The number of records, at most one more than `_FEW`, and the tile of all of them where they are few."""
        names = list(self.contract.fields)
        hits = found.select(*(found.rows.c[name] for name in ("id", "geom", *names))).limit(_FEW + 1).cte("hits")
        number = sa.select(sa.func.count()).select_from(hits).scalar_subquery()
        drawn = sa.case((number <= _FEW, self._layer(names, tolerance=0)))
        return sa.select(number, drawn).add_cte(hits, self.frame())

    def thinned(self, found: Visible, level: int) -> sa.Select[Any]:
        """The tile with one record for each square of a grid, and the large ones; at the last level only the former."""
        names = _kept(self.contract)
        grid, last = _GRIDS[level], level == len(_GRIDS) - 1
        # Kept aside: the rows are looked at twice, and reading them from the table takes most of the time.
        keyed = found.select(
            *(found.rows.c[name] for name in ("id", "geom", *names)),
            sa.literal_column(f"floor(({_MIDDLE_X} - {_of_frame('west')}) / {_STEP})").label("__square_x"),
            sa.literal_column(f"floor(({_MIDDLE_Y} - {_of_frame('south')}) / {_of_frame('step_y')})").label(
                "__square_y"
            ),
            sa.literal_column(self._weight(), sa.BigInteger()).label("__weight"),
            sa.literal_column(f"{_SIZE} > {_LARGE_SQUARES} * {_STEP}", sa.Boolean()).label("__large"),
        ).cte("keyed")
        best = sa.select(sa.func.max(keyed.c["__weight"])).group_by(keyed.c["__square_x"], keyed.c["__square_y"])
        stands = keyed.c["__weight"].in_(best)
        hits = (
            sa.select(*(keyed.c[name] for name in ("id", "geom", *names)))
            .where(stands if last else sa.or_(keyed.c["__large"], stands))
            .cte("hits")
        )
        return sa.select(self._layer(names, tolerance=1 << level)).add_cte(self.frame(grid), hits)

    def _weight(self) -> str:
        """How much a record matters, as a 63-bit number that no other record has: rank, then size, then a hash.

        Only lines have a rank: the place of their value in the field that colours them, as roads have theirs by class.
        """
        rank = str(_RANKS)
        part = self.contract.style.line
        spec = self.contract.fields.get(part.colour) if part else None
        if part and spec and spec.values and self.contract.geometry == "line":
            values = ", ".join(f"'{value}'" for value in spec.values if "'" not in value)
            place = f"""coalesce(array_position(ARRAY[{values}], "{part.colour}"), {_RANKS})"""
            rank = f"greatest({_RANKS} - {place}, 0)"
        size = "0"
        if self.contract.geometry != "point":
            steps = f"16 * (8 + ln({_SIZE} / {_STEP} + 1e-9) / {math.log(2)!r})"
            size = f"least(greatest({steps}, 0), {_SIZES})"
        number = f"(({rank}) * {_SIZES + 1} + floor({size}))::bigint"
        return f"(({number} << {_HASH_BITS}) | (hashtextextended(id, 0) & {(1 << _HASH_BITS) - 1}))"

    def _layer(self, names: list[str], tolerance: int) -> sa.ColumnElement[Any]:
        """The layer of the rows of `hits`, their lines and areas simplified by so many raster units."""
        attributes = "".join(f", {_attribute(self.contract, name)}" for name in names)
        name = self.contract.id
        # OFFSET 0 keeps the parts apart: merged, each shape would be projected ten times and clipped twice.
        return sa.literal_column(
            f"""(SELECT ST_AsMVT(drawn, '{name}', {_EXTENT}, '__shape', '__number') FROM (
            SELECT hashtextextended(id, 0) & {_SAFE_INTEGER} AS __number, id{attributes},
            ST_AsMVTGeom({self._shape(tolerance)}, {_of_frame("bounds")}, {_EXTENT}, {_BUFFER}, true) AS __shape
            FROM (SELECT *, ST_Transform(geom, {_MERCATOR}) AS __plane FROM hits OFFSET 0) AS plane OFFSET 0
            ) AS drawn WHERE __shape IS NOT NULL)""",
            sa.LargeBinary(),
        )

    def _shape(self, tolerance: int) -> str:
        """The shape on the Mercator plane; a line or area smaller than the raster shows becomes a mark of its place."""
        if self.contract.geometry == "point":
            return "__plane"
        simple = f"ST_Simplify(__plane, {tolerance} * {_UNIT}, true)" if tolerance else "__plane"
        mark = f"ST_Expand(ST_Envelope(__plane), {_LEAST_UNITS / 2} * {_UNIT})"
        corners = f"ST_PointN(ST_ExteriorRing({mark}), 1), ST_PointN(ST_ExteriorRing({mark}), 3)"
        size = "greatest(ST_XMax(__plane) - ST_XMin(__plane), ST_YMax(__plane) - ST_YMin(__plane))"
        return (
            f"CASE WHEN ST_Dimension(__plane) = 0 OR {size} >= {_LEAST_UNITS} * {_UNIT} THEN {simple}"
            f" WHEN ST_Dimension(__plane) = 1 THEN ST_MakeLine({corners}) ELSE {mark} END"
        )


def _of_frame(name: str) -> str:
    """A number of `frame`, asked for once."""
    return f"(SELECT {name} FROM frame)"


_UNIT, _STEP = _of_frame("unit_m"), _of_frame("step_x")
_MIDDLE_X = "(ST_XMin(geom) + ST_XMax(geom)) / 2"
_MIDDLE_Y = "(ST_YMin(geom) + ST_YMax(geom)) / 2"
_SIZE = "ST_Length(ST_BoundingDiagonal(geom))"


def _kept(contract: Contract) -> list[str]:
    """The fields that a thinned tile carries: those that the style and base maps look at."""
    style = contract.style
    parts = (style.circle, style.line, style.fill)
    looked_at = {*_LABELS, style.label, *(part.colour for part in parts if part is not None)}
    return [name for name in contract.fields if name in looked_at]


def _attribute(contract: Contract, name: str) -> str:
    """A field as a tile can carry it: times become texts (RFC 3339)."""
    is_time = contract.fields[name].type in {"datetime", "date"}
    return f"""to_json("{name}") #>> '{{}}' AS "{name}" """ if is_time else f'"{name}"'
