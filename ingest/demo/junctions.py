"""Junctions: the nodes of the road network where roads meet."""

import numpy as np
import pandas as pd
import shapely

from ingest.demo.fabric import Fabric
from ingest.demo.facilities import DistrictOf
from ingest.demo.plane import Geometries, points_at
from ingest.demo.roads import Roads
from ingest.demo.settlements import CENTRE
from ingest.demo.streets import MOTORWAY, SECONDARY

__all__ = ["find_junctions"]

_MEET, _MAIN = 3, 3


def find_junctions(fabric: Fabric, roads: Roads, district_of: DistrictOf) -> tuple[pd.DataFrame, Geometries]:
    """Nodes where three or more roads meet.

    Columns: node_id (as from_node and to_node of the roads), degree, signals (traffic lights: three or more main
    streets meet in a centre), name_zh, name_en (of its most important road), district.
    """
    ends = roads.table[["from_node", "to_node"]].to_numpy()
    nodes = ends.ravel()
    degree = np.bincount(nodes)
    count = len(degree)
    main = np.bincount(np.repeat(roads.rank <= SECONDARY, 2) * (nodes + 1), minlength=count + 1)[1:]
    urban = np.zeros(count, dtype=np.bool_)
    in_centre = (roads.place >= 0) & (fabric.settlements.kind[roads.place] == CENTRE) & (roads.rank > MOTORWAY)
    urban[ends[in_centre].ravel()] = True
    xy = np.empty((count, 2))
    for side, index in ((0, 0), (1, -1)):
        xy[ends[:, side]] = shapely.get_coordinates(shapely.get_point(roads.shape, index))
    best = np.full(count, -1)
    # The last one written wins: most important roads last, unnamed ones first.
    order = np.lexsort((-roads.rank, roads.table["name_zh"].notna().to_numpy()))
    best[ends[order].ravel()] = np.repeat(order, 2)
    node = np.flatnonzero(degree >= _MEET)
    names = roads.table.iloc[best[node]]
    at = points_at(xy[node])
    nearest = shapely.STRtree(points_at(fabric.settlements.xy)).nearest(at)
    titles = [fabric.settlements.titles[k] for k in nearest]
    table = pd.DataFrame({
        "node_id": node,
        "degree": degree[node],
        "signals": urban[node] & (main[node] >= _MAIN),
        "name_zh": [name if isinstance(name, str) else title.zh
                    for name, title in zip(names["name_zh"], titles, strict=True)],
        "name_en": [name if isinstance(name, str) else title.en
                    for name, title in zip(names["name_en"], titles, strict=True)],
        "district": district_of(at),
    })  # fmt: skip
    inside = table["district"].notna().to_numpy()
    return table.loc[inside].reset_index(drop=True), at[inside]
