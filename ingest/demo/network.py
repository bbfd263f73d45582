"""The road plan: which places are linked, which roads run along which links, and what class each link has.

Nodes are the corners of the main streets of urban centres, every town and village, and the exits where numbered roads
leave the city. Links between places are the intersection of the Gabriel and Urquhart graphs plus a spanning tree:
planar, connected, and close to how country roads grow (Toussaint 1980). Numbered roads are shortest paths through
what the facts name, preferring what is built.
"""

from dataclasses import dataclass, field

import numpy as np
import shapely

from ingest.demo.facts import Position, Road
from ingest.demo.graph import (
    Adjacency,
    Bools,
    gabriel_and_urquhart,
    neighbours_of,
    shortest_path,
    spanning_tree,
    tree_flow,
)
from ingest.demo.noise import Floats, Ints
from ingest.demo.plan import Plan
from ingest.demo.plane import Geometries, lines_along, polygons_of
from ingest.demo.settlements import CENTRE, TOWN, VILLAGE, Settlements
from ingest.demo.streets import NO_ROAD, PRIMARY, RESIDENTIAL, SECONDARY, TERTIARY, TRUNK, Lattice, Site
from twin.city import Title

__all__ = ["Network", "Route", "path_between", "plan_network"]

_CLASS = {"trunk": TRUNK, "primary": PRIMARY, "secondary": SECONDARY}
_BUILT = {TRUNK: 0.72, PRIMARY: 0.78, SECONDARY: 0.84, TERTIARY: 0.95, RESIDENTIAL: 1.0}
"""Cost of a metre of an existing road of each class: new roads follow old ones."""
_NEW_ROAD = 1.12
_WEIGHT = {TRUNK: 9.0, PRIMARY: 7.0, SECONDARY: 4.0, TERTIARY: 2.0, RESIDENTIAL: 0.6}
"""How much a road of each class turns the streets of the place it passes towards itself."""
_NORTH_TOWN, _NORTH_VILLAGE = 15.0, 4.0
"""How much tradition turns streets north."""
_OUTSIDE, _BRIDGE_M, _BUSY = 4.0, 350.0, 4
_EXIT_M = 60.0
_MOVE_M = 380.0


@dataclass(frozen=True, slots=True)
class Route:
    """A numbered road: its links in order, and whether each is passed from its first node to its second."""

    number: str
    title: Title
    road_class: int
    stake_m: float
    links: list[int]
    forward: list[bool]


@dataclass(slots=True)
class Network:
    """Nodes and links.

    `xy` (v, 2) metres; `settlement` (v,): its town or village, -1 for street corners and exits; `outward` (v, 2):
    unit vector along which a road leaves a street corner at the edge of a centre, else zero; `links` (e, 2) nodes;
    `stretch` (e,): number of the street stretch a link is, -1 for a road between places; `road_class` (e,);
    `neighbours`: (node, link) pairs of every node; `kept` (e,) whether it is built; `routes`.
    """

    xy: Floats
    settlement: Ints
    outward: Floats
    links: Ints
    stretch: Ints
    road_class: Ints
    kept: Bools
    length_m: Floats
    neighbours: Adjacency
    routes: list[Route] = field(default_factory=list[Route])

    def cost(self, unbuilt: float) -> list[float]:
        """Cost of each link for the next road: a metre not built yet costs `unbuilt`; infinite where none can be."""
        factor = np.array([_BUILT[k] for k in range(TRUNK, RESIDENTIAL + 1)])
        built = factor[np.clip(self.road_class, TRUNK, RESIDENTIAL) - TRUNK]
        return (self.length_m * np.where(self.kept, built, unbuilt)).tolist()

    def use(self, links: list[int], road_class: int) -> None:
        """Build links and raise them to a class."""
        self.kept[links] = True
        self.road_class[links] = np.minimum(self.road_class[links], road_class)


