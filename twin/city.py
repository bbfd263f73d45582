"""The city profile: all that is particular to one city. No Python knows which city it is."""

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin.errors import SetupError
from twin.settings import settings

__all__ = ["City", "District", "ReportingUnit", "Resolutions", "Title", "Town", "city", "load_city"]

Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Title(_Part):
    """A text in both languages."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)

    def of(self, lang: str) -> str:
        """The text in `lang` (`zh` or `en`)."""
        return self.en if lang == "en" else self.zh


class Town(_Part):
    """A town or subdistrict: 9-digit code and name."""

    code: str
    title: Title


class District(_Part):
    """A district: the districts partition the city, so sums over them are sums over the city."""

    code: str
    title: Title
    seat: tuple[Longitude, Latitude]
    area_km2: float = Field(gt=0)
    population: int = Field(ge=0)
    towns: tuple[Town, ...] = ()


class ReportingUnit(_Part):
    """An area that reports for itself but lies over districts: its people are already counted there."""

    code: str
    title: Title
    seat: tuple[Longitude, Latitude]
    area_km2: float = Field(gt=0)
    within: tuple[str, ...] = Field(description="codes of the districts it lies over")


class Resolutions(_Part):
    """H3 resolutions: the finest stored and the coarsest shown."""

    finest: int = Field(ge=0, le=15)
    coarsest: int = Field(ge=0, le=15)


class City(_Part):
    """One city. `bounds` are west, south, east, north in degrees of the SRID's datum; a place outside is refused."""

    id: str
    code: str
    title: Title
    country: Title
    province: tuple[str, ...] = Field(default=(), description="the names that stand before the city's in addresses")
    srid: int
    datum: str = Field(description="the datum word of the SRID: wgs84 or cgcs2000")
    zone: str
    bounds: tuple[Longitude, Latitude, Longitude, Latitude]
    centre: tuple[Longitude, Latitude]
    resolutions: Resolutions
    districts: tuple[District, ...]
    reporting_units: tuple[ReportingUnit, ...] = ()
    datums: dict[str, tuple[float, ...]] = Field(
        default_factory=dict[str, tuple[float, ...]],
        description="seven Helmert parameters (m, arc seconds, ppm; position vector) for local datums",
    )
    map_approval_no: str | None = Field(default=None, description="审图号 printed on the public map")

    @property
    def tzinfo(self) -> ZoneInfo:
        """The city's time zone."""
        return ZoneInfo(self.zone)


def load_city(name: str) -> City:
    """Read a city profile by name (in `twin/cities`) or by the path of a TOML file.

    Raises SetupError when there is none or it is wrong.
    """
    path = Path(name) if name.endswith(".toml") else None
    source = path or resources.files("twin") / "cities" / f"{name}.toml"
    try:
        return City.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SetupError(
            f"no city profile is called {name!r}.", remedy="Set TWIN_CITY to a name in twin/cities or to a TOML file."
        ) from error
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"the city profile is wrong: {error}", where=str(source)) from error


@cache
def city() -> City:
    """The city of this process (`TWIN_CITY`), read once."""
    return load_city(settings().city)
