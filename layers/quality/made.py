"""Rule of silver: the synthetic city makes it, so that all of it is tested."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["made"]


def _holds(contract: Contract) -> bool:
    return contract.demo is not None


made = Rule(
    "silver",
    Title(zh="合成城市有其数据，契约因而被整体测试", en="the synthetic city makes it, so that all of it is tested"),
    _holds,
)
