"""Tiles: what they hold, how large they get, and that thinning leaves no blank part."""

import math
from collections import Counter
from functools import cache
from typing import Any

import mapbox_vector_tile
import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from layers.tilecache import Edition, TileCache
from layers.tiles import MAX_TILE_BYTES, tile
from layers.tilesets import MAX_ZOOM, TILE_MATRIX_SET, TileAddress, tilejson, tileset
from tests.layers.conftest import NOON, Park
from tests.layers.park import CITY
from twin.access import Audience
from twin.errors import InvalidRequest
from twin.view import Span, View

LON, LAT = 117.3, 34.8
EXTENT = 4096
TREES = 200_000

Floats = NDArray[np.float64]


def address_of(z: int, lon: float = LON, lat: float = LAT) -> TileAddress:
    across = (lon + 180) / 360 * 2**z
    down = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z
    return TileAddress.checked(z, int(across), int(down))


def drawn(park: Park, dataset: str, address: TileAddress, view: View | None = None) -> bytes:
    contract = park.catalog[dataset]
    return park.ask(lambda c: tile(c, contract, view or View(), CITY, address))


def decoded(packed: bytes, dataset: str) -> list[dict[str, Any]]:
    layers = mapbox_vector_tile.decode(packed, default_options={"y_coord_down": True}) if packed else {}
    assert set(layers) <= {dataset}, "one layer, named like the dataset"
    return layers[dataset]["features"] if layers else []


