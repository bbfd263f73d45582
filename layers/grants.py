"""Who may read a class of data. The GRANTs in PostgreSQL are made from this, and so is the list that a person sees."""

from collections.abc import Iterable
from functools import cache

from layers.contract import Contract, DataClass
from layers.gate import public_faults
from twin.access import PUBLIC, Audience

__all__ = ["audiences_of", "is_limited", "may_read", "seen_by"]

_STAFF = ("dispatch", "operations", "planner", "administrator")


def may_read(data_class: DataClass, contract: Contract, audience: Audience) -> bool:
    """Whether an audience may read data of this class of the contract's dataset.

    Open data is for everyone, the public included where the contract passes the gate of the public map; department data
    for the department and the city's staff; personal and security data for the department and those whom the contract
    names. Whoever was given a grant on the dataset may read it too. What is not said is denied.
    """
    return _by_class(data_class, contract, audience) or bool(audience.grants_on(contract.id))


def _by_class(data_class: DataClass, contract: Contract, audience: Audience) -> bool:
    if data_class == "open":
        return audience.name != PUBLIC.name or contract.data_class != "open" or not public_faults(contract)
    if audience.name == f"department:{contract.system}" or audience.name in contract.readers:
        return audience.name != PUBLIC.name
    return data_class == "department" and audience.name in _STAFF


def is_limited(contract: Contract, audience: Audience) -> bool:
    """Whether an audience may read the dataset's records only in the areas of its grants."""
    grants = audience.grants_on(contract.id)
    return (
        bool(grants)
        and all(grant.limited for grant in grants)
        and not _by_class(contract.data_class, contract, audience)
    )


def audiences_of(data_class: DataClass, contract: Contract, everyone: Iterable[Audience]) -> tuple[Audience, ...]:
    """The audiences out of `everyone` that may read data of this class."""
    return tuple(audience for audience in everyone if may_read(data_class, contract, audience))


def seen_by(contract: Contract, audience: Audience) -> Contract:
    """The contract as an audience knows it: without the fields whose class it may not read, and what is made of them.

    Every door reads with it, so that no door, filter or style can name such a field.
    """
    hidden = frozenset(
        name
        for name, spec in contract.fields.items()
        if spec.data_class is not None and not _by_class(spec.data_class, contract, audience)
    )
    return _without(contract, hidden) if hidden else contract


@cache
def _without(contract: Contract, hidden: frozenset[str]) -> Contract:
    fields = {name: spec for name, spec in contract.fields.items() if name not in hidden}
    indicators = tuple(
        indicator
        for indicator in contract.indicators
        if indicator.parsed.field not in hidden and not hidden & indicator.where.keys()
    )
    return contract.model_copy(
        update={"fields": fields, "indicators": indicators, "style": contract.style.without(hidden)}
    )
