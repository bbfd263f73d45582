"""Positions against what else is known of the same records: their datum as a batch, and each position by itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import shapely
from numpy.typing import NDArray

from layers.places.datums import same_datum
from layers.places.detective import MOST_M, Verdict, detect
from layers.places.fix import ABSENT, GEOMETRY, Fix, Geometries, Site, is_none
from layers.reasons import Reason
from layers.rungs import AddressRung, CoordinateRung, GeometryRung, RegisterRung, StakeRung
from twin.datum import parse_datum, to_city
from twin.errors import DatumError
from twin.geometry import METRES_PER_DEGREE, metres_apart

__all__ = ["Known", "Position", "Reference", "examined", "listen"]

Reference = RegisterRung | AddressRung | StakeRung
"""Rungs that know a place without a position of the record."""

Position = CoordinateRung | GeometryRung
"""Rungs that read a position out of the record itself."""

_APART_M = 300.0
"""Two positions of one record disagree when they are further apart than this and what both are known by."""
_ENOUGH = 8
_LARGEST_DEGREE = 360.0

Floats = NDArray[np.float64]


class Known(NamedTuple):
    """Where n records lie by other ways: degrees of the city's datum, NaN where nothing exact is known; metres."""

    lon: Floats
    lat: Floats
    accuracy_m: Floats


def listen(fixes: Sequence[Fix]) -> Known | None:
    """The first exact place that any of the fixes has for each record; None when there are no fixes."""
    if not fixes:
        return None
    known = Known(*(np.full(len(fixes[0].lon), np.nan) for _ in range(3)))
    for fix in fixes:
        heard = is_none(fix.reasons) & (fix.accuracy_m <= MOST_M) & np.isnan(known.lon)
        for ours, theirs in zip(known, (fix.lon, fix.lat, fix.accuracy_m), strict=True):
            ours[heard] = theirs[heard]
    return known


class _Claim(NamedTuple):
    """Positions of n records in their own numbers, NaN where a record has none, and how large the things are."""

    x: Floats
    y: Floats
    radius_m: Floats


def examined(
    frame: pl.DataFrame, rung: Position, site: Site, known: Known | None, ask: Callable[[Position, Site], Fix]
) -> Fix:
    """The places that `ask` finds by a rung, after its batch and each of its records was compared with what is known.

    A batch whose datum is another than was declared, or that is displaced, waits for a person: every record of it is
    refused with what would fit. Raises DatumError as `ask` does, with what would fit.
    """
    claim = _claim(frame, rung)
    if known is not None:
        known = known._replace(accuracy_m=known.accuracy_m + claim.radius_m)
    if rung.datum == "detect" and not (site.overruled and site.declared):
        verdict = detect(claim.x, claim.y, *known, site.city) if known is not None else None
        if verdict is None or verdict.word is None or verdict.word == "displaced" or verdict.swapped:
            return _waiting(claim, rung, verdict)
        fix = ask(rung.model_copy(update={"datum": verdict.word}), replace(site, declared=None))
        return _compared(replace(fix, source=f"{fix.source} detected"), known, claim, site)
    try:
        fix = ask(rung, site)
    except DatumError as error:
        verdict = detect(claim.x, claim.y, *known, site.city) if known is not None else None
        if verdict is None or verdict.word is None:
            raise
        raise DatumError(error.what, where=error.where, remedy=f"{error.remedy} {verdict.text}.") from error
    if known is None or ":" not in fix.source:
        return fix
    word = fix.source.partition(":")[2]
    verdict = detect(claim.x, claim.y, *known, site.city, word)
    if verdict.word is not None and (verdict.swapped or not same_datum(verdict.word, word)):
        return _waiting(claim, rung, verdict, word)
    if verdict.word is None and verdict.matched >= _ENOUGH:
        return _waiting(claim, rung, verdict, word)
    return _compared(fix, known, claim, site)


