"""Tables with and without geometry -> files, as departments send them."""

import warnings
from pathlib import Path

import polars as pl
import pyogrio
import shapely
from geopandas import GeoDataFrame, GeoSeries
from openpyxl import Workbook

from ingest.demo.plane import Geometries

__all__ = ["VECTOR", "write_table", "write_vector"]

VECTOR = {"geojson": "GeoJSON", "shp": "ESRI Shapefile", "gpkg": "GPKG", "fgb": "FlatGeobuf", "parquet": "Parquet"}
"""Formats that carry geometry, and what GDAL calls them."""

_GEOMETRY = "geometry"
_OPTIONS = {"geojson": {"COORDINATE_PRECISION": "8"}, "fgb": {"SPATIAL_INDEX": "NO"}}
"""With an index, FlatGeobuf would put the records in another order."""

_SHAPEFILE_TYPES = ("Point", "LineString", "Polygon")


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # that is how such files come
        pyogrio.write_arrow(
            columns.to_arrow(compat_level=pl.CompatLevel.oldest()),
            path,
            driver=driver,
            geometry_name=_GEOMETRY,
            geometry_type=_type(shapes, format_),
            crs=crs,
            encoding="GBK" if format_ == "shp" else None,
            layer_options=_OPTIONS.get(format_, {}),
        )


def _type(shapes: Geometries, format_: str) -> str:
    """What GDAL is told of the geometries' type: shapefiles are of one, the others take any."""
    return _SHAPEFILE_TYPES[int(shapely.get_dimensions(shapes).max())] if format_ == "shp" else "Unknown"


def _write_workbook(path: Path, frame: pl.DataFrame) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.append(frame.columns)
    for row in frame.iter_rows():
        sheet.append(row)
    book.save(path)
