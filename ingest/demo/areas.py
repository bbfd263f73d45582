"""Areas: farm parcels around the villages, parks, scenic areas, industrial parks, building sites, mining subsidence."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.demo.codes import admin_code, parcel_code
from ingest.demo.fabric import Fabric
from ingest.demo.facilities import DistrictOf, distinct
from ingest.demo.names import words
from ingest.demo.noise import Floats, Ints
from ingest.demo.parcels import Parcels
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at, polygons_of
from ingest.demo.settlements import VILLAGE

__all__ = ["draw_areas", "draw_fields"]

_FIELD_M = (268.0, 152.0)
_FIELD_REACH = 2
_HEADLAND_M, _CLEAR_M = 5.0, 7.0
_CROPS = (
    ("冬小麦夏玉米", "Winter wheat and maize", 10),
    ("马铃薯", "Potatoes", 4),
    ("蔬菜", "Vegetables", 3),
    ("石榴", "Pomegranates", 1),
    ("大枣", "Jujubes", 1),
    ("花生", "Peanuts", 2),
    ("水稻", "Rice", 1),
    ("苗木", "Nursery stock", 1),
)
_MU_M2 = 2_000 / 3
_INDUSTRIAL_HA = 9.0


def draw_fields(plan: Plan, fabric: Fabric, taken: Geometries) -> tuple[pd.DataFrame, Geometries]:
    """Farm parcels on a grid turned like the village they belong to, each nearer to it than to any other place.

    Columns: field_id (19 characters), village_zh, village_en, crop_zh, crop_en, area_mu, irrigated, district, town.
    """
    rng = plan.rng("fields")
    places = fabric.settlements
    village = places.of(VILLAGE)
    u, v = (part.ravel() for part in np.mgrid[-_FIELD_REACH : _FIELD_REACH + 1, -_FIELD_REACH - 1 : _FIELD_REACH + 2])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    trim = 1 - 2 * _HEADLAND_M / np.array(_FIELD_M)
    local = (np.column_stack([u, v])[:, None] + corners * trim) * np.array(_FIELD_M)
    cos, sin = np.cos(places.turn_rad[village])[:, None, None], np.sin(places.turn_rad[village])[:, None, None]
    x, y = local[..., 0], local[..., 1]
    rings = places.xy[village][:, None, None] + np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
    owner = np.repeat(village, len(u))
    rings = rings.reshape(-1, 4, 2)
    nearest = shapely.STRtree(points_at(places.xy)).nearest(points_at(rings.reshape(-1, 2))).reshape(-1, 4)
    kept = (nearest == owner[:, None]).all(1) & (rng.random(len(rings)) < 0.9)
    inside = fabric.bounds.district_of(points_at(rings.reshape(-1, 2))).reshape(-1, 4)
    kept &= (inside == places.district[owner][:, None]).all(1)
    rings, owner = rings[kept], owner[kept]
    shape = polygons_of(rings)
    free = np.ones(len(shape), dtype=np.bool_)
    free[shapely.STRtree(taken).query(shape, predicate="dwithin", distance=_CLEAR_M)[0]] = False
    return _field_table(plan, fabric, owner[free], shape[free], rng), shape[free]


def _field_table(plan: Plan, fabric: Fabric, owner: Ints, shape: Geometries, rng: np.random.Generator) -> pd.DataFrame:
    places = fabric.settlements
    weight = np.array([share for *_, share in _CROPS], dtype=np.float64)
    # A village mostly grows one thing.
    usual = rng.choice(len(_CROPS), len(places.xy), p=weight / weight.sum())[owner]
    crop = np.where(rng.random(len(owner)) < 0.72, usual, rng.choice(len(_CROPS), len(owner), p=weight / weight.sum()))
    town_of = fabric.bounds.town_of(shapely.centroid(shape))
    towns = [*(town.code for part in plan.city.districts for town in part.towns), None]
    codes = [plan.city.districts[k].code for k in places.district[owner]]
    number = pd.Series(owner).groupby(owner).cumcount() + 1
    return pd.DataFrame({
        "field_id": [parcel_code(towns[t] or code, int(s) // 1000, int(s) % 1000 * 100 + n, "JA")
                     for t, code, s, n in zip(town_of, codes, owner, number, strict=True)],
        "village_zh": [places.titles[s].zh for s in owner],
        "village_en": [places.titles[s].en for s in owner],
        "crop_zh": [_CROPS[k][0] for k in crop],
        "crop_en": [_CROPS[k][1] for k in crop],
        "area_mu": (shapely.area(shape) / _MU_M2).round(2),
        "irrigated": rng.random(len(owner)) < 0.74,
        "district": codes,
        "town": [towns[t] for t in town_of],
    })  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Area:
    kind: str
    zh: str
    en: str
    shape: BaseGeometry
    code: str | None = None
    level: str | None = None
    instant: int | None = None
    day: int | None = None


def _blob(xy: Floats, area_m2: float, rng: np.random.Generator) -> BaseGeometry:
    """A rounded, uneven outline of the given area."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    wave = np.zeros(len(angle))
    for k in (1, 2, 3, 5, 7):
        wave += rng.uniform(0.03, 0.16) / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    shape = shapely.Polygon(xy + np.column_stack([np.cos(angle), np.sin(angle)]) * (1 + wave)[:, None])
    factor = float(np.sqrt(area_m2 / shape.area))
    return shapely.transform(shape, lambda at: xy + (at - xy) * factor)


