"""A small city of named places for the tests of the resolver: two districts side by side, a few roads and doors."""

import numpy as np
import polars as pl
import shapely

from layers.contract import Names
from layers.places.gazetteer import Gazetteer
from layers.places.named import NamedPlaces
from twin.city import load_city

CITY = load_city("zaozhuang")
WEST, EAST = "370403", "370402"
WEST_TOWN, EAST_TOWN = "370403001", "370402001"

_NAMES = {
    "areas": Names(level="district", name="name", code="code"),
    "towns": Names(level="town", name="name", code="code"),
    "villages": Names(level="village", name="name"),
    "doors": Names(level="address", name="name", also=("alias",)),
    "schools": Names(level="place", name="name"),
    "roads": Names(level="road", name="name", road="ref", stakes=("from_km", "to_km")),
}


def _part(dataset: str, shapes: list[shapely.Geometry], **columns: list[object]) -> NamedPlaces:
    n = len(shapes)
    frame = pl.DataFrame({"id": [f"{dataset}{k}" for k in range(n)], "place_accuracy_m": [5.0] * n, **columns})
    return NamedPlaces(f"test.{dataset}", _NAMES[dataset], frame, np.array(shapes, dtype=object))


def gazetteer() -> Gazetteer:
    """The gazetteer of the small city: 0.1 degrees of longitude are 9.1 km, of latitude 11.1 km."""
    areas = [shapely.box(117.2, 34.7, 117.4, 34.9), shapely.box(117.4, 34.7, 117.6, 34.9)]
    towns = [shapely.box(117.25, 34.75, 117.35, 34.85), shapely.box(117.45, 34.75, 117.55, 34.85)]
    doors = {
        "枣庄市薛城区光明大道10号": (117.3000, 34.8000),
        "枣庄市薛城区光明大道20号": (117.3020, 34.8000),
        "枣庄市薛城区光明大道20号2号楼": (117.3025, 34.8002),
        "枣庄市薛城区解放路5号": (117.3100, 34.8050),
        "枣庄市市中区解放路5号": (117.5100, 34.8050),
        "枣庄市薛城区新建路3号": (117.2100, 34.7100),
        "枣庄市市中区中心街街道王家村7号": (117.5000, 34.8100),
    }
    alias = ["", "", "", "", "阳光花园;阳光家园", "", ""]
    roads = [
        shapely.LineString([(117.29, 34.80), (117.30, 34.80), (117.33, 34.80)]),
        shapely.LineString([(117.31, 34.79), (117.31, 34.82)]),
        shapely.LineString([(117.51, 34.79), (117.51, 34.82)]),
        shapely.LineString([(117.21, 34.71), (117.22, 34.71)]),
        shapely.LineString([(117.38, 34.88), (117.39, 34.88)]),
        shapely.LineString([(117.30, 34.72), (117.30, 34.74), (117.32, 34.74)]),
        shapely.LineString([(117.34, 34.74), (117.32, 34.74)]),
    ]
    return Gazetteer(
        CITY,
        [
            _part("areas", areas, name=["薛城区", "市中区"], code=[WEST, EAST]),
            _part("towns", towns, name=["临城街道", "中心街街道"], code=[WEST_TOWN, EAST_TOWN]),
            _part(
                "roads",
                roads,
                name=["光明大道", "解放路", "解放路", "新建路", "新建路", None, None],
                ref=[*[None] * 5, "G104", "g104"],
                from_km=[*[None] * 5, 600.0, 606.0],
                to_km=[*[None] * 5, 604.0, 604.0],
            ),
            _part("villages", [shapely.Point(117.50, 34.81)], name=["王家村"]),
            _part("schools", [shapely.Point(117.30, 34.83).buffer(0.001)], name=["枣庄市第八中学"]),
            _part("doors", [shapely.Point(xy) for xy in doors.values()], name=list(doors), alias=alias),
        ],
    )
