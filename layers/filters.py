"""CQL2 filters (OGC 21-065r2, text and JSON) -> SQL conditions over the fields of a contract, and nothing else.

Every name is looked up in the contract, every value is a bound parameter, every operator stands in a list below; types
are checked before PostgreSQL sees anything. NULL compares as SQL does: a comparison with it holds for no record.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import orjson
import shapely
import sqlalchemy as sa
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from layers.contract import Contract
from layers.cql2 import parse_text
from twin.errors import InvalidRequest, LimitExceeded
from twin.view import parse_moment

__all__ = ["filter_condition"]

_MOST_CHARACTERS = 8_192
_DEEPEST = 64

Type = Literal["text", "number", "boolean", "time", "date", "geometry", "interval"]
_TYPES: dict[str, Type] = {
    "string": "text",
    "integer": "number",
    "float": "number",
    "boolean": "boolean",
    "datetime": "time",
    "date": "date",
}
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
_ARITHMETIC = ("+", "-", "*", "/")
_SPATIAL = ("intersects", "contains", "within", "disjoint", "touches", "crosses", "overlaps", "equals")


@dataclass(frozen=True, slots=True)
class _Value:
    """An expression and its type. An interval has two ends, of which None is open."""

    type: Type
    sql: sa.ColumnElement[Any]
    ends: tuple[dt.datetime | None, dt.datetime | None] = (None, None)


def filter_condition(text: str, contract: Contract, rows: sa.FromClause, srid: int) -> sa.ColumnElement[bool]:
    """The SQL condition of a CQL2 filter over the columns of `rows`. Geometries in the filter are lon, lat in degrees.

    A filter may name the contract's fields, `id` and `geometry` (or `geom`). JSON is told from text by its opening
    brace. Raises InvalidRequest for wrong syntax (it says where), an unknown name or operator, or types that do not
    fit; LimitExceeded for a filter that is too long or nested too deeply.
    """
    if len(text) > _MOST_CHARACTERS:
        raise LimitExceeded(f"the filter has {len(text):,} characters.", remedy=f"Use at most {_MOST_CHARACTERS:,}.")
    names = {name: _Value(_TYPES[spec.type], rows.c[name]) for name, spec in contract.fields.items()}
    names |= {"id": _Value("text", rows.c.id), "geometry": _Value("geometry", rows.c.geom)}
    names["geom"] = names["geometry"]
    node = _parse_json(text) if text.lstrip().startswith("{") else parse_text(text)
    return _Translator(names, srid).condition(node, 0)


def _parse_json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"the filter is not JSON: {error.msg}.", where=f"filter, line {error.lineno}, column {error.colno}"
        ) from error


def _refuse(what: str, remedy: str = "") -> NoReturn:
    raise InvalidRequest(what, where="filter", remedy=remedy)


class _Translator:
    """Turns the objects of CQL2 JSON into SQL."""

    def __init__(self, names: Mapping[str, _Value], srid: int) -> None:
        self._names = names
        self._srid = srid

    def condition(self, node: object, depth: int) -> sa.ColumnElement[bool]:
        """A node that must be true or false."""
        found = self._value(node, depth)
        if found.type != "boolean":
            _refuse(f"a {found.type} stands where a condition is needed.", "Write for example: beds > 100.")
        return found.sql

    def _value(self, node: object, depth: int) -> _Value:
        if depth > _DEEPEST:
            raise LimitExceeded(f"the filter is nested more than {_DEEPEST} levels deep.", where="filter")
        match node:
            case {"op": str(op), "args": list(args)}:
                return self._operation(op.lower(), args, depth + 1)
            case {"property": str(name)}:
                return self._names[name] if name in self._names else self._unknown(name)
            case _:
                return _literal(node, self._srid)

    def _unknown(self, name: str) -> NoReturn:
        _refuse(f"there is no property {name!r}.", f"There are: {', '.join(self._names)}.")

    def _operation(self, op: str, args: list[Any], depth: int) -> _Value:
        if op in {"and", "or"}:
            if not args:
                _refuse(f"{op} needs conditions.")
            parts = [self.condition(arg, depth) for arg in args]
            return _Value("boolean", sa.and_(*parts) if op == "and" else sa.or_(*parts))
        if op in _SPATIAL_OPS:
            return self._spatial(op.removeprefix("s_"), self._all(args, depth, op, 2))
        if op in _TEMPORAL:
            return self._temporal(op, self._all(args, depth, op, 2))
        if op in _COMPARISONS:
            return self._compared(op, self._all(args, depth, op, 2))
        if op in _ARITHMETIC:
            return self._computed(op, self._all(args, depth, op, 2))
        special: dict[str, Callable[[list[Any], int], _Value]] = {
            "not": self._not,
            "isnull": self._null,
            "like": self._like,
            "between": self._between,
            "in": self._in,
            "casei": self._casei,
        }
        if op not in special:
            known = sorted({*special, "and", "or", *_COMPARISONS, *_ARITHMETIC, *_SPATIAL_OPS, *_TEMPORAL})
            _refuse(f"there is no operator or function {op!r}.", f"There are: {' '.join(known)}.")
        return special[op](args, depth)

    def _all(self, args: Sequence[object], depth: int, op: str, number: int) -> list[_Value]:
        if len(args) != number:
            _refuse(f"{op} takes {number} arguments, not {len(args)}.")
        return [self._value(arg, depth) for arg in args]

    def _not(self, args: list[Any], depth: int) -> _Value:
        if len(args) != 1:
            _refuse("not takes one condition.")
        return _Value("boolean", sa.not_(self.condition(args[0], depth)))

    def _null(self, args: list[Any], depth: int) -> _Value:
        (value,) = self._all(args, depth, "isNull", 1)
        return _Value("boolean", value.sql.is_(None))

    def _like(self, args: list[Any], depth: int) -> _Value:
        value, pattern = _same(self._all(args, depth, "like", 2), "like", {"text"})
        return _Value("boolean", value.sql.like(pattern.sql))

    def _between(self, args: list[Any], depth: int) -> _Value:
        value, low, high = _same(self._all(args, depth, "between", 3), "between", {"number", "time", "date"})
        return _Value("boolean", value.sql.between(low.sql, high.sql))

    def _in(self, args: list[Any], depth: int) -> _Value:
        if len(args) != 2 or not isinstance(args[1], list) or not args[1]:
            _refuse("in takes a value and a list of values.")
        values = [self._value(args[0], depth), *(self._value(arg, depth) for arg in args[1])]
        one, *many = _same(values, "in", {"text", "number", "time", "date"})
        return _Value("boolean", one.sql.in_([value.sql for value in many]))

    def _casei(self, args: list[Any], depth: int) -> _Value:
        (value,) = _same(self._all(args, depth, "casei", 1), "casei", {"text"})
        return _Value("text", sa.func.lower(value.sql))

    def _compared(self, op: str, values: list[_Value]) -> _Value:
        left, right = _same(values, op, {"text", "number", "time", "date", *({"boolean"} if op in {"=", "<>"} else ())})
        return _Value("boolean", left.sql.op(op, is_comparison=True)(right.sql))

    def _computed(self, op: str, values: list[_Value]) -> _Value:
        left, right = _same(values, op, {"number"})
        # In floating point whatever the columns are: an integer division would cut, a large product overflow.
        return _Value("number", sa.cast(left.sql, sa.Double()).op(op)(sa.cast(right.sql, sa.Double())))

    def _spatial(self, predicate: str, values: list[_Value]) -> _Value:
        left, right = _same(values, f"s_{predicate}", {"geometry"})
        return _Value("boolean", getattr(sa.func, f"ST_{predicate.capitalize()}")(left.sql, right.sql))

    def _temporal(self, op: str, values: list[_Value]) -> _Value:
        moment, other = values
        if moment.type != "time" or other.type not in {"time", "interval"}:
            _refuse(
                f"{op} compares a time with a time or an interval.",
                "Write for example TIMESTAMP('2026-11-22T08:00:00Z').",
            )
        bounds = other.ends if other.type == "interval" else (other.sql, other.sql)
        return _Value("boolean", _TEMPORAL[op](moment.sql, *bounds))


def _same(values: list[_Value], op: str, allowed: set[Type]) -> list[_Value]:
    """The values, when they are of one allowed type."""
    types = {value.type for value in values}
    if len(types) > 1 or not types <= allowed:
        hint = "A time is written TIMESTAMP('...'), a day DATE('...')." if types & {"time", "date"} else ""
        _refuse(f"{op} cannot take {' and '.join(sorted(types))}.", hint)
    return values


def _literal(node: object, srid: int) -> _Value:
    """A constant as a bound parameter."""
    match node:
        case bool() | int() | float() | str():
            return _scalar(node)
        case {"timestamp": str(text)}:
            return _Value("time", sa.literal(parse_moment(text), sa.DateTime(timezone=True)))
        case {"date": str(text)}:
            return _Value("date", sa.literal(_day(text), sa.Date()))
        case {"interval": [str(start), str(end)]}:
            ends = [None if part in {"..", ""} else parse_moment(part) for part in (start, end)]
            return _Value("interval", sa.null(), (ends[0], ends[1]))
        case BaseGeometry() | {"bbox": list()} | {"type": str()}:
            return _Value("geometry", sa.func.ST_GeomFromWKB(shapely.to_wkb(_geometry(node)), srid))
        case _:
            _refuse(f"{str(node)[:60]!r} is no value.")


def _scalar(value: float | str) -> _Value:
    if isinstance(value, bool):
        return _Value("boolean", sa.literal(value, sa.Boolean()))
    if isinstance(value, str):
        if "\0" in value:
            _refuse("a text holds a NUL character.")
        return _Value("text", sa.literal(value, sa.Text()))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _refuse("a number is too large.")
    return _Value("number", sa.literal(number, sa.Double()))


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        _refuse(f"{text!r} is no day.", "Write for example DATE('2026-11-22').")


def _geometry(node: object) -> BaseGeometry:
    """A geometry on the earth: of WKT, of GeoJSON, or a box west, south, east, north."""
    try:
        match node:
            case BaseGeometry():
                found = node
            case {
                "bbox": [
                    int() | float() as west,
                    int() | float() as south,
                    int() | float() as east,
                    int() | float() as north,
                ]
            }:
                found = shapely.box(west, south, east, north)
            case _:
                found = shapely.from_geojson(orjson.dumps(node))
    except (ShapelyError, TypeError) as error:
        _refuse(f"a geometry cannot be read: {error}.")
    west, south, east, north = found.bounds if not found.is_empty else (math.nan,) * 4
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        _refuse("a geometry is empty or does not lie on the earth.", "Coordinates are longitude, latitude in degrees.")
    if not found.is_valid:
        _refuse(f"a geometry is not valid: {shapely.is_valid_reason(found)}.")
    return shapely.force_2d(found)


_SPATIAL_OPS = tuple(f"s_{name}" for name in _SPATIAL)

Moment = sa.ColumnElement[Any]
Bound = Any


def _after(moment: Moment, _start: Bound, end: Bound) -> Moment:
    return sa.false() if end is None else moment > end


def _before(moment: Moment, start: Bound, _end: Bound) -> Moment:
    return sa.false() if start is None else moment < start


def _meets(moment: Moment, start: Bound, end: Bound) -> Moment:
    inside = [*([moment >= start] if start is not None else []), *([moment <= end] if end is not None else [])]
    return sa.and_(sa.true(), *inside)


def _during(moment: Moment, start: Bound, end: Bound) -> Moment:
    inside = [*([moment > start] if start is not None else []), *([moment < end] if end is not None else [])]
    return sa.and_(sa.true(), *inside)


_TEMPORAL: dict[str, Callable[[Moment, Bound, Bound], Moment]] = {
    "t_after": _after,
    "t_before": _before,
    "t_during": _during,
    "t_intersects": _meets,
    "t_equals": lambda moment, start, end: sa.and_(moment == start, moment == end),
    "t_disjoint": lambda moment, start, end: sa.not_(_meets(moment, start, end)),
}
