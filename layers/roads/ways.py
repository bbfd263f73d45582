"""Ways: centre lines as their source draws them, before anybody travels on them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Barrier", "Restriction", "Ways"]


class Restriction(NamedTuple):
    """A turn that is forbidden, or the only one allowed.

    From way `start` over `via` (nodes, or ways) to way `end`; ways and nodes by their numbers in `Ways`. `modes`: whom
    it concerns, as bits of `Mode`. `u_turn`: only the way back on the same way is meant.
    """

    kind: Literal["no", "only"]
    start: int
    via: tuple[int, ...]
    via_ways: bool
    end: int
    modes: int
    u_turn: bool = False


class Barrier(NamedTuple):
    """A node that `modes` (bits of `Mode`) cannot pass, nor who is higher than `height_m`."""

    node: int
    modes: int
    height_m: float = float("nan")


@dataclass(slots=True)
class Ways:
    """Centre lines: w of them, with v vertices in all.

    `first` (w+1,): the vertices of way i are first[i] to first[i+1]. `node` (v,): vertices of one number are one place.
    `lon`, `lat` (v,) degrees. `ahead`, `back` (w,): who may pass along and against the line, as bits of `Mode`.
    `classes` are the names that `road_class` (w,) counts. `limit_kmh`, `height_m`, `width_m`, `weight_t` (w,): what is
    posted, NaN where nothing is. `record`, `name`, `number` (w,): the id of the record, its name and the road's number.
    `start_km`, `end_km` (w,): the stakes at its ends, NaN without. `unusable`: what could not be read, and why.
    """

    first: NDArray[np.int64]
    node: NDArray[np.int64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    ahead: NDArray[np.uint8]
    back: NDArray[np.uint8]
    classes: Sequence[str]
    road_class: NDArray[np.int64]
    limit_kmh: NDArray[np.float64]
    height_m: NDArray[np.float64]
    width_m: NDArray[np.float64]
    weight_t: NDArray[np.float64]
    record: Sequence[str]
    name: Sequence[str | None]
    number: Sequence[str | None]
    start_km: NDArray[np.float64]
    end_km: NDArray[np.float64]
    restrictions: list[Restriction] = field(default_factory=list[Restriction])
    barriers: list[Barrier] = field(default_factory=list[Barrier])
    unusable: list[str] = field(default_factory=list[str])

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def digest(self) -> str:
        """A hash of everything in it."""
        found = hashlib.sha256()
        for one in fields(self):
            value = getattr(self, one.name)
            found.update(one.name.encode())
            found.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
        return found.hexdigest()