def _corner_graph(lattices: list[Lattice]) -> tuple[Floats, Ints, Ints, Ints]:
    """Main streets of the centres: corner positions (v, 2), links (e, 2), stretch (e,) and class (e,) of each link."""
    positions: list[Floats] = []
    links: list[Ints] = []
    stretches: list[Ints] = []
    classes: list[Ints] = []
    start = 0
    for lattice in lattices:
        n, m = lattice.corners.shape[1:3]
        corner = np.arange(n * m).reshape(n, m)
        pairs = ((lattice.along[0], corner[:-1], corner[1:], lattice.along_id[0]),
                 (lattice.across[0], corner[:, :-1], corner[:, 1:], lattice.across_id[0]))  # fmt: skip
        main = [road_class <= SECONDARY for road_class, *_ in pairs]
        ends = np.concatenate([np.column_stack([a[on], b[on]]) for (_, a, b, _), on in zip(pairs, main, strict=True)])
        used, ends = np.unique(ends, return_inverse=True)
        positions.append(lattice.corners[0].reshape(-1, 2)[used])
        links.append(ends.reshape(-1, 2) + start)
        stretches += [ids[on] for (*_, ids), on in zip(pairs, main, strict=True)]
        classes += [road_class[on] for (road_class, *_), on in zip(pairs, main, strict=True)]
        start += len(used)
    return np.vstack(positions), np.vstack(links), np.concatenate(stretches), np.concatenate(classes)


def _gates(xy: Floats, links: Ints) -> tuple[Ints, Floats]:
    """The corners where a main street ends, with the unit vector out of town."""
    degree = np.bincount(links.ravel(), minlength=len(xy))
    gate = np.flatnonzero(degree == 1)
    inner = np.full(len(xy), -1)
    inner[links[:, 0]] = links[:, 1]
    inner[links[degree[links[:, 1]] == 1, 1]] = links[degree[links[:, 1]] == 1, 0]
    out = xy[gate] - xy[inner[gate]]
    return gate, out / np.hypot(*out.T)[:, None]


def _exits(plan: Plan, site: Site) -> tuple[Floats, dict[Position, int]]:
    """Where numbered roads leave the city: positions (x, 2) just inside its border, and the exit of each given one."""
    inner = shapely.buffer(site.bounds.city, -_EXIT_M)
    found: list[tuple[float, float]] = []
    named: dict[Position, int] = {}
    for road in plan.facts.roads:
        for position in (via for via in road.via if not isinstance(via, str) and road.road_class != "motorway"):
            point = shapely.Point(plan.plane.to_plane(np.array([position]))[0])
            if not inner.contains(point) and position not in named:
                border = shapely.get_coordinates(shapely.shortest_line(inner, point))[0]
                named[position] = len(found)
                found.append((float(border[0]), float(border[1])))
    return np.array(found).reshape(-1, 2), named


def _bodies(lattices: list[Lattice]) -> Geometries:
    """The built-up areas of the centres, drawn in a little: roads between places go round them."""
    quads = [polygons_of(lattice.quads()[lattice.blocks]) for lattice in lattices]
    return np.array(
        [shapely.buffer(shapely.union_all(shapely.buffer(quad, 45)), -130) for quad in quads], dtype=np.object_
    )


def _between(site: Site, lattices: list[Lattice], xy: Floats, places: Ints, own: Ints) -> tuple[Ints, Floats, Bools]:
    """Possible links (e, 2) between places, their length with penalties (infinite: impossible), which are natural.

    `own` (v,): the centre a node belongs to, -1 for none; no road between places links a centre to itself.
    """
    pairs, gabriel, urquhart = gabriel_and_urquhart(xy[places])
    links = places[pairs]
    lines = lines_along(xy[links])
    length = shapely.length(lines)
    barred = (own[links[:, 0]] == own[links[:, 1]]) & (own[links[:, 0]] >= 0)
    for things in (site.still, _bodies(lattices)):
        barred[shapely.STRtree(things).query(lines, predicate="intersects")[0]] = True
    shapely.prepare(site.bounds.city)
    length = np.where(shapely.contains(site.bounds.city, lines), length, _OUTSIDE * length)
    wet = np.unique(shapely.STRtree(site.obstacles).query(lines, predicate="intersects")[0])
    length[wet] += _BRIDGE_M
    return links, np.where(barred, np.inf, length), gabriel & urquhart & ~barred


