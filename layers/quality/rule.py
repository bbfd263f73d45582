"""What a rule of the quality scale is."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from layers.contract import Contract
from twin.city import Title

__all__ = ["LEVELS", "Level", "Rule"]

Level = Literal["none", "bronze", "silver", "gold"]
LEVELS: tuple[Level, ...] = ("none", "bronze", "silver", "gold")


class Rule(NamedTuple):
    """A rule: the level it belongs to, what it asks for, and whether a contract fulfils it."""

    level: Level
    title: Title
    holds: Callable[[Contract], bool]
