"""What every codec returns: records as their source states them, and what of the source could not be read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from layers.contract import Contract
from layers.places.fix import GEOMETRY

__all__ = ["GEOMETRY", "ROW", "Codec", "ReadOptions", "Records", "Unreadable", "numbered", "unreadable"]

ROW = "__row"
"""Column of the number of a record in its source, counted from 1."""

_LONGEST_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is in the source but cannot be read: its number, its text (shortened) and why."""

    row: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of records.

    `frame` has the columns of the source, as it names them, plus ROW and, where the format carries geometry, GEOMETRY.
    Text formats give texts: nothing is guessed. `crs` is what the source says: `EPSG:<code>`, the WKT of a
    coordinate system without such a code, or None when it says nothing.
    """

    frame: pl.DataFrame
    crs: str | None
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a person may say about a file.

    `sheet` chooses a sheet of a workbook; `layer` a layer of a GeoPackage, a shapefile of an archive or a band of a
    raster; `name` is the file's name where its path does not tell it.
    """

    encoding: str | None = None
    sheet: str | None = None
    layer: str | None = None
    batch_rows: int = 500_000
    name: str | None = None


Codec = Callable[[Path, Contract, ReadOptions], Iterator[Records]]
"""Reads a file. Raises SourceError when the file as a whole cannot be read."""


def numbered(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """`frame` with the column ROW, counted from `first`."""
    return frame.with_columns(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias(ROW))


def unreadable(row: int, text: str, why: str) -> Unreadable:
    """An Unreadable with its text shortened, and a NUL, which PostgreSQL cannot store, shown by its picture."""
    short = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
    return Unreadable(row, short.replace("\0", "␀"), why.replace("\0", "␀"))
