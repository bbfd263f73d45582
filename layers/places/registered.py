"""Rungs that look a place up by an id: a registered device, or an administrative area."""

import numpy as np
import polars as pl

from layers.places.fix import ABSENT, Fix, Site, is_none
from layers.reasons import Reason
from layers.rungs import AreaRung, RegisterRung

__all__ = ["fix_area", "fix_registered"]


def fix_registered(frame: pl.DataFrame, rung: RegisterRung, site: Site) -> Fix:
    """Places by the register's thing of the same id, as accurate as the register knows it."""
    return _look_up(frame, rung.id, rung.register_, Reason.UNKNOWN_DEVICE, site)


def fix_area(frame: pl.DataFrame, rung: AreaRung, site: Site) -> Fix:
    """Places by the area of this administrative code: known no better than the area's size."""
    return _look_up(frame, rung.code, rung.register_, Reason.UNKNOWN_AREA, site)


def _look_up(frame: pl.DataFrame, column: str, dataset: str, unknown: Reason, site: Site) -> Fix:
    register = site.register(dataset)
    known = register.frame.with_row_index("__at").select("id", "__at", "lon", "lat", "cell", "place_accuracy_m")
    found = frame.select(pl.col(column).cast(pl.String).alias("id")).join(
        known, on="id", how="left", maintain_order="left"
    )
    at = found["__at"].fill_null(-1).cast(pl.Int64).to_numpy()
    reasons = np.full(frame.height, None, dtype=object)
    reasons[at < 0] = unknown
    reasons[found["id"].is_null().to_numpy()] = ABSENT
    shapes = None
    if not is_none(register.shapes).all():
        shapes = register.shapes[at]  # those of unknown ids, at -1, are not used
    return Fix(
        found["lon"].fill_null(np.nan).to_numpy(),
        found["lat"].fill_null(np.nan).to_numpy(),
        shapes,
        found["place_accuracy_m"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        reasons,
        dataset,
        cells=found["cell"].fill_null(0).to_numpy(),
    )
