"""Rule of gold: it names the standard that it follows."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["standard"]


def _holds(contract: Contract) -> bool:
    return bool(contract.standards)


standard = Rule("gold", Title(zh="写明所依据的标准", en="it names the standard that it follows"), _holds)
