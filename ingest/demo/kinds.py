"""The kinds of facilities, industries and devices of the demo city, read from the TOML files beside this module."""

import tomllib
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.city import Title

__all__ = [
    "FacilityKind",
    "Industry",
    "Rhythm",
    "SensorKind",
    "facility_kinds",
    "industries",
    "rhythms",
    "sensor_kinds",
]

Settlement = Literal["centre", "town", "village"]


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FacilityKind(_Kind):
    """A kind of facility; the head of facilities.toml explains each field."""

    kind: str
    title: Title
    on: tuple[str, ...]
    where: tuple[Settlement, ...] = ("centre", "town", "village")
    per: float | None = None
    each: Literal["district", "centre", "town", "village"] | None = None
    shared: bool = False
    first: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    code: str = ""
    register_: str = Field(default="91", alias="register")
    levels: tuple[str, ...] = ()
    capacity: tuple[int, int] | None = None
    unit: str = ""


class Industry(_Kind):
    """A branch of the economy, with letter and division after GB/T 4754.

    How common it is, where it sits, and what its firms are called.
    """

    letter: str
    division: str
    title: Title
    weight: float
    on: tuple[str, ...]
    business: Title
    staff: tuple[int, int]


class SensorKind(_Kind):
    """A kind of device: where it is put, how many, how it is numbered, and what it measures (names of rhythms)."""

    kind: str
    title: Title
    owner: Title
    at: str
    per: float
    code: str
    height_m: float
    interval_s: int
    measures: tuple[str, ...] = ()
    accuracy_m: float = 5.0


class Rhythm(_Kind):
    """How a quantity runs through the day: a mean, bumps, weekend and season factors, noise, limits.

    A bump is its height, its hour and its width in hours.
    """

    name: str
    unit: str
    mean: float
    bumps: tuple[tuple[float, float, float], ...] = ()
    weekend: float = 1.0
    season: float = 0.0
    noise: float = 0.1
    spread: float = 0.2
    limits: tuple[float, float]


def _tables(name: str, key: str) -> list[dict[str, object]]:
    return tomllib.loads((resources.files("ingest.demo") / name).read_text(encoding="utf-8"))[key]


@cache
def facility_kinds() -> tuple[FacilityKind, ...]:
    """All kinds of facilities."""
    return tuple(FacilityKind.model_validate(table) for table in _tables("facilities.toml", "kinds"))


@cache
def industries() -> tuple[Industry, ...]:
    """All branches of the economy."""
    return tuple(Industry.model_validate(table) for table in _tables("industries.toml", "industries"))


@cache
def sensor_kinds() -> tuple[SensorKind, ...]:
    """All kinds of devices."""
    return tuple(SensorKind.model_validate(table) for table in _tables("sensors.toml", "kinds"))


@cache
def rhythms() -> dict[str, Rhythm]:
    """All daily rhythms by name."""
    return {
        rhythm.name: rhythm for rhythm in (Rhythm.model_validate(table) for table in _tables("sensors.toml", "rhythms"))
    }
