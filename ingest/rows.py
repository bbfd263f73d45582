"""Checked records and their places -> the rows of the dataset's table."""

import polars as pl
import shapely

from ingest.codecs.records import ROW
from ingest.pgcopy import geometry_ewkb, point_ewkb
from layers.contract import Contract
from layers.places.fix import is_none
from layers.places.resolver import Placed

__all__ = ["parts", "rows_of"]

_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


def rows_of(frame: pl.DataFrame, placed: Placed, contract: Contract, srid: int) -> pl.DataFrame:
    """The rows that `ingest.writer.write` takes: the contract's fields and the columns the twin keeps beside them.

    `frame` and `placed` are of the same n records, all of them good.
    """
    if contract.is_stream:
        own = [_joined(contract.key, contract).alias("id"), _joined(contract.subject_key, contract).alias("subject")]
        time = [pl.col("observed_at")]
    else:
        own = [_joined(contract.key, contract).alias("id")]
        time = [_moment(contract.time.start, "valid_start"), _moment(contract.time.end, "valid_end")]
    fields = [pl.col(name) for name in contract.fields if name != "observed_at" or not contract.is_stream]
    return frame.select(ROW, *own, *time, *fields, "extra").with_columns(
        _ewkb(placed, srid).alias("geom"),
        pl.Series("cell", placed.cell),
        pl.Series("place_method", placed.method, dtype=pl.String),
        pl.Series("place_accuracy_m", placed.accuracy_m, dtype=pl.Float32),
        pl.Series("place_source", placed.source, dtype=pl.String),
    )


def _joined(names: tuple[str, ...], contract: Contract) -> pl.Expr:
    """The values of a key as one text."""
    return pl.concat_str(parts(names, contract), separator=":")


def parts(names: tuple[str, ...], contract: Contract) -> list[pl.Expr]:
    """The values of a key as texts; moments in UTC so that the same moment has one id."""
    return [
        pl.col(name).dt.strftime(_INSTANT) if contract.fields[name].type == "datetime" else pl.col(name).cast(pl.String)
        for name in names
    ]


def _moment(name: str | None, alias: str) -> pl.Expr:
    """The field that carries one end of the valid time; a date counts from its first moment in UTC."""
    if name is None:
        return pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(alias)
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(alias)


def _ewkb(placed: Placed, srid: int) -> pl.Series:
    """EWKB of each place; the shapes where there are any, else the points."""
    shaped = ~is_none(placed.shapes)
    if not shaped.any():
        return point_ewkb(placed.lon, placed.lat, srid)
    shapes = placed.shapes.copy()
    shapes[~shaped] = shapely.points(placed.lon[~shaped], placed.lat[~shaped])
    return geometry_ewkb(shapes, srid)
