"""Residents: shared out over dwellings so that every district has its published number, and counted in cells.

Residents of single buildings are personal data: they leave the demo city as counts of H3 cells.
"""

import h3.api.numpy_int as h3
import numpy as np
import pandas as pd
import shapely

from ingest.demo.buildings import Buildings
from ingest.demo.noise import Floats, Ints
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, points_at

__all__ = ["in_cells", "shared_out", "with_residents"]

_HOUSEHOLD = 2.89
_MALE, _CHILD, _OLD = 0.513, 0.225, 0.186
"""Shares in the 2020 census of a city of the kind this draws."""


def shared_out(total: int, weight: Floats) -> Ints:
    """Whole numbers in proportion to weights (n,) that sum exactly to the total (largest remainders, Hamilton 1792)."""
    exact = total * weight / weight.sum()
    share = np.floor(exact).astype(np.int64)
    rest = np.argsort(share - exact, kind="stable")[: total - int(share.sum())]
    share[rest] += 1
    return share


def with_residents(plan: Plan, buildings: Buildings) -> pd.DataFrame:
    """The buildings' table with `dwellings`, `households` and `residents`.

    The residents of a district are its published number times the scale.
    """
    rng = plan.rng("residents")
    weight = buildings.capacity * rng.lognormal(0, 0.18, len(buildings.capacity))
    residents = np.zeros(len(weight), dtype=np.int64)
    for district in plan.city.districts:
        own = np.flatnonzero((buildings.table["district"] == district.code).to_numpy() & (weight > 0))
        if own.size:
            residents[own] = shared_out(round(district.population * plan.scale), weight[own])
    households = np.ceil(residents / _HOUSEHOLD).astype(np.int64)
    return buildings.table.assign(
        dwellings=np.ceil(buildings.capacity).astype(np.int64), households=households, residents=residents
    )


def in_cells(plan: Plan, table: pd.DataFrame, at: Geometries) -> tuple[pd.DataFrame, Geometries]:
    """Residents by H3 cell of the finest resolution, by sex and age, with the cells' centres in the plane.

    Columns: cell (signed 64-bit), h3 (hexadecimal), residents, households, male, female, age_0_14, age_15_59,
    age_60_plus, district (of most residents).
    """
    rng = plan.rng("cells")
    lived = (table["residents"] > 0).to_numpy()
    lonlat = plan.plane.to_degrees(shapely.get_coordinates(at[lived]))
    cells = np.array(
        [h3.latlng_to_cell(lat, lon, plan.city.resolutions.finest) for lon, lat in lonlat.tolist()], dtype=np.uint64
    )
    people = table.loc[lived, ["residents", "households", "district"]].assign(cell=cells.astype(np.int64))
    most = people.sort_values(["cell", "residents"], ascending=[True, False], kind="stable").drop_duplicates("cell")
    sums = people.groupby("cell", sort=True)[["residents", "households"]].sum().reset_index()
    count = sums["residents"].to_numpy()
    sums.insert(1, "h3", [f"{int(cell):x}" for cell in sums["cell"]])
    sums["male"] = rng.binomial(count, _MALE)
    sums["female"] = count - sums["male"]
    sums["age_0_14"] = rng.binomial(count, _CHILD)
    sums["age_60_plus"] = np.minimum(rng.binomial(count, _OLD), count - sums["age_0_14"])
    sums["age_15_59"] = count - sums["age_0_14"] - sums["age_60_plus"]
    sums["district"] = most["district"].to_numpy()
    centres = np.array([h3.cell_to_latlng(cell) for cell in sums["cell"].tolist()]).reshape(-1, 2)
    return sums, points_at(plan.plane.to_plane(centres[:, ::-1]))
