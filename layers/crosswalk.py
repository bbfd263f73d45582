"""Crosswalk: cells of the grid to statutory areas and back, by area or by people, with every sum conserved.

A cell that lies in several areas is shared among them, by the surface it has in each or by where its people live
(dasymetric: by what stands there, e.g. the floor area of homes). Whole units are handed out by largest remainders, so
that the areas and what lies in none of them add up to the cells to the last digit. An area's number is as good as its
cells are small; the count of records in a polygon is another question, asked of the records.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from layers.contract import Contract, Indicator
from layers.query import visible
from twin.city import City
from twin.geometry import METRES_PER_DEGREE
from twin.grid import cell_polygons, parents, resolution_of
from twin.view import View

__all__ = [
    "OUTSIDE",
    "AreaTotals",
    "AreaUnits",
    "By",
    "People",
    "apportion",
    "area_rows",
    "area_units",
    "people_rows",
    "shares_of_cells",
    "totals",
]

By = Literal["area", "people"]
Cells = NDArray[np.int64]
Floats = NDArray[np.float64]

OUTSIDE = -1
"""The number of the area in which what lies in none is kept."""
_KM2_PER_DEGREE2 = (METRES_PER_DEGREE / 1_000) ** 2


@dataclass(frozen=True, slots=True)
class AreaUnits:
    """The areas of one kind: codes, names, polygons (n,) in degrees. Of a partition every place is in one of them."""

    kind: str
    codes: list[str]
    names: list[str | None]
    shapes: NDArray[np.object_]
    is_partition: bool

    @property
    def km2(self) -> Floats:
        """The area (n,) of each, on a cylinder that touches at its middle latitude: within 0.5 % over a city."""
        bounds = shapely.bounds(self.shapes)
        return shapely.area(self.shapes) * np.cos(np.radians((bounds[:, 1] + bounds[:, 3]) / 2)) * _KM2_PER_DEGREE2


class People(NamedTuple):
    """Where people are: small cells (m,) and how much stands for them in each (m,)."""

    cell: Cells
    weight: Floats


class Shares(NamedTuple):
    """Which share (k,) of which cell (its number, (k,)) lies in which area (its number or OUTSIDE, (k,)).

    The shares of a cell add up to 1.
    """

    cell: NDArray[np.int64]
    area: NDArray[np.int64]
    share: Floats


class AreaTotals(NamedTuple):
    """An indicator over areas: `value` and `n` of each (a,), those of what lies in none, and those of all."""

    value: list[Decimal | None]
    n: list[int]
    outside: tuple[Decimal | None, int]
    total: tuple[Decimal | None, int]


def area_rows(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    """The areas that a dataset lists, as a View shows them: `code`, `name`, `geom` as WKB, in order of their codes."""
    if contract.areas is None:
        raise ValueError(f"{contract.id} lists no areas")
    shown = visible(contract, view, city)
    columns = shown.rows.c
    code = columns[contract.areas.code].label("code")
    chosen = shown.where(columns.geom.is_not(None), sa.func.ST_Dimension(columns.geom) == 2)
    return chosen.select(
        code, columns[contract.areas.name].label("name"), sa.func.ST_AsBinary(columns.geom).label("geom")
    ).order_by(code)


def area_units(contract: Contract, kind: str, rows: Sequence[sa.Row[Any]]) -> AreaUnits:
    """The areas of one of the dataset's kinds, of the rows that `area_rows` selected."""
    if contract.areas is None or kind not in contract.areas.kinds:
        raise ValueError(f"{contract.id} lists no areas of the kind {kind}")
    shapes: NDArray[np.object_] = np.array([shapely.from_wkb(bytes(row.geom)) for row in rows], dtype=object)
    codes: list[str] = [row.code for row in rows]
    names: list[str | None] = [row.name for row in rows]
    groups = contract.areas.groups
    if groups is not None and kind == groups.kind:
        members: dict[str, list[int]] = {}
        for at, code in enumerate(codes):
            members.setdefault(code[: groups.digits], []).append(at)
        # Sorted by code, the rows of a group stand together; a group has no name of its own.
        codes, names = list(members), [None] * len(members)
        shapes = np.array([shapely.union_all(shapes[own]) for own in members.values()], dtype=object)
    shapely.prepare(shapes)
    return AreaUnits(kind, codes, names, shapes, contract.areas.partition)


