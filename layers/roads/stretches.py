"""Stretches: a road between two stakes, as a line (linear referencing, ISO 19148)."""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.ops import substring

from layers.roads.network import Network
from twin.errors import InvalidRequest

__all__ = ["stretch"]


def stretch(network: Network, road: str, from_km: float, to_km: float) -> shapely.Geometry:
    """The line of a numbered road between two stakes; of both carriageways where it has two.

    Raises InvalidRequest when no road of that number has stakes there; it says which it has.
    """
    wanted = road.strip().upper()
    texts = [at for at, text in enumerate(network.texts) if text.upper() == wanted]
    edges = np.flatnonzero(np.isin(network.number_text[network.way], texts) & np.isfinite(network.from_km))
    low, high = min(from_km, to_km), max(from_km, to_km)
    starts, ends = network.from_km[edges], network.to_km[edges]
    here = (np.minimum(starts, ends) < high) & (np.maximum(starts, ends) > low)
    if not here.any():
        known = (
            f"{wanted} runs from K{min(starts.min(), ends.min()):g} to K{max(starts.max(), ends.max()):g} here"
            if len(edges)
            else f"no road {wanted[:40]} has stakes here"
        )
        raise InvalidRequest(f"{known}.", where="stretch", remedy="Give its number and two stakes on it.")
    lines = [
        _cut(network.shape(int(edge)), float(start), float(end), low, high)
        for edge, start, end in zip(edges[here], starts[here], ends[here], strict=True)
    ]
    return shapely.line_merge(shapely.union_all(lines))


def _cut(line: NDArray[np.float64], start: float, end: float, low: float, high: float) -> shapely.Geometry:
    """The part of an edge between two stakes."""
    shares = sorted(np.clip((km - start) / (end - start), 0.0, 1.0) for km in (low, high))
    return substring(shapely.LineString(line), *shares, normalized=True)
