"""Where a page starts: opaque tokens that belong to one question."""

import base64
import hashlib
from dataclasses import dataclass

import orjson

from twin.errors import InvalidRequest

__all__ = ["Position", "fingerprint"]


def fingerprint(*parts: object) -> str:
    """A short name of a question, made of all that decides which records it selects and in which order."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Position:
    """After which record of a question a page starts: its ordering key as texts, and how many records match in all."""

    question: str
    key: tuple[str, ...]
    matched: int | None

    def token(self) -> str:
        """The position as text that is safe in a URL."""
        return base64.urlsafe_b64encode(orjson.dumps([self.question, self.key, self.matched])).decode().rstrip("=")

    @classmethod
    def read(cls, token: str, question: str) -> "Position":
        """The position of a token. Raises InvalidRequest when it is none, or one of another question."""
        try:
            found = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except ValueError:
            found = None
        match found:
            case [str(asked), [*key], int() | None as matched] if key and all(isinstance(part, str) for part in key):
                if asked == question:
                    return cls(question, tuple(key), matched)
                raise InvalidRequest("this offset belongs to another question.", remedy="Start again without offset.")
            case _:
                raise InvalidRequest("this offset is no token of ours.", remedy="Follow the `next` link of a page.")