def people_rows(contract: Contract, view: View, city: City) -> sa.Select[Any]:
    """How much of what stands for people is in each of the finest cells: `cell`, `weight`."""
    if contract.dasymetric is None:
        raise ValueError(f"{contract.id} says nothing of where people are")
    shown = visible(contract, view, city)
    columns = shown.rows.c
    chosen = [columns[name].in_(values) for name, values in contract.dasymetric.where.items()]
    weight = sa.cast(sa.func.sum(columns[contract.dasymetric.field]), sa.Double()).label("weight")
    return shown.where(columns.cell.is_not(None), *chosen).select(columns.cell, weight).group_by(columns.cell)


def shares_of_cells(cells: Cells, areas: AreaUnits, people: People | None = None) -> Shares:
    """The shares of cells (n,) in areas: by surface, or by `people` where some are known in the cell.

    In a partition what reaches over the city's edge belongs to the areas that the cell touches, and a cell that touches
    none to the nearest; in other kinds it lies outside.
    """
    n = len(cells)
    if not n or not areas.codes:
        return Shares(np.arange(n), np.full(n, OUTSIDE), np.ones(n))
    polygons = cell_polygons(cells)
    cell, area, share = _by_surface(polygons, areas)
    if people is not None and len(people.cell):
        cell, area, share = _by_people(cells, areas, people, (cell, area, share))
    held = np.zeros(n)
    np.add.at(held, cell, share)
    if areas.is_partition:
        share = share / held[cell]
        lost = np.flatnonzero(held == 0)
        near = shapely.STRtree(areas.shapes).nearest(shapely.centroid(polygons[lost])) if len(lost) else lost
        extra = np.ones(len(lost))
    else:
        over = held > 1  # areas that overlap: their shares are cut to fit
        share = np.where(over[cell], share / held[cell], share)
        lost = np.flatnonzero(held < 1 - 1e-9)
        near, extra = np.full(len(lost), OUTSIDE), 1 - held[lost]
    return Shares(np.r_[cell, lost], np.r_[area, near].astype(np.int64), np.r_[share, extra])


def _by_surface(polygons: NDArray[np.object_], areas: AreaUnits) -> tuple[Cells, Cells, Floats]:
    area, cell = shapely.STRtree(polygons).query(areas.shapes, predicate="intersects")
    whole = shapely.contains_properly(areas.shapes[area], polygons[cell])
    share = np.ones(len(cell))
    part = np.flatnonzero(~whole)
    meet = shapely.intersection(areas.shapes[area[part]], polygons[cell[part]])
    share[part] = shapely.area(meet) / shapely.area(polygons[cell[part]])
    kept = share > 0
    return cell[kept].astype(np.int64), area[kept].astype(np.int64), share[kept]


def _by_people(
    cells: Cells, areas: AreaUnits, people: People, surface: tuple[Cells, Cells, Floats]
) -> tuple[Cells, Cells, Floats]:
    """Shares by the people in each; of cells without people, and those smaller than theirs, by surface."""
    middles = shapely.centroid(cell_polygons(people.cell))
    which, place = shapely.STRtree(middles).query(areas.shapes, predicate="intersects")
    around = np.full(len(middles), OUTSIDE)
    around[place] = which
    weight: dict[tuple[int, int], float] = {}
    size = resolution_of(cells)
    fine = resolution_of(people.cell)
    for resolution in np.unique(size).tolist():
        asked = {int(one): at for at, one in enumerate(cells.tolist()) if size[at] == resolution}
        small = fine >= resolution
        above = parents(people.cell[small], resolution).tolist()
        for parent, area, much in zip(above, around[small].tolist(), people.weight[small].tolist(), strict=True):
            if parent in asked and much > 0 and area != OUTSIDE:
                key = asked[parent], area
                weight[key] = weight.get(key, 0.0) + much
    if not weight:
        return surface
    cell, area = (np.array(part, dtype=np.int64) for part in zip(*weight, strict=True))
    much = np.array(list(weight.values()))
    held = np.zeros(len(cells))
    np.add.at(held, cell, much)
    rest = held[surface[0]] == 0
    return (
        np.r_[cell, surface[0][rest]],
        np.r_[area, surface[1][rest]],
        np.r_[much / held[cell], surface[2][rest]],
    )


