"""Candidates: the places that a text may mean, and how records of one name are gathered into them."""

import math
from typing import Literal, NamedTuple

import shapely

from layers.places.address import Address
from twin.geometry import METRES_PER_DEGREE

__all__ = [
    "ABREAST_M",
    "CROSSING_M",
    "DOOR_M",
    "ESTATE_M",
    "ONE_PLACE_M",
    "PLACE_M",
    "STAKE_M",
    "SURE",
    "VILLAGE_M",
    "Candidate",
    "Method",
    "Spot",
    "as_candidates",
    "beside",
    "candidate",
    "gathered",
    "metres",
    "middle",
]

DOOR_M, ESTATE_M, STAKE_M, CROSSING_M, VILLAGE_M, PLACE_M = 20.0, 150.0, 20.0, 30.0, 300.0, 50.0
_NEAR_M = {"附近": 150.0, "周边": 200.0, "一带": 300.0}
_BESIDE_M = 50.0
ONE_PLACE_M = 300.0
"""Records of one door lie this close together: the houses of an estate share its number."""
ABREAST_M = 60.0
"""Carriageways of one road, and the corners of one crossing, are no further apart."""

SURE = {
    "door": 0.95, "stake": 0.95, "crossing": 0.9, "place": 0.9, "village": 0.85, "interpolated": 0.75,
    "road": 0.7, "town": 0.6, "district": 0.5,
}  # fmt: skip
"""How sure a place is that is the only one of its kind which a text can mean."""


Method = Literal[
    "door", "interpolated", "crossing", "stake", "place", "village", "road", "town", "district", "code", "coordinate"
]


class Candidate(NamedTuple):
    """A place that a text may mean, in degrees of the city's datum.

    `method` is the level that placed it: door, interpolated, crossing, stake, place, village, road, town or district.
    `accuracy_m` is the radius in which the place lies; `confidence` in (0, 1]; `reason` says in words why it is
    doubted, if it is. `area` is the code of the town or district around it. `record` is the dataset and id by which it
    was found.
    """

    lon: float
    lat: float
    accuracy_m: float
    method: Method
    confidence: float
    area: str
    reason: str = ""
    record: tuple[str, str] | None = None
    shape: shapely.Geometry | None = None


class Spot(NamedTuple):
    """A record of a name: where it lies, how exactly that is known, the area around it and the one it claims."""

    lon: float
    lat: float
    accuracy_m: float
    area: str
    said: str
    """The town or district that the record itself names: borders are disputed."""
    record: tuple[str, str]
    building: str | None = None

    def lies_in(self, code: str) -> bool:
        """Whether it lies in the town or district of a code, or says so."""
        return self.area.startswith(code) or self.said.startswith(code)


def metres(lon: float, lat: float, other_lon: float, other_lat: float) -> float:
    """Distance of two points in degrees, on a plane that touches there: within 1 % over a city."""
    x = (other_lon - lon) * math.cos(math.radians(lat))
    return math.hypot(x, other_lat - lat) * METRES_PER_DEGREE


def beside(address: Address) -> float:
    """How far from the named place a thing 附近 or 对面 of it may be, metres."""
    return 0.0 if address.relation is None else _NEAR_M.get(address.relation, _BESIDE_M)


def gathered(spots: list[Spot], reach_m: float) -> list[list[Spot]]:
    """Spots in groups, each within `reach_m` of the first of its group."""
    groups: list[list[Spot]] = []
    for spot in spots:
        for group in groups:
            if metres(group[0].lon, group[0].lat, spot.lon, spot.lat) <= reach_m:
                group.append(spot)
                break
        else:
            groups.append([spot])
    return groups


def middle(group: list[Spot]) -> Spot:
    """The middle of a group, as large as the group is wide."""
    if len(group) == 1:
        return group[0]
    lon = sum(spot.lon for spot in group) / len(group)
    lat = sum(spot.lat for spot in group) / len(group)
    wide_m = max(metres(lon, lat, spot.lon, spot.lat) for spot in group)
    return group[0]._replace(lon=lon, lat=lat, accuracy_m=max(wide_m, min(spot.accuracy_m for spot in group)))


def as_candidates(groups: list[list[Spot]], method: Method, least_m: float) -> list[Candidate]:
    """A candidate for each group of records, no more exact than `least_m`."""
    return [candidate(middle(group), method, least_m, len(groups)) for group in groups]


def candidate(spot: Spot, method: Method, least_m: float, rivals: int, why: str = "") -> Candidate:
    """The candidate of a spot that has `rivals` of its name, itself included."""
    reason = f"one of {rivals} places of this name" if rivals > 1 else why
    record = spot.record if spot.record[0] else None
    size_m, area = max(spot.accuracy_m, least_m), spot.area or spot.said
    return Candidate(spot.lon, spot.lat, size_m, method, SURE[method] / rivals, area, reason, record)
