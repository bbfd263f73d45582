"""The gate of the public map: what a layer has to fulfil before the public may see it.

After the duties of 公开地图内容表示规范 (自然资规〔2023〕2号) and GB/T 43697-2024: nothing becomes public because
nobody thought of it. A contract that claims to be open and does not pass is refused by `twin catalog check`; should one
reach a running server all the same, the public does not see it.
"""

import re
from collections.abc import Iterator
from functools import cache

from layers.contract import Contract, Indicator

__all__ = ["gate_faults", "public_faults"]

_FINEST_OF_CLASS = {"department": 9, "security": 7, "personal": 15}
"""Finest H3 resolution of open numbers over closed records; those of persons pass `twin.privacy` instead."""

_SENSITIVE = re.compile(
    r"摄像|监控探头|危险源|储罐|车牌|号牌|身份证|手机|终端标识|军事|涉密|巡逻|安保"
    r"|camera|cctv|hazard|licen[cs]e plate|number plate|id card|mobile phone|mac address|patrol|guard post",
    re.IGNORECASE,
)
"""Words that name what a public map must not show: cameras, hazard sites, persons, plates, devices, guards."""


@cache
def public_faults(contract: Contract) -> tuple[str, ...]:
    """Why the records of a dataset may not be public, in words; empty when they may."""
    return tuple(_faults_of_records(contract))


def gate_faults(contract: Contract) -> Iterator[str]:
    """What keeps a contract from what it claims: records or indicators that are open and may not be."""
    if contract.data_class == "open":
        yield from public_faults(contract)
    for indicator in contract.indicators:
        yield from _faults_of_indicator(contract, indicator)


def _faults_of_records(contract: Contract) -> Iterator[str]:
    if contract.data_class != "open":
        yield f"its class is {contract.data_class}"
    if contract.sensitive is not None:
        yield f"it shows {contract.sensitive}, which no public map may"
    elif contract.reviewed is None:
        yield from _words(contract)


def _words(contract: Contract) -> Iterator[str]:
    """Words in titles that make a layer suspect until a person has looked at it and said so (`reviewed`)."""
    texts = {"title": contract.title, **{f"field {name}": spec.title for name, spec in contract.fields.items()}}
    for where, title in texts.items():
        found = _SENSITIVE.search(f"{title.zh} {title.en}")
        if found:
            yield f"its {where} speaks of {found.group(0)!r}: close it, or say in `reviewed` why the public may see it"


def _faults_of_indicator(contract: Contract, indicator: Indicator) -> Iterator[str]:
    finest = _FINEST_OF_CLASS.get(contract.data_class)
    if finest is not None and indicator.data_class == "open" and indicator.resolution > finest:
        yield (
            f"indicator {indicator.id} is open at resolution {indicator.resolution};"
            f" over {contract.data_class} records {finest} is the finest"
        )
