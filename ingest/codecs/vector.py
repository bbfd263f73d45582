"""Shapefile, GeoPackage and FlatGeobuf, by GDAL as Arrow batches.

GDAL opens what is called by these names in a folder of our own (`ingest/reading.py`), never a name from outside.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyogrio
from polars.exceptions import PolarsError
from pyogrio import raw

from ingest.codecs.arrow import framed
from ingest.codecs.dbase import Dbase
from ingest.codecs.records import GEOMETRY, ReadOptions, Records, numbered
from ingest.codecs.shapes import crs_word, curved, shaped
from ingest.columns import Headings
from layers.contract import Contract
from twin.errors import SourceError

__all__ = ["read", "read_shapefile"]

_NUMBER = "__number"

# GDAL 3.12's own Arrow reader for FlatGeobuf loses its buffers at the first feature without geometry; its general one
# does not.
pyogrio.set_gdal_config_options({"OGR_FLATGEOBUF_STREAM_BASE_IMPL": True})


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:
    """Read a GeoPackage or FlatGeobuf with its own types.

    The number of a feature is kept only as a column that the contract knows. Raises SourceError when the file is
    broken, or has several layers and `options` chooses none.
    """
    with _gdal():
        layer = _layer(path, options.layer)
        # GDAL takes the end of a cut file for the end of its features; only FlatGeobuf's header tells better.
        stated = pyogrio.read_info(path, layer=layer)["features"] if path.suffix == ".fgb" else 0
        found = 0
        for records in _batches(path, layer, contract, options):
            found += records.frame.height + len(records.unreadable)
            yield records
        if found < stated:
            raise SourceError(f"the file ends after {found} of {stated} features.", remedy="Export it again.")


def read_shapefile(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:
    """Read a shapefile: `path` and the files beside it of the same stem.

    Texts are in the encoding that `options`, else the .cpg file, says; else in UTF-8 or GB18030, whichever they fit.
    Raises SourceError when a part is missing or cut off, or the texts are in another encoding.
    """
    missing = [suffix for suffix in (".shx", ".dbf") if not path.with_suffix(suffix).exists()]
    if missing:
        raise SourceError(
            f"parts of the shapefile are missing: {', '.join(missing)}.", remedy="Load it with all parts, as one .zip."
        )
    _require_whole(path)
    table = Dbase.open(path.with_suffix(".dbf"), options.encoding)
    with _gdal():
        for records in _batches(path, None, contract, options, encoding="ISO-8859-1"):
            yield Records(table.decoded(records.frame), records.crs, records.unreadable)


@contextmanager
def _gdal() -> Generator[None]:
    """Turn GDAL's errors into SourceError; for a broken .prj file pyogrio 0.13 trips over a variable of its own."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, UnboundLocalError, pa.ArrowException, PolarsError) as error:
        words = str(error).replace("\n", " ")[:300]
        raise SourceError(f"the file is broken: {words}.", remedy="Export it again.") from error


def _layer(path: Path, wanted: str | None) -> str:
    layers = [str(name) for name, _ in pyogrio.list_layers(path)]
    if not layers:
        raise SourceError("the file has no layer.")
    if wanted is None and len(layers) == 1:
        return layers[0]
    if wanted in layers:
        return wanted
    what = "has several layers" if wanted is None else f"has no layer {wanted!r}"
    raise SourceError(f"the file {what}: {', '.join(layers)}.", remedy="Choose one with --layer.")


def _batches(
    path: Path, layer: str | None, contract: Contract, options: ReadOptions, encoding: str | None = None
) -> Iterator[Records]:
    first = 1
    with pyogrio.open_arrow(
        path, layer=layer, encoding=encoding, use_pyarrow=True, return_fids=True, batch_size=options.batch_rows
    ) as (meta, reader):
        # The numbers of the features are the first column; the geometry, if there is one, the last.
        number, *names = reader.schema.names
        spatial = (reader.schema.field(len(names)).metadata or {}).get(b"ARROW:extension:name") == b"geoarrow.wkb"
        names = [_NUMBER, *names[:-1], GEOMETRY] if spatial else [_NUMBER, *names]
        known = Headings(contract).known([number]) > 0
        opened = _Opened(path, layer, crs_word(meta["crs"]), number if known else None)
        for batch in reader:
            yield opened.records(numbered(framed(batch.columns, names), first))
            first += batch.num_rows
        if first == 1:
            empty = pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield opened.records(numbered(framed(empty.columns, names), 1))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A layer being read. `number` is the column of the features' numbers, if the contract knows it."""

    path: Path
    layer: str | None
    crs: str | None
    number: str | None

    def records(self, frame: pl.DataFrame) -> Records:
        """Records of a batch with the column _NUMBER."""
        if GEOMETRY in frame.columns:
            frame = frame.with_columns(self._straightened(frame[GEOMETRY], frame[_NUMBER]).alias(GEOMETRY))
        frame = frame.rename({_NUMBER: self.number}) if self.number else frame.drop(_NUMBER)
        return shaped(frame, self.crs) if GEOMETRY in frame.columns else Records(frame, self.crs)

    def _straightened(self, shapes: pl.Series, numbers: pl.Series) -> pl.Series:
        """The geometries, with the straight segments that GDAL makes of curves: one for 4 degrees of an arc."""
        curves = curved(shapes).arg_true()
        if curves.is_empty():
            return shapes
        wanted = numbers.gather(curves)
        _, fids, geometries, _ = raw.read(
            self.path, layer=self.layer, fids=wanted.to_numpy(), columns=[], return_fids=True
        )
        made = dict(zip(fids.tolist(), geometries.tolist(), strict=True))
        return shapes.scatter(curves, pl.Series([made.get(number) for number in wanted], dtype=pl.Binary))


def _require_whole(path: Path) -> None:
    """Refuse a .shp file shorter than its header says: GDAL reads what is lost as features without geometry."""
    with path.open("rb") as source:
        header = source.read(28)
    if len(header) < 28 or 2 * int.from_bytes(header[24:28], "big") > path.stat().st_size:
        raise SourceError("the .shp file is cut off.", remedy="Export or copy the shapefile again.")
