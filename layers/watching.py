"""Rules of a contract by which things become incidents: a threshold, or an area that they enter."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from layers.rungs import DatasetId, Part
from twin.city import Title

__all__ = ["DURATION", "IncidentRule"]

DURATION = r"^\d+ (s|min|h|d)$"
Span = Annotated[str, Field(pattern=DURATION)]


class IncidentRule(Part):
    """When a thing of a stream is an incident, from what it says at one time after another.

    It opens when `open` has held for as long as `lasts` says, and closes when `close` holds; without that, when `open`
    no longer does. Both are CQL2 conditions over the dataset's fields. `inside`: a dataset of areas; the thing must be
    in one of them, and who leaves them closes it. It `expires` when nothing is heard of the thing for so long.
    `measure`: the field whose highest value is kept. `severity`: 1 (extremely serious) to 4 (ordinary).
    """

    id: DatasetId
    title: Title
    severity: Literal["1", "2", "3", "4"]
    open: str | None = None
    close: str | None = None
    inside: DatasetId | None = None
    lasts: Span = "0 s"
    expires: Span = "1 h"
    measure: str | None = None

    def __hash__(self) -> int:
        return hash(self.id)

    @model_validator(mode="after")
    def model_says_when(self) -> "IncidentRule":
        """Refuse a rule that never opens, or whose conditions do not fit."""
        if self.open is None and self.inside is None:
            raise ValueError("a rule has a condition `open`, or an area `inside`")
        if self.close is not None and self.open is None:
            raise ValueError("what has no condition `open` closes when the area is left")
        return self
