"""How numbers about people leave the twin: one adaptive partition into H3 cells, and keyed rounding.

Every person counts in exactly one published cell, the finest whose siblings all hold enough people, so there is nothing
to subtract: no cell is published beside its parent, and any two areas made of published cells differ by nothing or by
at least k people. Rounding to a base hides a single arrival; it is unbiased, and the same cell is always rounded the
same way, so asking again tells nothing new. After the cell-key method and k-anonymity of the Handbook on Statistical
Disclosure Control (https://sdctools.github.io/HandbookSDC/, chapter 5).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.grid import cell_polygons, parents, resolution_of

__all__ = ["BASE", "K", "Partition", "partition", "rounded", "snapped"]

K = 10
"""People that every published cell holds at least."""

BASE = 5
"""Published numbers are multiples of it."""

Cells = NDArray[np.int64]
People = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Partition:
    """Published cells (n,) of mixed resolution, no one within another, and the people (n,) in each.

    `source` (m,) says for each cell given in which published one its people count (an index, -1: withheld);
    `withheld` are the people of places with fewer than k even at the coarsest resolution.
    """

    cells: Cells
    people: People
    source: NDArray[np.int64]
    withheld: int


def partition(cells: Cells, people: People, *, coarsest: int, k: int = K) -> Partition:
    """Partition people (m,), counted in H3 cells (m,) of any resolutions, each cell once, so that nobody stands out.

    A cell is split into its children while each child that holds anybody holds at least `k`, and likewise those who are
    known no better than the cell itself. Raises ValueError for a k below 10 and for negative counts.
    """
    if k < K:
        raise ValueError(f"k is {k}; at least {K} people hide one another")
    if len(people) and people.min() < 0:
        raise ValueError("there are no negative people")
    given = np.flatnonzero(people)
    source = np.full(len(cells), -1, dtype=np.int64)
    own, weight, level = cells[given], people[given], resolution_of(cells[given])
    finest = int(level.max()) if len(level) else coarsest
    start = min(coarsest, int(level.min())) if len(level) else coarsest
    node = parents(own, np.minimum(level, start))
    published = np.zeros(0, dtype=np.int64)
    open_ = np.ones(len(own), dtype=np.bool_)
    at = node.copy()
    for resolution in range(start, finest + 1):
        splits = _splits(at, own, weight, level, resolution, k) & open_
        done = open_ & ~splits
        published = np.concatenate([published, np.unique(at[done])])
        open_ = splits & (level > resolution)
        stays = splits & (level == resolution)  # known no better than this cell, and enough of them
        published = np.concatenate([published, np.unique(at[stays])])
        at[open_] = parents(own[open_], np.full(np.count_nonzero(open_), resolution + 1))
        if not open_.any():
            break
    published = np.unique(published)
    index = np.searchsorted(published, at)
    total = np.bincount(index, weights=weight, minlength=len(published)).astype(np.int64)
    keep = total >= k
    renumbered = np.where(keep, np.cumsum(keep) - 1, -1)
    source[given] = renumbered[index] if len(index) else index
    return Partition(published[keep], total[keep], source, int(total[~keep].sum()))


def _splits(
    at: Cells, own: Cells, weight: People, level: NDArray[np.int64], resolution: int, k: int
) -> NDArray[np.bool_]:
    """For each given cell (m,), whether the cell `at` that it counts in now is to be split."""
    child = np.where(level > resolution, parents(own, np.minimum(level, resolution + 1)), own)
    groups, member = np.unique(child, return_inverse=True)
    enough = np.bincount(member, weights=weight, minlength=len(groups)) >= k
    nodes, node = np.unique(at, return_inverse=True)
    small = np.bincount(node, weights=~enough[member], minlength=len(nodes)) > 0
    deeper = np.bincount(node, weights=level > resolution, minlength=len(nodes)) > 0
    return (deeper & ~small)[node]


def rounded(key: bytes, name: str, cells: Cells, people: NDArray[np.int64] | NDArray[np.float64]) -> People:
    """The numbers (n,) of cells (n,) as multiples of 5: each up or down, by a chance that keeps its mean.

    The chance is drawn from the key, the name of what is counted and the cell, not from the number or the time.
    """
    low = np.floor(people / BASE) * BASE
    prefix = hashlib.blake2b(name.encode(), key=key[:64], digest_size=16).digest()
    draws = np.frombuffer(
        b"".join(hashlib.blake2b(cell, key=prefix, digest_size=8).digest() for cell in _bytes_of(cells)), dtype="<u8"
    )
    up = draws.astype(np.float64) / 2.0**64 < (people - low) / BASE
    return (low + BASE * up).astype(np.int64)


def _bytes_of(cells: Cells) -> list[bytes]:
    packed = np.ascontiguousarray(cells, dtype="<i8").tobytes()
    return [packed[at : at + 8] for at in range(0, len(packed), 8)]


def snapped(area: shapely.Geometry, cells: Cells) -> NDArray[np.bool_]:
    """Which of the cells (n,) an area that somebody drew stands for: those whose middle lies in it, as a whole.

    So two areas over published cells differ by no people at all, or by at least the k that each cell holds.
    """
    if not len(cells):
        return np.zeros(0, dtype=np.bool_)
    shapely.prepare(area)
    return shapely.contains(area, shapely.centroid(cell_polygons(cells)))
