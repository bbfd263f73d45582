"""What formats say about geometry, in one form: WKB in two dimensions with straight segments, CRS as `EPSG:<code>`."""

import numpy as np
import polars as pl
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from ingest.codecs.records import GEOMETRY, ROW, Records, unreadable
from twin.errors import SourceError

__all__ = ["crs_word", "curved", "flat", "shaped", "wkb"]

Geometries = NDArray[np.object_]

_PLAIN = [b"\x01" + code.to_bytes(4, "little") for code in range(1, 8)]
"""First bytes of little-endian WKB of the seven types of OGC Simple Features in two dimensions."""

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
    code = series.bin.slice(1, 4)
    types = code.bin.reinterpret(dtype=pl.UInt32, endianness="little")
    swapped = code.bin.reinterpret(dtype=pl.UInt32, endianness="big")
    big = series.bin.starts_with(b"\x00").fill_null(value=False)
    # EWKB marks Z, M and SRID in the three highest bits.
    base = (swapped.zip_with(big, types) % (1 << 29)) % 1000
    return base.is_between(_CURVES.start, _CURVES.stop - 1).fill_null(value=False)


def flat(series: pl.Series, *, trusted: bool) -> tuple[pl.Series, dict[int, str]]:
    """WKB in two dimensions, and why for the positions where it cannot be read (null there).

    `trusted` WKB comes from a library that made it: it is parsed only where it has a third dimension.
    """
    heads = series.bin.slice(0, 5)
    if trusted and heads.drop_nulls().is_in(_PLAIN).all():
        return series, {}
    bad = curved(series)
    why = dict.fromkeys(bad.arg_true().to_list(), "its geometry has curves; make them straight segments")
    if why:
        series = series.set(bad, None)
    geometries = _parsed(np.array(series.to_list(), dtype=object))
    broken = np.flatnonzero(series.is_not_null().to_numpy() & shapely.is_missing(geometries))
    return wkb(geometries), why | dict.fromkeys(broken.tolist(), "its geometry cannot be read")


def shaped(frame: pl.DataFrame, crs: str | None, *, trusted: bool) -> Records:
    """Records of a frame with GEOMETRY as any WKB: what cannot be made flat is unreadable."""
    shapes, faults = flat(frame[GEOMETRY], trusted=trusted)
    bad = [unreadable(frame[ROW][at], str(frame.drop(GEOMETRY).row(at)), why) for at, why in sorted(faults.items())]
    good = frame.with_columns(shapes.alias(GEOMETRY)).filter(~pl.col(ROW).is_in([one.row for one in bad]))
    return Records(good, crs, tuple(bad))


def wkb(geometries: Geometries | shapely.Geometry) -> pl.Series:
    """Geometries (n,) as a Series of WKB in two dimensions; null for None."""
    texts = shapely.to_wkb(np.array(geometries, dtype=object, ndmin=1), output_dimension=2, byte_order=1)
    return pl.Series(texts.tolist(), dtype=pl.Binary)


def _parsed(texts: Geometries) -> Geometries:
    """Geometries of WKB texts (n,), None for what cannot be read."""
    try:
        return np.atleast_1d(shapely.from_wkb(texts, on_invalid="ignore"))
    except NotImplementedError:  # a curve inside a collection stops the whole call
        return np.array([_one(text) for text in texts], dtype=object)


def _one(text: bytes | None) -> shapely.Geometry | None:
    try:
        return shapely.from_wkb(text, on_invalid="ignore")
    except NotImplementedError:
        return None
