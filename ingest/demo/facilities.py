"""Facilities: hospitals, schools, shops and all else of facilities.toml, plausibly placed and named."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ingest.demo.codes import admin_code, credit_code, device_number, food_licence, medical_id, part_code, school_id
from ingest.demo.graph import Bools
from ingest.demo.kinds import FacilityKind, facility_kinds
from ingest.demo.names import chinese_number, words
from ingest.demo.noise import Floats, Ints
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at
from ingest.demo.settlements import CENTRE, TOWN, VILLAGE
from ingest.demo.spots import Spots
from twin.city import Title
from twin.errors import SetupError

__all__ = ["DistrictOf", "distinct", "place_facilities"]

DistrictOf = Callable[[Geometries], NDArray[np.object_]]

_WHERE = {"centre": CENTRE, "town": TOWN, "village": VILLAGE}
_FALLBACK = ("commercial", "office", "residential")
_BODIES = 10_000_000
"""First number of the organisation codes of facilities."""
_FIRST_YEAR, _LAST_YEAR = 1978, 2025


def distinct(zh: list[str], en: list[str]) -> tuple[list[str], list[str]]:
    """The names, with a branch number added to those used before."""
    seen: Counter[str] = Counter()
    out: list[tuple[str, str]] = []
    for name, english in zip(zh, en, strict=True):
        seen[name] += 1
        again = seen[name]
        out.append(
            (name, english) if again == 1 else (f"{name}第{chinese_number(again)}分部", f"{english}, Branch {again}")
        )
    return [name for name, _ in out], [english for _, english in out]


def _pool(kind: FacilityKind, spots: Spots, free: Bools, use: NDArray[np.object_], own: Bools) -> Ints:
    """Free spots of a district fit for a kind; where there is none, any house will do."""
    where = np.isin(spots.kind, [_WHERE[word] for word in kind.where])
    for uses, places in ((kind.on, where), (kind.on, True), (_FALLBACK, where), (_FALLBACK, True)):
        pool = np.flatnonzero(own & free & places & np.isin(use, uses))
        if pool.size:
            return pool
    return np.flatnonzero(own & (spots.building >= 0))


def _one_each(kind: FacilityKind, spots: Spots, pool: Ints, rng: np.random.Generator) -> Ints:
    """One spot in every settlement of the pool."""
    wanted = {"village": [VILLAGE], "town": [CENTRE, TOWN], "centre": [CENTRE]}[kind.each or "village"]
    pool = pool[np.isin(spots.kind[pool], wanted)]
    order = pool[rng.permutation(len(pool))]
    return order[np.sort(np.unique(spots.settlement[order], return_index=True)[1])]


def _chosen(plan: Plan, kind: FacilityKind, spots: Spots, free: Bools) -> Ints:
    """Spots of all facilities of a kind, district by district."""
    rng = plan.rng(f"facilities {kind.kind}")
    use, district = spots.table["use"].to_numpy(), spots.table["district"].to_numpy()
    chosen: list[Ints] = []
    if kind.each is None and kind.per is None:
        return np.empty(0, dtype=np.int64)
    for part in plan.city.districts:
        pool = _pool(kind, spots, free, use, district == part.code)
        if kind.each in {"village", "town", "centre"}:
            chosen.append(_one_each(kind, spots, pool, rng))
            continue
        count = 1 if kind.per is None else max(1, round(part.population * plan.scale / kind.per))
        weight = spots.weight[pool]
        chosen.append(rng.choice(pool, min(count, len(pool)), replace=False, p=weight / weight.sum()))
    return np.concatenate(chosen)


def _titles(plan: Plan, kind: FacilityKind, spots: Spots, chosen: Ints) -> tuple[list[str], list[str]]:
    """Names of the facilities of one kind."""
    rng = plan.rng(f"names {kind.kind}")
    districts = {part.code: part.title for part in plan.city.districts}
    firms = words("firms")
    count: Counter[str] = Counter()
    rows = spots.table.iloc[chosen][["district", "street_zh", "street_en", "place_zh", "place_en"]]
    zh: list[str] = []
    en: list[str] = []
    for code, street_zh, street_en, place_zh, place_en in rows.itertuples(index=False):
        count[code] += 1
        n = count[code]
        late = n - len(kind.first)
        pattern = kind.first[n - 1] if late <= 0 else kind.names[(late - 1) % len(kind.names)]
        word: Title = firms[int(rng.integers(len(firms)))]
        has_street = isinstance(street_zh, str)
        chinese, english = pattern.split(" | ")
        zh.append(chinese.format(city=plan.city.title.zh, district=districts[code].zh, place=place_zh, word=word.zh,
                                 street=street_zh if has_street else place_zh,
                                 n=chinese_number(max(late, 1))))  # fmt: skip
        en.append(english.format(city=plan.city.title.en, district=districts[code].en, place=place_en, word=word.en,
                                 street=street_en if has_street else place_en, n=max(late, 1)))  # fmt: skip
    return distinct(zh, en)


def _code(plan: Plan, kind: FacilityKind, district: str, number: int, in_area: int) -> str | None:
    """The code a facility bears: `number` counts all facilities, `in_area` those of its code in its area."""
    if not kind.code:
        return None
    scheme, argument = kind.code.split(":")
    if scheme == "medical":
        return medical_id(district, _BODIES + number, argument)
    if scheme == "school":
        return school_id(plan.city.code, number, argument)
    if scheme == "food":
        return food_licence(district, in_area, argument, "SC" if argument.startswith("1") else "JY")
    if scheme == "part":
        return part_code(district, argument, number)
    if scheme == "device":
        return device_number(district, number, argument)
    raise SetupError(f"no code is called {scheme!r}.", where=f"facilities.toml: {kind.kind}",
                     remedy="Use medical, school, food, part or device.")  # fmt: skip


def _sized(kind: FacilityKind, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Level, capacity and use of `count` facilities; the better level is the larger one."""
    rank = rng.random(count)
    level = [kind.levels[int((1 - r) * len(kind.levels) * 0.999)] for r in rank] if kind.levels else [None] * count
    low, high = kind.capacity or (1, 1)
    size = np.exp(np.log(low) + (np.log(high) - np.log(low)) * np.clip(rank + rng.normal(0, 0.08, count), 0, 1))
    step = 10.0 ** np.maximum(np.floor(np.log10(np.maximum(size, 1))) - 1, 0)
    capacity = np.clip(np.round(size / step) * step, low, high).astype(np.int64)
    used = np.minimum(np.round(capacity * rng.beta(7, 3, count)), capacity).astype(np.int64)
    none = kind.capacity is None
    return pd.DataFrame({
        "level": pd.Series(level, dtype=object),
        "capacity": pd.array([None] * count if none else capacity, dtype="Int64"),
        "capacity_unit": None if none else kind.unit,
        "used": pd.array([None] * count if none else used, dtype="Int64"),
        "opened": rng.integers(_FIRST_YEAR, _LAST_YEAR + 1, count),
    })  # fmt: skip


