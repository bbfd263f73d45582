"""Resources: the records of a dataset that can be sent or gone to, as a View shows them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from layers.contract import Contract
from layers.filters import filter_condition
from layers.query import visible
from layers.travelled import DispatchSource
from twin.city import City
from twin.errors import InvalidRequest
from twin.view import View

__all__ = ["Resources", "Wanted", "resource_rows", "resources_of"]

_MOST = 50_000
_EXACT_M = 100.0
"""Who is known less exactly than this is not offered as nearest to anything."""
_PARTS = re.compile(r"[、;；,，]\s*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which resources are looked for: a CQL2 filter, kinds, skills that all are needed, only those available."""

    filter: str | None = None
    kinds: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    available: bool = True


@dataclass(frozen=True, slots=True)
class Resources:
    """Records (q,): their ids, labels, places in degrees, and why each cannot be taken, None where it can."""

    ids: list[str]
    labels: list[str | None]
    kinds: list[str | None]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    reasons: list[str | None]


def resource_rows(contract: Contract, view: View, city: City, wanted: Wanted) -> sa.Select[Any]:
    """The records that a question may mean, in the order of their ids.

    Raises InvalidRequest for a kind that there is not, for skills where no field tells of them, and as
    `filter_condition`.
    """
    said = contract.dispatch or DispatchSource()
    shown = visible(contract, view, city)
    columns = shown.rows.c
    if wanted.filter is not None:
        shown = shown.where(filter_condition(wanted.filter, contract, shown.rows, city.srid))
    if wanted.kinds:
        shown = shown.where(_kind(contract, said, wanted, columns))
    if wanted.skills and (said.skills is None or said.skills not in contract.fields):
        raise InvalidRequest(f"{contract.id} does not tell skills.", where="skills", remedy="Leave skills out.")
    known = [name for name in said.fields if name in contract.fields]
    label = contract.style.label
    point = sa.func.ST_PointOnSurface(columns.geom)
    name = columns.subject if contract.is_stream else columns.id
    return (
        shown.where(columns.geom.is_not(None))
        .select(
            name.label("record"),
            (columns[label] if label is not None and label in contract.fields else sa.null()).label("label"),
            sa.func.ST_X(point).label("lon"),
            sa.func.ST_Y(point).label("lat"),
            columns.place_accuracy_m.label("accuracy_m"),
            *(sa.cast(columns[field], sa.Text).label(f"said_{field}") for field in known),
        )
        .order_by(name)
        .limit(_MOST + 1)
    )


def _kind(contract: Contract, said: DispatchSource, wanted: Wanted, columns: Any) -> sa.ColumnElement[bool]:  # noqa: ANN401  (SQLAlchemy's)
    spec = contract.fields.get(said.kind or "")
    if said.kind is None or spec is None:
        raise InvalidRequest(f"{contract.id} does not tell kinds.", where="kind", remedy="Leave kind out.")
    for kind in wanted.kinds:
        if spec.values and kind not in spec.values:
            raise InvalidRequest(
                f"{contract.id} has no kind {kind[:40]!r}.",
                where="kind",
                remedy=f"Use one of: {', '.join(spec.values)}.",
            )
    return columns[said.kind].in_(wanted.kinds)


def resources_of(contract: Contract, rows: Sequence[sa.Row[Any]], wanted: Wanted) -> Resources:
    """The resources of the rows that `resource_rows` selected.

    Raises InvalidRequest when there are more than can be looked at.
    """
    if len(rows) > _MOST:
        raise InvalidRequest(f"there are more than {_MOST:,} of them.", where="filter", remedy="Ask for fewer.")
    said = contract.dispatch or DispatchSource()
    kinds = [getattr(row, f"said_{said.kind}", None) for row in rows]
    return Resources(
        [row.record for row in rows],
        [row.label for row in rows],
        kinds,
        np.array([row.lon for row in rows], dtype=np.float64),
        np.array([row.lat for row in rows], dtype=np.float64),
        [_reason(row, said, wanted) for row in rows],
    )


def _reason(row: sa.Row[Any], said: DispatchSource, wanted: Wanted) -> str | None:
    """Why a record cannot be taken."""
    if (row.accuracy_m or 0) > _EXACT_M:
        return "place_too_coarse"
    if wanted.available:
        for name, values in said.available.items():
            if getattr(row, f"said_{name}", None) not in values:
                return "unavailable"
    if wanted.skills:
        own = set(_PARTS.split(getattr(row, f"said_{said.skills}", None) or ""))
        if not set(wanted.skills) <= own:
            return "lacks_skills"
    return None
