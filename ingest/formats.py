"""The formats of files that are read, how each is recognised by its content, and what its codec is given to open.

GDAL opens much more than files, so it is given names of our own in a folder of our own, never a name from outside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from ingest.codecs import csv, geojson, geoparquet, geotiff, gtfs, osm, vector, xlsx
from ingest.codecs.records import Codec, ReadOptions
from ingest.unpacking import ARCHIVE_MAGIC, Archive
from twin.errors import SourceError

__all__ = ["FORMATS", "Format", "held_format"]

Stage = Callable[[Path, Path, ReadOptions], Path]
"""From a file and a folder of our own to what the codec opens."""

_MAGIC = (
    (b"PAR1", "parquet"),
    (b"fgb", "flatgeobuf"),
    (b"\0\0\x27\x0a", "shapefile"),
    *((magic, "geotiff") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)
_REFUSED = (
    (b"\xd0\xcf\x11\xe0", "an old or encrypted Office file", "Save it as .xlsx without a password."),
    (b"%PDF", "a PDF", "Ask for the table or layer behind it."),
    (b"\x89PNG", "a PNG image", "Ask for the raster as GeoTIFF."),
    (b"\xff\xd8\xff", "a JPEG image", "Ask for the raster as GeoTIFF."),
    (b"\x89HDF", "an HDF5 or NetCDF file", "Convert it to GeoTIFF."),
    *(
        (magic, "an archive", "Pack it as .zip.")
        for magic in (b"Rar!", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")
    ),
)
_HEAD_BYTES = 8192
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GEOPACKAGE_IDS = {b"GPKG", b"GP10", b"GP11"}
_SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what a person calls it, its codec, its stage, and the suffixes of its files, the usual one first."""

    title: str
    codec: Codec
    stage: Stage
    suffixes: tuple[str, ...]


def held_format(path: Path, suffix: str) -> Format:
    """The format that a file holds, by its content. `suffix` (`.csv`) is that of the name it came with.

    Raises SourceError when it is not one of FORMATS, or not what its name says: then somebody mistook it for another.
    """
    found = FORMATS[_held(path, suffix)]
    named_otherwise = any(suffix in other.suffixes for other in FORMATS.values()) and suffix not in found.suffixes
    if named_otherwise:
        raise SourceError(
            f"the file is called {suffix} but holds {found.title}.",
            remedy=f"Check that it is the right file; if it is, rename it to {found.suffixes[0]}.",
        )
    return found


def _held(path: Path, suffix: str) -> str:
    with path.open("rb") as source:
        head = source.read(_HEAD_BYTES)
    if head.startswith(ARCHIVE_MAGIC):
        return _held_in_archive(Archive(path))
    if head.startswith(b"SQLite format 3\0") and (head[68:72] in _GEOPACKAGE_IDS or suffix == ".gpkg"):
        return "geopackage"
    if b"OSMHeader" in head[:32]:
        return "osm"
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    for magic, title, remedy in _REFUSED:
        if head.startswith(magic):
            raise SourceError(f"the file holds {title}, which is not read.", remedy=remedy)
    return _held_as_text(head)


def _held_as_text(head: bytes) -> str:
    wide = head.startswith(_WIDE_MARKS)
    if not wide and b"\0" in head.split(b"\n")[0]:
        known = ", ".join(dict.fromkeys(one.title for one in FORMATS.values()))
        raise SourceError("the file's format is not known.", remedy=f"Readable are {known}.")
    text = head.decode("utf-16" if wide else "latin-1", "replace").removeprefix("\xef\xbb\xbf").lstrip()
    if text.startswith("<"):
        raise SourceError("the file holds XML, which is not read.", remedy="Convert it to GeoPackage or .osm.pbf.")
    return "geojson" if text.startswith(("{", "[")) else "csv"