def _claim(frame: pl.DataFrame, rung: Position) -> _Claim:
    if isinstance(rung, CoordinateRung):
        x, y = (_column(frame, name) for name in (rung.x, rung.y))
        return _Claim(x, y, np.zeros(frame.height))
    if GEOMETRY not in frame.columns:
        nothing = np.full(frame.height, np.nan)
        return _Claim(nothing, nothing, np.zeros(frame.height))
    shapes: Geometries = shapely.from_wkb(frame[GEOMETRY].to_numpy())
    west, south, east, north = shapely.bounds(shapes).T
    across = np.hypot(east - west, north - south) / 2
    in_metres = np.fmax(np.abs(west), np.abs(north)) > _LARGEST_DEGREE
    radius = np.nan_to_num(across) * np.where(in_metres, 1.0, METRES_PER_DEGREE)
    return _Claim((west + east) / 2, (south + north) / 2, radius)


def _column(frame: pl.DataFrame, name: str) -> Floats:
    if name not in frame.columns:
        return np.full(frame.height, np.nan)
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _waiting(claim: _Claim, rung: Position, verdict: Verdict | None, word: str | None = None) -> Fix:
    """A batch that waits for a person: no record of it is placed by its position."""
    n = len(claim.x)
    if verdict is None or verdict.word is None:
        reason = Reason.UNKNOWN_DATUM
    elif verdict.word == "displaced":
        reason = Reason.DISPLACED_MAP
    else:
        reason = Reason.SWAPPED_AXES if verdict.swapped else Reason.WRONG_DATUM
    said = verdict.text if verdict is not None else "nothing else says where these records are"
    hint = f"{said}; declared: {word}" if word is not None else said
    silent = np.isnan(claim.x) & np.isnan(claim.y)
    reasons, hints = np.full(n, reason, dtype=object), np.full(n, hint, dtype=object)
    reasons[silent], hints[silent] = ABSENT, None
    nothing = np.full(n, np.nan)
    final = ~silent & (verdict is not None and verdict.matched >= _ENOUGH)
    return Fix(nothing, nothing, None, nothing, reasons, rung.by, hints=hints, final=final)


def _compared(fix: Fix, known: Known | None, claim: _Claim, site: Site) -> Fix:
    """The fix without the records whose two positions disagree, each with what would fit."""
    if known is None:
        return fix
    placed = is_none(fix.reasons)
    off_m = _apart_m(fix.lon, fix.lat, known)
    apart = placed & (off_m > _APART_M + fix.accuracy_m + known.accuracy_m)
    if not apart.any():
        return fix
    reasons = fix.reasons.copy()
    reasons[apart] = Reason.POSITIONS_DISAGREE
    hints = np.full(len(reasons), None, dtype=object) if fix.hints is None else fix.hints
    for row in np.flatnonzero(apart).tolist():
        fits = _fits(claim.x[row], claim.y[row], known, row, site)
        hints[row] = f"its position and the other one are {off_m[row]:,.0f} m apart{fits}"
    return replace(fix, reasons=reasons, hints=hints, final=apart)


def _fits(x: float, y: float, known: Known, row: int, site: Site) -> str:
    """Which other reading of one coordinate would bring it to its other position."""
    one = Known(*(part[row : row + 1] for part in known))
    words = ("wgs84", "gcj02", "bd09") if max(abs(x), abs(y)) <= _LARGEST_DEGREE else ()
    for word in words:
        for swapped in (False, True):
            pair = (y, x) if swapped else (x, y)
            lon, lat = to_city([pair[0]], [pair[1]], parse_datum(word), site.city)
            if _apart_m(lon, lat, one)[0] <= MOST_M + one.accuracy_m[0]:
                return f"; as {word}{' with the axes swapped' if swapped else ''} it would fit"
    return ""


def _apart_m(lon: Floats, lat: Floats, known: Known) -> Floats:
    """Distance (n,) of each place from the known one; 0 where there is none to compare."""
    return np.nan_to_num(metres_apart(lon, lat, known.lon, known.lat), nan=0.0)
