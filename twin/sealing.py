"""Files that only whoever has the key can read: destroying the key destroys them.

AES-256-GCM over pieces of a megabyte. Each piece has its number and whether it is the last in its nonce and among what
is authenticated, so pieces cannot be altered, left out or moved. The nonce's first part is made of key and content:
the same file under the same key is the same sealed file, and no nonce is used twice for different ones.
"""

import hashlib
import hmac
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twin.errors import SourceError

__all__ = ["seal", "sealed_bytes", "unseal", "unsealed_bytes"]

_PIECE_BYTES = 1 << 20
_TAG_BYTES = 16
_START_BYTES = 8
_MAGIC = b"citytwin-sealed-1\n"


def seal(source: Path, target: Path, key: bytes) -> None:
    """Write what `source` holds to `target`, sealed with `key` (32 bytes)."""
    with source.open("rb") as file, target.open("wb") as sealed:
        _seal(file, sealed, key)


def unseal(source: Path, target: Path, key: bytes) -> None:
    """Write what `source` was made of to `target`. Raises SourceError when it is not whole, or of another key."""
    with source.open("rb") as file, target.open("wb") as plain:
        _unseal(file, plain, key, source.name)


def sealed_bytes(plain: bytes, key: bytes) -> bytes:
    """Bytes, sealed with `key` (32 bytes)."""
    target = io.BytesIO()
    _seal(io.BytesIO(plain), target, key)
    return target.getvalue()


def unsealed_bytes(sealed: bytes, key: bytes, where: str) -> bytes:
    """What was sealed. Raises SourceError, which names `where`, when it is not whole, or of another key."""
    target = io.BytesIO()
    _unseal(io.BytesIO(sealed), target, key, where)
    return target.getvalue()


def _seal(source: BinaryIO, target: BinaryIO, key: bytes) -> None:
    digest = hashlib.file_digest(source, "sha256").digest()  # type: ignore[arg-type]  (BytesIO is one of its kinds)
    start = hmac.new(key, digest, hashlib.sha256).digest()[:_START_BYTES]
    source.seek(0)
    cipher = AESGCM(key)
    target.write(_MAGIC + start)
    pieces = _pieces(source.read, start, _PIECE_BYTES)
    target.writelines(cipher.encrypt(nonce, piece, said) for nonce, said, piece in pieces)


def _unseal(source: BinaryIO, target: BinaryIO, key: bytes, where: str) -> None:
    cipher = AESGCM(key)
    start = source.read(len(_MAGIC) + _START_BYTES).removeprefix(_MAGIC)
    pieces = _pieces(source.read, start[:_START_BYTES], _PIECE_BYTES + _TAG_BYTES)
    try:
        target.writelines(cipher.decrypt(nonce, piece, said) for nonce, said, piece in pieces)
    except (InvalidTag, ValueError) as error:
        raise SourceError(
            "its sealed bytes are not those that were kept.", where=where, remedy="Restore the inbox."
        ) from error


def _pieces(read: Callable[[int], bytes], start: bytes, size: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Nonce, what is authenticated beside, and content of each piece; the last one may be empty."""
    number, piece = 0, read(size)
    while True:
        following = read(size)
        said = b"last" if not following else b"more"
        yield start + number.to_bytes(4, "big"), said, piece
        if not following:
            return
        number, piece = number + 1, following
