"""A file -> its records. What a file holds decides how it is read; its name is checked against that, never believed."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from ingest.codecs.records import ReadOptions, Records
from ingest.formats import held_format
from ingest.unpacking import ARCHIVE_MAGIC, GZIP_MAGIC, gunzip
from layers.contract import Contract
from twin.errors import SourceError
from twin.settings import settings

__all__ = ["open_records", "unpacked"]

_REMOTE = re.compile(r"^(/vsi|[a-zA-Z][a-zA-Z0-9+.-]+:/)")
_MAGIC_BYTES = 8


def open_records(path: Path, contract: Contract, options: ReadOptions | None = None) -> Iterator[Records]:
    """The records of a file in batches, at least one.

    `options.name` is the file's name where its path does not tell it (a copy that is called by its hash).
    Raises SourceError at once when there is no such local file, it is empty or too large; and, while it is read, when
    its format is unknown or not what its name says, or the file is broken.
    """
    local = _local(path)
    options = options or ReadOptions()
    return _records(local, contract, replace(options, name=options.name or path.name))


def unpacked(path: Path, folder: Path) -> Path:
    """`path` itself, or, when it is gzip, what is in it, as a file in `folder`.

    Raises SourceError when the gzip file is broken, empty, a bomb or an archive of archives.
    """
    if not _magic(path).startswith(GZIP_MAGIC):
        return path
    plain = folder / "unpacked"
    gunzip(path, plain)
    head = _magic(plain)
    if not head:
        raise SourceError("the gzip file is empty.", remedy="Export it again.")
    if head.startswith((GZIP_MAGIC, *ARCHIVE_MAGIC)):
        raise SourceError("the gzip file holds another archive.", remedy="Load that one itself.")
    return plain


def _records(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:
    name = options.name or ""
    try:
        with TemporaryDirectory(prefix="citytwin-") as folder:
            plain = unpacked(path, Path(folder))
            shown = name.lower() if plain == path else name.lower().removesuffix(".gz")
            found = held_format(plain, PurePosixPath(shown).suffix)
            yield from found.codec(found.stage(plain, Path(folder), options), contract, options)
    except SourceError as error:
        if error.where:
            raise
        raise SourceError(error.what, where=name, remedy=error.remedy) from error


def _local(path: Path) -> Path:
    """The absolute path of a local file that is neither empty nor too large. Raises SourceError."""
    where = str(path)
    if _REMOTE.match(where):
        raise SourceError("only local files are opened.", where=where, remedy="Download the file, then load it.")
    try:
        local = path.resolve(strict=True)
        kind = "a folder" if local.is_dir() else None if local.is_file() else "no regular file"
        if kind is not None:
            raise SourceError(f"this is {kind}.", where=where, remedy="Name a file.")
        with local.open("rb"):
            size = local.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"the file cannot be opened: {reason}.", where=where, remedy="Check its path.") from error
    limit = settings().max_upload_mb
    if size == 0:
        raise SourceError("the file is empty.", where=where, remedy="Export it again.")
    if size > limit * 1_000_000:
        remedy = "Split it, or raise TWIN_MAX_UPLOAD_MB."
        raise SourceError(f"the file is larger than {limit} MB.", where=where, remedy=remedy)
    return local


def _magic(path: Path) -> bytes:
    with path.open("rb") as source:
        return source.read(_MAGIC_BYTES)