def _landmarks(plan: Plan, kind: FacilityKind, spots: Spots) -> tuple[Ints, list[Title], Floats]:
    """Facilities the facts name: the spot whose address they take, their names, and where they stand (k, 2)."""
    known = [landmark for landmark in plan.facts.landmarks if landmark.kind == kind.kind]
    if not known:
        return np.empty(0, dtype=np.int64), [], np.empty((0, 2))
    xy = plan.plane.to_plane(np.array([landmark.at for landmark in known]))
    house = np.flatnonzero(spots.building >= 0)
    near = house[shapely.STRtree(spots.points[house]).nearest(points_at(xy))]
    return near, [landmark.title for landmark in known], xy


def _placed(
    plan: Plan, kind: FacilityKind, spots: Spots, free: Bools, district_of: DistrictOf
) -> tuple[pd.DataFrame, Geometries, Ints]:
    """All facilities of one kind: their rows, points and spots."""
    chosen = _chosen(plan, kind, spots, free)
    zh, en = _titles(plan, kind, spots, chosen)
    near, titles, xy = _landmarks(plan, kind, spots)
    everything = np.concatenate([near, chosen])
    at = spots.points[everything]
    standing = points_at(xy)
    # A landmark stands where it stands, unless the drawn district has another shape there: then in the nearest house.
    codes = spots.table["district"].to_numpy()[near]
    fits = district_of(standing) == codes
    at[: len(near)][fits] = standing[fits]
    rows = spots.table.iloc[everything][
        ["address", "district", "town", "community", "building_id", "parcel_id", "road_id"]
    ].reset_index(drop=True)
    rows.loc[: len(near) - 1, ["building_id", "parcel_id", "road_id"]] = None
    rows.insert(0, "kind", kind.kind)
    rows.insert(1, "kind_zh", kind.title.zh)
    rows.insert(2, "kind_en", kind.title.en)
    rows.insert(3, "name_zh", [*(title.zh for title in titles), *zh])
    rows.insert(4, "name_en", [*(title.en for title in titles), *en])
    sized = _sized(kind, len(rows), plan.rng(f"sizes {kind.kind}"))
    levels = [landmark.level or None for landmark in plan.facts.landmarks if landmark.kind == kind.kind]
    sized.loc[: len(levels) - 1, "level"] = pd.Series(levels, dtype=object)
    return pd.concat([rows, sized], axis=1), at, everything


def _add_codes(plan: Plan, table: pd.DataFrame) -> None:
    """Insert the columns `code` and `credit_code`, None where a kind bears none."""
    kinds = {kind.kind: kind for kind in facility_kinds()}
    # Districts of some countries differ only after the six digits that codes have for an area.
    areas = pd.DataFrame({
        "area": [admin_code(district) for district in table["district"]],
        "code": [kinds[name].code for name in table["kind"]],
    })  # fmt: skip
    in_area = areas.groupby(["area", "code"]).cumcount() + 1
    codes: list[str | None] = []
    bodies: list[str | None] = []
    rows = zip(table["kind"], table["district"], in_area, strict=True)
    for number, (name, district, n) in enumerate(rows, start=1):
        kind = kinds[name]
        codes.append(_code(plan, kind, district, number, n))
        registered = kind.register_ != "none"
        bodies.append(credit_code(district, _BODIES + number, kind.register_) if registered else None)
    table.insert(6, "code", pd.Series(codes, dtype=object))
    table.insert(7, "credit_code", pd.Series(bodies, dtype=object))


def place_facilities(plan: Plan, spots: Spots, district_of: DistrictOf) -> tuple[pd.DataFrame, Geometries, Ints]:
    """Place all facilities: table, points in the plane (f,), and the building row each is alone in (f,), -1 for none.

    `district_of` gives the district codes of points.
    """
    free = np.ones(len(spots.points), dtype=np.bool_)
    tables: list[pd.DataFrame] = []
    points: list[Geometries] = []
    hosts: list[Ints] = []
    for kind in facility_kinds():
        table, at, chosen = _placed(plan, kind, spots, free, district_of)
        if not kind.shared:
            free[chosen] = False
        alone = (table["building_id"].notna() & (not kind.shared)).to_numpy()
        tables.append(table)
        points.append(at)
        hosts.append(np.where(alone, spots.building[chosen], -1))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "facility_id", [f"F{k + 1:06d}" for k in range(len(table))])
    _add_codes(plan, table)
    return table, np.concatenate(points), np.concatenate(hosts)
