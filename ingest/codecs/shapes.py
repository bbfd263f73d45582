"""What formats say about geometry, in one form: WKB in two dimensions with straight segments, CRS as `EPSG:<code>`."""

import numpy as np
import polars as pl
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from ingest.codecs.nesting import nests_deeply
from ingest.codecs.records import GEOMETRY, ROW, Records, unreadable
from twin.errors import SourceError

__all__ = ["crs_word", "curved", "flat", "shaped", "wkb"]

Geometries = NDArray[np.object_]

_PLAIN = [b"\x01" + code.to_bytes(4, "little") for code in range(1, 8)]
"""First bytes of little-endian WKB of the seven types of OGC Simple Features in two dimensions."""

_COLLECTIONS = range(4, 8)
_CURVES = range(8, 18)
"""Types of ISO 13249-3 beyond those seven; Z and M add 1000 and 2000."""


def crs_word(definition: object) -> str | None:
    """A coordinate system in any form that pyproj reads: `EPSG:<code>`, its WKT if it has no code, None if undefined.

    Heights are left out. Axes are always x, y (longitude first), so OGC:CRS84 is EPSG:4326.
    Raises SourceError for words that name no coordinate system.
    """
    if not definition:
        return None
    try:
        crs = CRS.from_user_input(definition)
        code = crs.to_2d().to_epsg() or crs.to_epsg()
    except CRSError as error:
        raise SourceError(
            f"the file's coordinate system cannot be understood: {str(definition)[:200]}.",
            remedy="Correct it, or remove it and say the datum with --datum.",
        ) from error
    if crs.to_authority() == ("OGC", "CRS84"):
        return "EPSG:4326"
    if code:
        return f"EPSG:{code}"
    return None if crs.is_engineering or crs.name.startswith("Undefined") else crs.to_wkt()


def curved(series: pl.Series) -> pl.Series:
    """Mask of the WKB geometries that hold curves or surfaces shapely does not know."""
    return _is_of(series, _CURVES)


def flat(series: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """Any WKB in two dimensions, and why for the positions where it cannot be read (null there)."""
    why = dict.fromkeys(curved(series).arg_true().to_list(), "its geometry has curves; make them straight segments")
    collections = _is_of(series, _COLLECTIONS).arg_true()
    if not collections.is_empty():
        deep = collections.filter(pl.Series(nests_deeply(series.gather(collections))))
        why |= dict.fromkeys(deep.to_list(), "its geometry has too many collections in one another")
    if why:
        series = series.scatter(list(why), None)
    geometries = _parsed(np.array(series.to_list(), dtype=object))
    broken = np.flatnonzero(series.is_not_null().to_numpy() & shapely.is_missing(geometries))
    why |= dict.fromkeys(broken.tolist(), "its geometry cannot be read")
    as_is = not why and series.bin.slice(0, 5).drop_nulls().is_in(_PLAIN).all()
    return (series if as_is else wkb(geometries)), why


def shaped(frame: pl.DataFrame, crs: str | None) -> Records:
    """Records of a frame with GEOMETRY as any WKB: what cannot be made flat is unreadable."""
    shapes, faults = flat(frame[GEOMETRY])
    bad = [unreadable(frame[ROW][at], str(frame.drop(GEOMETRY).row(at)), why) for at, why in sorted(faults.items())]
    good = frame.with_columns(shapes.alias(GEOMETRY)).filter(~pl.col(ROW).is_in([one.row for one in bad]))
    return Records(good, crs, tuple(bad))


def wkb(geometries: Geometries | shapely.Geometry) -> pl.Series:
    """Geometries (n,) as a Series of WKB in two dimensions; null for None."""
    texts = shapely.to_wkb(np.array(geometries, dtype=object, ndmin=1), output_dimension=2, byte_order=1)
    return pl.Series(texts.tolist(), dtype=pl.Binary)


def _is_of(series: pl.Series, types: range) -> pl.Series:
    """Mask of the WKB geometries of these types, whichever their dimensions and byte order."""
    code = series.bin.slice(1, 4)
    little = code.bin.reinterpret(dtype=pl.UInt32, endianness="little")
    swapped = code.bin.reinterpret(dtype=pl.UInt32, endianness="big")
    big = series.bin.starts_with(b"\x00").fill_null(value=False)
    # EWKB marks Z, M and SRID in the three highest bits.
    base = (swapped.zip_with(big, little) % (1 << 16)) % 1000
    return base.is_between(types.start, types.stop - 1).fill_null(value=False)


def _parsed(texts: Geometries) -> Geometries:
    """Geometries of WKB texts (n,), None for what cannot be read."""
    try:
        with np.errstate(invalid="ignore"):  # NaN among the coordinates
            return np.atleast_1d(shapely.from_wkb(texts, on_invalid="ignore"))
    except NotImplementedError:  # a curve inside a collection stops the whole call
        return np.array([_one(text) for text in texts], dtype=object)


def _one(text: bytes | None) -> shapely.Geometry | None:
    try:
        return shapely.from_wkb(text, on_invalid="ignore")
    except NotImplementedError:
        return None
