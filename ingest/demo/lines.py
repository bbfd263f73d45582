"""Lines in the plane: rounding, natural courses, smooth joins, and noding."""

import numpy as np
import shapely

from ingest.demo.noise import Floats, Ints, warped
from ingest.demo.plane import Geometries, points_at

__all__ = ["course", "hermite", "noded", "rounded_line"]

_SAME_M = 1e-6


def rounded_line(line: Floats, times: int) -> Floats:
    """Corners cut at a quarter of each side (Chaikin 1974); the two ends stay. Shape (k, 2) to (about 2 k, 2)."""
    for _ in range(times):
        cut = np.empty((2 * len(line) - 2, 2))
        cut[0::2] = 0.75 * line[:-1] + 0.25 * line[1:]
        cut[1::2] = 0.25 * line[:-1] + 0.75 * line[1:]
        line = np.vstack([line[:1], cut[1:-1], line[-1:]])
    return line


def course(via: Floats, amplitude_m: float, scale_m: float, step_m: float, seed: int) -> shapely.LineString:
    """A natural line through about the positions `via` (k, 2): rounded, then bent by noise of the given amplitude."""
    dense = shapely.segmentize(shapely.LineString(rounded_line(via, 3)), step_m)
    return shapely.transform(dense, lambda xy: warped(xy, amplitude_m, scale_m, 4, seed))


def hermite(start: Floats, leave: Floats, end: Floats, arrive: Floats, steps: int) -> Floats:
    """Cubic Hermite curves (n, steps + 1, 2) between positions (n, 2) with tangents (n, 2) in metres."""
    t = np.linspace(0, 1, steps + 1)[None, :, None]
    h00, h10 = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t
    curve = h00 * start[:, None] + h10 * leave[:, None] + (1 - h00) * end[:, None] + (t**3 - t**2) * arrive[:, None]
    # The ends are junctions: they must stay equal to the last bit.
    curve[:, 0], curve[:, -1] = start, end
    return curve


def _crossings(lines: Geometries) -> tuple[Ints, Floats]:
    """Where lines (n,) meet elsewhere than at ends they share: line (c,) and position (c, 2), both of a pair."""
    first, second = shapely.STRtree(lines).query(lines, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    xy, pair = shapely.get_coordinates(shapely.intersection(lines[first], lines[second]), return_index=True)
    ends = np.stack([shapely.get_coordinates(shapely.get_point(lines, k)) for k in (0, -1)], axis=1)
    # A crossing at the end of a line is that end, to the last bit: both lines must agree on the junction.
    tips = ends.reshape(-1, 2)
    crossing, tip = shapely.STRtree(points_at(tips)).query_nearest(
        points_at(xy), max_distance=_SAME_M, all_matches=False
    )
    xy[crossing] = tips[tip]
    found: list[tuple[Ints, Floats]] = []
    for line in (first[pair], second[pair]):
        inner = np.abs(ends[line] - xy[:, None]).max(-1).min(1) > _SAME_M
        found.append((line[inner], xy[inner]))
    return np.concatenate([line for line, _ in found]), np.concatenate([at for _, at in found])


def noded(lines: Geometries, cuts: tuple[Ints, Floats]) -> tuple[Geometries, Ints]:
    """The lines cut wherever they cross or touch: pieces (p,) and the line each came from (p,), in order along it.

    The position of a crossing becomes a vertex, equal to the last bit, of both lines. `cuts`: further lines (c,) to
    cut and where (c, 2).
    """
    crossed, crossing = _crossings(lines)
    line, at = np.concatenate([crossed, cuts[0]]), np.concatenate([crossing, cuts[1]])
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    step = np.hypot(*np.diff(xy, axis=0, prepend=xy[:1]).T)
    step[np.diff(owner, prepend=-1) != 0] = 0
    along = np.cumsum(step)
    start = np.searchsorted(owner, np.arange(len(lines)))
    along -= along[start][owner]
    where = shapely.line_locate_point(lines[line], points_at(at))
    xy, owner = np.vstack([xy, at]), np.concatenate([owner, line])
    along = np.concatenate([along, where])
    is_cut = np.arange(len(xy)) >= len(xy) - len(at)
    order = np.lexsort((along, owner))
    xy, owner, is_cut = xy[order], owner[order], is_cut[order]
    kept = np.ones(len(xy), dtype=np.bool_)
    close = (np.diff(owner) == 0) & (np.abs(np.diff(xy, axis=0)).max(1) <= _SAME_M)
    # Two lines that meet in a vertex of one give it twice: keep the crossing, which the other line shares.
    kept[np.flatnonzero(close) + np.where(is_cut[:-1][close], 1, 0)] = False
    return _cut(xy[kept], owner[kept], is_cut[kept])


def _cut(xy: Floats, owner: Ints, is_cut: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Geometries, Ints]:
    """Lines given as positions (n, 2) with their line (n,), cut at the marked positions (n,)."""
    # A cut position ends one piece and starts the next: it is there twice.
    repeat = np.where(is_cut, 2, 1)
    place = np.repeat(np.arange(len(xy)), repeat)
    second = np.concatenate([[False], place[1:] == place[:-1]])
    starts = second | (np.diff(owner[place], prepend=-1) != 0)
    piece = np.cumsum(starts) - 1
    pieces = np.asarray(shapely.linestrings(xy[place], indices=piece), dtype=np.object_)
    return pieces, owner[place][starts]
