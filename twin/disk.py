"""Room on the disk: below a tenth, nothing more is taken in, and what is there can still be read and mended."""

import shutil
from pathlib import Path

from twin.errors import DiskFull

__all__ = ["LEAST_FREE", "has_room", "need_room"]

LEAST_FREE = 0.1
"""Share of the disk that stays free."""


def has_room(home: Path) -> bool:
    """Whether the disk of the state folder has room for more."""
    usage = shutil.disk_usage(home)
    return usage.free >= LEAST_FREE * usage.total


def need_room(home: Path) -> None:
    """Raise DiskFull where there is no room for more."""
    if not has_room(home):
        raise DiskFull("the disk is nearly full.", where=str(home), remedy=f"Free {LEAST_FREE:.0%} of it.")