def _grown(
    plan: Plan, settlements: Settlements, site: Site, lattices: list[Lattice]
) -> tuple[Network, dict[Position, int]]:
    """The network before any road is numbered, and the node of each exit."""
    corners, streets, stretch, street_class = _corner_graph(lattices)
    exits, exit_of = _exits(plan, site)
    rural = np.flatnonzero(settlements.kind != CENTRE)
    xy = np.vstack([corners, settlements.xy[rural], exits])
    settlement = np.full(len(xy), -1)
    settlement[len(corners) : len(corners) + len(rural)] = rural
    gates, out = _gates(corners, streets)
    outward = np.zeros_like(xy)
    outward[gates] = out
    gap = np.hypot(*(corners[:, None] - settlements.xy[settlements.of(CENTRE)]).transpose(2, 0, 1))
    own = np.full(len(xy), -1)
    own[: len(corners)] = gap.argmin(1)
    places = np.concatenate([gates, np.arange(len(corners), len(xy))])
    links, length, natural = _between(site, lattices, xy, places, own)
    every = np.vstack([streets, links])
    cost = np.concatenate([np.zeros(len(streets)), length])
    kept = np.concatenate(
        [np.ones(len(streets), dtype=np.bool_), natural & np.isfinite(length) & (length < _OUTSIDE * 6_000)]
    )
    kept |= spanning_tree(len(xy), every, cost)
    street_m = np.hypot(*(xy[streets[:, 0]] - xy[streets[:, 1]]).T)
    network = Network(
        xy=xy,
        settlement=settlement,
        outward=outward,
        links=every,
        stretch=np.concatenate([stretch, np.full(len(links), -1)]),
        road_class=np.concatenate([street_class, np.full(len(links), RESIDENTIAL)]),
        kept=kept,
        length_m=np.concatenate([street_m, length]),
        neighbours=neighbours_of(len(xy), every),
    )
    return network, {position: len(corners) + len(rural) + k for position, k in exit_of.items()}


def path_between(network: Network, stops: list[int], unbuilt: float = np.inf) -> tuple[list[int], list[bool]]:
    """The links from stop to stop, in order and direction, without loops.

    Over built links only, unless `unbuilt` prices a metre of the others.
    """
    cost = network.cost(unbuilt)
    nodes, links = [stops[0]], list[int]()
    for stop in stops[1:]:
        for link in shortest_path(network.neighbours, cost, nodes[-1], stop):
            a, b = network.links[link].tolist()
            node = b if a == nodes[-1] else a
            if node in nodes:
                place = nodes.index(node)
                del nodes[place + 1 :], links[place:]
            else:
                nodes.append(node)
                links.append(link)
    return links, [bool(network.links[link, 0] == node) for link, node in zip(links, nodes, strict=False)]


class _Finder:
    """Finds the node that a place named in the facts means."""

    def __init__(
        self, plan: Plan, settlements: Settlements, site: Site, network: Network, exits: dict[Position, int]
    ) -> None:
        self._plan, self._network, self._exits = plan, network, exits
        towns = [town.code for district in plan.city.districts for town in district.towns]
        self._at = dict(zip(towns, site.bounds.town_seats, strict=True))
        self._at |= {district.code: seat for district, seat in zip(plan.city.districts, site.bounds.seats, strict=True)}
        of_settlement = {int(s): node for node, s in enumerate(network.settlement) if s >= 0}
        self._town = {towns[settlements.town[s]]: of_settlement[int(s)] for s in settlements.of(TOWN)}

    def node(self, via: str | Position) -> int:
        """The node of a code or position; the nearest one where nothing bears that name."""
        if not isinstance(via, str):
            known = self._exits.get(via)
            return self.nearest(self._plan.plane.to_plane(np.array([via]))[0]) if known is None else known
        return self._town[via] if via in self._town else self.nearest(self._at[via])

    def nearest(self, xy: Floats) -> int:
        """The node nearest to a position (2,)."""
        return int(np.hypot(*(self._network.xy - xy).T).argmin())


