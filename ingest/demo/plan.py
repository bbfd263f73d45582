"""What every theme of the demo city starts from."""

from dataclasses import dataclass

import numpy as np

from ingest.demo.facts import Facts, facts_of, invented
from ingest.demo.noise import stream
from ingest.demo.plane import Plane
from twin.city import City
from twin.errors import InvalidRequest

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A city to draw: its profile and facts, the plane to draw in, the seed of all chance, the scale of all counts."""

    city: City
    facts: Facts
    plane: Plane
    seed: int
    scale: float

    @classmethod
    def of(cls, city: City, seed: int, scale: float) -> "Plan":
        """The plan of a city. Raises InvalidRequest for a scale outside (0, 1] or a negative seed."""
        if not 0 < scale <= 1:
            raise InvalidRequest(f"the scale {scale} is outside (0, 1].", remedy="Use 1 for the whole city.")
        if seed < 0:
            raise InvalidRequest(f"the seed {seed} is negative.", remedy="Use 0 or more.")
        facts = facts_of(city) or invented(city, seed)
        return cls(city, facts, Plane(city), seed, scale)

    def rng(self, theme: str) -> np.random.Generator:
        """The random generator of one theme."""
        return stream(self.seed, theme)
