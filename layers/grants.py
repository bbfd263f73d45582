"""Who may read a class of data. The GRANTs in PostgreSQL are made from this, and so is the list that a person sees."""

from collections.abc import Iterable

from layers.contract import Contract, DataClass
from twin.access import PUBLIC, Audience, department

__all__ = ["audiences_of", "may_read"]

_STAFF = ("dispatch", "operations", "planner", "administrator")


def may_read(data_class: DataClass, contract: Contract, audience: Audience) -> bool:
    """Whether an audience may read data of this class of the contract's dataset.

    Open data is for everyone; department data for the department and the city's staff; personal and security data for
    the department and those whom the contract names. What is not said is denied.
    """
    if data_class == "open":
        return True
    if audience == department(contract.system) or audience.name in contract.readers:
        return audience != PUBLIC
    return data_class == "department" and audience.name in _STAFF


def audiences_of(data_class: DataClass, contract: Contract, everyone: Iterable[Audience]) -> tuple[Audience, ...]:
    """The audiences out of `everyone` that may read data of this class."""
    return tuple(audience for audience in everyone if may_read(data_class, contract, audience))
