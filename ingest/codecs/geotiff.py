"""GeoTIFF rasters: their footprint as a record, and their pixels as additive values of H3 cells.

A file is opened by the GTiff driver alone and without what may stand beside it, from a local path.
"""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from ingest.codecs.records import GEOMETRY, ReadOptions, Records, numbered
from ingest.codecs.shapes import crs_word, wkb
from layers.contract import Contract
from twin.city import City
from twin.datum import parse_datum, to_city
from twin.errors import SourceError
from twin.geometry import inside
from twin.grid import cells_of_points, parents

__all__ = ["CellValues", "Coverage", "cell_values", "read", "read_coverage"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST_PIXELS = 2_000_000_000
_LARGEST_BLOCK_BYTES = 512 << 20
_MOST_INFLATED, _INFLATED_BYTES = 1_100, 64 << 20
"""Deflate packs at most 1,032 bytes into one. A file that claims more stores nothing for most of its pixels."""
_WINDOW_PIXELS = 1 << 22
_MERGED_WINDOWS = 16
_EDGE_VERTICES = 16

# In metres or degrees, whichever the CRS has: no projection of a city goes beyond, no raster is smaller.
_FARTHEST, _NARROWEST = 1e9, 1e-9


@dataclass(frozen=True, slots=True)
class Coverage:
    """One band of a GeoTIFF: `crs` as in Records, `transform` from column and row to x and y of the CRS."""

    path: Path
    band: int
    crs: str
    width: int
    height: int
    transform: Affine

    @property
    def corners(self) -> Floats:
        """The x and y (4, 2) of the outer corners, around the raster."""
        across = np.array([0, self.width, self.width, 0], dtype=np.float64)
        down = np.array([0, 0, self.height, self.height], dtype=np.float64)
        return np.column_stack(self.position(across, down))

    @property
    def footprint(self) -> shapely.Polygon:
        """The outline in the raster's CRS; its edges have vertices enough to stay in place in another."""
        outline = shapely.Polygon(self.corners)
        return shapely.segmentize(outline, outline.length / (4 * _EDGE_VERTICES))

    def position(self, across: Floats, down: Floats) -> tuple[Floats, Floats]:
        """The x and y of places (n,) given in pixels from the upper left corner."""
        a, b, c, d, e, f = self.transform[:6]
        return a * across + b * down + c, d * across + e * down + f

    def windows(self, block: tuple[int, int]) -> Iterator[Window]:
        """Windows that cover the raster once, of whole blocks (rows, columns) where these are small."""
        columns = min(self.width, _whole(block[1], min(self.width, _WINDOW_PIXELS)))
        rows = min(self.height, _whole(block[0], max(1, _WINDOW_PIXELS // columns)))
        for row in range(0, self.height, rows):
            for column in range(0, self.width, columns):
                yield Window.from_slices(
                    (row, min(row + rows, self.height)), (column, min(column + columns, self.width))
                )

    def pixels(self) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Window by window: x and y of the centres of the pixels that have a value, and the values, arrays (n,)."""
        with _opened(self.path) as source:
            scale, offset = source.scales[self.band - 1], source.offsets[self.band - 1]
            for window in self.windows(source.block_shapes[self.band - 1]):
                masked = source.read(self.band, window=window, masked=True)
                values = masked.filled(0).astype(np.float64) * scale + offset
                row, column = np.nonzero(~np.ma.getmaskarray(masked) & np.isfinite(values))
                centres = self.position(column + window.col_off + 0.5, row + window.row_off + 0.5)
                yield *centres, values[row, column]


class CellValues(NamedTuple):
    """Additive values of the pixels in each cell, arrays (n,): H3 cells (ascending), count, sum, extremes, squares."""

    cells: Ints
    n: Ints
    total: Floats
    smallest: Floats
    largest: Floats
    squares: Floats


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:  # noqa: ARG001
    """Read a raster as one record: `coverage_id`, the file's name without suffix, and its footprint.

    Raises SourceError as `read_coverage` does. `options.layer` is the number of the band.
    """
    coverage = read_coverage(path, options.layer)
    name = Path(options.name or path.name).stem
    frame = pl.DataFrame({"coverage_id": [name], GEOMETRY: wkb(coverage.footprint)})
    yield Records(numbered(frame, 1), coverage.crs)


def read_coverage(path: Path, band: str | None = None) -> Coverage:
    """Open a GeoTIFF far enough to know what it is. `band` is a number from 1, needed when there are several.

    Raises SourceError when it is not a GeoTIFF, says no CRS or position, is larger than 2e9 pixels, claims far more
    pixels than it stores, or no band is chosen of several.
    """
    with _opened(path) as source:
        if source.crs is None or (crs := crs_word(source.crs.to_wkt())) is None:
            raise SourceError("the raster does not say its coordinate system.", remedy="Set it: gdal_edit.py -a_srs.")
        if source.transform.is_identity or source.transform.is_degenerate:
            raise SourceError("the raster does not say where it lies.", remedy="Georeference it first.")
        if source.width * source.height > _MOST_PIXELS:
            raise SourceError(
                f"the raster has {source.width} x {source.height} pixels, more than 2e9.", remedy="Cut or resample it."
            )
        number = _band(band, source.count)
        rows, columns = source.block_shapes[number - 1]
        pixel_bytes = sum(np.dtype(kind).itemsize for kind in source.dtypes)
        raster_bytes, stored_bytes = source.width * source.height * pixel_bytes, path.stat().st_size
        if raster_bytes > max(_INFLATED_BYTES, _MOST_INFLATED * stored_bytes):
            raise SourceError(
                f"the raster claims {raster_bytes:,} bytes of pixels and stores {stored_bytes:,}.",
                remedy="Cut it to where it has values.",
            )
        if rows * columns * pixel_bytes > _LARGEST_BLOCK_BYTES:
            raise SourceError("the raster's blocks are too large.", remedy="Rewrite it: gdal_translate -co TILED=YES.")
        coverage = Coverage(path, number, crs, source.width, source.height, source.transform)
    if not (np.abs(coverage.corners) < _FARTHEST).all() or np.ptp(coverage.corners, axis=0).min() < _NARROWEST:
        raise SourceError("the raster says that it lies nowhere on Earth.", remedy="Georeference it again.")
    return coverage


def cell_values(coverage: Coverage, resolution: int, city: City) -> CellValues:
    """What the pixels whose centres lie in each H3 cell of the city add up to, by windows of bounded memory.

    Pixels without a value or with their centre outside the city's bounds count nowhere. Cells are parents of the city's
    finest, as those of records are, so that a pixel and a record at the same place are in the same cell. Raises
    SourceError when the file is broken, DatumError when its CRS cannot be converted exactly.
    """
    datum = parse_datum(coverage.crs)
    finest = max(resolution, city.resolutions.finest)
    parts: list[CellValues] = []
    for x, y, values in coverage.pixels():
        lon, lat = to_city(x, y, datum, city)
        kept = inside(lon, lat, city.bounds)
        cells = parents(cells_of_points(lon[kept], lat[kept], finest), resolution)
        once, pixels = np.ones(cells.size, dtype=np.int64), values[kept]
        parts.append(_merged([CellValues(cells, once, pixels, pixels, pixels, pixels * pixels)]))
        if len(parts) == _MERGED_WINDOWS:
            parts = [_merged(parts)]
    return _merged(parts)


def _merged(parts: list[CellValues]) -> CellValues:
    """Values of the same cell added up, in the order in which they come, so that the result is always the same."""
    cells, n, total, smallest, largest, squares = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(cells, kind="stable")
    unique, starts = np.unique(cells[order], return_index=True)
    if unique.size == 0:
        return CellValues(cells, n, total, smallest, largest, squares)
    return CellValues(
        unique,
        np.add.reduceat(n[order], starts),
        np.add.reduceat(total[order], starts),
        np.minimum.reduceat(smallest[order], starts),
        np.maximum.reduceat(largest[order], starts),
        np.add.reduceat(squares[order], starts),
    )


def _band(wanted: str | None, count: int) -> int:
    if wanted is None and count == 1:
        return 1
    if wanted is not None and wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= count:
        return int(wanted)
    raise SourceError(f"the raster has {count} bands.", remedy=f"Choose one with --layer 1 to {count}.")


def _whole(block: int, limit: int) -> int:
    """The largest multiple of `block` up to `limit`; `limit` itself when the block is larger."""
    return block * (limit // block) or limit


@contextmanager
def _opened(path: Path) -> Generator[rasterio.DatasetReader]:
    """The dataset. Raises SourceError, also for what fails while it is read."""
    if not path.is_absolute() or not path.is_file():
        raise SourceError("rasters are opened by the absolute path of a local file.", where=str(path))
    try:
        # Nothing beside the file (.aux.xml, .ovr, .msk, .tfw) has a say in it.
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                source = rasterio.open(path, driver="GTiff")
            with source:
                yield source
    except (RasterioError, RasterioIOError, ValueError) as error:
        raise SourceError(f"the raster is broken: {error}.", remedy="Export it again.") from error
