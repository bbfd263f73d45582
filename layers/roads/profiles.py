"""Who travels: what a car, an ambulance, a fire engine or a person on foot may pass, and how fast they are."""

import hashlib
import tomllib
from enum import IntFlag
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from layers.roads.ways import Ways
from twin.city import Title
from twin.errors import InvalidRequest

__all__ = ["Mode", "Profile", "class_speed_kmh", "profile", "profiles"]

_FILE = Path(__file__).with_name("profiles.toml")
_CLASSES = "class_kmh"


class Mode(IntFlag):
    """Who may pass, as bits of `Ways.ahead` and `Ways.back`."""

    MOTOR = 1
    EMERGENCY = 2
    FOOT = 4


_MODES = {"motor": Mode.MOTOR, "emergency": Mode.EMERGENCY, "foot": Mode.FOOT}


class Profile(BaseModel):
    """One who travels. Sizes are the vehicle's own; without one, a posted limit does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: Title
    mode: Literal["motor", "emergency", "foot"]
    share_of_limit: float = Field(gt=0, le=1.5)
    pace: float = Field(gt=0, le=2)
    top_kmh: float = Field(gt=0, le=200)
    height_m: float | None = None
    width_m: float | None = None
    weight_t: float | None = None

    @property
    def bit(self) -> Mode:
        """The bit of its mode."""
        return _MODES[self.mode]

    @property
    def digest(self) -> str:
        """A hash of all that it says, and of the speeds of the classes."""
        return hashlib.sha256(f"{self.model_dump_json()}{sorted(class_speed_kmh().items())}".encode()).hexdigest()

    def fits(self, ways: Ways) -> NDArray[np.bool_]:
        """Whether it fits through each of the ways (w,) by its size and weight."""
        fits = np.ones(len(ways), dtype=np.bool_)
        for size, limit in (
            (self.height_m, ways.height_m),
            (self.width_m, ways.width_m),
            (self.weight_t, ways.weight_t),
        ):
            if size is not None:
                fits &= ~(limit < size)  # without a limit it is NaN, and fits
        return fits

    def speed_kmh(self, ways: Ways) -> NDArray[np.float64]:
        """How fast it drives (w,) on each of the ways when nothing is in its way."""
        known = class_speed_kmh()
        usual = np.array([known.get(name, known["other"]) for name in ways.classes], dtype=np.float64)[ways.road_class]
        if self.mode == "foot":
            return np.minimum(np.where(usual < self.top_kmh, usual, self.top_kmh), self.top_kmh)
        posted = np.isfinite(ways.limit_kmh)
        speed = np.where(posted, ways.limit_kmh * self.share_of_limit, usual) * self.pace
        return np.clip(speed, 1.0, self.top_kmh)


@lru_cache(1)
def profiles() -> dict[str, Profile]:
    """All profiles, by id."""
    said = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: Profile(id=name, **words) for name, words in said.items() if name != _CLASSES}


def profile(name: str) -> Profile:
    """The profile of an id. Raises InvalidRequest when there is none."""
    found = profiles().get(name)
    if found is None:
        raise InvalidRequest(
            f"nobody travels as {name[:40]!r}.", where="profile", remedy=f"Use one of: {', '.join(profiles())}."
        )
    return found


@lru_cache(1)
def class_speed_kmh() -> dict[str, float]:
    """The speed in km/h on a road of each class where no limit is posted."""
    return {name: float(speed) for name, speed in tomllib.loads(_FILE.read_text(encoding="utf-8"))[_CLASSES].items()}
