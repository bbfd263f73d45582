"""OpenStreetMap extracts: what a contract asks for, with every matching object accounted for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import osmium
import pytest
import shapely
from osmium.osm.mutable import Node, Relation, Way

from ingest.codecs.osm import read
from ingest.codecs.records import GEOMETRY, ROW, ReadOptions, Records
from tests.ingest.contracts import contract, field
from twin.errors import SourceError

SQUARE = [1, 2, 3, 4, 1]
POSITIONS = {1: (117.0, 34.0), 2: (117.01, 34.0), 3: (117.01, 34.01), 4: (117.0, 34.01), 5: (117.02, 34.02)}


def extract(folder: Path, *things: Node | Way | Relation) -> Path:
    """A .osm.pbf with the nodes of POSITIONS and further things, in the order of the format."""
    path = folder / "extract.osm.pbf"
    given = {thing.id for thing in things if isinstance(thing, Node)}
    with osmium.SimpleWriter(str(path)) as writer:
        for number, location in POSITIONS.items():
            if number not in given:
                writer.add_node(Node(id=number, version=1, location=location))
        for kind, add in ((Node, writer.add_node), (Way, writer.add_way), (Relation, writer.add_relation)):
            for thing in things:
                if isinstance(thing, kind):
                    add(thing)
    return path


def asked(*elements: str, geometry: str = "any", **osm: Any) -> Any:
    names = ("code", "name", "kind")
    where = osm.pop("where", {"building": ["*"]})
    maps = {"code": "@id", "name": "name", "kind": "@tag"}
    return contract(
        geometry=geometry,
        fields={name: field("string", name, name) for name in names},
        osm={"elements": elements, "where": where, "map": maps, **osm},
    )


def one(path: Path, dataset: Any) -> Records:
    (records,) = read(path, dataset, ReadOptions())
    return records


def shape(records: Records, row: int = 0) -> Any:
    return shapely.from_wkb(records.frame[GEOMETRY][row])


def test_nodes_ways_and_areas(tmp_path: Path) -> None:
    path = extract(
        tmp_path,
        Node(id=5, version=1, location=POSITIONS[5], tags={"building": "kiosk", "name": "报亭"}),
        Way(id=7, version=1, nodes=[1, 2, 3], tags={"building": "wall"}),
        Way(id=8, version=1, nodes=SQUARE, tags={"building": "yes", "name": "楼"}),
        Way(id=9, version=1, nodes=SQUARE, tags={"building": "no_area", "area": "no"}),
        Way(id=10, version=1, nodes=SQUARE, tags={"highway": "service"}),
    )
    records = one(path, asked("node", "way", "area"))
    found = dict(zip(records.frame["code"], records.frame[GEOMETRY], strict=True))
    assert {code: shapely.from_wkb(wkb).geom_type for code, wkb in found.items()} == {
        "n5": "Point",
        "w7": "LineString",
        "w8": "MultiPolygon",
        "w9": "LineString",
    }
    assert shapely.from_wkb(found["w8"]).area == pytest.approx(1e-4)
    assert sorted(records.frame[ROW]) == [1, 2, 3, 4]
    assert records.crs == "EPSG:4326"
    assert one(path, asked("way")).frame["code"].to_list() == ["w7", "w8", "w9"]
    assert one(path, asked("area")).frame["code"].to_list() == ["w8"]


def test_area_of_a_relation(tmp_path: Path) -> None:
    members = [("w", 7, "outer"), ("w", 8, "outer")]
    path = extract(
        tmp_path,
        Way(id=7, version=1, nodes=[1, 2, 3]),
        Way(id=8, version=1, nodes=[3, 4, 1]),
        Relation(id=3, version=1, members=members, tags={"type": "multipolygon", "building": "yes"}),
    )
    records = one(path, asked("area"))
    assert records.frame["code"].to_list() == ["r3"]
    assert shape(records).area == pytest.approx(1e-4)


def test_values_are_translated_and_unknown_ones_stay(tmp_path: Path) -> None:
    tags = [
        {"amenity": "library"},
        {"amenity": "toilets", "leisure": "park"},
        {"leisure": "park"},
        {"leisure": "bench"},
    ]
    nodes = [Node(id=n, version=1, location=POSITIONS[n], tags=tag) for n, tag in enumerate(tags, 1)]
    path = extract(tmp_path, *nodes)
    where = {"leisure": ["park"], "amenity": ["*"]}
    records = one(path, asked("node", where=where, values={"kind": {"park": "green", "toilets": "toilet"}}))
    assert records.frame.select("code", "kind").rows() == [("n1", "library"), ("n2", "green"), ("n3", "green")]
    starred = one(path, asked("node", where=where, values={"kind": {"park": "green", "*": "other"}}))
    assert starred.frame["kind"].to_list() == ["other", "green", "green"]


def test_areas_of_a_point_contract_become_points_on_them(tmp_path: Path) -> None:
    horseshoe = [1, 2, 3, 6, 7, 4, 1]
    path = extract(
        tmp_path,
        Node(id=6, version=1, location=(117.009, 34.001)),
        Node(id=7, version=1, location=(117.001, 34.001)),
        Way(id=8, version=1, nodes=horseshoe, tags={"building": "yes"}),
    )
    area = shape(one(path, asked("area")))
    point = shape(one(path, asked("area", geometry="point")))
    assert point.geom_type == "Point"
    assert area.contains(point)
    assert not area.contains(area.centroid)  # the naive answer would be wrong here


def test_objects_whose_parts_are_missing_are_unreadable(tmp_path: Path) -> None:
    bowtie = [1, 3, 2, 4, 1]
    path = extract(
        tmp_path,
        Way(id=7, version=1, nodes=[1, 99], tags={"building": "line", "name": "断线"}),
        Way(id=8, version=1, nodes=[1, 2, 99, 1], tags={"building": "gap"}),
        Way(id=9, version=1, nodes=SQUARE, tags={"building": "good"}),
        Way(id=10, version=1, nodes=bowtie, tags={"building": "bowtie"}),
        Relation(id=3, version=1, members=[("w", 50, "outer")], tags={"type": "multipolygon", "building": "nowhere"}),
    )
    records = one(path, asked("way", "area"))
    assert records.frame["code"].to_list() == ["w9"]
    assert {bad.text.split()[0] for bad in records.unreadable} == {"w7", "w8", "w10", "r3"}
    reasons = {bad.text.split()[0]: bad.why for bad in records.unreadable}
    assert reasons["w7"] == "nodes of it are not in the file"
    assert "rings do not close" in reasons["r3"]
    assert "name=断线" in next(bad.text for bad in records.unreadable if bad.text.startswith("w7"))
    assert sorted([*records.frame[ROW], *(bad.row for bad in records.unreadable)]) == [1, 2, 3, 4, 5]


def test_nothing_found_is_one_empty_batch(tmp_path: Path) -> None:
    records = one(extract(tmp_path), asked("node", "way", "area", geometry="point"))
    assert records.frame.height == 0
    assert {"code", "name", "kind", ROW, GEOMETRY} == set(records.frame.columns)


def test_contract_without_osm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="takes nothing from OpenStreetMap"):
        one(extract(tmp_path), contract())


def test_cut_extract_is_refused(tmp_path: Path) -> None:
    path = extract(tmp_path, *(Way(id=n, version=1, nodes=SQUARE, tags={"building": "yes"}) for n in range(1, 500)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SourceError, match="broken"):
        list(read(path, asked("area"), ReadOptions()))


def test_real_roads(shared: Callable[[str], Path]) -> None:
    path = shared("porto_alegre/poa_osm.pbf")
    roads = asked("way", geometry="line", where={"highway": ["primary", "secondary", "residential"]})
    batches = list(read(path, roads, ReadOptions(batch_rows=1000)))
    assert all(batch.frame.height <= 1000 for batch in batches)
    codes = [code for batch in batches for code in batch.frame["code"]]
    expected = [
        f"w{way.id}"
        for way in osmium.FileProcessor(str(path), osmium.osm.WAY)
        if way.tags.get("highway") in {"primary", "secondary", "residential"}
    ]
    assert codes == expected
    assert sum(len(batch.unreadable) for batch in batches) == 0
