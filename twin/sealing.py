"""Files that only whoever has the key can read: destroying the key destroys them.

AES-256-GCM over pieces of a megabyte. Each piece has its number and whether it is the last in its nonce and among what
is authenticated, so pieces cannot be altered, left out or moved. The nonce's first part is made of key and content:
the same file under the same key is the same sealed file, and no nonce is used twice for different ones.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twin.errors import SourceError

__all__ = ["seal", "unseal"]

_PIECE_BYTES = 1 << 20
_TAG_BYTES = 16
_START_BYTES = 8
_MAGIC = b"citytwin-sealed-1\n"


def seal(source: Path, target: Path, key: bytes) -> None:
    """Write what `source` holds to `target`, sealed with `key` (32 bytes)."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        start = hmac.new(key, digest, hashlib.sha256).digest()[:_START_BYTES]
        file.seek(0)
        cipher = AESGCM(key)
        with target.open("wb") as sealed:
            sealed.write(_MAGIC + start)
            for nonce, said, piece in _pieces(file.read, start, _PIECE_BYTES):
                sealed.write(cipher.encrypt(nonce, piece, said))


def unseal(source: Path, target: Path, key: bytes) -> None:
    """Write what `source` was made of to `target`. Raises SourceError when it is not whole, or of another key."""
    cipher = AESGCM(key)
    with source.open("rb") as file, target.open("wb") as plain:
        head = file.read(len(_MAGIC) + _START_BYTES)
        start = head.removeprefix(_MAGIC)
        try:
            for nonce, said, piece in _pieces(file.read, start[:_START_BYTES], _PIECE_BYTES + _TAG_BYTES):
                plain.write(cipher.decrypt(nonce, piece, said))
        except (InvalidTag, ValueError) as error:
            raise SourceError(
                "its sealed bytes are not those that were kept.", where=source.name, remedy="Restore the inbox."
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
