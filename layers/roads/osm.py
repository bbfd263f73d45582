"""Ways from an OpenStreetMap extract (.osm.pbf), with barriers, ferries and turn restrictions, in one read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from osmium import FileProcessor, InvalidLocationError
from osmium.filter import KeyFilter
from osmium.geom import ALL, WKBFactory
from osmium.io import File
from osmium.osm import Node, Relation, TagList, Way

from layers.roads.profiles import class_speed_kmh
from layers.roads.tags import barred, excepted, length_m, passage, speed_kmh, weight_t
from layers.roads.ways import Barrier, Restriction, Ways
from twin.errors import SourceError

__all__ = ["read_osm"]

_WKB_HEAD = 9
_FERRY = "ferry"


@dataclass(slots=True)
class _Reading:
    """What has been read of a file; references are still OpenStreetMap's own."""

    known: dict[str, int]
    refs: list[Sequence[int]] = field(default_factory=list[Sequence[int]])
    shapes: list[bytes] = field(default_factory=list[bytes])
    ids: list[int] = field(default_factory=list[int])
    road_class: list[int] = field(default_factory=list[int])
    passages: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    limits: list[tuple[float, float, float, float]] = field(default_factory=list[tuple[float, float, float, float]])
    names: list[str | None] = field(default_factory=list[str | None])
    numbers: list[str | None] = field(default_factory=list[str | None])
    barriers: list[Barrier] = field(default_factory=list[Barrier])
    relations: list[tuple[int, str, int, list[tuple[str, str, int]]]] = field(
        default_factory=list[tuple[int, str, int, list[tuple[str, str, int]]]]
    )
    unusable: list[str] = field(default_factory=list[str])
    factory: WKBFactory = field(default_factory=WKBFactory)

    def take(self, found: Node | Way | Relation) -> None:
        tags = found.tags
        if isinstance(found, Way):
            name = tags.get("highway") or (_FERRY if tags.get("route") == _FERRY else "")
            if name in self.known and tags.get("area") != "yes":
                self._take_way(found, name, _texts(tags))
        elif isinstance(found, Node):
            said = _texts(tags)
            one = Barrier(found.id, barred(said), length_m(said.get("maxheight")))
            if "barrier" in said and (one.modes or math.isfinite(one.height_m)):
                self.barriers.append(one)
        else:
            kind = tags.get("restriction") or tags.get("restriction:motorcar")
            if kind is not None:
                members = [(member.role, member.type, member.ref) for member in found.members]
                self.relations.append((found.id, kind, excepted(tags.get("except")), members))

    def _take_way(self, way: Way, name: str, tags: Mapping[str, str]) -> None:
        ahead, back = passage(name, tags)
        if not ahead | back:
            return
        try:
            shape = bytes.fromhex(self.factory.create_linestring(way, ALL))[_WKB_HEAD:]
            refs = [node.ref for node in way.nodes]
        except InvalidLocationError:
            refs, shape = _present(way)
            self.unusable.append(f"way {way.id}: {len(way.nodes) - len(refs)} of its nodes are not in the file")
        except RuntimeError:
            refs, shape = [], b""
        if len(refs) < 2:
            return
        self.refs.append(refs)
        self.shapes.append(shape)
        self.ids.append(way.id)
        self.road_class.append(self.known[name])
        self.passages.append((ahead, back))
        self.limits.append((speed_kmh(tags.get("maxspeed")), length_m(tags.get("maxheight")),
                            length_m(tags.get("maxwidth")), weight_t(tags.get("maxweight"))))  # fmt: skip
        self.names.append(tags.get("name"))
        self.numbers.append(tags.get("ref"))


def _texts(tags: TagList) -> dict[str, str]:
    return {tag.k: tag.v for tag in tags}


def _present(way: Way) -> tuple[list[int], bytes]:
    """The longest run of a way's nodes that are in the file."""
    runs: list[list[tuple[int, float, float]]] = [[]]
    for node in way.nodes:
        if node.location.valid():
            runs[-1].append((node.ref, node.lon, node.lat))
        elif runs[-1]:
            runs.append([])
    longest = max(runs, key=len)
    return [ref for ref, _, _ in longest], np.array([(x, y) for _, x, y in longest], dtype="<f8").tobytes()


