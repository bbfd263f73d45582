"""Rungs that read texts: an address, or a road with a stake."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from layers.places.candidates import Candidate
from layers.places.fix import ABSENT, Fix, Site
from layers.places.gazetteer import Gazetteer
from layers.reasons import Reason
from layers.rungs import AddressRung, StakeRung
from twin.grid import cells_at_honest_resolution
from twin.identifiers import Fault, find_stake

__all__ = ["fix_address", "fix_stake"]

_SURE_ENOUGH = 0.4
_AHEAD = 2.0
"""A place is taken when no other that the text may mean is half as likely."""
_NAMED = 3


def fix_address(frame: pl.DataFrame, rung: AddressRung, site: Site) -> Fix:
    """Places by the address in the field `rung.text`, as exactly as the text and the gazetteer know it."""
    texts = frame[rung.text].cast(pl.String).to_list()
    areas = frame[rung.area].cast(pl.String).to_list() if rung.area is not None else [None] * len(texts)
    return _placed([(text, text and _within(area)) for text, area in zip(texts, areas, strict=True)], site)


def fix_stake(frame: pl.DataFrame, rung: StakeRung, site: Site) -> Fix:
    """Places by the road and the stake in `rung.text`, or by the road in `rung.road` and the stake in `rung.text`."""
    texts = frame[rung.text].cast(pl.String).to_list()
    if rung.road is not None:
        roads = frame[rung.road].cast(pl.String).to_list()
        texts = [f"{road} {text}" if road and text and find_stake(text) is None else text
                 for road, text in zip(roads, texts, strict=True)]  # fmt: skip
    return _placed([(text, "") for text in texts], site, only_stakes=True)


def _within(area: str | None) -> str:
    """The district or town of an administrative code: communities are not told apart by their names."""
    return (area or "").rstrip("0")[:9] if len(area or "") > 6 else area or ""


def _placed(questions: list[tuple[str | None, str | None]], site: Site, *, only_stakes: bool = False) -> Fix:
    n = len(questions)
    lon, lat, accuracy_m = (np.full(n, np.nan) for _ in range(3))
    shapes, reasons, hints = (np.full(n, None, dtype=object) for _ in range(3))
    cells = np.zeros(n, dtype=np.int64)
    source = "stake" if only_stakes else "address"
    if all(not text for text, _ in questions):
        return Fix(lon, lat, None, accuracy_m, np.full(n, ABSENT, dtype=object), source)
    gazetteer = site.gazetteer()
    for at, (text, area) in enumerate(questions):
        if not text:
            reasons[at] = ABSENT
            continue
        one, reasons[at], hints[at] = _judged(text, area or "", gazetteer, only_stakes=only_stakes)
        if one is not None:
            lon[at], lat[at], accuracy_m[at], shapes[at] = one.lon, one.lat, one.accuracy_m, one.shape
    here: NDArray[np.bool_] = np.isfinite(lon)
    cells[here] = cells_at_honest_resolution(lon[here], lat[here], accuracy_m[here], site.city.resolutions.finest)
    return Fix(lon, lat, shapes, accuracy_m, reasons, source, cells=cells, hints=hints)


def _judged(
    text: str, area: str, gazetteer: Gazetteer, *, only_stakes: bool
) -> tuple[Candidate | None, Reason | None, str | None]:
    """The one place that a text means; or why there is none, and what it may mean."""
    address = gazetteer.read(text)
    if only_stakes:
        if not isinstance(address.stake, Fault) and address.stake is not None:
            found = [one for one in gazetteer.find(address, text, area) if one.method == "stake"]
            if not found:
                return None, Reason.UNKNOWN_STAKE, gazetteer.stakes_of(address.stake.parts["road"])
        else:
            return None, Reason.UNKNOWN_STAKE, address.stake.what.en if address.stake is not None else None
    elif address.elsewhere is not None:
        return None, Reason.OUTSIDE_CITY, f"it names {address.elsewhere}"
    else:
        found = gazetteer.find(address, text, area)
    if not found:
        return None, Reason.UNKNOWN_ADDRESS, None
    best = found[0]
    if best.confidence >= _SURE_ENOUGH and all(best.confidence >= _AHEAD * other.confidence for other in found[1:]):
        return best, None, None
    said = "; ".join(
        f"{one.method} {one.area} ({one.lon:.5f}, {one.lat:.5f}){' ' + one.reason if one.reason else ''}"
        for one in found[:_NAMED]
    )
    return None, Reason.AMBIGUOUS_ADDRESS, f"{len(found)} candidates: {said}"
