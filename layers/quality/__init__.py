"""The quality scale of datasets: bronze, silver, gold. Each rule is one file; a level has its rules and those below.

A contract promises a level with its key `quality`; one that promises more than it keeps is wrong.
"""

from typing import NamedTuple

from layers.contract import Contract
from layers.quality.coded import coded
from layers.quality.described import described
from layers.quality.drawn import drawn
from layers.quality.made import made
from layers.quality.measured import measured
from layers.quality.rule import LEVELS, Level, Rule
from layers.quality.standard import standard
from layers.quality.timely import timely
from layers.quality.witnessed import witnessed
from twin.city import Title

__all__ = ["LEVELS", "RULES", "Level", "Quality", "keeps", "quality_of"]

RULES: tuple[Rule, ...] = (described, drawn, timely, measured, made, standard, witnessed, coded)


class Quality(NamedTuple):
    """The level that a contract reaches, and what it lacks for the next one."""

    level: Level
    lacks: tuple[Title, ...]


def quality_of(contract: Contract) -> Quality:
    """The quality of a contract."""
    reached: Level = "none"
    for level in LEVELS[1:]:
        lacks = tuple(rule.title for rule in RULES if rule.level == level and not rule.holds(contract))
        if lacks:
            return Quality(reached, lacks)
        reached = level
    return Quality(reached, ())


def keeps(contract: Contract) -> bool:
    """Whether a contract reaches the level that it promises."""
    return LEVELS.index(quality_of(contract).level) >= LEVELS.index(contract.quality)