def apportion(amount: int, shares: Sequence[float]) -> list[int]:
    """Whole units handed out by shares that add up to 1, by largest remainders (Hamilton): none is lost."""
    if len(shares) == 1:
        return [amount]
    exact = [share * abs(amount) for share in shares]
    floors = [math.floor(one) for one in exact]
    left = abs(amount) - sum(floors)
    order = sorted(range(len(shares)), key=lambda at: (floors[at] - exact[at], at))
    step = 1 if left > 0 else -1
    for turn in range(abs(left)):
        floors[order[turn % len(order)] if step > 0 else order[-1 - turn % len(order)]] += step
    return [-one for one in floors] if amount < 0 else floors


def totals(indicator: Indicator, rows: Sequence[Any], shares: Shares, areas: AreaUnits) -> AreaTotals:
    """An indicator over areas, from rows of (cell, n, total, smallest, largest) and the shares of these cells.

    What it counts or adds up is conserved: the areas and the outside add up to the whole, exactly.
    """
    places = len(areas.codes) + 1  # the last is OUTSIDE
    digits = max((-int(row[2].as_tuple().exponent) for row in rows if row[2] is not None), default=0)
    unit = Decimal(1).scaleb(-max(digits, 0))
    number, amount = [0] * places, [0] * places
    smallest: list[float | None] = [None] * places
    largest: list[float | None] = [None] * places
    order = np.argsort(shares.cell, kind="stable")
    starts = np.searchsorted(shares.cell[order], np.arange(len(rows) + 1))
    for at, (_, n, total, low, high) in enumerate(rows):
        mine = order[starts[at] : starts[at + 1]]
        where, weights = shares.area[mine].tolist(), shares.share[mine].tolist()
        whole = int((total or Decimal(0)) / unit)
        for area, part, much in zip(where, apportion(int(n), weights), apportion(whole, weights), strict=True):
            number[area] += part
            amount[area] += much
            smallest[area] = _least(smallest[area], low, min)
            largest[area] = _least(largest[area], high, max)
    km2 = [*areas.km2.tolist(), math.nan]

    def value(at: int) -> Decimal | None:
        return _value(indicator, number[at], amount[at] * unit, smallest[at], largest[at], km2[at])

    everything = _value(
        indicator,
        sum(number),
        sum(amount) * unit,
        min((one for one in smallest if one is not None), default=None),
        max((one for one in largest if one is not None), default=None),
        math.fsum(km2[:-1]),
    )
    return AreaTotals(
        [value(at) for at in range(places - 1)], number[:-1], (value(-1), number[-1]), (everything, sum(number))
    )


def _least(one: float | None, other: float | None, choose: Any) -> float | None:  # noqa: ANN401  (min or max)
    return other if one is None else one if other is None else choose(one, other)


def _value(
    indicator: Indicator, n: int, total: Decimal, low: float | None, high: float | None, km2: float
) -> Decimal | None:
    """The measure of additive parts; None where there is nothing to measure."""
    match indicator.parsed.how:
        case "count":
            found: Decimal | None = Decimal(n)
        case "sum":
            found = total
        case "min":
            found = None if low is None else Decimal(repr(low))
        case "max":
            found = None if high is None else Decimal(repr(high))
        case _:
            found = total / n if n else None
    if indicator.per_km2 and found is not None:
        return found / Decimal(repr(km2)) if km2 > 0 else None
    return found
