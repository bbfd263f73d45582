"""The gazetteer: the named places of one city as a View shows them, and where an address text lies among them.

Nothing is guessed: what a text leaves open comes back as several candidates, and what is known only by its road, town
or district comes back as large as that is.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import polars as pl
import shapely

from layers.places.address import Address, Vocabulary, parse
from layers.places.candidates import (
    ABREAST_M,
    CROSSING_M,
    DOOR_M,
    ESTATE_M,
    ONE_PLACE_M,
    PLACE_M,
    STAKE_M,
    SURE,
    VILLAGE_M,
    Candidate,
    Spot,
    as_candidates,
    beside,
    candidate,
    gathered,
    metres,
    middle,
)
from layers.places.extent import extent_m
from layers.places.named import Areas, Geometries, NamedPlaces
from layers.places.stakes import Stakes
from twin.city import City
from twin.geometry import METRES_PER_DEGREE
from twin.identifiers import Fault

__all__ = ["Gazetteer"]

_NEXT_DOORS = 20
_SAME_STREET_M = 1_000.0
_MOST_CANDIDATES = 10
_DOUBTFUL = 0.3
"""How much of the confidence is left where the text also says something that does not fit."""


class Gazetteer:
    """The named places of one city. `words` are the names its texts are read by."""

    def __init__(self, city: City, listed: Sequence[NamedPlaces]) -> None:
        parts = [part for part in listed if len(part.shapes)]
        self._district_signs = max((len(district.code) for district in city.districts), default=0)
        self.areas = _areas(parts)
        self.words = Vocabulary.of(city, _names(parts, "village"), _names(parts, "road"))
        self._titles = _titles(city)
        self._doors: dict[tuple[str, str], list[Spot]] = defaultdict(list)
        self._numbers: dict[str, set[int]] = defaultdict(set)
        self._villages: dict[str, list[Spot]] = defaultdict(list)
        self._places: dict[str, list[Spot]] = defaultdict(list)
        self._roads: dict[str, list[tuple[shapely.Geometry, str]]] = defaultdict(list)
        for part in parts:
            if part.names.level == "road":
                self._add_roads(part)
            elif part.names.level in {"village", "place", "address"}:
                self._add_spots(part)
        self._longest_place = max(map(len, self._places), default=0)
        self._stakes, self._sections = _stakes(parts)
        self._road_of = lru_cache(4_096)(self._road_within)
        self._streets_of = lru_cache(4_096)(self._streets_within)

    def _add_roads(self, part: NamedPlaces) -> None:
        middles = shapely.point_on_surface(part.shapes)
        codes = self.areas.code_at(shapely.get_x(middles), shapely.get_y(middles))
        for name, shape, code in zip(part.frame[part.names.name].to_list(), part.shapes, codes, strict=True):
            if name:
                self._roads[name].append((shape, code))

    def _add_spots(self, part: NamedPlaces) -> None:
        names, frame = part.names, part.frame
        middles = shapely.point_on_surface(part.shapes)
        lon, lat = shapely.get_x(middles), shapely.get_y(middles)
        codes = self.areas.code_at(lon, lat)
        known_m = np.maximum(frame["place_accuracy_m"].cast(pl.Float64).to_numpy(), extent_m(part.shapes)).tolist()
        also = [frame[name].to_list() for name in names.also]
        rows = zip(lon.tolist(), lat.tolist(), known_m, codes, frame["id"].to_list(), frame[names.name].to_list(),
                   strict=True)  # fmt: skip
        for at, (x, y, accuracy_m, area, record, name) in enumerate(rows):
            spot = Spot(x, y, accuracy_m, area, area, (part.dataset, record))
            if name:
                if names.level == "address":
                    self._add_door(name, spot)
                else:
                    (self._villages if names.level == "village" else self._places)[name].append(spot)
            for column in also:
                for other in _split(column[at]):
                    self._places[other].append(spot)

    def _add_door(self, text: str, spot: Spot) -> None:
        read = parse(text, self.words)
        street = read.road or read.village
        if street is None or read.number is None:
            return
        spot = spot._replace(said=read.town or read.district or spot.area, building=read.building)
        self._doors[street, read.number].append(spot)
        if read.number.isdigit():
            self._numbers[street].add(int(read.number))

    def read(self, text: str) -> Address:
        """The levels of an address text."""
        return parse(text, self.words)

    def resolve(self, text: str, area: str = "") -> list[Candidate]:
        """Where an address text may lie, best first; none when it names no place of this city.

        `area` is the code of a district or town in which it is known to lie.
        """
        return self.find(self.read(text), text, area)

    def find(self, address: Address, text: str = "", area: str = "") -> list[Candidate]:
        """Where an address may lie. As `resolve`, for a text that was read already."""
        if address.elsewhere is not None:
            return []
        said = address.town or address.district or ""
        within = max(said, area, key=len)
        if not (within.startswith(said) and within.startswith(area)):
            return [one._replace(reason=f"the text says {self._title(said)}, the record {self._title(area)}",
                                 confidence=one.confidence * _DOUBTFUL)
                    for one in [*self._area(said), *self._area(area)]]  # fmt: skip
        strangers: list[Candidate] = []
        for level in (
            self._stake,
            self._door,
            self._crossing,
            self._place,
            self._next_doors,
            self._village,
            self._road,
        ):
            found = level(address, text, within)
            if within and not found:
                strangers += level(address, text, "")
            if found:
                return _ranked(found)
        here = self._area(within)
        if strangers:
            where = "、".join(sorted({self._title(one.area) for one in strangers[:_MOST_CANDIDATES]}))
            doubt = f"it is not in {self._title(within)}; that name is in {where}"
            here = [one._replace(reason=doubt, confidence=one.confidence * _DOUBTFUL) for one in here]
            doubted = (one._replace(reason=doubt, confidence=one.confidence * _DOUBTFUL) for one in strangers)
            return _ranked([*here, *doubted])
        unknown = address.road or address.village or address.rest
        return [one._replace(reason=f"{unknown} is not known there") for one in here] if unknown else here

    def area_of(self, code: str) -> list[Candidate]:
        """The district or town with this administrative code, or the one around the community with it."""
        return self._area(code)

    def code_at(self, lon: float, lat: float) -> str:
        """The code of the town or district around a point in degrees; empty where there is none."""
        return self.areas.code_at(np.array([lon]), np.array([lat]))[0]

    def district_of(self, area: str) -> str:
        """The code of the district in which the area of a code lies."""
        return area[: self._district_signs]

    def stakes_of(self, road: str) -> str:
        """From where to where a road has stakes here, in words."""
        known = self._stakes.range_km(road)
        return (
            f"{road} has no stakes here" if known is None else f"{road} runs from K{known[0]:g} to K{known[1]:g} here"
        )

    def _title(self, code: str) -> str:
        while code and code not in self._titles:
            code = code[:-1]
        return self._titles.get(code, "")

    def _stake(self, address: Address, _: str, within: str) -> list[Candidate]:
        stake = address.stake
        if stake is None or isinstance(stake, Fault):
            return []
        road, km = stake.parts["road"], float(stake.parts["stake_m"]) / 1000
        points = self._stakes.at(road, km)
        codes = self.areas.code_at(np.array([p.lon for p in points]), np.array([p.lat for p in points]))
        spots = [
            Spot(point.lon, point.lat, STAKE_M, code, code, self._sections[point.section])
            for point, code in zip(points, codes, strict=True)
            if code.startswith(within)
        ]
        return as_candidates(gathered(spots, ABREAST_M), "stake", STAKE_M + beside(address))

    def _door(self, address: Address, _: str, within: str) -> list[Candidate]:
        street = address.road or address.village
        if street is None or address.number is None:
            return []
        spots = [spot for spot in self._doors.get((street, address.number), ()) if spot.lies_in(within)]
        named = [spot for spot in spots if address.building is not None and spot.building == address.building]
        # The buildings of an estate share its number, and not all of them are registered.
        is_estate = not named and any(spot.building is not None for spot in spots)
        spots, least_m = named or spots, (ESTATE_M if is_estate else DOOR_M) + beside(address)
        return self._with_namesakes(address, within, as_candidates(gathered(spots, ONE_PLACE_M), "door", least_m))

    def _with_namesakes(self, address: Address, within: str, found: list[Candidate]) -> list[Candidate]:
        """Doors, and the other streets or villages of the name, whose doors nobody may have registered."""
        named = self._road(address, "", within) if address.road is not None else self._village(address, "", within)
        if not found or len(named) < 2:
            return found
        others = [one for one in named if all(self._apart_m(one, door) > _SAME_STREET_M for door in found)]
        if not others:
            return found
        rivals = len(others) + len(found)
        doubt = f"{len(others)} more of this name"
        doors = [one._replace(confidence=SURE["door"] / rivals, reason=one.reason or doubt) for one in found]
        return [*doors, *(one._replace(confidence=SURE[one.method] / rivals, reason=doubt) for one in others)]

    def _apart_m(self, one: Candidate, other: Candidate) -> float:
        """How far a place is from a street, a village or another place."""
        if one.shape is None:
            return metres(one.lon, one.lat, other.lon, other.lat)
        return float(shapely.distance(one.shape, shapely.Point(other.lon, other.lat))) * METRES_PER_DEGREE

    def _next_doors(self, address: Address, _: str, within: str) -> list[Candidate]:
        """Between the nearest known numbers on the same side of the street."""
        if address.road is None or address.number is None or not address.number.isdigit():
            return []
        wanted = int(address.number)
        near = sorted(
            (other for other in self._numbers.get(address.road, ()) if 0 < abs(other - wanted) <= _NEXT_DOORS),
            key=lambda other: (other % 2 != wanted % 2, abs(other - wanted)),
        )
        below = self._first_group(address.road, [n for n in near if n < wanted], within)
        above = self._first_group(address.road, [n for n in near if n > wanted], within)
        if below is None or above is None:
            return []
        (low, one), (high, two) = below, above
        share = (wanted - low) / (high - low)
        apart_m = metres(one.lon, one.lat, two.lon, two.lat)
        spot = Spot(
            one.lon + share * (two.lon - one.lon), one.lat + share * (two.lat - one.lat), apart_m, one.area, one.said,
            one.record,
        )  # fmt: skip
        return [
            candidate(
                spot,
                "interpolated",
                max(DOOR_M, apart_m) + beside(address),
                1,
                why=f"between No. {low} and No. {high}",
            )
        ]

    def _first_group(self, road: str, numbers: list[int], within: str) -> tuple[int, Spot] | None:
        for number in numbers:
            groups = gathered([s for s in self._doors.get((road, str(number)), ()) if s.lies_in(within)], ONE_PLACE_M)
            if len(groups) == 1:
                return number, middle(groups[0])
        return None

    def _crossing(self, address: Address, _: str, within: str) -> list[Candidate]:
        if address.road is None or address.crossing is None:
            return []
        one, two = self._road_of(address.road, within), self._road_of(address.crossing, within)
        if one is None or two is None:
            return []
        met = shapely.get_coordinates(shapely.intersection(one, two))
        if not len(met):
            return []
        codes = self.areas.code_at(met[:, 0], met[:, 1])
        spots = [Spot(x, y, CROSSING_M, code, code, ("", "")) for (x, y), code in zip(met.tolist(), codes, strict=True)]
        return as_candidates(gathered(spots, ABREAST_M), "crossing", CROSSING_M)

    def _place(self, address: Address, text: str, within: str) -> list[Candidate]:
        """A school, a hospital, an estate: the longest name with which the text begins, or what follows its areas."""
        wholes = (text, address.rest, f"{address.village or ''}{address.rest}", f"{address.road or ''}{address.rest}")
        for whole in wholes:
            for length in range(min(len(whole), self._longest_place), 2, -1):
                spots = self._places.get(whole[:length])
                if spots and (kept := [spot for spot in spots if spot.lies_in(within)]):
                    return as_candidates(gathered(kept, ONE_PLACE_M), "place", PLACE_M + beside(address))
        return []

    def _village(self, address: Address, _: str, within: str) -> list[Candidate]:
        if address.village is None:
            return []
        spots = [spot for spot in self._villages.get(address.village, ()) if spot.lies_in(within)]
        return as_candidates(gathered(spots, ONE_PLACE_M), "village", VILLAGE_M)

    def _road(self, address: Address, _: str, within: str) -> list[Candidate]:
        """The streets of a name, each as large as it is."""
        if address.road is None:
            return []
        streets = self._streets_of(address.road, within)
        found: list[Candidate] = []
        for line, size_m, code in streets:
            inner = shapely.point_on_surface(line)
            lon, lat = float(shapely.get_x(inner)), float(shapely.get_y(inner))
            spot = Spot(lon, lat, size_m, code, code, ("", ""))
            found.append(candidate(spot, "road", max(size_m, DOOR_M), len(streets))._replace(shape=line))
        return found

    def _streets_within(self, name: str, within: str) -> list[tuple[shapely.Geometry, float, str]]:
        """The streets of one name apart from each other: the line, its size in metres, the code of its area."""
        there = [shape for shape, code in self._roads.get(name, ()) if code.startswith(within)]
        if not there:
            return []
        lines: Geometries = np.array(there, dtype=object)
        reach = _SAME_STREET_M / 2 / METRES_PER_DEGREE
        grounds = shapely.get_parts(shapely.union_all(shapely.buffer(lines, reach, quad_segs=2)))
        ground, line = shapely.STRtree(lines).query(grounds, predicate="contains")
        streets: list[tuple[shapely.Geometry, float, str]] = []
        for k in range(len(grounds)):
            own = line[ground == k]
            merged = shapely.line_merge(shapely.union_all(lines[own]))
            inner = shapely.point_on_surface(merged)
            reach_m = float(shapely.hausdorff_distance(inner, merged)) * METRES_PER_DEGREE
            code = self.code_at(float(shapely.get_x(inner)), float(shapely.get_y(inner)))
            streets.append((merged, reach_m, code))
        return streets

    def _road_within(self, name: str, within: str) -> shapely.Geometry | None:
        lines = [shape for shape, code in self._roads.get(name, ()) if code.startswith(within)]
        return shapely.line_merge(shapely.union_all(lines)) if lines else None

    def _area(self, code: str) -> list[Candidate]:
        """The town or district of a code, as large as it is."""
        known = (code[:signs] for signs in range(len(code), self._district_signs - 1, -1))
        code = next((one for one in known if self.areas.shape(one) is not None), "")
        shape = self.areas.shape(code) if code else None
        if shape is None:
            return []
        inner, size_m = shapely.point_on_surface(shape), float(extent_m(np.array([shape], dtype=object))[0])
        method = "district" if len(code) == self._district_signs else "town"
        lon, lat = float(shapely.get_x(inner)), float(shapely.get_y(inner))
        return [Candidate(lon, lat, size_m, method, SURE[method], code, shape=shape)]


def _split(text: str | None) -> Iterable[str]:
    return (part for part in (text or "").replace(";", "、").replace("；", "、").split("、") if len(part) > 1)


def _names(parts: Sequence[NamedPlaces], level: str) -> Iterable[str]:
    for part in parts:
        if part.names.level == level:
            yield from part.frame[part.names.name].drop_nulls().to_list()


def _titles(city: City) -> dict[str, str]:
    towns = {town.code: f"{district.title.zh}{town.title.zh}" for district in city.districts for town in district.towns}
    return {district.code: district.title.zh for district in city.districts} | towns


def _areas(parts: Sequence[NamedPlaces]) -> Areas:
    codes: list[str] = []
    shapes: list[shapely.Geometry] = []
    for part in parts:
        if part.names.level in {"district", "town"} and part.names.code is not None:
            for code, shape in zip(part.frame[part.names.code].to_list(), part.shapes, strict=True):
                if code and code not in codes and shapely.get_dimensions(shape) == 2:
                    codes.append(code)
                    shapes.append(shape)
    return Areas(codes, np.array(shapes, dtype=object))


def _stakes(parts: Sequence[NamedPlaces]) -> tuple[Stakes, list[tuple[str, str]]]:
    """The stakes of all roads, and the record of each section."""
    road: list[str | None] = []
    start: list[float] = []
    end: list[float] = []
    shapes: list[shapely.Geometry] = []
    records: list[tuple[str, str]] = []
    for part in parts:
        names = part.names
        if names.road is None or names.stakes is None:
            continue
        road += part.frame[names.road].to_list()
        start += part.frame[names.stakes[0]].cast(pl.Float64).fill_null(math.nan).to_list()
        end += part.frame[names.stakes[1]].cast(pl.Float64).fill_null(math.nan).to_list()
        shapes += part.shapes.tolist()
        records += [(part.dataset, record) for record in part.frame["id"].to_list()]
    return Stakes(road, np.array(start), np.array(end), np.array(shapes, dtype=object)), records


def _ranked(found: list[Candidate]) -> list[Candidate]:
    return sorted(found, key=lambda one: (-one.confidence, one.area, one.lon))[:_MOST_CANDIDATES]
