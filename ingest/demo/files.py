"""Tables with and without geometry -> files, as departments send them."""

import polars as pl
import pyarrow as pa
import pyogrio
import shapely
from openpyxl import Workbook
from pathlib import Path
from typing import Literal

from geopandas import GeoDataFrame, GeoSeries
from ingest.demo.plane import Geometries

__all__ = ["VECTOR", "Headings", "write_table", "write_vector"]

VECTOR = {"geojson": "GeoJSON", "shp": "ESRI Shapefile", "gpkg": "GPKG", "fgb": "FlatGeobuf", "parquet": "Parquet"}
"""Formats that carry geometry, and what GDAL calls them."""

_GEOMETRY = "geometry"
_TEXTS = {"是": True, "否": False}
_LAYER_OPTIONS = {"GeoJSON": {"COORDINATE_PRECISION": "8"}}


def write_table(path: Path, frame: pl.DataFrame, format_: str) -> None:
    """Write a table without geometry: CSV in UTF-8, an Excel workbook with one sheet, or Parquet."""
    if format_ == "parquet":
        frame.write_parquet(path)
    elif format_ == "csv":
        frame.write_csv(path)
    else:
        _write_workbook(path, frame)


def write_vector(path: Path, frame: pl.DataFrame, shapes: Geometries, format_: str, crs: str | None) -> None:
    """Write a table and its geometries (n,), none of them missing, with or without a word on their CRS.

    A shapefile's texts and headings are in GBK, which its .cpg file says; headings have up to 10 bytes there.
    """
    if format_ == "parquet":
        table = GeoDataFrame(frame.to_pandas(), geometry=GeoSeries(shapes, crs=crs))
        table.to_parquet(path)
        return
    driver = VECTOR[format_]
    columns = frame.with_columns(pl.Series(_GEOMETRY, shapely.to_wkb(shapes), dtype=pl.Binary))
    pyogrio.write_arrow(
        columns.to_arrow(compat_level=pl.CompatLevel.oldest()),
        path,
        driver=driver,
        geometry_name=_GEOMETRY,
        geometry_type=_type(shapes, format_),
        crs=crs,
        encoding="GBK" if format_ == "shp" else None,
        layer_options=_LAYER_OPTIONS.get(driver, {}),
    )


def _type(shapes: Geometries, format_: str) -> str:
    kinds = {"Point": 0, "LineString": 1, "Polygon": 2}
    dimension = int(shapely.get_dimensions(shapes).max())
    return next(name for name, number in kinds.items() if number == dimension) if format_ == "shp" else "Unknown"


def _write_workbook(path: Path, frame: pl.DataFrame) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.append(frame.columns)
    for row in frame.iter_rows():
        sheet.append(row)
    book.save(path)
