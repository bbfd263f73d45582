"""One file for what a person calls one file: a shapefile's parts become an archive, which the inbox holds whole."""

import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PARTS", "bundled"]

PARTS = {".shp", ".shx", ".dbf", ".prj", ".cpg"}
"""Endings of the files that a shapefile is made of."""


@contextmanager
def bundled(path: Path) -> Generator[Path]:
    """`path` itself, or for a `.shp` an archive of it and its sister files, made anew with fixed times.

    The same parts give the same bytes, so that loading a shapefile twice stores it once.
    """
    if path.suffix.lower() != ".shp" or not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="citytwin-") as folder:
        target = Path(folder) / f"{path.stem}.shp.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in sorted(path.parent.glob(f"{path.stem}.*")):
                if part.suffix.lower() in PARTS:
                    archive.writestr(zipfile.ZipInfo(part.name), part.read_bytes())
        yield target
