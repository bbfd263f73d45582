"""The raw TOML table of a contract, as rules look at it: whatever is wrong elsewhere in it."""

from typing import Any

__all__ = ["RESERVED_COLUMNS", "Fault", "Raw", "table", "tables", "texts"]

Raw = dict[str, Any]
Fault = tuple[tuple[str | int, ...], str]

RESERVED_COLUMNS = frozenset(
    {
        *("row", "id", "branch", "valid", "recorded", "subject", "observed_at", "geom", "cell", "batch", "extra"),
        *("place_method", "place_accuracy_m", "place_source", "tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"),
    }
)
"""Columns the twin keeps beside a contract's fields. Only a stream has a field `observed_at`: its time."""


def table(raw: Raw, name: str) -> Raw:
    """A table of the contract; an empty one where it has none."""
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def tables(raw: Raw, name: str) -> list[Raw]:
    """The tables of an array."""
    value = raw.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def texts(value: object) -> list[str]:
    """The texts of an array."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []
