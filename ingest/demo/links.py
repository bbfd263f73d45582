"""From plan to lines: the course of every road between places, through the main streets of the places it passes."""

from dataclasses import dataclass

import numpy as np

from ingest.demo.lines import hermite
from ingest.demo.network import Network
from ingest.demo.noise import Floats, Ints, fractal
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, lines_along
from ingest.demo.settlements import CENTRE
from ingest.demo.streets import RESIDENTIAL, TERTIARY, Lattice, stretch_ends

__all__ = ["Drawn", "Step", "draw_links", "route_steps"]

Step = tuple[int, bool]
"""A line and whether it is passed in its own direction."""

_STEPS = 12
_AXIS = 0.62
_WIGGLE_M = {TERTIARY: 26.0, RESIDENTIAL: 42.0}


@dataclass(frozen=True, slots=True)
class _Arm:
    """A main street from the middle of a place outwards: where it ends, which way it leaves, its stretches."""

    gate: tuple[float, float]
    way: tuple[float, float]
    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Drawn:
    """All surface lines before noding: street stretches in the order of their numbers, then roads between places.

    `lines` (l,) and `road_class` (l,); `settlement` (l,): the place of a stretch, -1 for a road between places;
    `steps`: for each kept link of the network the lines it consists of, from its first node to its second.
    """

    lines: Geometries
    road_class: Ints
    settlement: Ints
    steps: dict[int, list[Step]]


def _arms_of(lattice: Lattice, row: int) -> list[_Arm]:
    """The four main streets of one place."""
    i, j = lattice.middle
    corners = lattice.corners[row]
    ids = (lattice.along_id[row, i:, j], lattice.along_id[row, :i, j][::-1],
           lattice.across_id[row, i, j:], lattice.across_id[row, i, :j][::-1])  # fmt: skip
    ways = (corners[i:, j], corners[: i + 1, j][::-1], corners[i, j:], corners[i, : j + 1][::-1])
    arms: list[_Arm] = []
    for direction, (stretch, at) in enumerate(zip(ids, ways, strict=True)):
        missing = np.flatnonzero(stretch < 0)
        reach = int(missing[0]) if missing.size else len(stretch)
        aim = at[min(1, len(at) - 1)] - at[0] if reach == 0 else at[reach] - at[reach - 1]
        unit = aim / max(float(np.hypot(*aim)), 1e-9)
        steps = [(int(line), direction in {0, 2}) for line in stretch[:reach]]
        arms.append(_Arm((float(at[reach, 0]), float(at[reach, 1])), (float(unit[0]), float(unit[1])), steps))
    return arms


def _ends(
    network: Network, arms: dict[int, list[_Arm]], links: Ints, side: int
) -> tuple[Floats, Floats, list[list[Step]]]:
    """At one end of links (k,): position (k, 2), unit way out (k, 2), and the street steps from the place's middle."""
    here, there = network.links[links, side], network.links[links, 1 - side]
    toward = network.xy[there] - network.xy[here]
    toward = toward / np.hypot(*toward.T)[:, None]
    position, way = network.xy[here].copy(), toward.copy()
    corner = np.abs(network.outward[here]).sum(1) > 0
    way[corner] = network.outward[here[corner]]
    steps: list[list[Step]] = [[] for _ in links]
    for k, place in enumerate(network.settlement[here].tolist()):
        if place >= 0:
            best = max(arms[place], key=lambda arm, k=k: arm.way[0] * toward[k, 0] + arm.way[1] * toward[k, 1])
            position[k], way[k], steps[k] = best.gate, best.way, best.steps
    blend = _AXIS * way + (1 - _AXIS) * toward
    return position, blend / np.maximum(np.hypot(*blend.T), 1e-9)[:, None], steps


def _curves(plan: Plan, start: Floats, leave: Floats, end: Floats, arrive: Floats, road_class: Ints) -> Floats:
    """Smooth courses (k, steps + 1, 2), the lesser roads with some wiggle that dies out at both ends."""
    reach = np.hypot(*(end - start).T)[:, None]
    curve = hermite(start, 0.9 * reach * leave, end, -0.9 * reach * arrive, _STEPS)
    amplitude = np.minimum(
        np.select([road_class == k for k in _WIGGLE_M], list(_WIGGLE_M.values()), 0.0), 0.08 * reach[:, 0]
    )
    fade = np.sin(np.linspace(0, np.pi, _STEPS + 1))
    fade[-1] = 0
    aside = np.stack([-(end - start)[:, 1], (end - start)[:, 0]], axis=-1) / np.maximum(reach, 1e-9)
    push = 2 * fractal(curve, 420.0, 2, plan.seed + 29) * fade * amplitude[:, None]
    return curve + push[..., None] * aside[:, None]


def draw_links(plan: Plan, network: Network, lattices: list[Lattice]) -> Drawn:
    """Draw every built link. `lattices` are all lattices, numbered: those of the centres first."""
    arms = {int(place): _arms_of(lattice, row) for lattice in lattices if lattice.kind != CENTRE
            for row, place in enumerate(lattice.settlement)}  # fmt: skip
    ends, road_class = stretch_ends(lattices)
    between = np.flatnonzero(network.kept & (network.stretch < 0))
    start, leave, steps_a = _ends(network, arms, between, 0)
    end, arrive, steps_b = _ends(network, arms, between, 1)
    # Two places whose streets already meet need no road between them.
    apart = np.hypot(*(end - start).T) > 0
    curves = _curves(plan, start[apart], leave[apart], end[apart], arrive[apart], network.road_class[between[apart]])
    number = np.full(len(between), -1)
    number[apart] = len(ends) + np.arange(int(apart.sum()))
    steps: dict[int, list[Step]] = {}
    for k, link in enumerate(between.tolist()):
        own: list[Step] = [(int(number[k]), True)] if apart[k] else []
        steps[link] = steps_a[k] + own + [(line, not ahead) for line, ahead in reversed(steps_b[k])]
    streets = np.flatnonzero(network.kept & (network.stretch >= 0))
    steps |= {int(link): [_street_step(network, ends, int(link))] for link in streets}
    classes = np.concatenate([road_class, network.road_class[between[apart]]])
    for link, lines in steps.items():
        for line, _ in lines:
            classes[line] = min(int(classes[line]), int(network.road_class[link]))
    settlement = np.full(len(classes), -1)
    for lattice in lattices:
        for stretch in (lattice.along_id, lattice.across_id):
            there = stretch >= 0
            settlement[stretch[there]] = np.broadcast_to(lattice.settlement[:, None, None], stretch.shape)[there]
    return Drawn(np.concatenate([lines_along(ends), lines_along(curves)]), classes, settlement, steps)


def _street_step(network: Network, ends: Floats, link: int) -> Step:
    stretch = int(network.stretch[link])
    return stretch, bool(np.array_equal(ends[stretch, 0], network.xy[network.links[link, 0]]))


def route_steps(drawn: Drawn, links: list[int], forward: list[bool]) -> list[Step]:
    """The lines of a path of links; a main street entered and left by the same gate is not driven to and fro."""
    steps: list[Step] = []
    for link, ahead_link in zip(links, forward, strict=True):
        own = drawn.steps[link]
        for line, ahead in own if ahead_link else [(line, not ahead) for line, ahead in reversed(own)]:
            if steps and steps[-1] == (line, not ahead):
                steps.pop()
            else:
                steps.append((line, ahead))
    return steps