def _parks(parcels: Parcels) -> Iterator[_Area]:
    for row in np.flatnonzero((parcels.table["land_use"] == "park").to_numpy()):
        zh, en = parcels.table["street_zh"].iloc[row], parcels.table["street_en"].iloc[row]
        front = (zh, en) if isinstance(zh, str) else ("街心", "Pocket")
        yield _Area(
            "park",
            f"{front[0]}公园",
            f"{front[1]} Park",
            parcels.shape[row],
            day=int(parcels.table["area_m2"].iloc[row] / 12),
        )


def _scenic(plan: Plan, fabric: Fabric) -> Iterator[_Area]:
    rng = plan.rng("scenic")
    for area in plan.facts.scenic:
        xy = plan.plane.to_plane(np.array([area.at]))[0]
        shape = _blob(xy, area.area_ha * 1e4, rng) & fabric.bounds.city
        # What reaches into a neighbour belongs to the district of its middle.
        district = fabric.bounds.district_of(points_at(xy[None]))
        if district[0] >= 0:
            shape &= fabric.bounds.districts[district[0]]
            largest = max(shapely.get_parts(shape), key=shapely.area)
            yield _Area(
                "scenic",
                area.title.zh,
                area.title.en,
                largest,
                None,
                area.level,
                area.instant_capacity,
                area.day_capacity,
            )


def _industrial_parks(plan: Plan, fabric: Fabric, parcels: Parcels) -> Iterator[_Area]:
    rng = plan.rng("industrial parks")
    works = (parcels.table["land_use"] == "industrial").to_numpy()
    for place in np.unique(parcels.settlement[works]):
        blocks = polygons_of(parcels.quads[works & (parcels.settlement == place)])
        for part in shapely.get_parts(shapely.buffer(shapely.union_all(shapely.buffer(blocks, 24)), -14)):
            if part.area > _INDUSTRIAL_HA * 1e4:
                word, title = words("firms")[int(rng.integers(len(words("firms"))))], fabric.settlements.titles[place]
                zh, en = f"{title.zh}{word.zh}工业园", f"{word.en} Industrial Park, {title.en}"
                yield _Area("industrial_park", zh, en, part, level=str(rng.choice(["国家级", "省级", "市级"])))


def _sites(plan: Plan, parcels: Parcels) -> Iterator[_Area]:
    rng = plan.rng("sites")
    for k, row in enumerate(np.flatnonzero((parcels.table["land_use"] == "construction").to_numpy())):
        word = words("estates")[int(rng.integers(len(words("estates"))))]
        district = parcels.table["district"].iloc[row]
        permit = f"{admin_code(district)}{rng.integers(2023, 2027)}{rng.integers(1, 13):02d}{k % 10_000:04d}01"
        zh, en = f"{word.zh}建设项目{k + 1}", f"{word.en} Construction Project {k + 1}"
        stage = str(rng.choice(["基础", "主体", "装饰", "竣工验收"]))
        yield _Area("construction_site", zh, en, parcels.shape[row], permit, stage)


def _subsidence(plan: Plan, fabric: Fabric, mines: pd.DataFrame, at: Geometries) -> Iterator[_Area]:
    rng = plan.rng("subsidence")
    for name_zh, name_en, point in zip(mines["name_zh"], mines["name_en"], at, strict=True):
        xy = shapely.get_coordinates(point)[0]
        shape = _blob(xy, float(rng.uniform(35, 150)) * 1e4, rng)
        shape &= fabric.bounds.districts[fabric.bounds.district_of(points_at(xy[None]))[0]]
        largest = max(shapely.get_parts(shape), key=shapely.area)
        grade = str(rng.choice(["轻度", "中度", "重度"]))
        yield _Area("mine_subsidence", f"{name_zh}塌陷区", f"{name_en} Subsidence Area", largest, level=grade)


def draw_areas(plan: Plan, fabric: Fabric, parcels: Parcels, mines: tuple[pd.DataFrame, Geometries],
               district_of: DistrictOf) -> tuple[pd.DataFrame, Geometries]:  # fmt: skip
    """All areas with a use of their own. `mines`: the coal mines among the facilities and their points.

    Columns: area_id, kind (park, scenic, industrial_park, construction_site, mine_subsidence), name_zh, name_en, code
    (permit number of a site), level, area_ha, instant_capacity, day_capacity (visitors), district.
    """
    areas = [
        *_parks(parcels),
        *_scenic(plan, fabric),
        *_industrial_parks(plan, fabric, parcels),
        *_sites(plan, parcels),
        *_subsidence(plan, fabric, *mines),
    ]
    shape = np.array([area.shape for area in areas], dtype=np.object_)
    zh, en = distinct([area.zh for area in areas], [area.en for area in areas])
    table = pd.DataFrame({
        "area_id": [f"A{k + 1:05d}" for k in range(len(areas))],
        "kind": [area.kind for area in areas],
        "name_zh": zh,
        "name_en": en,
        "code": pd.Series([area.code for area in areas], dtype=object),
        "level": pd.Series([area.level for area in areas], dtype=object),
        "area_ha": (shapely.area(shape) / 1e4).round(3),
        "instant_capacity": pd.array([area.instant for area in areas], dtype="Int64"),
        "day_capacity": pd.array([area.day for area in areas], dtype="Int64"),
        "district": district_of(shapely.point_on_surface(shape)),
    })  # fmt: skip
    return table, shape
