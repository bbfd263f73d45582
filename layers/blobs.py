"""Raw bytes on disk: each file once, under its SHA-256, written so that a crash leaves either all of it or nothing."""

import hashlib
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from twin.errors import SourceError
from twin.keys import known_key, sealed_key
from twin.sealing import seal, unseal

__all__ = ["Kept", "keep", "opened"]

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that are kept: in `raw`, or in the file `blob` below `<home>/inbox`. `sha256` is the 32 bytes of it."""

    sha256: bytes
    size: int
    raw: bytes | None
    blob: str | None


def keep(home: Path, path: Path, *, in_memory_bytes: int, key: str | None = None) -> Kept:
    """Copy a file below `<home>/inbox`, on disk when this returns; one of at most `in_memory_bytes` is only read.

    With the name of a key, what is kept is sealed with it. Raises SourceError when the file cannot be read.
    """
    if key is not None:
        with tempfile.TemporaryDirectory(dir=_folder(home / "inbox"), prefix=".seal-") as temporary:
            target = Path(temporary) / "sealed"
            with _readable(path):
                seal(path, target, sealed_key(home, key))
            return keep(home, target, in_memory_bytes=in_memory_bytes)
    with _readable(path), path.open("rb") as source:
        start = source.read(in_memory_bytes + 1)
        if len(start) <= in_memory_bytes:
            return Kept(hashlib.sha256(start).digest(), len(start), start, None)
        source.seek(0)
        return _copied(source, _folder(home / "inbox"))


@contextmanager
def _readable(path: Path) -> Generator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise SourceError(f"the file cannot be read: {error.strerror}.", where=str(path)) from error


@contextmanager
def opened(home: Path, name: str, kept: Kept, *, key: str | None = None) -> Generator[Path]:
    """The kept bytes as a file called `name`, by which its format is known, while the block runs.

    Raises SourceError when they are gone or not those that were kept, and when they are sealed with a key that has been
    destroyed.
    """
    folder = _folder(home / "inbox")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".open-") as temporary:
        path = Path(temporary) / Path(name).name
        if kept.raw is not None:
            path.write_bytes(kept.raw)
        else:
            blob = folder / str(kept.blob)
            if not blob.is_file():
                raise SourceError("its bytes are gone.", where=str(blob), remedy="Restore the inbox from a backup.")
            path.hardlink_to(blob)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").digest() != kept.sha256:
                raise SourceError(
                    "its bytes are not those that arrived.", where=name, remedy="Restore the inbox from a backup."
                )
        if key is None:
            yield path
            return
        known = known_key(home, key)
        if known is None:
            raise SourceError(
                f"its key ({key}) was destroyed, as the time for which it may be kept is over.",
                where=name,
                remedy="Ask its department for the file.",
            )
        plain = Path(temporary) / "plain" / path.name
        plain.parent.mkdir()
        unseal(path, plain, known)
        yield plain


def _copied(source: BinaryIO, folder: Path) -> Kept:
    """Copy what `source` holds into `folder`, under the name that its digest gives."""
    sha256, size = hashlib.sha256(), 0
    descriptor, draft = tempfile.mkstemp(dir=folder, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "wb") as copy:
            while chunk := source.read(_CHUNK_BYTES):
                sha256.update(chunk)
                size += copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        digest = sha256.hexdigest()
        target = _folder(folder / digest[:2]) / digest
        Path(draft).replace(target)
        _sync(target.parent)
    finally:
        Path(draft).unlink(missing_ok=True)
    return Kept(sha256.digest(), size, None, f"{digest[:2]}/{digest}")


def _folder(path: Path) -> Path:
    """The folder, made where it is missing; its entry is on disk when this returns."""
    if not path.is_dir():
        _folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)
    return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
