"""Which edges a condition concerns: those within an area, along a line, around a point."""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.roads.network import Network
from twin.geometry import METRES_PER_DEGREE

__all__ = ["Edges"]

Geometries = NDArray[np.object_]

_LINE, _POINT, _AREA = 1, 0, 2
_BESIDE_M = 12.0
"""How far from the middle of a road a line may be drawn that means it."""
_ALONG = 0.7
"""A road runs along a line when it gains so much of its own length on it: a road that crosses gains nothing."""
_LEAST_M = 20.0


class Edges:
    """The lines of a network's edges, on a plane in metres that touches in the middle of the network."""

    def __init__(self, network: Network) -> None:
        self._scale = np.array([np.cos(np.radians(float(np.mean(network.lat)))), 1.0]) * METRES_PER_DEGREE
        xy = np.stack([network.shape_lon, network.shape_lat], axis=1) * self._scale
        edge = np.repeat(np.arange(network.edges), np.diff(network.shape_first))
        self._lines: Geometries = np.asarray(shapely.linestrings(xy, indices=edge), dtype=object)
        self._tree = shapely.STRtree(self._lines)

    def touched(self, shape: shapely.Geometry, near_m: float = 20.0) -> NDArray[np.int32]:
        """The edges (q,) that lie in an area or reach into it, run along a line, or pass a point within `near_m`."""
        flat = shapely.transform(shape, lambda xy: xy * self._scale)
        found = [self._of(part, near_m) for part in shapely.get_parts(flat)]
        return np.unique(np.concatenate([np.empty(0, np.int32), *found])).astype(np.int32)

    def _of(self, part: shapely.Geometry, near_m: float) -> NDArray[np.int32]:
        dimension = shapely.get_dimensions(part)
        if dimension == _POINT:
            part = shapely.buffer(part, near_m)
        if dimension == _LINE:
            return self._along(part)
        return self._tree.query(part, predicate="intersects").astype(np.int32)

    def _along(self, line: shapely.Geometry) -> NDArray[np.int32]:
        band = shapely.buffer(line, _BESIDE_M, cap_style="flat")
        whole: Geometries = np.array([line], dtype=object)
        near = self._tree.query(band, predicate="intersects")
        pieces, of = shapely.get_parts(shapely.intersection(self._lines[near], band), return_index=True)
        of = of[shapely.get_dimensions(pieces) == _LINE]
        pieces = pieces[shapely.get_dimensions(pieces) == _LINE]
        if not len(pieces):
            return np.empty(0, np.int32)
        ends = [shapely.line_locate_point(whole, shapely.get_point(pieces, at)) for at in (0, -1)]
        length = shapely.length(pieces)
        gained = np.abs(ends[1] - ends[0])
        enough = np.minimum(_LEAST_M, np.minimum(shapely.length(self._lines[near[of]]), shapely.length(line)) / 2)
        return near[of[(gained >= _ALONG * length) & (length >= enough)]].astype(np.int32)
