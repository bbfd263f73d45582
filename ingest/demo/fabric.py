"""The fabric of the city: everything that later themes build on, in the order in which it comes to be."""

from dataclasses import dataclass

import numpy as np

from ingest.demo.boundaries import Boundaries, boundaries
from ingest.demo.corridors import Corridors, draw_corridors
from ingest.demo.links import Drawn, draw_links
from ingest.demo.names import street_names
from ingest.demo.network import Network, plan_network
from ingest.demo.noise import Ints
from ingest.demo.plan import Plan
from ingest.demo.settlements import CENTRE, VILLAGE, Settlements, settle
from ingest.demo.streets import (
    PRIMARY,
    RESIDENTIAL,
    SECONDARY,
    Lattice,
    Site,
    centre_lattices,
    numbered,
    other_lattices,
    stretch_streets,
)
from ingest.demo.water import Water, draw_water
from twin.city import Title

__all__ = ["Fabric", "weave"]

_HALVES = {"along": (("西", " West"), ("东", " East")), "across": (("南", " South"), ("北", " North"))}
_KINDS = {PRIMARY: ("大道", " Avenue"), RESIDENTIAL: ("街", " Street")}
_ROAD = ("路", " Road")


@dataclass(frozen=True, slots=True)
class Fabric:
    """Outlines, water, corridors, settlements, street lattices (centres first), the road plan and its lines.

    `streets` (l,): name index of every street stretch, -1 without a name, into `street_titles`.
    """

    bounds: Boundaries
    water: Water
    corridors: Corridors
    settlements: Settlements
    lattices: list[Lattice]
    network: Network
    drawn: Drawn
    streets: Ints
    street_titles: list[Title]


def _line_titles(words: list[Title], ranks: Ints, direction: str) -> list[tuple[Title, Title]]:
    """Names of parallel lines before and after their middle, where main streets change their name."""
    titles: list[tuple[Title, Title]] = []
    for word, rank in zip(words, ranks.tolist(), strict=True):
        kind = _KINDS.get(rank, _ROAD)
        halves = _HALVES[direction] if rank <= SECONDARY else (("", ""), ("", ""))
        first, second = (Title(zh=word.zh + half[0] + kind[0], en=word.en + half[1] + kind[1]) for half in halves)
        titles.append((first, second))
    return titles


def _name_streets(plan: Plan, lattices: list[Lattice], district: Ints) -> list[Title]:
    """Name the streets of centres and towns, on the lattices; returns the names.

    `district` (s,) of each settlement: two centres of one district share no name, since addresses name no town there.
    """
    rng = plan.rng("street names")
    titles: list[Title] = []
    taken: dict[int, set[str]] = {}
    for lattice in lattices:
        s, n, m = lattice.corners.shape[:3]
        lattice.along_street, lattice.across_street = np.full((s, m, 2), -1), np.full((s, n, 2), -1)
        if lattice.kind == VILLAGE:
            continue
        for row in range(s):
            used = taken.setdefault(int(district[lattice.settlement[row]]), set()) if lattice.kind == CENTRE else set()
            drawn = [name for name in street_names(n + m + len(used), rng) if name.zh not in used][: n + m]
            used |= {name.zh for name in drawn}
            for direction, words, ranks, index in (
                ("along", drawn[:m], lattice.along[row].min(0), lattice.along_street),
                ("across", drawn[m:], lattice.across[row].min(1), lattice.across_street),
            ):
                pairs = _line_titles(words, ranks, direction)
                index[row] = len(titles) + np.arange(2 * len(pairs)).reshape(-1, 2)
                titles += [title for pair in pairs for title in pair]
    return titles


def weave(plan: Plan) -> Fabric:
    """Draw the fabric of a city."""
    bounds = boundaries(plan)
    water = draw_water(plan, bounds)
    corridors = draw_corridors(plan, bounds)
    settlements = settle(plan, bounds, water, corridors.lines)
    site = Site(bounds, water.still, np.concatenate([water.areas_shape, corridors.lines]))
    centres = centre_lattices(plan, settlements, site)
    start = numbered(centres)
    network = plan_network(plan, settlements, site, centres)
    others = other_lattices(plan, settlements, site)
    numbered(others, start)
    lattices = [*centres, *others]
    drawn = draw_links(plan, network, lattices)
    titles = _name_streets(plan, lattices, settlements.district)
    return Fabric(bounds, water, corridors, settlements, lattices, network, drawn, stretch_streets(lattices), titles)
