"""GeoTIFF: the footprint, the sums by H3 cell, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h3
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from ingest.codecs import geotiff
from ingest.codecs.geotiff import cell_values, read, read_coverage
from ingest.codecs.records import GEOMETRY, ReadOptions
from tests.ingest.contracts import contract
from twin.city import City, load_city
from twin.errors import SourceError

WEST, NORTH, STEP = -51.25, -30.0, 0.001


@pytest.fixture
def city() -> City:
    return load_city(str(Path(__file__).parents[1] / "cities" / "porto_alegre.toml"))


def raster(folder: Path, values: np.ndarray[Any, Any], **profile: Any) -> Path:
    """A GeoTIFF of `values` (rows, columns) or (bands, rows, columns) in the city."""
    bands = values if values.ndim == 3 else values[None]
    plain = {
        "driver": "GTiff",
        "width": bands.shape[2],
        "height": bands.shape[1],
        "count": bands.shape[0],
        "dtype": bands.dtype,
        "crs": "EPSG:4326",
        "transform": from_origin(WEST, NORTH, STEP, STEP),
    }
    path = folder / "dem.tif"
    with rasterio.open(path, "w", **(plain | profile)) as target:
        target.write(bands)
    return path


def test_a_raster_is_one_record_with_its_footprint(tmp_path: Path) -> None:
    path = raster(tmp_path, np.zeros((20, 30), dtype=np.uint8))
    (records,) = read(path, contract(), ReadOptions(name="2026 高程.tif"))
    assert records.frame["coverage_id"].to_list() == ["2026 高程"]
    assert records.crs == "EPSG:4326"
    footprint = shapely.from_wkb(records.frame[GEOMETRY][0])
    assert footprint.bounds == pytest.approx((WEST, NORTH - 20 * STEP, WEST + 30 * STEP, NORTH))
    assert footprint.area == pytest.approx(600 * STEP**2)


@pytest.mark.parametrize("tiling", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
@pytest.mark.parametrize("window", [64, 1000, 1 << 22])
def test_cells_add_up_to_the_pixels(
    tmp_path: Path, city: City, monkeypatch: pytest.MonkeyPatch, tiling: dict[str, Any], window: int
) -> None:
    monkeypatch.setattr(geotiff, "_WINDOW_PIXELS", window)
    values = np.random.default_rng(1).normal(50, 20, (60, 70))
    values[3, 4], values[5, 6] = -9999, np.nan
    found = cell_values(read_coverage(raster(tmp_path, values, nodata=-9999, **tiling)), 9, city)
    expected: dict[int, list[float]] = {}
    for (row, column), value in np.ndenumerate(values):
        if value != -9999 and np.isfinite(value):
            cell = h3.latlng_to_cell(NORTH - (row + 0.5) * STEP, WEST + (column + 0.5) * STEP, 10)
            expected.setdefault(h3.str_to_int(h3.cell_to_parent(cell, 9)), []).append(value)
    assert found.cells.tolist() == sorted(expected)
    groups = [np.array(expected[cell]) for cell in found.cells.tolist()]
    assert found.n.tolist() == [group.size for group in groups]
    assert found.total == pytest.approx([group.sum() for group in groups])
    assert found.smallest.tolist() == [group.min() for group in groups]
    assert found.largest.tolist() == [group.max() for group in groups]
    assert found.squares == pytest.approx([(group**2).sum() for group in groups])


def test_pixels_of_another_crs_land_in_the_same_cells(tmp_path: Path, city: City) -> None:
    values = np.ones((40, 40))
    transform = from_origin(477_000, 6_676_000, 50, 50)  # UTM zone 22 south
    found = cell_values(read_coverage(raster(tmp_path, values, crs="EPSG:32722", transform=transform)), 9, city)
    assert found.n.sum() == 1600
    lat, lon = h3.cell_to_latlng(h3.int_to_str(int(found.cells[0])))
    assert (lon, lat) == pytest.approx((-51.23, -30.05), abs=0.03)


def test_pixels_outside_the_city_count_nowhere(tmp_path: Path, city: City) -> None:
    west = city.bounds[0]
    path = raster(tmp_path, np.ones((10, 10)), transform=from_origin(west - 5 * STEP, NORTH, STEP, STEP))
    assert cell_values(read_coverage(path), 9, city).n.sum() == 50
    path = raster(tmp_path, np.ones((10, 10)), transform=from_origin(0, 0, STEP, STEP))
    assert cell_values(read_coverage(path), 9, city).cells.size == 0


def test_scale_and_offset_of_the_band_count(tmp_path: Path, city: City) -> None:
    path = raster(tmp_path, np.full((5, 5), 10, dtype=np.int16))
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (0.5,), (100.0,)
    assert set(cell_values(read_coverage(path), 9, city).largest) == {105.0}


def test_band_is_chosen(tmp_path: Path) -> None:
    path = raster(tmp_path, np.zeros((3, 5, 5)))
    with pytest.raises(SourceError, match="has 3 bands"):
        read_coverage(path)
    with pytest.raises(SourceError, match="has 3 bands"):
        read_coverage(path, "4")
    assert read_coverage(path, "2").band == 2


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"crs": None}, "does not say its coordinate system"),
        ({"transform": rasterio.Affine.identity()}, "does not say where it lies"),
        ({"transform": rasterio.Affine(np.nan, 0, 117, 0, -0.1, 34)}, "nowhere on Earth"),
        ({"transform": rasterio.Affine(1e200, 0, 117, 0, -1e200, 34)}, "nowhere on Earth"),
        ({"transform": rasterio.Affine(1e-20, 0, 117, 0, -1e-20, 34)}, "nowhere on Earth"),
    ],
)
def test_rasters_without_a_place_are_refused(tmp_path: Path, profile: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read_coverage(raster(tmp_path, np.zeros((5, 5)), **profile))


def test_huge_raster_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    profile = {"width": 50_000, "height": 50_000, "count": 1, "dtype": "uint8", "SPARSE_OK": "TRUE", "tiled": True}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:4326", transform=from_origin(WEST, NORTH, 1e-6, 1e-6), **profile
    ):
        pass
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SourceError, match="50000 x 50000 pixels"):
        read_coverage(path)


@pytest.mark.parametrize(("side", "bands"), [(20_000, 1), (5_000, 4)])
def test_a_raster_of_pixels_that_it_does_not_store_is_refused(tmp_path: Path, side: int, bands: int) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"width": side, "height": side, "count": bands, "dtype": "float32", "SPARSE_OK": "TRUE", "tiled": True}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:4326", transform=from_origin(WEST, NORTH, 1e-6, 1e-6), **profile
    ):
        pass
    with pytest.raises(SourceError, match="of pixels and stores"):
        read_coverage(path, "1")


def test_a_raster_packed_as_tightly_as_deflate_can_is_read(tmp_path: Path) -> None:
    path = raster(tmp_path, np.zeros((6_000, 6_000), dtype=np.uint16), tiled=True, compress="deflate", zlevel=9)
    assert path.stat().st_size < 500_000
    assert read_coverage(path).width == 6_000


def test_other_drivers_and_paths_are_not_opened(tmp_path: Path) -> None:
    real = raster(tmp_path, np.zeros((5, 5), dtype=np.uint8))
    disguised = tmp_path / "virtual.tif"
    disguised.write_text(
        f'<VRTDataset rasterXSize="5" rasterYSize="5"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{real}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SourceError, match="broken"):
        read_coverage(disguised)
    for path in ("/vsicurl/http://127.0.0.1:9/dem.tif", f"/vsizip/{real}", "dem.tif", str(tmp_path)):
        with pytest.raises(SourceError, match="absolute path of a local file"):
            read_coverage(Path(path))


def test_cut_raster_is_refused(tmp_path: Path, city: City) -> None:
    path = raster(tmp_path, np.random.default_rng(1).normal(size=(200, 200)), compress="deflate")
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(SourceError, match="broken"):
        cell_values(read_coverage(path), 9, city)


def test_real_elevation(shared: Callable[[str], Path], city: City) -> None:
    coverage = read_coverage(shared("porto_alegre/poa_elevation.tif"))
    found = cell_values(coverage, 9, city)
    assert found.n.sum() == coverage.width * coverage.height == 413 * 403
    with rasterio.open(coverage.path) as source:
        assert found.total.sum() == source.read(1).astype(np.int64).sum()
    assert (np.diff(found.cells) > 0).all()
