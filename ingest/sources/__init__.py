"""Transports: how messages reach the twin, one a module."""

from typing import Protocol

__all__ = ["Source"]


class Source(Protocol):
    """A transport at work for one feed."""

    async def start(self) -> None:
        """Begin to receive. Raises SetupError where that is not possible."""
        ...

    def close(self) -> None:
        """Take nothing more in."""
        ...

    def stop(self) -> None:
        """End, when what was taken in is on disk and acknowledged."""
        ...
