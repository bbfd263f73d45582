"""What a person may write into a record: properties and shapes, checked against the dataset's contract."""

import datetime as dt
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import orjson
import shapely
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError, create_model
from shapely.geometry.base import BaseGeometry

from layers.contract import Contract, FieldSpec
from twin.city import City
from twin.errors import InvalidRequest
from twin.geometry import GeometryFault, Limits, check, fault_detail
from twin.grid import cells_at_honest_resolution

__all__ = ["DRAWN_ACCURACY_M", "Shape", "checked_properties", "checked_shape", "key_of"]

DRAWN_ACCURACY_M = 5.0
"""How well a place that somebody draws on the map is known."""

_MOST_VERTICES = 10_000
_LARGEST = 2**63 - 1
_PREFIX = "field_"  # a contract's field may be called like a method of pydantic's models
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


class Shape(NamedTuple):
    """A checked geometry: EWKB as hexadecimal text in the city's SRID, and its H3 cell."""

    ewkb: str
    cell: int


def checked_properties(contract: Contract, properties: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    """The properties as JSON values of the types that the contract gives them; times in RFC 3339.

    With `partial`, fields may be missing, required ones too. Raises InvalidRequest that names every fault.
    """
    try:
        found = _model(contract, partial).model_validate(properties)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors()]
        raise InvalidRequest(
            f"a record of {contract.id} cannot hold this: {'; '.join(faults)}.",
            where="properties",
            remedy=f"See /collections/{contract.id}/queryables.",
        ) from error
    values: dict[str, Any] = orjson.loads(found.model_dump_json(by_alias=True, exclude_unset=True))
    return values


@cache
def _model(contract: Contract, partial: bool) -> type[BaseModel]:  # noqa: FBT001  (cached by position)
    fields: dict[str, Any] = {}
    for name, spec in contract.fields.items():
        needed = spec.required and not partial
        kind = _type(spec) if spec.required else _type(spec) | None
        fields[_PREFIX + name] = (kind, Field(alias=name) if needed else Field(default=None, alias=name))
    return create_model("Properties", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def _type(spec: FieldSpec) -> Any:  # noqa: ANN401  (a type)
    """The type of a field's JSON values."""
    if spec.values:
        return Literal[tuple(spec.values)]
    low, high = spec.range or (-_LARGEST, _LARGEST)
    types: dict[str, Any] = {
        "string": Annotated[StrictStr, Field(max_length=spec.max_length, pattern=spec.pattern)],
        "integer": Annotated[int, Field(strict=True, ge=low, le=high)],
        "float": Annotated[float, Field(ge=low, le=high)],
        "boolean": StrictBool,
        "datetime": AwareDatetime,
        "date": dt.date,
    }
    return types[spec.type]


def checked_shape(contract: Contract, geometry: dict[str, Any], city: City) -> Shape:
    """A GeoJSON geometry in CRS84 as it is stored.

    Nothing is repaired: who draws it can draw it again. Raises InvalidRequest that says what is wrong with it.
    """
    shape = _read(geometry)
    limits = Limits(contract.geometry, _MOST_VERTICES)
    fault = check(np.array([shape], dtype=object), city.bounds, limits)[0]
    if fault:
        detail = f"{str(fault).replace('_', ' ')} {fault_detail(shape, GeometryFault(fault))}".strip()
        raise InvalidRequest(f"the geometry cannot be used: {detail}.", where="geometry", remedy="Draw it again.")
    point = shape.point_on_surface()
    cell = cells_at_honest_resolution(
        [shapely.get_x(point)], [shapely.get_y(point)], [DRAWN_ACCURACY_M], city.resolutions.finest
    )[0]
    return Shape(shapely.to_wkb(shapely.set_srid(shape, city.srid), hex=True, include_srid=True), int(cell))


def _read(geometry: dict[str, Any]) -> BaseGeometry:
    try:
        return shapely.force_2d(shapely.from_geojson(orjson.dumps(geometry)))
    except (shapely.GEOSException, TypeError, ValueError) as error:
        raise InvalidRequest("this is no GeoJSON geometry.", where="geometry", remedy="See RFC 7946.") from error


def key_of(contract: Contract, properties: dict[str, Any]) -> str | None:
    """The id of a record, made of its key as loading makes it; None where a part of the key is missing."""
    parts: list[str] = []
    for name in contract.key:
        value = properties.get(name)
        if value is None:
            return None
        if contract.fields[name].type == "datetime":
            value = dt.datetime.fromisoformat(str(value)).astimezone(dt.UTC).strftime(_INSTANT)
        parts.append(str(value).lower() if isinstance(value, bool) else str(value))
    return ":".join(parts)