def _numbered_roads(roads: list[Road], network: Network, finder: _Finder) -> None:
    for road in sorted(roads, key=lambda road: _CLASS[road.road_class]):
        links, forward = path_between(network, [finder.node(via) for via in road.via], _NEW_ROAD)
        network.use(links, _CLASS[road.road_class])
        network.routes.append(
            Route(road.number, road.title, _CLASS[road.road_class], 1000 * road.stake_km, links, forward)
        )


def _county_roads(plan: Plan, settlements: Settlements, site: Site, network: Network, finder: _Finder) -> None:
    """A road from each town to the seat of its district."""
    towns = [town for district in plan.city.districts for town in district.towns]
    for k, index in enumerate(settlements.of(TOWN)):
        town, district = towns[settlements.town[index]], plan.city.districts[settlements.district[index]]
        links, forward = path_between(
            network, [finder.node(town.code), finder.nearest(site.bounds.seats[settlements.district[index]])]
        )
        network.use(links, SECONDARY)
        title = Title(zh=f"{district.title.zh[0]}{town.title.zh[0]}线", en=f"{district.title.en}-{town.title.en} Road")
        network.routes.append(Route(f"X{k + 1:03d}", title, SECONDARY, 0.0, links, forward))


def _settled(settlements: Settlements, network: Network) -> None:
    """Straighten numbered roads by moving villages, then turn the streets of every place towards its main roads."""
    on_road = network.kept & (network.road_class <= PRIMARY)
    a, b = network.links[on_road].T
    degree = np.bincount(np.concatenate([a, b]), minlength=len(network.xy))
    rural = network.settlement >= 0
    free = (degree == 2) & rural
    free[rural] &= settlements.kind[network.settlement[rural]] == VILLAGE
    start = network.xy.copy()
    for _ in range(4):
        total = np.zeros_like(network.xy)
        np.add.at(total, a, network.xy[b])
        np.add.at(total, b, network.xy[a])
        moved = 0.5 * network.xy[free] + 0.25 * total[free] - start[free]
        reach = np.hypot(*moved.T)[:, None]
        network.xy[free] = start[free] + moved * np.minimum(1, _MOVE_M / np.maximum(reach, 1e-9))
    settlements.xy[network.settlement[rural]] = network.xy[rural]
    a, b = network.links[network.kept].T
    weight = np.array([_WEIGHT[k] for k in range(TRUNK, NO_ROAD)])[network.road_class[network.kept] - TRUNK]
    way = network.xy[b] - network.xy[a]
    pull = weight * np.exp(4j * np.arctan2(way[:, 1], way[:, 0]))
    every = np.where(settlements.kind == TOWN, _NORTH_TOWN, _NORTH_VILLAGE) * np.exp(4j * settlements.turn_rad)
    for end in (a, b):
        on = network.settlement[end] >= 0
        np.add.at(every, network.settlement[end[on]], pull[on])
    outside = settlements.kind != CENTRE
    settlements.turn_rad[outside] = (np.angle(every) / 4)[outside]


def plan_network(plan: Plan, settlements: Settlements, site: Site, lattices: list[Lattice]) -> Network:
    """Link everything; lay the numbered roads; moves villages and turns streets of `settlements` to suit them.

    `lattices` are those of the centres, already numbered.
    """
    network, exits = _grown(plan, settlements, site, lattices)
    finder = _Finder(plan, settlements, site, network, exits)
    _numbered_roads([road for road in plan.facts.roads if road.road_class != "motorway"], network, finder)
    _county_roads(plan, settlements, site, network, finder)
    kept = np.flatnonzero(network.kept)
    hubs = np.flatnonzero(network.settlement < 0).tolist()
    hubs += [node for node, s in enumerate(network.settlement) if s >= 0 and settlements.kind[s] == TOWN]
    flow = tree_flow(
        neighbours_of(len(network.xy), network.links[kept]), network.length_m[kept].tolist(), hubs, len(kept)
    )
    network.use(kept[flow >= _BUSY].tolist(), TERTIARY)
    _settled(settlements, network)
    return network