def read_osm(path: Path) -> Ways:
    """Read all ways that somebody may travel on. Raises SourceError when the file is broken or has none.

    Ways of which nodes are missing, as at the edge of an extract, keep their longest part; they and restrictions
    whose ways are not there are named in `unusable`.
    """
    reading = _Reading({name: number for number, name in enumerate(class_speed_kmh())})
    try:
        keys = KeyFilter("highway", "route", "barrier", "restriction", "restriction:motorcar")
        for found in FileProcessor(File(str(path), "pbf")).with_locations().with_filter(keys):
            if isinstance(found, Node | Way | Relation):
                reading.take(found)
    except (RuntimeError, OSError, ValueError) as error:
        raise SourceError(
            f"the file is broken: {error}.", where=str(path), remedy="Download or cut out the extract again."
        ) from error
    if not reading.ids:
        raise SourceError("there are no roads in the file.", where=str(path), remedy="Take an extract with roads.")
    return _ways(reading)


def _ways(reading: _Reading) -> Ways:
    first = np.zeros(len(reading.refs) + 1, dtype=np.int64)
    np.cumsum([len(refs) for refs in reading.refs], out=first[1:])
    node = np.fromiter((ref for refs in reading.refs for ref in refs), dtype=np.int64, count=int(first[-1]))
    xy = np.frombuffer(b"".join(reading.shapes), dtype="<f8").reshape(-1, 2)
    limits = np.array(reading.limits, dtype=np.float64)
    passages = np.array(reading.passages, dtype=np.uint8)
    unknown = np.full(len(reading.ids), np.nan)
    ways = Ways(
        first=first,
        node=node,
        lon=xy[:, 0].copy(),
        lat=xy[:, 1].copy(),
        ahead=passages[:, 0].copy(),
        back=passages[:, 1].copy(),
        classes=list(reading.known),
        road_class=np.array(reading.road_class, dtype=np.int64),
        limit_kmh=limits[:, 0].copy(),
        height_m=limits[:, 1].copy(),
        width_m=limits[:, 2].copy(),
        weight_t=limits[:, 3].copy(),
        record=[f"w{one}" for one in reading.ids],
        name=reading.names,
        number=reading.numbers,
        start_km=unknown,
        end_km=unknown,
        barriers=reading.barriers,
        unusable=reading.unusable,
    )
    _restrict(ways, reading)
    return ways


def _restrict(ways: Ways, reading: _Reading) -> None:
    """Turn relations into restrictions of the ways that are there."""
    at = {one: number for number, one in enumerate(reading.ids)}
    for relation, text, modes, members in reading.relations:
        kind = text.split("_", 1)[0]
        starts = [ref for role, of, ref in members if role == "from" and of == "w"]
        ends = [ref for role, of, ref in members if role == "to" and of == "w"]
        via = [(of, ref) for role, of, ref in members if role == "via"]
        over_ways = bool(via) and all(of == "w" for of, _ in via)
        if kind not in {"no", "only"} or not starts or not ends or not via:
            reading.unusable.append(f"restriction {relation}: {text} without from, via or to")
            continue
        if not over_ways and (len(via) > 1 or via[0][0] != "n"):
            reading.unusable.append(f"restriction {relation}: its via is neither a node nor ways")
            continue
        wanted = [*starts, *ends, *(ref for _, ref in via if over_ways)]
        if any(ref not in at for ref in wanted):
            reading.unusable.append(f"restriction {relation}: ways of it are not in the network")
            continue
        nodes = tuple(at[ref] if over_ways else ref for _, ref in via)
        ways.restrictions += [
            Restriction(
                "no" if kind == "no" else "only", at[start], nodes, over_ways, at[end], 7 & ~modes, text == "no_u_turn"
            )
            for start in starts
            for end in ends
        ]
