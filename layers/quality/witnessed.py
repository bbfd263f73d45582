"""Rule of gold: its places are known in two ways, which can contradict each other."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["witnessed"]


def _holds(contract: Contract) -> bool:
    return len(contract.place.rungs) > 1


witnessed = Rule(
    "gold",
    Title(zh="位置有两种来源，可相互印证", en="its places are known in two ways, which can contradict each other"),
    _holds,
)
