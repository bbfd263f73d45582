"""A small synthetic city, drawn once for the tests of this folder."""

from functools import cache

from ingest.demo.city import DemoCity
from twin.city import City, load_city

SCALE, SEED = 0.05, 1616
"""The smallest city that has something for every dataset."""
CITY: City = load_city("zaozhuang")


@cache
def small_city() -> DemoCity:
    """The city."""
    return DemoCity.generate(CITY, SEED, SCALE)
