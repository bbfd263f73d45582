"""A new dataset is one TOML file and no Python: it is in the database, the API, the tiles, the cells and the pages."""

from pathlib import Path

import httpx
import mapbox_vector_tile
import pytest

from ingest.pipeline import Loader
from layers.catalog import BUILT_IN, Catalog, read_catalog
from layers.store import apply
from tests.api.city import serving
from tests.layers.park import CITY
from twin.database import Database

SYSTEM = """
id = "lab"
number = "C1"
title = { zh = "试验云", en = "Laboratory" }
owner = "市试验局"
description = { zh = "测试用。", en = "For a test." }
"""

CONTRACT = """
id = "lab.wells"
kind = "feature"
title = { zh = "水井", en = "Wells" }
owner = "市试验局"
class = "open"
rate = "year"
key = ["well_id"]
geometry = "point"

[place]
rungs = [{ by = "coordinate", x = "lon", y = "lat", datum = "gcj02", accuracy_m = 10 }]

[fields]
well_id = { type = "string", title = { zh = "井号", en = "Well" } }
depth   = { type = "float", unit = "m", range = [0, 500], title = { zh = "井深", en = "Depth" } }

[[indicators]]
id = "lab.well_depth"
measure = "sum(depth)"
unit = "m"
resolution = 8
title = { zh = "总井深", en = "Total depth" }

[style]
circle = { colour = "#0072B2" }
"""

ROWS = "well_id,lon,lat,井深,note\n" + "".join(f"W{n},{117.50 + n / 1000},34.80,{10 + n}.5,dug\n" for n in range(20))


@pytest.fixture
def extended(tmp_path: Path) -> Catalog:
    """The built-in catalogue and one folder of somebody else."""
    folder = tmp_path / "catalog" / "lab"
    folder.mkdir(parents=True)
    (folder / "system.toml").write_text(SYSTEM, encoding="utf-8")
    (folder / "wells.toml").write_text(CONTRACT, encoding="utf-8")
    found, problems = read_catalog([BUILT_IN, tmp_path / "catalog"])
    assert not problems
    return found


def test_one_file_is_all_it_takes(database: Database, extended: Catalog, home: Path, tmp_path: Path) -> None:
    with database.writing() as connection:
        apply(connection, extended, CITY)
    table = tmp_path / "wells.csv"
    table.write_text(ROWS, encoding="utf-8")
    loaded = Loader(database, extended, CITY, home).load("lab.wells", table)
    assert (loaded.received, loaded.accepted, loaded.unknown_columns) == (20, 20, ("note",))

    with serving(database, extended) as url, httpx.Client(base_url=url) as client:
        collection = client.get("/collections/lab.wells").json()
        assert collection["twin"]["title"] == {"zh": "水井", "en": "Wells"}
        assert collection["twin"]["count"] == 20
        assert collection["twin"]["style"]["layers"]

        items = client.get("/collections/lab.wells/items", params={"filter": "depth > 20", "limit": 5}).json()
        assert items["numberMatched"] == 10
        # GCJ-02 is about half a kilometre off: the stored place is not the file's.
        lon, lat = items["features"][0]["geometry"]["coordinates"]
        assert 0.003 < abs(lon - 117.51) + abs(lat - 34.80) < 0.02

        cells = client.get("/indicators/lab.well_depth/cells", params={"resolution": 7}).json()
        assert sum(cell["value"] for cell in cells["cells"]) == sum(10.5 + n for n in range(20))

        tile = client.get("/collections/lab.wells/tiles/WebMercatorQuad/7/50/105").content
        assert len(mapbox_vector_tile.decode(tile)["lab.wells"]["features"]) == 20

        assert "lab.wells" in client.get("/", headers={"Accept": "text/html"}).text
        assert "lab.well_depth" in client.get("/indicators").text
