"""Rule of bronze: it says in both languages what it holds."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["described"]


def _holds(contract: Contract) -> bool:
    return contract.description is not None


described = Rule("bronze", Title(zh="数据集有中英文说明", en="it says in both languages what it holds"), _holds)
