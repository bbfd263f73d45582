"""Files only their owner may read: the token secret, the demo tokens, passwords."""

import contextlib
import datetime as dt
import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from twin.access import Audience, issue_token

__all__ = ["forget_keys", "known_key", "sealed_key", "secret", "write_private", "write_tokens"]

_SECRET_BYTES = 48
_DEMO = "demo"
_KEYS = "keys"
_KEY_BYTES = 32


def secret(home: Path) -> str:
    """The secret that signs the tokens of the twin in `home`: made once, then read from `home/secret`."""
    path = home / "secret"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        draft = _draft(home, secrets.token_urlsafe(_SECRET_BYTES))
        # A link fails when the file exists: of processes that start together, all sign with the first one's secret.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text(encoding="ascii")


def sealed_key(home: Path, name: str) -> bytes:
    """The key `name` of the twin in `home` (32 bytes): made once, in a file of its own that can be destroyed."""
    path = home / _KEYS / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = _draft(path.parent, secrets.token_hex(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return bytes.fromhex(path.read_text(encoding="ascii"))


def known_key(home: Path, name: str) -> bytes | None:
    """The key `name`; None when it never was or has been destroyed."""
    try:
        return bytes.fromhex((home / _KEYS / name).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def forget_keys(home: Path, prefix: str, before: dt.date) -> list[str]:
    """Destroy the keys `<prefix>-<YYYYMMDD>` of days before a day: what they hide stays hidden. Returns their names."""
    gone: list[str] = []
    for path in sorted((home / _KEYS).glob(f"{prefix}-????????")):
        if path.name.removeprefix(f"{prefix}-") < f"{before:%Y%m%d}":
            path.unlink()
            gone.append(path.name)
    return gone


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 0600; a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _draft(path.parent, text).replace(path)


def write_tokens(path: Path, audiences: Iterable[Audience], signing_secret: str, *, lifetime: dt.timedelta) -> None:
    """Write one token per audience to `path` (mode 0600) as a JSON object: audience name -> token.

    Each stands for a person of its own, `demo-<audience>`.
    """
    tokens = {
        audience.name: issue_token(audience, signing_secret, person=f"{_DEMO}-{audience.name}", lifetime=lifetime)
        for audience in audiences
    }
    write_private(path, json.dumps(tokens, indent=2) + "\n")


def _draft(folder: Path, text: str) -> Path:
    """A new file of mode 0600 in `folder` that holds `text`, safely on disk."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".draft-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)
