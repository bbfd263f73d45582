"""How deep collections stand in collections, found without recursion.

Libraries read WKB by recursion: 100,000 collections in one another, 900 kB, end the process.
"""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

__all__ = ["nests_deeply"]

Bytes = NDArray[np.uint8]

_DEEPEST = 16
_HEAD_BYTES, _COUNT_BYTES, _ORDINATE_BYTES = 5, 4, 8
_HAS_SRID, _HAS_Z, _HAS_M = 1 << 29, 1 << 31, 1 << 30
_POINT, _LINE, _POLYGON, _CIRCULAR_STRING, _TRIANGLE = 1, 2, 3, 8, 17


def nests_deeply(series: pl.Series) -> NDArray[np.bool_]:
    """Mask (n,) of the geometries (n,) of any WKB, EWKB too, with more than 16 collections in one another.

    What is no WKB is not deep.
    """
    array = series.cast(pl.Binary).to_arrow()
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.empty(0, dtype=np.uint8)
    return _deep(content, bounds)


@njit(cache=True, nogil=True)
def _deep(data: Bytes, bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    deep = np.zeros(bounds.size - 1, dtype=np.bool_)
    for at in range(deep.size):
        deep[at] = _is_deep(data, bounds[at], bounds[at + 1])
    return deep


@njit(cache=True, nogil=True)
def _is_deep(data: Bytes, start: int, end: int) -> bool:
    """Whether the geometry between two bytes nests too deep. Follows what GEOS reads, also of broken WKB."""
    left = np.zeros(_DEEPEST, dtype=np.int64)  # members still to come of each open collection
    depth, at, little = 0, start, True
    while at + _HEAD_BYTES + _COUNT_BYTES <= end:
        if data[at] <= 1:
            little = data[at] == 1
        code = _number(data, at + 1, little)
        at += _HEAD_BYTES + _COUNT_BYTES * (code & _HAS_SRID > 0)
        kind = (code & 0xFFFF) % 1000
        if kind in (_POINT, _LINE, _POLYGON, _CIRCULAR_STRING, _TRIANGLE):
            at = _past(data, at, end, (kind, _ordinates(code), little))
        elif depth == _DEEPEST:
            return True
        elif at + _COUNT_BYTES <= end:
            left[depth] = _number(data, at, little)
            depth += 1
            at += _COUNT_BYTES
        while depth > 0 and left[depth - 1] == 0:
            depth -= 1
        if depth == 0:
            return False
        left[depth - 1] -= 1
    return False


@njit(cache=True, nogil=True)
def _past(data: Bytes, start: int, end: int, form: tuple[int, int, bool]) -> int:
    """The byte after a point, line or polygon whose head ends at `start`; at least `end` when it is cut off."""
    kind, ordinates, little = form
    size = ordinates * _ORDINATE_BYTES
    if kind == _POINT:
        return start + size
    if start + _COUNT_BYTES > end:
        return end
    count, at = _number(data, start, little), start + _COUNT_BYTES
    if kind in (_LINE, _CIRCULAR_STRING):
        return at + count * size
    for _ in range(count):
        if at + _COUNT_BYTES > end:
            return end
        at += _COUNT_BYTES + _number(data, at, little) * size
    return at


@njit(cache=True, nogil=True)
def _ordinates(code: int) -> int:
    iso = (code & 0xFFFF) // 1000
    return 2 + (code & _HAS_Z > 0 or iso in (1, 3)) + (code & _HAS_M > 0 or iso in (2, 3))


@njit(cache=True, nogil=True)
def _number(data: Bytes, at: int, little: bool) -> int:  # noqa: FBT001
    """The unsigned 32-bit number at a byte."""
    number = 0
    for step in range(_COUNT_BYTES):
        number = (number << 8) | np.int64(data[at + (3 - step if little else step)])
    return int(number)
