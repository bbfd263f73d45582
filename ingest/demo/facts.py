"""Facts of one city: the named things its demo city should have, beyond what the city profile says.

All of it is optional. `facts_of` reads `<city id>.toml` beside this module; for a city without one `invented` draws
roads, a railway and water, so that every profile makes a plausible city.
"""

import math
import tomllib
from importlib import resources
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.demo.noise import stream
from twin.city import City, Title
from twin.errors import SetupError

__all__ = [
    "Centre",
    "Facts",
    "Lake",
    "Landmark",
    "Railway",
    "River",
    "Road",
    "Scenic",
    "TownSeat",
    "facts_of",
    "invented",
]

Position = tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]
RoadClass = Literal["motorway", "trunk", "primary", "secondary"]

_CROSSING_SPAN = 1.6
"""An invented line crosses the city along this many radii to each side of its middle."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TownSeat(_Fact):
    """Where a town has its seat, in degrees."""

    code: str
    at: Position


class Centre(_Fact):
    """An urban centre besides the district seats, with its share of the district's urban residents."""

    title: Title
    district: str
    at: Position
    share: float = Field(gt=0, lt=1)


class Road(_Fact):
    """A numbered road and what it passes: codes of towns or districts, or positions.

    `stake_km` is the stake where it enters the city.
    """

    number: str
    title: Title
    road_class: RoadClass
    via: tuple[str | Position, ...] = Field(min_length=2)
    stake_km: float = 0


class Railway(_Fact):
    """A railway line."""

    title: Title
    kind: Literal["high_speed", "mainline", "branch"]
    via: tuple[Position, ...] = Field(min_length=2)


class River(_Fact):
    """A river or canal, from its source to its mouth."""

    title: Title
    kind: Literal["river", "canal"] = "river"
    width_m: float = Field(gt=0)
    via: tuple[Position, ...] = Field(min_length=2)


class Lake(_Fact):
    """A lake or reservoir: the union of discs along an axis of (lon, lat, half width in metres)."""

    title: Title
    kind: Literal["lake", "reservoir"]
    axis: tuple[tuple[float, float, float], ...] = Field(min_length=1)


class Scenic(_Fact):
    """A scenic area: level after GB/T 17775 (5A best), area, and how many visitors it holds."""

    title: Title
    level: str
    at: Position
    area_ha: float = Field(gt=0)
    instant_capacity: int = Field(gt=0)
    day_capacity: int = Field(gt=0)


class Landmark(_Fact):
    """A facility that stands where it is known to stand; `kind` is one of facilities.toml."""

    kind: str
    title: Title
    at: Position
    level: str = ""


class Facts(_Fact):
    """The named things of one city."""

    town_seats: tuple[TownSeat, ...] = ()
    unit_towns: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    centres: tuple[Centre, ...] = ()
    roads: tuple[Road, ...] = ()
    railways: tuple[Railway, ...] = ()
    rivers: tuple[River, ...] = ()
    lakes: tuple[Lake, ...] = ()
    scenic: tuple[Scenic, ...] = ()
    landmarks: tuple[Landmark, ...] = ()


def facts_of(city: City) -> Facts | None:
    """The facts file of a city; None where there is none. Raises SetupError when the file is wrong."""
    source = resources.files("ingest.demo") / f"{city.id}.toml"
    if not source.is_file():
        return None
    try:
        return Facts.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"the facts file is wrong: {error}", where=str(source)) from error


def invented(city: City, seed: int) -> Facts:
    """Facts for a city without a file: a motorway, a trunk road through all seats, a railway, two rivers, a lake."""
    rng = stream(seed, "facts")
    crossing = _Crossing(city)
    seats = np.array([district.seat for district in city.districts])
    order = np.argsort(crossing.along(seats, math.radians(70)), kind="stable")
    angle = rng.uniform(0.2, 1.2)
    roads = (
        Road(number="G1", title=Title(zh="绕城高速", en="City Expressway"), road_class="motorway",
             via=crossing.line(angle, 0.35)),
        Road(number="G101", title=Title(zh="101国道", en="National Road 101"), road_class="trunk",
             via=tuple(city.districts[i].code for i in order)),
    )  # fmt: skip
    rivers = (
        River(title=Title(zh="清河", en="Qing River"), width_m=70, via=crossing.line(angle + 1.4, 0.18)),
        River(title=Title(zh="沙河", en="Sha River"), width_m=35, via=crossing.line(angle + 1.1, -0.45)),
    )
    railway = Railway(
        title=Title(zh="城际铁路", en="Intercity Railway"), kind="mainline", via=crossing.line(angle, -0.25)
    )
    lon, lat = crossing.line(angle + 0.7, 0.6)[1]
    axis = ((lon, lat, 0.05 * crossing.radius_m), (lon + 0.004, lat + 0.003, 0.03 * crossing.radius_m))
    lake = Lake(title=Title(zh="东湖水库", en="East Lake Reservoir"), kind="reservoir", axis=axis)
    station = Landmark(
        kind="railway_station", title=Title(zh=f"{city.title.zh}站", en=f"{city.title.en} Station"), at=railway.via[1]
    )
    park = Scenic(title=Title(zh="东湖风景区", en="East Lake Scenic Area"), level="4A", at=(lon, lat), area_ha=120,
                  instant_capacity=12_000, day_capacity=30_000)  # fmt: skip
    return Facts(roads=roads, railways=(railway,), rivers=rivers, lakes=(lake,), scenic=(park,), landmarks=(station,))


class _Crossing:
    """Lines across a city of which only seats and areas are known."""

    def __init__(self, city: City) -> None:
        area = np.array([district.area_km2 for district in city.districts])
        seats = np.array([district.seat for district in city.districts])
        self.radius_m = 1000 * math.sqrt(float(area.sum()) / math.pi)
        self.middle: NDArray[np.float64] = np.average(seats, axis=0, weights=area)
        self.degrees_a_metre = np.array([1 / (111_320 * math.cos(math.radians(float(self.middle[1])))), 1 / 110_900])

    def along(self, lonlat: NDArray[np.float64], angle_rad: float) -> NDArray[np.float64]:
        """Distance of positions (n, 2) along a direction, metres (n,)."""
        return (lonlat - self.middle) / self.degrees_a_metre @ np.array([math.cos(angle_rad), math.sin(angle_rad)])

    def line(self, angle_rad: float, offset: float) -> tuple[Position, ...]:
        """Three positions in the given direction; `offset` moves the line sideways by that share of the radius."""
        along = np.array([math.cos(angle_rad), math.sin(angle_rad)])
        aside = np.array([-along[1], along[0]]) * offset
        steps = np.array([-_CROSSING_SPAN, 0.0, _CROSSING_SPAN])[:, None] * along + aside
        degrees = self.middle + steps * self.radius_m * self.degrees_a_metre
        return tuple((float(lon), float(lat)) for lon, lat in degrees)
