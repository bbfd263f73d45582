"""Real files, as they are found: six districts in an undeclared datum, and a whole small city."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import polars as pl
import pytest
import shapely
import sqlalchemy as sa

from ingest.pipeline import Loader, LoadOptions
from layers.catalog import catalog
from layers.store import apply
from twin.city import City, load_city
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.errors import DatumError

Shared = Callable[[str], Path]
DISTRICTS = "zaozhuang/districts_gcj02.geojson"
PORTO_ALEGRE = str(Path(__file__).parent.parent / "cities" / "porto_alegre.toml")


def a_loader(database: Database, city: City, home: Path) -> Loader:
    with database.writing() as connection:
        apply(connection, catalog(), city)
    return Loader(database, catalog(), city, home)


def districts(loader: Loader) -> gpd.GeoDataFrame:
    question = "select id, geom from sharing.boundaries where upper_inf(recorded)"
    return gpd.read_postgis(sa.text(question), loader.database.engine, crs=4490)


def test_districts_of_undeclared_datum(database: Database, home: Path, shared: Shared) -> None:
    loader = a_loader(database, load_city("zaozhuang"), home)
    path = shared(DISTRICTS)
    with pytest.raises(DatumError, match="--datum"):
        loader.load("sharing.boundaries", path)
    loaded = loader.load("sharing.boundaries", path, LoadOptions("gcj02"))
    assert (loaded.accepted, loaded.quarantined) == (6, 0)

    found = districts(loader)
    assert found.geometry.is_valid.all()
    plane = found.to_crs(4548)
    assert plane.area.sum() / 1e6 == pytest.approx(4576, rel=0.01)
    overlap_m2 = sum(plane.geometry[i].intersection(plane.geometry[j]).area for i in range(6) for j in range(i))
    assert overlap_m2 < 10_000
    union = plane.union_all()
    gaps = [shapely.Polygon(ring) for part in getattr(union, "geoms", [union]) for ring in part.interiors]
    assert sum(gap.area for gap in gaps) < 10_000

    before = gpd.read_file(path).set_index("adcode").to_crs(4548).centroid
    after = plane.set_index(plane["id"].astype(int)).centroid
    shift_m = np.array([before[code].distance(after[code]) for code in after.index])
    assert shift_m.mean() == pytest.approx(534, abs=25)


@pytest.fixture(scope="module")
def porto_alegre(cluster: Cluster, shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """A database that holds the real Porto Alegre."""
    database = private_database(cluster, "real_porto_alegre")
    database.migrate()
    loader = a_loader(database, load_city(PORTO_ALEGRE), tmp_path_factory.mktemp("home"))
    for dataset, name in FILES:
        loaded = loader.load(dataset, shared(f"porto_alegre/{name}"))
        assert loaded.received == loaded.accepted + loaded.duplicate + loaded.quarantined
        assert loaded.quarantined == 0, (dataset, name, loaded.reasons)
    yield loader
    database.engine.dispose()


FILES = [
    ("transport.roads", "poa_osm.pbf"),
    ("housing.buildings", "poa_osm.pbf"),
    ("medical.institutions", "poa_osm.pbf"),
    ("education.schools", "poa_osm.pbf"),
    ("environment.waters", "poa_osm.pbf"),
    ("sharing.place_names", "poa_osm.pbf"),
    ("transport.bus_stops", "poa_eptc.zip"),
    ("transport.bus_stops", "poa_trensurb.zip"),
    ("transport.bus_routes", "poa_eptc.zip"),
    ("transport.bus_routes", "poa_trensurb.zip"),
    ("sharing.elevation", "poa_elevation.tif"),
    ("sharing.population_grid", "poa_hexgrid.csv"),
]


def scalar(loader: Loader, question: str) -> Any:
    with loader.database.writing() as connection:
        return connection.scalar(sa.text(question))


@pytest.mark.parametrize(
    ("dataset", "count"),
    [
        ("transport.roads", 15_701),
        ("transport.bus_stops", 3_986 + 24),
        ("transport.bus_routes", 115 + 2),
        ("sharing.population_grid", 1_227),
    ],
)
def test_a_whole_city_loads(porto_alegre: Loader, dataset: str, count: int) -> None:
    assert scalar(porto_alegre, f"select count(*) from {dataset}") == count
    assert scalar(porto_alegre, f"select bool_and(st_srid(geom) = 4326 and cell > 0) from {dataset}")


def test_population_is_preserved_exactly(porto_alegre: Loader, shared: Shared) -> None:
    expected = pl.read_csv(shared("porto_alegre/poa_hexgrid.csv"))["population"].sum()
    assert scalar(porto_alegre, 'select sum(total) from indicators."sharing.grid_population"') == expected


def test_elevation_answers_in_cells(porto_alegre: Loader) -> None:
    parts = 'indicators."sharing.elevation_mean"'
    assert scalar(porto_alegre, f"select sum(n) from {parts}") == 403 * 413
    assert 0 < scalar(porto_alegre, f"select sum(total) / sum(n) from {parts}") < 311
