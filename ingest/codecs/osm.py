"""OpenStreetMap extracts (.osm.pbf): nodes, ways and areas whose tags a contract asks for, in one streaming read.

Nodes are kept only as locations (16 bytes each). Areas are closed ways and multipolygon or boundary relations,
assembled by libosmium (https://osmcode.org/osmium-concepts/#areas).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import shapely
from osmium import FileProcessor, InvalidLocationError
from osmium.filter import KeyFilter
from osmium.geom import WKBFactory
from osmium.io import File
from osmium.osm import Area, Node, Relation, TagList, Way

from ingest.codecs.records import GEOMETRY, ROW, ReadOptions, Records, Unreadable, unreadable
from ingest.codecs.shapes import wkb
from layers.contract import Contract, OsmSource
from twin.errors import SourceError

__all__ = ["read"]

_CRS = "EPSG:4326"
_AREA_RELATIONS = {"multipolygon", "boundary"}
_RING_NODES = 4


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:
    """Read what the contract's `osm` asks for. The columns are fields of the contract, all texts.

    With both ways and areas asked for, a closed way is an area, unless it says `area=no`. In a contract of points, an
    area becomes a point on it. Objects whose parts are not in the file are unreadable.
    Raises SourceError when the contract takes nothing from OpenStreetMap, or the file is broken.
    """
    if contract.osm is None:
        raise SourceError(
            f"{contract.id} takes nothing from OpenStreetMap.",
            remedy="Add a table [osm] to its contract, or choose another.",
        )
    reading = _Reading(contract.osm, as_points=contract.geometry == "point")
    try:
        for _ in reading.objects(path):
            if reading.count >= options.batch_rows:
                yield reading.batch()
        reading.finish()
    except (RuntimeError, OSError, ValueError) as error:
        raise SourceError(f"the file is broken: {error}.", remedy="Download or cut out the extract again.") from error
    if reading.count or not reading.read:
        yield reading.batch()


@dataclass(slots=True)
class _Reading:
    """A file being read: the batch so far, and areas that are announced but not yet assembled."""

    osm: OsmSource
    as_points: bool
    read: int = 0
    _values: dict[str, list[str | None]] = field(default_factory=dict[str, list[str | None]])
    _rows: list[int] = field(default_factory=list[int])
    _shapes: list[bytes] = field(default_factory=list[bytes])
    _bad: list[Unreadable] = field(default_factory=list[Unreadable])
    _awaited: dict[str, str] = field(default_factory=dict[str, str])
    _made: set[str] = field(default_factory=set[str])
    _factory: WKBFactory = field(default_factory=WKBFactory)

    def __post_init__(self) -> None:
        self._values = {name: [] for name in self.osm.map}

    @property
    def count(self) -> int:
        """Records in the batch so far."""
        return len(self._rows) + len(self._bad)

    def objects(self, path: Path) -> Iterator[None]:
        """Take the objects one by one."""
        keys = KeyFilter(*self.osm.where)
        processor = FileProcessor(File(str(path), "pbf"))
        if "area" in self.osm.elements:
            processor = processor.with_areas(keys)
        elif "way" in self.osm.elements:
            processor = processor.with_locations()
        for found in processor.with_filter(keys):
            if isinstance(found, Area | Node | Relation | Way) and (tag := self._match(found.tags)):
                self._take(found, tag)
                yield

    def finish(self) -> None:
        """Areas that could not be assembled are unreadable."""
        for name, text in self._awaited.items():
            if name not in self._made:
                self._refuse(text, "its rings do not close, or parts of it are not in the file")

    def batch(self) -> Records:
        """The records taken since the last batch."""
        shapes = pl.Series(self._shapes, dtype=pl.Binary)
        if self.as_points:
            shapes = wkb(
                np.atleast_1d(shapely.point_on_surface(shapely.from_wkb(np.array(self._shapes, dtype=object))))
            )
        columns = [pl.Series(name, values, dtype=pl.String) for name, values in self._values.items()]
        frame = pl.DataFrame([*columns, pl.Series(ROW, self._rows, dtype=pl.Int64), shapes.alias(GEOMETRY)])
        records = Records(frame, _CRS, tuple(self._bad))
        self._values = {name: [] for name in self.osm.map}
        self._rows, self._shapes, self._bad = [], [], []
        return records

    def _match(self, tags: TagList) -> tuple[str, str] | None:
        """The first tag, in the order of the contract, that the contract asks for."""
        for key, values in self.osm.where.items():
            value = tags.get(key)
            if value is not None and (value in values or "*" in values):
                return key, value
        return None

    def _take(self, found: Area | Node | Relation | Way, tag: tuple[str, str]) -> None:
        elements = self.osm.elements
        if isinstance(found, Area):
            name = f"{'w' if found.from_way() else 'r'}{found.orig_id()}"
            self._made.add(name)
            self._add(name, found, tag)
        elif isinstance(found, Relation):
            if "area" in elements and found.tags.get("type") in _AREA_RELATIONS:
                self._awaited[f"r{found.id}"] = _text(f"r{found.id}", found.tags)
        elif isinstance(found, Way) and "area" in elements and _encloses(found):
            self._awaited[f"w{found.id}"] = _text(f"w{found.id}", found.tags)
        elif isinstance(found, Way) and "way" in elements:
            self._add(f"w{found.id}", found, tag)
        elif isinstance(found, Node) and "node" in elements:
            self._add(f"n{found.id}", found, tag)

    def _add(self, name: str, found: Area | Way | Node, tag: tuple[str, str]) -> None:
        try:
            shape = self._shape(found)
        except InvalidLocationError:
            self._refuse(_text(name, found.tags), "nodes of it are not in the file")
            return
        except RuntimeError as error:
            self._refuse(_text(name, found.tags), f"it makes no geometry: {error}")
            return
        self.read += 1
        self._rows.append(self.read)
        self._shapes.append(bytes.fromhex(shape))
        for ours, theirs in self.osm.map.items():
            value = name if theirs == "@id" else tag[1] if theirs == "@tag" else found.tags.get(theirs)
            meanings = self.osm.values.get(ours)
            if meanings is not None and value is not None:
                value = meanings.get(value, meanings.get("*", value))
            self._values[ours].append(value)

    def _shape(self, found: Area | Way | Node) -> str:
        """The geometry as WKB in hexadecimal. Raises RuntimeError when there is none."""
        if isinstance(found, Node):
            return self._factory.create_point(found)
        if isinstance(found, Way):
            return self._factory.create_linestring(found)
        return self._factory.create_multipolygon(found)

    def _refuse(self, text: str, why: str) -> None:
        self.read += 1
        self._bad.append(unreadable(self.read, text, why))


def _encloses(way: Way) -> bool:
    """Whether libosmium makes an area of this way if all its nodes are there."""
    return len(way.nodes) >= _RING_NODES and way.ends_have_same_id() and way.tags.get("area") != "no"


def _text(name: str, tags: TagList) -> str:
    """An object as a person finds it again: its id and its tags."""
    return f"{name} " + " ".join(f"{tag.k}={tag.v}" for tag in tags)
