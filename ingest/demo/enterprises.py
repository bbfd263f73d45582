"""Firms, and the outlets of those that discharge."""

import numpy as np
import pandas as pd

from ingest.demo.codes import credit_code
from ingest.demo.facilities import distinct
from ingest.demo.kinds import industries
from ingest.demo.names import words
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries
from ingest.demo.spots import Spots

__all__ = ["found_firms", "outlets_of"]

_RESIDENTS_A_FIRM = 260.0
_BODIES = 20_000_000
"""First number of the organisation codes of firms: clear of those of facilities."""
_LARGE_CNY = 20e6
_OPEN_SHARE, _STARTUP_SHARE = 0.9, 0.035
_ENERGY_T_A_HEAD = {"B": 9.0, "C": 5.5, "D": 26.0}
_OUTLET_T = 700.0
_WATER_SHARE = 0.45


def found_firms(plan: Plan, spots: Spots) -> tuple[pd.DataFrame, Geometries]:
    """Firms in buildings that suit their branch.

    Columns: credit_code, name_zh, name_en, industry, division, industry_zh, industry_en, registered_on, state (存续
    open, 注销 closed), capital_cny, staff, output_cny, energy_tce (t coal equivalent a year, 0 where none), large
    (above designated size), startup, address, district, town, building_id.
    """
    rng = plan.rng("firms")
    branches = industries()
    count = max(1, round(sum(part.population for part in plan.city.districts) * plan.scale / _RESIDENTS_A_FIRM))
    weight = np.array([branch.weight for branch in branches])
    branch = np.sort(rng.choice(len(branches), count, p=weight / weight.sum()))
    use = spots.table["use"].to_numpy()
    spot = np.empty(count, dtype=np.int64)
    for k, kind in enumerate(branches):
        own = np.flatnonzero(branch == k)
        pool = np.flatnonzero(np.isin(use, kind.on))
        pool = pool if pool.size else np.flatnonzero(spots.building >= 0)
        chance = spots.weight[pool] / spots.weight[pool].sum()
        spot[own] = rng.choice(pool, len(own), p=chance)
    rows = spots.table.iloc[spot].reset_index(drop=True)
    zh, en = _names(plan, branch, rows["district"].tolist(), rng)
    low, high = np.array([kind.staff for kind in branches], dtype=np.float64)[branch].T
    staff = np.exp(
        rng.uniform(np.log(low), np.log(low) + (np.log(high) - np.log(low)) * rng.beta(1.2, 2.2, count))
    ).astype(np.int64)
    output = staff * rng.lognormal(np.log(420_000), 0.7, count)
    letters = [branches[k].letter for k in branch]
    energy = staff * np.array([_ENERGY_T_A_HEAD.get(letter, 0.0) for letter in letters]) * rng.lognormal(0, 0.5, count)
    day = rng.integers(0, 9_600, count)
    table = pd.DataFrame({
        "credit_code": [credit_code(code, _BODIES + k) for k, code in enumerate(rows["district"])],
        "name_zh": zh,
        "name_en": en,
        "industry": letters,
        "division": [branches[k].division for k in branch],
        "industry_zh": [branches[k].title.zh for k in branch],
        "industry_en": [branches[k].title.en for k in branch],
        "registered_on": (np.datetime64("1999-01-04") + day).astype(str),
        "state": np.where(rng.random(count) < _OPEN_SHARE, "存续", "注销"),
        "capital_cny": (np.round(rng.lognormal(np.log(2.4e6), 1.3, count), -4)).astype(np.int64),
        "staff": staff,
        "output_cny": np.round(output, -3).astype(np.int64),
        "energy_tce": energy.round(1),
        "large": output > _LARGE_CNY,
        "startup": rng.random(count) < _STARTUP_SHARE,
        **{name: rows[name] for name in ("address", "district", "town", "building_id")},
    })  # fmt: skip
    return table, spots.points[spot]


def _names(
    plan: Plan, branch: np.ndarray[tuple[int], np.dtype[np.int64]], districts: list[str], rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    titles = {part.code: part.title for part in plan.city.districts}
    fronts = [*words("firms"), *words("estates"), *words("streets")]
    branches = industries()
    zh: list[str] = []
    en: list[str] = []
    for kind, code, pick in zip(
        branch.tolist(), districts, rng.integers(0, len(fronts), len(districts)).tolist(), strict=True
    ):
        business, front, place = branches[kind].business, fronts[pick], titles[code]
        zh.append(f"{place.zh}{front.zh}{business.zh}有限公司")
        en.append(f"{front.en} {business.en} Co., Ltd., {place.en}")
    return distinct(zh, en)


def outlets_of(plan: Plan, firms: pd.DataFrame, at: Geometries) -> tuple[pd.DataFrame, Geometries]:
    """Waste-gas (DA001) and waste-water (DW001) outlets of the larger users of energy.

    Columns: outlet_id (permit and outlet number), permit_no (credit code, three digits, P), outlet_no, medium (gas or
    water), name_zh, name_en, pollutant, limit, unit, height_m (of the stack), credit_code, address, district, town.
    """
    rng = plan.rng("outlets")
    own = np.flatnonzero((firms["energy_tce"] > _OUTLET_T).to_numpy() & (firms["state"] == "存续").to_numpy())
    water = rng.random(len(own)) < _WATER_SHARE
    firm = np.concatenate([own, own[water]])
    gas = np.arange(len(firm)) < len(own)
    rows = firms.iloc[firm].reset_index(drop=True)
    number = np.where(gas, "DA001", "DW001")
    permit = rows["credit_code"] + "001P"
    pollutant = np.where(gas, rng.choice(["NOx", "SO2", "PM"], len(firm)), rng.choice(["COD", "NH3-N"], len(firm)))
    limits = {"NOx": 100.0, "SO2": 50.0, "PM": 10.0, "COD": 50.0, "NH3-N": 5.0}
    table = pd.DataFrame({
        "outlet_id": permit + "-" + number,
        "permit_no": permit,
        "outlet_no": number,
        "medium": np.where(gas, "gas", "water"),
        "name_zh": rows["name_zh"] + np.where(gas, "废气排放口", "废水排放口"),
        "name_en": rows["name_en"] + np.where(gas, ", Waste-gas Outlet", ", Waste-water Outlet"),
        "pollutant": pollutant,
        "limit": [limits[word] for word in pollutant],
        "unit": np.where(gas, "mg/m3", "mg/L"),
        "height_m": np.where(gas, rng.choice([15, 20, 30, 45, 80], len(firm)), 0),
        **{name: rows[name] for name in ("credit_code", "address", "district", "town")},
    })  # fmt: skip
    return table, at[firm]
