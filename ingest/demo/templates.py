"""What stands on a parcel: rows of plots, and the outline, floors and dwellings of what is built on each."""

from typing import NamedTuple

import numpy as np

from ingest.demo.noise import Floats

__all__ = ["OUTLINES", "TEMPLATES", "Template"]


class Template(NamedTuple):
    """A way to build on a parcel.

    `weight`: how often it is chosen among those of its use and kind of settlement; `columns` x `rows` plots; `fill`:
    share of a plot its building takes, east-west and north-south; `outlines`: names in OUTLINES; `floors` to choose
    from; `built`: share of the plots built on; `dwelling_m2`: floor area a household, 0 where nobody lives; `years`:
    when such were built.
    """

    use: str
    weight: float
    columns: int
    rows: int
    fill: tuple[float, float]
    outlines: tuple[str, ...]
    floors: tuple[int, ...]
    built: float
    dwelling_m2: float
    years: tuple[int, int]


OUTLINES: dict[str, Floats] = {
    "box": np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]),
    "slab": np.array([[-1, -1], [-0.35, -1], [-0.35, -0.62], [0.35, -0.62], [0.35, -1], [1, -1], [1, 1], [-1, 1]]),
    "ell": np.array([[-1, -1], [1, -1], [1, -0.1], [-0.2, -0.1], [-0.2, 1], [-1, 1]]),
    "court": np.array([[-1, -1], [-0.45, -1], [-0.45, 0.3], [0.45, 0.3], [0.45, -1], [1, -1], [1, 1], [-1, 1]]),
    "cross": np.array(
        [
            [-0.55, -1],
            [0.55, -1],
            [0.55, -0.5],
            [1, -0.5],
            [1, 0.5],
            [0.55, 0.5],
            [0.55, 1],
            [-0.55, 1],
            [-0.55, 0.5],
            [-1, 0.5],
            [-1, -0.5],
            [-0.55, -0.5],
        ]
    ),
}
"""Building outlines in a square from -1 to 1, anticlockwise."""

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "centre residential": (
        Template("residential", 5, 3, 5, (0.80, 0.40), ("slab", "box"), (5, 6, 6, 6, 7), 0.96, 98, (1986, 2006)),
        Template("residential", 3, 3, 4, (0.76, 0.38), ("slab", "box"), (9, 11, 11, 12), 0.95, 112, (2005, 2018)),
        Template(
            "residential", 3, 3, 3, (0.48, 0.44), ("cross", "slab"), (17, 18, 18, 24, 26, 32), 0.92, 118, (2010, 2024)
        ),
        Template("residential", 2, 5, 6, (0.84, 0.52), ("box", "box", "ell"), (1, 2, 2, 3), 0.9, 110, (1975, 1998)),
    ),
    "centre commercial": (
        Template("commercial", 4, 2, 2, (0.84, 0.76), ("box", "ell"), (2, 3, 4, 5), 0.95, 0, (1992, 2020)),
        Template("commercial", 2, 1, 1, (0.82, 0.74), ("box",), (4, 5, 6), 1.0, 0, (2004, 2022)),
        Template("commercial", 2, 4, 3, (0.86, 0.66), ("box",), (2, 3, 3, 4), 0.95, 0, (1988, 2015)),
        Template("commercial", 2, 2, 2, (0.56, 0.56), ("box", "cross"), (12, 16, 20, 24), 0.9, 0, (2006, 2023)),
    ),
    "centre office": (
        Template("office", 3, 2, 2, (0.80, 0.58), ("court", "box", "ell"), (4, 5, 6, 8), 0.95, 0, (1990, 2018)),
        Template("office", 1, 1, 2, (0.66, 0.46), ("court", "box"), (9, 12, 16), 1.0, 0, (2003, 2022)),
    ),
    "centre education": (
        Template("education", 1, 3, 3, (0.84, 0.34), ("box", "ell", "court"), (4, 5, 5), 0.7, 0, (1985, 2020)),
    ),
    "centre medical": (
        Template("medical", 1, 2, 3, (0.84, 0.50), ("box", "ell", "court"), (4, 6, 9, 14), 0.9, 0, (1988, 2021)),
    ),
    "centre industrial": (
        Template("industrial", 3, 2, 2, (0.90, 0.80), ("box",), (1, 1, 1, 2), 0.92, 0, (1990, 2022)),
        Template("industrial", 2, 1, 2, (0.88, 0.78), ("box", "ell"), (1, 1, 2), 0.95, 0, (1995, 2023)),
        Template("industrial", 2, 3, 3, (0.84, 0.70), ("box",), (1, 2, 3), 0.8, 0, (1985, 2018)),
    ),
    "centre construction": (
        Template("construction", 1, 2, 2, (0.50, 0.40), ("box",), (1, 4, 9), 0.5, 0, (2025, 2026)),
    ),
    "centre park": (Template("public", 1, 4, 4, (0.30, 0.26), ("box",), (1,), 0.08, 0, (1995, 2020)),),
    "town residential": (
        Template("residential", 5, 3, 4, (0.86, 0.46), ("box", "box", "ell"), (1, 2, 2, 3), 0.88, 120, (1985, 2012)),
        Template("residential", 2, 2, 4, (0.80, 0.42), ("slab", "box"), (4, 5, 6), 0.92, 112, (2002, 2022)),
    ),
    "town commercial": (Template("commercial", 1, 4, 2, (0.90, 0.60), ("box",), (2, 2, 3, 3), 0.94, 0, (1992, 2020)),),
    "town office": (Template("office", 1, 2, 2, (0.80, 0.50), ("court", "box"), (2, 3, 4), 0.85, 0, (1988, 2016)),),
    "town education": (Template("education", 1, 2, 3, (0.84, 0.34), ("box", "ell"), (3, 4), 0.8, 0, (1985, 2019)),),
    "town medical": (Template("medical", 1, 2, 2, (0.80, 0.46), ("box", "ell"), (2, 3, 4), 0.9, 0, (1990, 2020)),),
    "town industrial": (Template("industrial", 1, 1, 2, (0.88, 0.76), ("box",), (1, 1, 2), 0.95, 0, (1992, 2022)),),
    "town construction": (Template("construction", 1, 2, 1, (0.50, 0.40), ("box",), (1, 3), 0.6, 0, (2025, 2026)),),
    "village rural": (
        Template("residential", 4, 2, 3, (0.90, 0.50), ("box", "box", "slab"), (1, 1, 1, 2), 0.86, 112, (1978, 2014)),
        Template("residential", 1, 3, 2, (0.84, 0.46), ("box", "ell"), (1, 2, 2), 0.8, 118, (1998, 2022)),
    ),
}
"""Templates by kind of settlement and land use; a use without templates stays open ground."""
