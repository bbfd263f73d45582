"""GTFS Schedule (gtfs.org/documentation/schedule): stops, or routes with their course, from the tables of a feed.

Geometry is in WGS 84, as the standard says. A route's course is the longest shape of its trips, or, in a feed without
shapes, the stops of its trip with most of them.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import shapely

from ingest.codecs.csv import read_table
from ingest.codecs.records import GEOMETRY, ROW, ReadOptions, Records, Unreadable
from ingest.codecs.shapes import wkb
from layers.contract import Contract
from twin.errors import SourceError

__all__ = ["TABLES", "read"]

TABLES = ("stops.txt", "routes.txt", "trips.txt", "shapes.txt", "stop_times.txt")
"""The tables of a feed that are read."""

_CRS = "EPSG:4326"
_BATCH_ROWS = 1_000_000
_LON, _LAT = "__lon", "__lat"


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:
    """Read the table that the contract's `gtfs` names, from the feed unpacked in the folder `path`.

    The columns are fields of the contract. Raises SourceError when the contract takes nothing from GTFS, or a table or
    one of its columns that is needed is missing.
    """
    if contract.gtfs is None:
        raise SourceError(
            f"{contract.id} takes nothing from GTFS.", remedy="Add a table [gtfs] to its contract, or choose another."
        )
    feed = _Feed(path, replace(options, batch_rows=_BATCH_ROWS))
    if contract.gtfs.table == "stops":
        frame, bad = feed.stops()
    else:
        frame, bad = feed.routes()
    mapped = [pl.col(theirs).alias(ours) for ours, theirs in contract.gtfs.map.items() if theirs in frame.columns]
    frame = frame.select(*mapped, ROW, GEOMETRY)
    for start in range(0, max(frame.height, 1), options.batch_rows):
        yield Records(frame.slice(start, options.batch_rows), _CRS, bad if start == 0 else ())


class _Feed:
    """The tables of a feed."""

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        self._folder = folder
        self._options = options

    def stops(self) -> tuple[pl.DataFrame, tuple[Unreadable, ...]]:
        """All columns of the stops, with their places."""
        table, bad = self._table("stops.txt", ("stop_id", "stop_lat", "stop_lon"))
        lon, lat = (_numbers(table, name) for name in ("stop_lon", "stop_lat"))
        known = np.isfinite(lon) & np.isfinite(lat)
        points = np.full(table.height, None, dtype=object)
        points[known] = shapely.points(lon[known], lat[known])
        return table.with_columns(wkb(points).alias(GEOMETRY)), bad

    def routes(self) -> tuple[pl.DataFrame, tuple[Unreadable, ...]]:
        """All columns of the routes, with their courses; null for a route without trips."""
        table, bad = self._table("routes.txt", ("route_id",))
        courses = self._shapes() if self._has_shapes() else self._stop_sequences()
        return table.join(courses, on="route_id", how="left", maintain_order="left"), bad

    def _has_shapes(self) -> bool:
        return (self._folder / "shapes.txt").exists() and "shape_id" in self._trips().columns

    def _trips(self) -> pl.DataFrame:
        return self._whole("trips.txt", ("route_id", "trip_id"))

    def _shapes(self) -> pl.DataFrame:
        """The longest shape of each route: columns route_id, GEOMETRY."""
        needed = ("shape_id", "shape_pt_lon", "shape_pt_lat", "shape_pt_sequence")
        points = self._whole("shapes.txt", needed).rename({"shape_pt_lon": _LON, "shape_pt_lat": _LAT})
        lines = _lines(points, "shape_id", "shape_pt_sequence")
        pairs = self._trips().select("route_id", "shape_id").unique()
        return _longest(pairs.join(lines, on="shape_id"), "shape_id")

    def _stop_sequences(self) -> pl.DataFrame:
        """The course along the stops of the trip with most of them, for each route: columns route_id, GEOMETRY."""
        times = self._whole("stop_times.txt", ("trip_id", "stop_id", "stop_sequence"))
        counts = times.group_by("trip_id").len()
        chosen = (
            self._trips()
            .join(counts, on="trip_id")
            .sort("len", "trip_id", descending=[True, False])
            .unique("route_id", keep="first", maintain_order=True)
            .select("route_id", "trip_id")
        )
        stops = self._whole("stops.txt", ("stop_id", "stop_lat", "stop_lon"))
        places = stops.select("stop_id", pl.col("stop_lon").alias(_LON), pl.col("stop_lat").alias(_LAT))
        points = times.join(chosen, on="trip_id").join(places, on="stop_id")
        return _longest(chosen.join(_lines(points, "trip_id", "stop_sequence"), on="trip_id"), "trip_id")

    def _whole(self, name: str, needed: tuple[str, ...]) -> pl.DataFrame:
        """A table that the records are made with: it may have no unreadable line, since nobody would see the loss."""
        table, bad = self._table(name, needed)
        if bad:
            raise SourceError(f"record {bad[0].row} of {name} cannot be read: {bad[0].why}.", remedy="Mend the feed.")
        return table

    def _table(self, name: str, needed: tuple[str, ...]) -> tuple[pl.DataFrame, tuple[Unreadable, ...]]:
        path = self._folder / name
        if not path.exists():
            raise SourceError(f"the feed has no {name}.", remedy="Ask its publisher for a complete GTFS feed.")
        parts = list(read_table(path, self._options))
        table = pl.concat([part.frame for part in parts]).with_columns(pl.exclude(ROW).str.strip_chars())
        missing = [column for column in needed if column not in table.columns]
        if missing:
            raise SourceError(f"{name} has no column {', '.join(missing)}.", remedy="Ask for a complete GTFS feed.")
        return table, tuple(bad for part in parts for bad in part.unreadable)


def _numbers(table: pl.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A column as float64, NaN for what is no number."""
    return table[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def _lines(points: pl.DataFrame, group: str, order: str) -> pl.DataFrame:
    """One line through the places of each group that has two: columns `group`, GEOMETRY, length (relative)."""
    numbers = points.with_columns(pl.col(_LON, _LAT, order).cast(pl.Float64, strict=False))
    placed = numbers.filter(pl.col(_LON).is_finite(), pl.col(_LAT).is_finite(), pl.col(order).is_not_null())
    placed = placed.filter(pl.len().over(group) > 1).sort(group, order)
    if placed.is_empty():
        return pl.DataFrame(schema={group: pl.String, GEOMETRY: pl.Binary, "length": pl.Float64})
    places = placed.select(_LON, _LAT).to_numpy()
    index = placed[group].rle_id().to_numpy()
    true_to_scale = places * [np.cos(np.radians(places[:, 1].mean())), 1]
    return pl.DataFrame(
        {
            group: placed[group].unique(maintain_order=True),
            GEOMETRY: wkb(shapely.linestrings(places, indices=index)),
            "length": shapely.length(shapely.linestrings(true_to_scale, indices=index)),
        }
    )


def _longest(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """The longest line of each route, of equals the first by `name`: columns route_id, GEOMETRY."""
    ordered = lines.sort("length", name, descending=[True, False])
    return ordered.unique("route_id", keep="first", maintain_order=True).select("route_id", GEOMETRY)
