"""What every codec of messages returns: what a device said, as it said it.

A codec is a module of pure functions. `split(buffer)` finds the messages in what a connection has brought so far;
`decode(message)` reads one; `answer(message)` says what its sender waits for. A message that cannot be read raises
FrameError and nothing else, whatever its bytes are.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from twin.errors import FrameError

__all__ = ["Cut", "FrameError", "Message", "Part", "Record"]

Record = dict[str, str | float | bool | bytes | None]
"""One record, by the source's own names. GEOMETRY holds WKB in longitude and latitude, where a message carries one."""


class Part(NamedTuple):
    """Which piece of a longer message this is: `number` of `total`, counted from 1; pieces share `key`."""

    key: str
    number: int
    total: int


class Cut(NamedTuple):
    """The messages at the beginning of a buffer, and how many of its bytes they and what lies between them take."""

    messages: list[bytes]
    taken: int


@dataclass(slots=True)
class Message:
    """A message that was read.

    `kind` is what its protocol calls it, `device` who sent it. `records` is empty for messages that only keep the
    connection going, and for a piece of a longer one, whose `body` waits for the others.
    """

    kind: str
    device: str
    records: list[Record] = field(default_factory=list[Record])
    part: Part | None = None
    body: bytes = b""
