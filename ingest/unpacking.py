"""Archives from outside, unpacked with care: no bomb, no path out of the folder, no archive in the archive."""

import gzip
import shutil
import stat
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from twin.errors import SourceError
from twin.settings import settings

__all__ = ["ARCHIVE_MAGIC", "GZIP_MAGIC", "Archive", "gunzip"]

GZIP_MAGIC = b"\x1f\x8b"
ARCHIVE_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of a zip archive with and without members."""

_RATIO = 100
_HARMLESS_BYTES = 10_000_000
_MOST_MEMBERS = 10_000
_CHUNK_BYTES = 1 << 20
_ARCHIVES = {".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz", ".zst", ".kmz"}
_BROKEN = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError, IndexError)


class Archive:
    """A zip archive whose members are all safe to unpack.

    Raises SourceError when one is not (a path that leaves the folder, a link, an archive, encrypted), when the archive
    is broken, or when it unpacks to more than `max_upload_mb`, or to 100 times its size beyond 10 MB.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _archive(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir() and not _is_litter(info.filename)]
        if len(infos) > _MOST_MEMBERS:
            raise SourceError(f"the archive has {len(infos)} members, more than {_MOST_MEMBERS}.")
        _require_modest(sum(info.file_size for info in infos), path.stat().st_size)
        for info in infos:
            _require_safe(info)
        self._members = {_name(info): info for info in infos}

    @property
    def names(self) -> list[PurePosixPath]:
        """The members' paths, in order."""
        return sorted(self._members)

    def unpack(self, name: PurePosixPath, target: Path) -> None:
        """Write one member to `target`. Raises SourceError when it is broken."""
        with _archive(self._path) as archive, archive.open(self._members[name]) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK_BYTES)  # ends at the size that the archive states


def gunzip(path: Path, target: Path) -> None:
    """Unpack a gzip file. Raises SourceError when it is broken or unpacks to too much, as for Archive."""
    packed = path.stat().st_size
    try:
        with gzip.open(path) as source, target.open("wb") as copy:
            _copy_modestly(source, copy, packed)
    except _BROKEN as error:
        raise SourceError(f"the gzip file is broken: {error}.", remedy="Pack it again.") from error


def _copy_modestly(source: gzip.GzipFile, target: BinaryIO, packed: int) -> None:
    done = 0
    while part := source.read(_CHUNK_BYTES):
        done += len(part)
        _require_modest(done, packed)
        target.write(part)


@contextmanager
def _archive(path: Path) -> Generator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _BROKEN as error:
        raise SourceError(f"the archive is broken: {error}.", remedy="Pack it again.") from error


def _require_modest(unpacked: int, packed: int) -> None:
    limit = settings().max_upload_mb
    if unpacked > limit * 1_000_000:
        raise SourceError(f"the file unpacks to more than {limit} MB.", remedy="Split it, or raise TWIN_MAX_UPLOAD_MB.")
    if unpacked > _HARMLESS_BYTES and unpacked > _RATIO * packed:
        raise SourceError(
            f"the file unpacks to more than {_RATIO} times its size, as archives made to do harm do.",
            remedy="Load it unpacked.",
        )


def _require_safe(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise SourceError(f"the archive has a member called {name!r}, outside of its own folder.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise SourceError(f"the archive has a link, {name!r}.", remedy="Pack the files themselves.")
    if info.flag_bits & 1:
        raise SourceError(f"{name!r} in the archive is encrypted.", remedy="Pack it without a password.")
    if path.suffix.lower() in _ARCHIVES:
        raise SourceError(f"the archive holds another archive, {name!r}.", remedy="Load that one itself.")


def _is_litter(name: str) -> bool:
    """What a Mac leaves in archives."""
    return name.startswith("__MACOSX/") or name.endswith(".DS_Store")


def _name(info: zipfile.ZipInfo) -> PurePosixPath:
    """A member's path. Chinese systems write it in GBK without saying so; the library reads that as code page 437."""
    if not info.flag_bits & 0x800:
        try:
            return PurePosixPath(info.filename.encode("cp437").decode("gb18030"))
        except UnicodeError:
            pass
    return PurePosixPath(info.filename)
