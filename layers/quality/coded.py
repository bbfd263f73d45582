"""Rule of gold: its codes are checked, or its fields have the names by which sources know them."""

from layers.contract import Contract
from layers.quality.rule import Rule
from twin.city import Title

__all__ = ["coded"]


def _holds(contract: Contract) -> bool:
    fields = contract.fields.values()
    return bool(contract.source) or any(spec.code is not None or spec.aliases for spec in fields)


coded = Rule(
    "gold",
    Title(
        zh="编码带校验，或字段有别名与来源名",
        en="its codes are checked, or its fields have the names by which sources know them",
    ),
    _holds,
)