def _held_in_archive(archive: Archive) -> str:
    names = archive.names
    if PurePosixPath("[Content_Types].xml") in names and any(name.parts[:1] == ("xl",) for name in names):
        return "xlsx"
    if any(name.suffix.lower() == ".shp" for name in names):
        return "shapefile_zip"
    if any(name.name in gtfs.TABLES for name in names):
        return "gtfs"
    raise SourceError(
        f"the archive holds no shapefile and no GTFS feed, but: {', '.join(map(str, names[:10])) or 'nothing'}.",
        remedy="Load the files in it one by one.",
    )


def _linked(suffix: str, path: Path, folder: Path, _options: ReadOptions) -> Path:
    """The file under a name of ours."""
    link = folder / f"source{suffix}"
    link.symlink_to(path)
    return link


def _linked_parts(path: Path, folder: Path, _options: ReadOptions) -> Path:
    """A shapefile and what belongs to it, whatever the case of the suffixes."""
    parts = {part.suffix.lower(): part for part in path.parent.iterdir() if part.stem == path.stem} | {".shp": path}
    for suffix in _SHAPEFILE_PARTS:
        if suffix in parts:
            (folder / f"source{suffix}").symlink_to(parts[suffix].resolve())
    return folder / "source.shp"


def _unpacked_shapefile(path: Path, folder: Path, options: ReadOptions) -> Path:
    """The shapefile of an archive; of several the one that `options.layer` names."""
    archive = Archive(path)
    stems = sorted(str(name.with_suffix("")) for name in archive.names if name.suffix.lower() == ".shp")
    wanted = [stem for stem in stems if options.layer in {None, stem, PurePosixPath(stem).name}]
    if len(wanted) != 1:
        what = "holds several shapefiles" if options.layer is None else f"holds no single shapefile {options.layer!r}"
        raise SourceError(f"the archive {what}: {', '.join(stems)}.", remedy="Choose one with --layer.")
    for name in archive.names:
        if str(name.with_suffix("")) == wanted[0] and name.suffix.lower() in _SHAPEFILE_PARTS:
            archive.unpack(name, folder / f"source{name.suffix.lower()}")
    return folder / "source.shp"


def _unpacked_feed(path: Path, folder: Path, _options: ReadOptions) -> Path:
    """The tables of a feed, which may stand in one folder of the archive."""
    archive = Archive(path)
    tables = [name for name in archive.names if name.name in gtfs.TABLES]
    if len({name.parent for name in tables}) > 1:
        raise SourceError("the archive holds several GTFS feeds.", remedy="Pack each feed by itself.")
    for name in tables:
        archive.unpack(name, folder / name.name)
    return folder


FORMATS = {
    "csv": Format("CSV", csv.read, partial(_linked, ".csv"), (".csv", ".txt", ".tsv")),
    "xlsx": Format("an Excel workbook", xlsx.read, partial(_linked, ".xlsx"), (".xlsx", ".xlsm")),
    "geojson": Format("GeoJSON", geojson.read, partial(_linked, ".geojson"), (".geojson", ".json")),
    "shapefile": Format("a shapefile", vector.read_shapefile, _linked_parts, (".shp",)),
    "shapefile_zip": Format("a shapefile", vector.read_shapefile, _unpacked_shapefile, (".zip", ".shz")),
    "geopackage": Format("a GeoPackage", vector.read, partial(_linked, ".gpkg"), (".gpkg",)),
    "flatgeobuf": Format("FlatGeobuf", vector.read, partial(_linked, ".fgb"), (".fgb",)),
    "parquet": Format("Parquet", geoparquet.read, partial(_linked, ".parquet"), (".parquet", ".geoparquet", ".pq")),
    "osm": Format("an OpenStreetMap extract", osm.read, partial(_linked, ".pbf"), (".pbf",)),
    "gtfs": Format("a GTFS feed", gtfs.read, _unpacked_feed, (".zip",)),
    "geotiff": Format("a GeoTIFF", geotiff.read, partial(_linked, ".tif"), (".tif", ".tiff")),
}
"""All formats that are read."""
