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

__all__ = ["secret", "write_private", "write_tokens"]

_SECRET_BYTES = 48
_DEMO = "demo"


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