def squares(features: list[dict[str, Any]], grid: int) -> set[tuple[int, int]]:
    """The squares of a grid over the tile in which a feature begins."""
    found: set[tuple[int, int]] = set()
    for feature in features:
        point = feature["geometry"]["coordinates"]
        while isinstance(point[0], list | tuple):
            point = point[0]
        if 0 <= point[0] < EXTENT and 0 <= point[1] < EXTENT:
            found.add((int(point[0] * grid // EXTENT), int(point[1] * grid // EXTENT)))
    return found


@cache
def spots() -> tuple[Floats, Floats]:
    """Longitudes and latitudes of 200,000 trees over a whole tile of zoom 10, in a cluster and alone."""
    west, south, east, north = address_of(10).box_deg()
    random = np.random.default_rng(1)
    x, y = (
        np.where(random.random(TREES) < 0.7, random.normal(middle, 0.03, TREES), random.random(TREES)) % 1
        for middle in (0.3, 0.6)
    )
    return np.round(west + x * (east - west), 7), np.round(south + y * (north - south), 7)


def plant(park: Park, order: str = "at") -> None:
    """Write the trees of `spots` in one statement."""
    lon, lat = spots()
    statement = f"""
        INSERT INTO parks.trees (id, tree_id, name, kind, valid, recorded, geom)
        SELECT 'tree-' || at, 'tree-' || at, '树 ' || at, CASE WHEN at % 2 = 1 THEN 'oak' ELSE 'elm' END,
            '[-infinity,)', '[2026-01-01,)', ST_SetSRID(ST_MakePoint(lon, lat), {CITY.srid})
        FROM unnest(CAST(:lon AS float8[]), CAST(:lat AS float8[])) WITH ORDINALITY AS spots (lon, lat, at)
        ORDER BY {order}"""
    with park.database.writing() as connection:
        connection.execute(sa.text(statement), {"lon": lon.tolist(), "lat": lat.tolist()})
        connection.exec_driver_sql("ANALYZE parks.trees")


@pytest.fixture(scope="module")
def forest(shared_park: Park) -> Park:
    plant(shared_park)
    return shared_park


@pytest.mark.parametrize("z", [16, 17, 18, 22])
def test_a_near_tile_has_every_record(forest: Park, z: int) -> None:
    address = address_of(z, *_centre_of_the_cluster())
    # At the very edge a tile rounds to its raster, and PostGIS compares boxes as 4-byte floats.
    least, most = (_inside(forest, address, 64 / EXTENT + tolerance) for tolerance in (-0.001, 0.001))
    found = [feature["properties"]["id"] for feature in decoded(drawn(forest, "parks.trees", address), "parks.trees")]
    assert least <= set(found) <= most
    assert len(found) == len(set(found))
    assert z == 22 or least


def _inside(park: Park, address: TileAddress, margin: float) -> set[str]:
    """Ids of the trees in a tile widened by a share of it, as PostgreSQL sees them."""
    box = sa.func.ST_MakeEnvelope(*address.box_deg(margin), CITY.srid)
    question = sa.select(sa.literal_column("id")).select_from(sa.text("parks.trees"))
    with park.database.writing() as connection:
        return set(connection.scalars(question.where(sa.func.ST_Intersects(sa.literal_column("geom"), box))))


def test_a_feature_has_its_fields_and_a_lasting_number(forest: Park) -> None:
    address = address_of(17, *_centre_of_the_cluster())
    near = decoded(drawn(forest, "parks.trees", address), "parks.trees")
    assert set(near[0]["properties"]) == {"id", "tree_id", "name", "kind"}, "those that are not null"
    numbers = {feature["properties"]["id"]: feature["id"] for feature in near}
    above = TileAddress(16, address.x // 2, address.y // 2)
    for feature in decoded(drawn(forest, "parks.trees", above), "parks.trees"):
        assert numbers.get(feature["properties"]["id"], feature["id"]) == feature["id"]
    assert len(set(numbers.values())) == len(numbers)
    assert all(0 <= number < 2**53 for number in numbers.values()), "JavaScript holds them exactly"


def _centre_of_the_cluster() -> tuple[float, float]:
    west, south, east, north = address_of(10).box_deg()
    return west + 0.3 * (east - west), south + 0.6 * (north - south)


@pytest.mark.parametrize("z", [0, 5, 8, 9, 10, 11, 12, 13, 14, 15])
def test_a_far_tile_is_small_and_has_no_blank_part(forest: Park, z: int) -> None:
    address = address_of(z, *_centre_of_the_cluster())
    packed = drawn(forest, "parks.trees", address)
    assert 0 < len(packed) <= MAX_TILE_BYTES
    shown = squares(decoded(packed, "parks.trees"), 32)
    lon, lat = spots()
    west, south, east, north = address.box_deg()
    inside = (west <= lon) & (lon < east) & (south < lat) & (lat <= north)
    bottom, top = (math.asinh(math.tan(math.radians(edge))) for edge in (south, north))
    across = (lon[inside] - west) / (east - west)
    down = (top - np.arcsinh(np.tan(np.radians(lat[inside])))) / (top - bottom)
    there = set(zip((across * 32).astype(int).tolist(), (down * 32).astype(int).tolist(), strict=True))
    # The grid of thinning has straight rows in degrees and the tile in metres: at its edges they differ by a little.
    neighbours = {(x + dx, y + dy) for x, y in shown for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
    assert there <= neighbours
    assert len(shown) >= 0.9 * len(there)


def test_thinning_does_not_depend_on_the_order_of_storage(park: Park, forest: Park) -> None:
    plant(park, "at DESC")
    address = address_of(10)
    one, other = (drawn(each, "parks.trees", address) for each in (park, forest))
    names = [{f["properties"]["id"] for f in decoded(packed, "parks.trees")} for packed in (one, other)]
    assert names[0] == names[1]
    assert 1_000 < len(names[0]) < 10_000


def test_a_thinned_tile_carries_what_the_style_looks_at(forest: Park) -> None:
    found = decoded(drawn(forest, "parks.trees", address_of(10)), "parks.trees")
    assert set(found[0]["properties"]) == {"id", "name", "kind"}


def bed(number: int, lon: float, lat: float, size_m: float) -> dict[str, Any]:
    x, y = size_m / 91_300, size_m / 111_200
    ring = [(lon, lat), (lon + x, lat), (lon + x, lat + y), (lon, lat + y), (lon, lat)]
    text = ", ".join(f"{a:.7f} {b:.7f}" for a, b in ring)
    return {"id": f"bed-{number}", "name": f"bed {number} " + "苗" * 40, "wkt": f"POLYGON(({text}))"}


def test_small_areas_do_not_vanish(park: Park) -> None:
    """At zoom 8 a flower bed is a hundredth of a raster unit wide; a tile without it would say there is none."""
    park.put("parks.beds", *(bed(at, LON + at / 100, LAT, 5.0) for at in range(5)), bed(9, LON, LAT + 0.01, 4_000.0))
    for z in (6, 8, 10, 14):
        found = {f["properties"]["id"] for f in decoded(drawn(park, "parks.beds", address_of(z)), "parks.beds")}
        assert {"bed-0", "bed-9"} <= found
        if z <= 8:
            assert len(found) == 6


def test_many_areas_make_a_small_tile_and_large_ones_stay(park: Park) -> None:
    random = np.random.default_rng(3)
    west, south, east, north = address_of(11).box_deg()
    x, y = random.random((2, 20_000))
    small = [
        bed(at, west + dx * (east - west), south + dy * (north - south), 20.0)
        for at, (dx, dy) in enumerate(zip(x, y, strict=True))
    ]
    park.put("parks.beds", *small, bed(99_999, west + (east - west) / 3, south + (north - south) / 3, 3_000.0))
    for z in (8, 11, 12):
        packed = drawn(park, "parks.beds", address_of(z, west + (east - west) / 2, south + (north - south) / 2 + 1e-4))
        found = decoded(packed, "parks.beds")
        assert len(packed) <= MAX_TILE_BYTES
        if z != 12:
            assert "bed-99999" in {feature["properties"]["id"] for feature in found}
    assert len(squares(decoded(drawn(park, "parks.beds", address_of(11)), "parks.beds"), 16)) == 256


def test_even_a_tile_of_large_shapes_is_small(park: Park) -> None:
    """A thousand ragged areas, each over the whole tile: the last level has to do."""
    random = np.random.default_rng(4)
    west, south, east, north = address_of(12).box_deg()
    angle = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    rows: list[dict[str, Any]] = []
    for at in range(1_000):
        radius = random.uniform(0.4, 0.6, 200) * (east - west)
        ring = np.stack([(west + east) / 2 + radius * np.cos(angle), (south + north) / 2 + radius * np.sin(angle)], 1)
        text = ", ".join(f"{a:.6f} {b:.6f}" for a, b in [*ring, ring[0]])
        rows.append({"id": f"b{at}", "name": "x" * 500, "wkt": f"POLYGON(({text}))"})
    park.put("parks.beds", *rows)
    packed = drawn(park, "parks.beds", address_of(12))
    assert 0 < len(packed) <= MAX_TILE_BYTES


def test_of_lines_the_first_class_stands(park: Park) -> None:
    """Where roads are thinned the main ones stay, also when side roads are longer."""
    random = np.random.default_rng(5)
    west, south, east, north = address_of(11).box_deg()
    rows: list[dict[str, Any]] = []
    for at in range(20_000):
        lon, lat = west + random.random() * (east - west), south + random.random() * (north - south)
        main = at % 20 == 0
        length = 0.0004 if main else 0.0006
        wkt = f"LINESTRING({lon:.6f} {lat:.6f}, {lon + length:.6f} {lat:.6f})"
        rows.append({"id": f"p{at}", "name": f"p{at}", "class": "main" if main else "side", "wkt": wkt})
    park.put("parks.paths", *rows)
    packed = drawn(park, "parks.paths", address_of(11))
    shown = Counter(feature["properties"]["class"] for feature in decoded(packed, "parks.paths"))
    assert len(packed) <= MAX_TILE_BYTES
    assert shown["main"] > 700, "of 1,000"


def test_what_lies_elsewhere_or_nowhere_is_in_no_tile(park: Park) -> None:
    park.put(
        "parks.trees",
        {"id": "nowhere", "tree_id": "nowhere"},
        {"id": "x", "tree_id": "x", "wkt": f"POINT({LON} {LAT})"},
    )
    assert drawn(park, "parks.trees", address_of(12, 0.0, 0.0)) == b""
    assert [f["properties"]["id"] for f in decoded(drawn(park, "parks.trees", address_of(0)), "parks.trees")] == ["x"]


def test_a_tile_of_another_time(park: Park) -> None:
    past = {"id": "past", "tree_id": "past", "wkt": f"POINT({LON} {LAT})", "valid": f"[-infinity,{NOON.isoformat()})"}
    park.put("parks.trees", past)
    assert drawn(park, "parks.trees", address_of(12)) == b""
    then = View(valid_at=Span.instant(NOON.replace(year=2020)))
    assert len(decoded(drawn(park, "parks.trees", address_of(12), then), "parks.trees")) == 1


def test_times_are_texts_in_a_tile(park: Park) -> None:
    row = {"id": "s:1", "subject": "s", "sensor": "s", "observed_at": NOON, "dust": 1.5, "wkt": f"POINT({LON} {LAT})"}
    park.put("parks.air", row)
    (found,) = decoded(drawn(park, "parks.air", address_of(12)), "parks.air")
    expected = {"id": "s:1", "sensor": "s", "observed_at": "2026-06-01T12:00:00+00:00", "dust": 1.5}
    assert found["properties"] == expected


def test_an_area_in_a_dataset_of_points_is_drawn_as_an_area(park: Park) -> None:
    area = f"POLYGON(({LON} {LAT}, {LON + 0.01} {LAT}, {LON + 0.01} {LAT + 0.01}, {LON} {LAT}))"
    park.put("parks.trees", {"id": "area", "tree_id": "area", "wkt": area})
    (found,) = decoded(drawn(park, "parks.trees", address_of(12)), "parks.trees")
    assert found["geometry"]["type"] == "Polygon"


@pytest.mark.parametrize(
    ("z", "x", "y"), [(-1, 0, 0), (MAX_ZOOM + 1, 0, 0), (0, 1, 0), (3, 0, 8), (3, -1, 0), (10, 1024, 3)]
)
def test_there_is_no_such_tile(z: int, x: int, y: int) -> None:
    with pytest.raises(InvalidRequest):
        TileAddress.checked(z, x, y)


def test_the_box_of_a_tile_is_that_of_mercator() -> None:
    world = TileAddress(0, 0, 0).box_deg()
    assert world == pytest.approx((-180, -85.0511287798, 180, 85.0511287798))
    west, south, east, north = TileAddress(1, 1, 0).box_deg()
    assert (west, south, east) == pytest.approx((0, 0, 180))
    assert north == pytest.approx(85.0511287798)


def test_an_edition_ends_with_the_version_the_audience_and_the_view(park: Park) -> None:
    trees, works = park.catalog["parks.trees"], park.catalog["parks.works"]
    views = [View(), View(audience=Audience("planner")), View(known_at=NOON), View(valid_at=Span.instant(NOON))]
    tags = {Edition.of(trees, version, view).etag for version in (1, 2) for view in views}
    assert len(tags) == 8
    assert Edition.of(trees, 1, View()).tick == 0
    assert Edition.of(works, 1, View()).tick > 0, "works begin and end by the clock"
    assert Edition.of(works, 1, View(valid_at=Span.instant(NOON))).tick == 0


def test_the_cache_forgets_what_was_not_asked_for_longest() -> None:
    cache = TileCache(max_bytes=30)
    for key in "abc":
        cache.put(key, bytes(10))
    cache.get("a")
    cache.put("d", bytes(10))
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]
    cache.put("e", bytes(31))
    assert cache.get("e") is None, "what is larger than the cache is not kept"


def test_tilesets_describe_themselves(park: Park) -> None:
    contract = park.catalog["parks.trees"]
    described = tilejson(contract, CITY, "http://h", View())
    assert described["tiles"] == ["http://h/collections/parks.trees/tiles/WebMercatorQuad/{z}/{y}/{x}"]
    assert [layer["id"] for layer in described["vector_layers"]] == ["parks.trees"]
    assert set(described["vector_layers"][0]["fields"]) == {"id", *contract.fields}
    item = next(link for link in tileset(contract, CITY, "http://h", View())["links"] if link["rel"] == "item")
    assert item["href"].endswith("/{tileMatrix}/{tileRow}/{tileCol}")
    matrices = TILE_MATRIX_SET["tileMatrices"]
    assert len(matrices) == MAX_ZOOM + 1
    assert matrices[0]["scaleDenominator"] == pytest.approx(559082264.028717)
    assert matrices[22]["scaleDenominator"] == pytest.approx(133.295599, abs=1e-6)
