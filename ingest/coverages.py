"""Coverages: what the pixels of a raster add up to in each cell of the coverage's indicators."""

from pathlib import Path

import polars as pl
import sqlalchemy as sa

from ingest.codecs.geotiff import cell_values, read_coverage
from layers.contract import Contract
from layers.indicators import write_parts
from twin.city import City

__all__ = ["store_coverage"]


def store_coverage(
    connection: sa.Connection, contract: Contract, raw: Path, city: City, band: str | None = None
) -> None:
    """Write the parts of every indicator of a coverage from the pixels of one file, in the connection's transaction.

    The file answers for the cells its pixels lie in: what another file said of them is replaced. Raises as
    `ingest.codecs.geotiff.cell_values` does.
    """
    coverage = read_coverage(raw, band)
    for indicator in contract.indicators:
        values = cell_values(coverage, indicator.resolution, city)
        frame = pl.DataFrame(values._asdict()).rename({"cells": "cell"})
        write_parts(connection, indicator, frame)
