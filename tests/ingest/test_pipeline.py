"""The pipeline: every record is accounted for, loading again changes nothing, quarantine is work that can be done."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import sqlalchemy as sa

from ingest.pipeline import Loaded, Loader, LoadOptions
from layers.catalog import Catalog
from layers.contract import Contract, System
from layers.inbox import quarantine_rows
from layers.reasons import Reason
from layers.store import apply
from twin.city import load_city
from twin.database import Database
from twin.errors import DatumError, NotFound, SourceError

CITY = load_city("zaozhuang")
TITLE = {"zh": "物", "en": "Things"}


def contract(name: str, *rungs: dict[str, Any], **changes: Any) -> Contract:
    raw = {
        "id": f"lab.{name}",
        "kind": "feature",
        "title": TITLE,
        "owner": "局",
        "class": "open",
        "rate": "day",
        "key": ["code"],
        "geometry": "any",
        "place": {"rungs": rungs},
        "fields": {
            "code": {"type": "string", "title": TITLE},
            "level": {"type": "float", "unit": "m", "range": [0, 10], "title": TITLE},
            "area": {"type": "string", "title": TITLE},
        },
        "indicators": [{"id": f"lab.{name}", "measure": "sum(level)", "resolution": 8, "title": TITLE}],
    }
    return Contract.model_validate({**raw, **changes})


POINT = {"by": "coordinate", "x": "lon", "y": "lat", "datum": "cgcs2000", "accuracy_m": 10}
AREA = {"by": "area", "code": "area", "register": "lab.areas"}
SHAPE = {"by": "geometry", "datum": "per_file", "accuracy_m": 10}


@pytest.fixture
def loader(database: Database, home: Path) -> Loader:
    """A loader over three small datasets."""
    contracts = [contract("areas", SHAPE), contract("shapes", SHAPE), contract("things", POINT, AREA)]
    system = System.model_validate({"id": "lab", "number": "C1", "title": TITLE, "owner": "局", "description": TITLE})
    catalog = Catalog({c.id: c for c in contracts}, {"lab": system}, {c.id: "digest" for c in contracts})
    with database.writing() as connection:
        apply(connection, catalog, CITY)
    return Loader(database, catalog, CITY, home)


def written(folder: Path, text: str, name: str = "things.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def balanced(loaded: Loaded) -> Loaded:
    assert loaded.received == loaded.accepted + loaded.duplicate + loaded.quarantined
    assert loaded.quarantined == sum(loaded.reasons.values())
    return loaded


def scalar(loader: Loader, question: str) -> Any:
    with loader.database.writing() as connection:
        return connection.scalar(sa.text(question))


BAD = """code,level,lon,lat,area
a,1,117.5,34.8,
a,1,117.5,34.8,
b,2,34.8,117.5,
c,3,0,0,
d,11,117.5,34.8,
e,deep,117.5,34.8,
,1,117.5,34.8,
f,1,121.5,31.2,
g,1,,,
h,1,nan,34.8,
i,1,117.5,34.8,,too,many
j,2,117.6,34.8,
j,3,117.6,34.8,
k,1,,,370999
l,4,117.55,34.85,
"""


def test_every_record_is_accounted_for(loader: Loader, tmp_path: Path) -> None:
    loaded = balanced(loader.load("lab.things", written(tmp_path, BAD)))
    assert (loaded.received, loaded.accepted, loaded.duplicate, loaded.quarantined) == (15, 3, 1, 11)
    expected = {
        Reason.SWAPPED_AXES: 1,
        Reason.NULL_ISLAND: 1,
        Reason.OUT_OF_RANGE: 1,
        Reason.WRONG_TYPE: 1,
        Reason.MISSING_KEY: 1,
        Reason.OUTSIDE_CITY: 1,
        Reason.NO_PLACE: 1,
        Reason.BAD_COORDINATE: 1,
        Reason.UNREADABLE_ROW: 1,
        Reason.KEY_CONFLICT: 1,
        Reason.UNKNOWN_AREA: 1,
    }
    assert dict(loaded.reasons) == expected
    with loader.database.writing() as connection:
        rows = {row.row_number: row for row in quarantine_rows(connection, "lab.things")}
    assert rows[3].reason == Reason.SWAPPED_AXES
    assert "34.8" in (rows[3].detail or "")
    assert rows[6].detail is not None
    assert "deep" in rows[6].detail
    assert set(rows) == {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14}
    assert scalar(loader, 'select sum(total) from indicators."lab.things"') == 7


def test_the_same_file_again_changes_nothing(loader: Loader, tmp_path: Path) -> None:
    path = written(tmp_path, "code,level,lon,lat\na,1,117.5,34.8\nb,2,117.6,34.9\n")
    loader.load("lab.things", path)
    before = scalar(loader, "select string_agg(t::text, '|' order by row) from lab.things t")
    again = balanced(loader.load("lab.things", path))
    assert (again.accepted, again.duplicate) == (0, 2)
    assert scalar(loader, "select string_agg(t::text, '|' order by row) from lab.things t") == before
    assert scalar(loader, "select count(*) from twin.inbox") == 1
    assert scalar(loader, "select version from twin.versions where dataset = 'lab.things'") == 1


def test_a_changed_record_gets_a_new_version_and_the_old_one_stays(loader: Loader, tmp_path: Path) -> None:
    loader.load("lab.things", written(tmp_path, "code,level,lon,lat\na,1,117.5,34.8\n"))
    loaded = balanced(loader.load("lab.things", written(tmp_path, "code,level,lon,lat\na,4,117.5,34.8\n")))
    assert (loaded.inserted, loaded.revised) == (0, 1)
    assert scalar(loader, "select level from lab.things where upper_inf(recorded) and valid @> now()") == 4
    assert scalar(loader, "select count(*) from lab.things where level = 1") >= 1
    assert scalar(loader, 'select total from indicators."lab.things"') == 4


def test_quarantine_is_replayed_when_its_cause_is_gone(loader: Loader, tmp_path: Path) -> None:
    things = "code,level,lon,lat,area\nk,1,,,370499\nm,2,,,\n"
    assert loader.load("lab.things", written(tmp_path, things)).quarantined == 2
    square = '{"type":"Polygon","coordinates":[[[117.4,34.7],[117.6,34.7],[117.6,34.9],[117.4,34.9],[117.4,34.7]]]}'
    areas = (
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"code":"370499","level":1,"area":"x"},'
        f'"geometry":{square}}}]}}'
    )
    loader.load("lab.areas", written(tmp_path, areas, "areas.geojson"), LoadOptions("cgcs2000"))
    with loader.database.writing() as connection:
        refused = quarantine_rows(connection, "lab.things")
    replayed = balanced(loader.replay(refused))
    assert (replayed.received, replayed.accepted, replayed.quarantined) == (2, 1, 1)
    assert scalar(loader, "select place_method from lab.things where id = 'k'") == "area"
    with loader.database.writing() as connection:
        left = quarantine_rows(connection, "lab.things")
    assert [(row.row_number, row.reason, row.status) for row in left] == [(2, Reason.NO_PLACE, "open")]


def test_invalid_polygons_are_mended_and_say_so(loader: Loader, tmp_path: Path) -> None:
    ring = "[[117.5,34.8],[117.6,34.9],[117.6,34.8],[117.5,34.9],[117.5,34.8]]"
    feature = f'{{"type":"Feature","properties":{{"code":"x"}},"geometry":{{"type":"Polygon","coordinates":[{ring}]}}}}'
    path = written(tmp_path, f'{{"type":"FeatureCollection","features":[{feature}]}}', "bow.geojson")
    balanced(loader.load("lab.shapes", path, LoadOptions("wgs84")))
    assert (
        scalar(loader, "select place_source || st_isvalid(geom)::text from lab.shapes") == "geometry:wgs84 repairedtrue"
    )


def test_every_shape_is_accounted_for(loader: Loader, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    shapes = {
        "good": shapely.box(117.5, 34.8, 117.6, 34.9),
        "bow": shapely.Polygon([(117.5, 34.8), (117.6, 34.9), (117.6, 34.8), (117.5, 34.9)]),
        "knot": shapely.Polygon(random.uniform((117.5, 34.8), (117.6, 34.9), (2_000, 2))),
        "million": shapely.Polygon(np.stack([117.5 + np.cos(angle) / 100, 34.8 + np.sin(angle) / 100], 1)),
        "swapped": shapely.box(34.8, 117.5, 34.9, 117.6),
        "zero": shapely.Point(0, 0),
        "endless": shapely.LineString([(117.5, np.inf), (117.6, 34.8)]),
        "abroad": shapely.Point(2.35, 48.85),
        "empty": shapely.Polygon(),
        "none": None,
    }
    frame = gpd.GeoDataFrame({"code": list(shapes)}, geometry=list(shapes.values()), crs=4490)
    path = tmp_path / "shapes.parquet"
    frame.to_parquet(path)
    loaded = balanced(loader.load("lab.shapes", path))
    assert (loaded.received, loaded.accepted, loaded.quarantined) == (10, 2, 8)
    with loader.database.writing() as connection:
        found = {(row.record or {})["code"]: row.reason for row in quarantine_rows(connection)}
    assert found == {
        "knot": Reason.INVALID_GEOMETRY,
        "million": Reason.TOO_MANY_VERTICES,
        "swapped": Reason.SWAPPED_AXES,
        "zero": Reason.NULL_ISLAND,
        "endless": Reason.BAD_COORDINATE,
        "abroad": Reason.OUTSIDE_CITY,
        "empty": Reason.EMPTY_GEOMETRY,
        "none": Reason.NO_PLACE,
    }


def test_what_cannot_be_read_at_all_is_an_error_and_writes_nothing(loader: Loader, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no dataset"):
        loader.load("lab.nothing", written(tmp_path, "code\na\n"))
    with pytest.raises(SourceError, match="empty"):
        loader.load("lab.things", written(tmp_path, ""))
    with pytest.raises(SourceError, match="code"):
        loader.load("lab.things", written(tmp_path, "level,lon,lat\n1,117.5,34.8\n"))
    with pytest.raises(DatumError, match="does not say its datum"):
        loader.load(
            "lab.shapes",
            written(
                tmp_path,
                '{"type":"FeatureCollection","features":[{"type":"Feature",'
                '"properties":{"code":"x"},"geometry":{"type":"Point","coordinates":[117.5,34.8]}}]}',
                "p.geojson",
            ),
        )
    assert scalar(loader, "select count(*) from lab.things") == 0
    assert scalar(loader, "select count(*) from twin.batches") == 0
