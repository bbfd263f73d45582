"""Rules of a contract that span several keys.

Each rule is one small function from the raw TOML table to faults, so that all faults are found at once, also in a
contract whose other parts are wrong. A fault is the path of the offending key and what is wrong with it, in words.
"""

from collections.abc import Callable, Iterator

from layers.checks.areas import areas
from layers.checks.closed_fields import closed_fields
from layers.checks.codes import codes
from layers.checks.demo import demo
from layers.checks.edits import edits
from layers.checks.fields import fields
from layers.checks.incident_rules import incident_rules
from layers.checks.indicator_names import indicator_names
from layers.checks.key import key
from layers.checks.measures import measures
from layers.checks.names import names
from layers.checks.people import people
from layers.checks.place import place
from layers.checks.private import private
from layers.checks.protection import protection
from layers.checks.raw import RESERVED_COLUMNS, Fault, Raw
from layers.checks.reserved import reserved
from layers.checks.sources import sources
from layers.checks.style import style
from layers.checks.time_fields import time_fields
from layers.checks.time_of_kind import time_of_kind
from layers.checks.travelled import travelled

__all__ = ["RESERVED_COLUMNS", "RULES", "Fault", "Raw", "faults"]

RULES: tuple[Callable[[Raw], Iterator[Fault]], ...] = (
    key,
    reserved,
    time_fields,
    time_of_kind,
    place,
    names,
    codes,
    areas,
    fields,
    indicator_names,
    measures,
    incident_rules,
    protection,
    private,
    people,
    closed_fields,
    edits,
    travelled,
    sources,
    demo,
    style,
)


def faults(raw: Raw) -> list[Fault]:
    """All faults of a contract's raw TOML table that these rules find."""
    return [fault for rule in RULES for fault in rule(raw)]
