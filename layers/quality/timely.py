"""Rule of silver: what comes every minute says when it is late."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["timely"]


def _holds(contract: Contract) -> bool:
    return contract.late_after is not None or not contract.rate.endswith((" s", " min"))


timely = Rule(
    "silver",
    Title(zh="更新频率以秒或分计的数据集说明何时算迟到", en="what comes every minute says when it is late"),
    _holds,
)
