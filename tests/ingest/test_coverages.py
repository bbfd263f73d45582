"""Pixels of a raster become the parts of its coverage's indicators."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import rasterio
from rasterio.transform import from_origin

from ingest.codecs.geotiff import cell_values, read_coverage
from ingest.coverages import store_coverage
from layers.catalog import Catalog
from layers.contract import Contract, System
from layers.indicators import PARTS
from layers.store import apply
from tests.ingest.contracts import GEOMETRY_RUNG, contract
from twin.city import load_city
from twin.database import Database
from twin.errors import SourceError
from twin.grid import parents

CITY = load_city("zaozhuang")
TITLE = {"zh": "高程", "en": "Elevation"}
STEP = 0.001


@pytest.fixture
def elevation(database: Database) -> Contract:
    """A coverage with indicators at two resolutions, its tables made."""
    measures = (("mean", 9), ("max", 8))
    dataset = contract(
        id="lab.elevation",
        kind="coverage",
        geometry="polygon",
        place={"rungs": [GEOMETRY_RUNG]},
        indicators=[
            {"id": f"lab.{how}", "measure": f"{how}(value)", "resolution": resolution, "title": TITLE}
            for how, resolution in measures
        ],
    )
    system = System.model_validate({"id": "lab", "number": "C1", "title": TITLE, "owner": "局", "description": TITLE})
    with database.writing() as connection:
        apply(connection, Catalog({dataset.id: dataset}, {"lab": system}, {dataset.id: "digest"}), CITY)
    return dataset


def raster(path: Path, *bands: np.ndarray[Any, Any], west: float = CITY.centre[0]) -> Path:
    rows, columns = bands[0].shape
    profile: dict[str, Any] = {"width": columns, "height": rows, "count": len(bands), "dtype": "float32"}
    place = from_origin(west, CITY.centre[1], STEP, STEP)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4490", transform=place, **profile) as target:
        target.write(np.stack(bands).astype(np.float32))
    return path


def store(database: Database, dataset: Contract, path: Path, band: str | None = None) -> None:
    with database.writing() as connection:
        store_coverage(connection, dataset, path, CITY, band)


def stored(database: Database, indicator: str) -> pl.DataFrame:
    question = f'select cell, bucket::text, {", ".join(PARTS)} from indicators."{indicator}" order by cell'
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(question).all()
    schema = {"cell": pl.Int64, "bucket": pl.String, "n": pl.Int64}
    numbers = [(*row[:4], *map(float, row[4:])) for row in rows]
    return pl.DataFrame(numbers, {**schema, **dict.fromkeys(PARTS[1:], pl.Float64)}, orient="row")


def test_parts_are_those_of_the_pixels(database: Database, elevation: Contract, tmp_path: Path) -> None:
    path = raster(tmp_path / "dem.tif", np.random.default_rng(1).normal(60, 20, (40, 50)))
    store(database, elevation, path)
    for indicator, resolution in (("lab.mean", 9), ("lab.max", 8)):
        expected = cell_values(read_coverage(path), resolution, CITY)
        found = stored(database, indicator)
        assert found["cell"].to_list() == expected.cells.tolist()
        assert set(found["bucket"]) == {"-infinity"}
        for part, values in zip(PARTS, expected[1:], strict=True):
            assert found[part].to_numpy() == pytest.approx(values)
    fine, coarse = stored(database, "lab.mean"), stored(database, "lab.max")
    of_children = fine.with_columns(cell=parents(fine["cell"].to_numpy(), 8)).group_by("cell").agg(pl.col("n").sum())
    assert of_children.sort("cell").rows() == coarse.select("cell", "n").rows()
    assert coarse["n"].sum() == 40 * 50


def test_the_same_again_changes_nothing_and_a_new_raster_replaces_its_cells(
    database: Database, elevation: Contract, tmp_path: Path
) -> None:
    store(database, elevation, raster(tmp_path / "west.tif", np.full((40, 40), 10.0)))
    west = stored(database, "lab.mean")
    store(database, elevation, tmp_path / "west.tif")
    assert stored(database, "lab.mean").equals(west)

    east = raster(tmp_path / "east.tif", np.full((40, 40), 30.0), west=CITY.centre[0] + 20 * STEP)
    store(database, elevation, east)
    found = stored(database, "lab.mean")
    replaced = found["cell"].is_in(cell_values(read_coverage(east), 9, CITY).cells.tolist())
    assert set(found.filter(replaced)["smallest"]) == {30.0}
    assert found.filter(~replaced).equals(west.filter(~west["cell"].is_in(found.filter(replaced)["cell"].to_list())))
    assert 0 < replaced.sum() < found.height


def test_band_and_packed_file(database: Database, elevation: Contract, tmp_path: Path) -> None:
    path = raster(tmp_path / "two.tif", np.full((5, 5), 1.0), np.full((5, 5), 2.0))
    with pytest.raises(SourceError, match="has 2 bands"):
        store(database, elevation, path)
    assert stored(database, "lab.mean").is_empty()
    (tmp_path / "5f2a9c").write_bytes(gzip.compress(path.read_bytes()))
    store(database, elevation, tmp_path / "5f2a9c", "2")
    assert set(stored(database, "lab.max")["largest"]) == {2.0}


def test_broken_raster_leaves_all_as_it_was(database: Database, elevation: Contract, tmp_path: Path) -> None:
    path = raster(tmp_path / "dem.tif", np.random.default_rng(1).normal(60, 20, (200, 200)))
    store(database, elevation, path)
    before = stored(database, "lab.mean")
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(SourceError, match="broken"):
        store(database, elevation, path)
    assert stored(database, "lab.mean").equals(before)
