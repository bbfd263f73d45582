"""Work on large arrays in chunks, on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["in_chunks"]

CHUNK = 32_768
"""Items per chunk: a few float64 arrays of this size stay in a core's second-level cache."""


def in_chunks(work: Callable[[slice], object], size: int, chunk: int = CHUNK) -> None:
    """Call `work` with slices of `chunk` that cover `range(size)` once, on as many threads as there are cores.

    `work` writes its results into arrays made by the caller. It gains from threads only while it releases the
    interpreter's lock (numba kernels with `nogil`, h3ronpy, numpy). The first error it raises is raised here.
    """
    slices = [slice(start, min(start + chunk, size)) for start in range(0, size, chunk)]
    cores = len(os.sched_getaffinity(0))
    if len(slices) < 2 or cores < 2:
        for part in slices:
            work(part)
        return
    # Made per call: a pool kept between calls would not survive a fork, and making one costs 0.1 ms.
    with ThreadPoolExecutor(min(cores, len(slices))) as pool:
        for _ in pool.map(work, slices):
            pass
