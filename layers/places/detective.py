"""The datum detective: which datum a batch of coordinates is in, from where its records are known to be otherwise.

Every datum is tried, with the axes as they are and swapped: the right one brings most records to their references,
however many references are wrong; any other leaves them hundreds of metres off. Where none does, a shift, turn and
scale common to the records is looked for (random sample consensus, Fischler and Bolles 1981): a displaced map passes
every test of bounds. Where that fails too, the detective says that it cannot tell.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.places.datums import same_datum
from twin.city import City
from twin.datum import parse_datum, to_city
from twin.geometry import METRES_PER_DEGREE, metres_apart

__all__ = ["MOST_M", "Verdict", "detect"]

Floats = NDArray[np.float64]

MOST_M = 150.0
"""A reference that is known no better than this cannot tell datums apart."""
_SLACK_M = 60.0
_FEWEST = 8
_LEAST_SHARE, _LEAST_LEAD = 0.4, 2.0
_SHARE_DISPLACED = 0.5
_SAMPLES = 400
_SCALES = (0.5, 2.0)
_LARGEST_DEGREE = 360.0
_AS_GOOD = 0.9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the detective found. `word` is a datum, or `displaced`, or None where it cannot say.

    `matched` records had a reference that is exact enough; `fitting` of them lie at it. `offset_m` says how far east
    and north a displaced map lies from where it should, at its middle, and `scale` how much too large it is.
    """

    word: str | None
    swapped: bool
    matched: int
    fitting: int
    offset_m: tuple[float, float] | None = None
    scale: float = 1.0

    @property
    def text(self) -> str:
        """In words."""
        share = f"{self.fitting} of {self.matched} records with a known place"
        if self.word is None:
            return f"no datum fits: {share} agree with the best one"
        if self.offset_m is not None:
            east, north = self.offset_m
            size = f" and {self.scale:.3f} times too large" if abs(self.scale - 1) > 0.01 else ""
            return f"the map is displaced by {east:+,.0f} m east and {north:+,.0f} m north{size}: so say {share}"
        axes = " with the axes swapped" if self.swapped else ""
        return f"{share} fit {self.word}{axes}"


def detect(
    x: Floats, y: Floats, lon: Floats, lat: Floats, accuracy_m: Floats, city: City, declared: str | None = None
) -> Verdict:
    """The datum of raw coordinates `x`, `y` (n,), whose records lie at `lon`, `lat` (n,) by another way.

    Longitudes and latitudes are degrees of the city's datum, NaN where nothing else is known; `accuracy_m` (n,) is how
    exactly. Records without a reference within 150 m are not asked. The datum word `declared` is tried too, and stands
    where it fits as well as the best: Xi'an 1980 lies within metres of CGCS2000.
    """
    asked = np.isfinite(x) & np.isfinite(y) & np.isfinite(lon) & (accuracy_m <= MOST_M)
    x, y, lon, lat, reach_m = x[asked], y[asked], lon[asked], lat[asked], _SLACK_M + accuracy_m[asked]
    matched = len(x)
    if matched < _FEWEST:
        return Verdict(None, swapped=False, matched=matched, fitting=0)
    found: list[tuple[int, str, bool]] = []
    for word in _words(x, y, city, declared):
        for swapped in (False, True):
            tried = to_city(*((y, x) if swapped else (x, y)), parse_datum(word), city)
            off_m = metres_apart(*tried, lon, lat)
            found.append((int(np.sum(off_m <= reach_m)), word, swapped))  # NaN is nowhere near
    found.sort(key=lambda one: -one[0])
    (fitting, word, swapped), (second, *_) = found[0], found[1]
    if fitting >= max(_FEWEST - 2, _LEAST_SHARE * matched):
        for count, said, turned in found:
            if said == declared and not turned and count >= _AS_GOOD * fitting:
                return Verdict(said, turned, matched, count)
        if fitting >= _LEAST_LEAD * second:
            return Verdict(word, swapped, matched, fitting)
    return _displaced(x, y, lon, lat, reach_m) or Verdict(None, swapped=False, matched=matched, fitting=fitting)


def _words(x: Floats, y: Floats, city: City, declared: str | None) -> list[str]:
    """The datums that numbers of this size may be in, and the one that they are said to be in."""
    if max(np.median(np.abs(x)), np.median(np.abs(y))) <= _LARGEST_DEGREE:
        words = ["wgs84", "gcj02", "bd09"]
    else:
        middle = round(city.centre[0] / 3) * 3
        words = [f"cgcs2000-3deg-{meridian}" for meridian in (middle - 3, middle, middle + 3)]
    # One that means the same as another would share its records, and leave neither a lead.
    others = [word for word in words if declared is None or not same_datum(word, declared)]
    return others if declared is None else [*others, declared]


def _displaced(x: Floats, y: Floats, lon: Floats, lat: Floats, reach_m: Floats) -> Verdict | None:
    """The similarity in a plane around the references that most records share; None where half of them do not."""
    if np.max(np.abs(x)) > _LARGEST_DEGREE or np.max(np.abs(y)) > _LARGEST_DEGREE:
        return None
    centre = complex(float(np.median(lon)), float(np.median(lat)))
    narrow = math.cos(math.radians(centre.imag))

    def plane(a: Floats, b: Floats) -> NDArray[np.complex128]:
        return ((a - centre.real) * narrow + 1j * (b - centre.imag)) * METRES_PER_DEGREE

    given, wanted = plane(x, y), plane(lon, lat)
    rng = np.random.default_rng(len(x))
    best: tuple[int, complex, complex] = (0, 1, 0)
    for _ in range(_SAMPLES):
        i, j = rng.choice(len(x), 2, replace=False)
        if abs(given[i] - given[j]) < 1_000:
            continue
        turn = (wanted[i] - wanted[j]) / (given[i] - given[j])
        if not _SCALES[0] <= abs(turn) <= _SCALES[1]:
            continue
        shift = wanted[i] - turn * given[i]
        fitting = int(np.sum(np.abs(turn * given + shift - wanted) <= reach_m))
        if fitting > best[0]:
            best = (fitting, complex(turn), complex(shift))
    fitting, turn, shift = best
    if fitting < max(_FEWEST, _SHARE_DISPLACED * len(x)):
        return None
    middle = complex(np.median(given.real), np.median(given.imag))
    off = middle - (turn * middle + shift)
    return Verdict("displaced", False, len(x), fitting, (off.real, off.imag), 1 / abs(turn))  # noqa: FBT003
