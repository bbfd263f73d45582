"""Rule of bronze: the map can draw it."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["drawn"]


def _holds(contract: Contract) -> bool:
    style = contract.style
    return any(part is not None for part in (style.circle, style.line, style.fill))


drawn = Rule("bronze", Title(zh="地图能绘制", en="the map can draw it"), _holds)
