"""Asks the rungs of a contract in order; the first whose check a record passes places it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from layers.contract import Contract
from layers.places import cell, coordinate, geometry, registered, texts, witnesses
from layers.places.fix import ABSENT, Fix, Geometries, Site, is_none
from layers.reasons import Reason
from layers.rungs import AddressRung, AreaRung, CellRung, CoordinateRung, GeometryRung, RegisterRung, Rung, StakeRung
from twin.grid import cells_at_honest_resolution

__all__ = ["Placed", "place"]


@dataclass(frozen=True, slots=True)
class Placed:
    """The places of n records.

    `lon`, `lat` (n,) degrees in the city's datum; `shapes` (n,) geometries, None for a point; `cell` (n,) H3 at the
    finest resolution that the accuracy allows, 0 where there is no place; `reasons` (n,) why it has none, else None;
    `hints` (n,) what would fit then, where something does.
    """

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    shapes: Geometries
    cell: NDArray[np.int64]
    accuracy_m: NDArray[np.float64]
    method: NDArray[np.object_]
    source: NDArray[np.object_]
    reasons: NDArray[np.object_]
    hints: NDArray[np.object_]

    def where(self, mask: NDArray[np.bool_]) -> "Placed":
        """The places of the records that `mask` (n,) chooses."""
        return Placed(*(getattr(self, part.name)[mask] for part in fields(self)))


def place(frame: pl.DataFrame, contract: Contract, site: Site) -> Placed:
    """Place the records of `frame` (fields of the contract, coordinate columns, the file's geometry).

    Raises DatumError when the file's datum is unsaid or contradicts the contract.
    """
    n = frame.height
    placed = Placed(
        lon=np.full(n, np.nan),
        lat=np.full(n, np.nan),
        shapes=np.full(n, None, dtype=object),
        cell=np.zeros(n, dtype=np.int64),
        accuracy_m=np.full(n, np.nan),
        method=np.full(n, None, dtype=object),
        source=np.full(n, None, dtype=object),
        reasons=np.full(n, ABSENT, dtype=object),
        hints=np.full(n, None, dtype=object),
    )
    settled = np.zeros(n, dtype=bool)
    for rung in contract.place.rungs:
        waiting = np.flatnonzero(~is_none(placed.reasons) & ~settled)
        if not len(waiting):
            break
        part = frame if len(waiting) == n else frame[waiting]
        others = [other for other in contract.place.rungs if isinstance(other, witnesses.Reference)]
        if isinstance(rung, witnesses.Position) and (others or rung.datum == "detect"):
            known = witnesses.listen(_asked(part, others, contract, site))
            ask = partial(_ask_position, part, contract)
            fix = witnesses.examined(part, rung, site, known, ask)
        else:
            fix = _ask(part, rung, contract, site)
        _take(placed, waiting, fix, rung.by)
        if fix.final is not None:
            settled[waiting[fix.final]] = True
    placed.reasons[placed.reasons == ABSENT] = Reason.NO_PLACE
    here = np.flatnonzero(is_none(placed.reasons) & (placed.cell == 0))
    placed.cell[here] = cells_at_honest_resolution(
        placed.lon[here], placed.lat[here], placed.accuracy_m[here], site.city.resolutions.finest
    )
    return placed


def _asked(frame: pl.DataFrame, rungs: Sequence[Rung], contract: Contract, site: Site) -> list[Fix]:
    """What rungs say of records, where anybody knows: a person who overrules them is not contradicted."""
    return [] if site.overruled else [_ask(frame, rung, contract, site) for rung in rungs]


def _ask_position(frame: pl.DataFrame, contract: Contract, rung: Rung, site: Site) -> Fix:
    return _ask(frame, rung, contract, site)


def _ask(frame: pl.DataFrame, rung: Rung, contract: Contract, site: Site) -> Fix:  # noqa: PLR0911  (one a rung)
    match rung:
        case CoordinateRung():
            return coordinate.fix(frame, rung, site)
        case GeometryRung():
            return geometry.fix(frame, rung, contract.geometry, site)
        case RegisterRung():
            return registered.fix_registered(frame, rung, site)
        case AddressRung():
            return texts.fix_address(frame, rung, site)
        case StakeRung():
            return texts.fix_stake(frame, rung, site)
        case AreaRung():
            return registered.fix_area(frame, rung, site)
        case CellRung():
            return cell.fix(frame, rung, site)


def _take(placed: Placed, waiting: NDArray[np.intp], fix: Fix, method: str) -> None:
    """Fill in what a rung found, and keep the first reason that says more than "nothing to look at"."""
    good = is_none(fix.reasons)
    rows = waiting[good]
    placed.lon[rows], placed.lat[rows] = fix.lon[good], fix.lat[good]
    placed.accuracy_m[rows] = fix.accuracy_m[good]
    if fix.cells is not None:
        placed.cell[rows] = fix.cells[good]
    if fix.shapes is not None:
        placed.shapes[rows] = fix.shapes[good]
    placed.method[rows] = method
    placed.source[rows] = fix.source
    if fix.repaired is not None:
        placed.source[waiting[good & fix.repaired]] = f"{fix.source} repaired"
    placed.reasons[rows] = None
    silent = placed.reasons[waiting] == ABSENT
    placed.reasons[waiting[~good & silent]] = fix.reasons[~good & silent]
    if fix.hints is not None:
        placed.hints[waiting[~good & silent]] = fix.hints[~good & silent]
