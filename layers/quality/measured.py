"""Rule of silver: it has an indicator, or lists what others refer to."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["measured"]


def _holds(contract: Contract) -> bool:
    return bool(contract.indicators) or contract.names is not None or contract.areas is not None


measured = Rule(
    "silver",
    Title(zh="至少有一个指标，或是别的数据集所引用的名录", en="it has an indicator, or lists what others refer to"),
    _holds,
)
