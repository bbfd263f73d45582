"""Coverages: what the pixels of a raster add up to in each cell of the coverage's indicators."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import sqlalchemy as sa

from ingest.codecs.geotiff import cell_values, read_coverage
from ingest.reading import unpacked
from layers.contract import Contract
from layers.indicators import write_parts
from twin.city import City

__all__ = ["store_coverage"]


def store_coverage(
    connection: sa.Connection, contract: Contract, raw: Path, city: City, band: str | None = None
) -> None:
    """Write the parts of every indicator of a coverage from the pixels of one file, in the connection's transaction.

    The file answers for the cells its pixels lie in: what another file said of them is replaced. `band` is its number
    from 1, needed when there are several. Raises as `ingest.codecs.geotiff.read_coverage` and `cell_values` do.
    """
    with TemporaryDirectory(prefix="citytwin-") as folder:
        coverage = read_coverage(unpacked(raw.resolve(), Path(folder)), band)
        for indicator in contract.indicators:
            values = cell_values(coverage, indicator.resolution, city)
            write_parts(connection, indicator, pl.DataFrame(values._asdict()).rename({"cells": "cell"}))
