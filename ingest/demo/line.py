"""The line between a device of the synthetic city and the twin, as bad as somebody wants it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from layers.feeds import Feed

__all__ = ["SEED", "Crew", "Line"]

SEED = 1616


@dataclass(frozen=True, slots=True)
class Line:
    """How bad the line is: shares of messages that are lost, sent twice, or sent after the next one; clocks' errors."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    skew_s: float = 0.0

    def sent(self, message: bytes, held: list[bytes], chance: random.Random) -> list[bytes]:
        """What goes onto the line instead of a message; `held` keeps what comes later."""
        if chance.random() < self.loss:
            return []
        if chance.random() < self.reorder:
            held.append(message)
            return []
        copies = [message, message] if chance.random() < self.duplicate else [message]
        copies += held
        held.clear()
        return copies


class Crew(Protocol):
    """Devices that report to one feed."""

    @property
    def feed(self) -> Feed:
        """The feed they report to."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """The devices."""
        ...

    def start(self, group: asyncio.TaskGroup, line: Line, pace: float) -> None:
        """Let them report until the group is cancelled, `pace` times as often as they should."""
        ...
