"""GeoParquet (OGC 1.1) and plain Parquet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError
from pyarrow import parquet

from ingest.codecs.arrow import framed
from ingest.codecs.records import GEOMETRY, ReadOptions, Records, numbered
from ingest.codecs.shapes import crs_word, shaped
from layers.contract import Contract
from twin.errors import SourceError
from twin.settings import settings

__all__ = ["read"]


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:  # noqa: ARG001
    """Read a Parquet file with its own types. The primary geometry column becomes GEOMETRY.

    Raises SourceError when the file is broken, its geometry is not WKB, or it unpacks to more than is allowed.
    """
    try:
        with parquet.ParquetFile(path) as source:
            meta, schema = source.metadata, source.schema_arrow
            groups = (meta.row_group(index).total_byte_size for index in range(meta.num_row_groups))
            # A run of equal values packs to nothing, so a value counts a byte at least.
            _require_modest(max(sum(groups), meta.num_rows * meta.num_columns))
            column, crs = _geometry((meta.metadata or {}).get(b"geo"), schema.names)
            first = 1
            for batch in source.iter_batches(options.batch_rows):
                yield _records(numbered(framed(batch.columns, schema.names), first), column, crs)
                first += batch.num_rows
            if first == 1:
                empty = pa.RecordBatch.from_pylist([], schema=schema)
                yield _records(numbered(framed(empty.columns, schema.names), 1), column, crs)
    except (pa.ArrowException, OSError, ValueError, PolarsError) as error:
        raise SourceError(f"the Parquet file is broken: {error}.", remedy="Export it again.") from error


def _require_modest(size: int) -> None:
    limit = settings().max_upload_mb
    if size > limit * 1_000_000:
        raise SourceError(f"the file unpacks to more than {limit} MB.", remedy="Split it, or raise TWIN_MAX_UPLOAD_MB.")


def _geometry(text: bytes | None, names: list[str]) -> tuple[str | None, str | None]:
    """The primary geometry column and its coordinate system, from the `geo` metadata."""
    if text is None:
        return None, None
    try:
        geo: dict[str, Any] = json.loads(text)
        name: str = geo["primary_column"]
        column: dict[str, Any] = geo["columns"][name]
        encoding: str = column["encoding"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"its `geo` metadata is not that of GeoParquet: {error!r}.") from error
    if encoding != "WKB" or name not in names:
        raise SourceError(
            f"its geometry column {name!r} is in the encoding {encoding!r}.", remedy="Write the geometry as WKB."
        )
    # The standard: without a `crs` the coordinates are OGC:CRS84; with a null one nobody knows.
    return name, crs_word(column.get("crs", "OGC:CRS84"))


def _records(frame: pl.DataFrame, column: str | None, crs: str | None) -> Records:
    if column is None:
        return Records(frame, crs)
    return shaped(frame.rename({column: GEOMETRY}).cast({GEOMETRY: pl.Binary}), crs)
