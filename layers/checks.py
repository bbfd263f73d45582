"""Rules of a contract that span several keys.

Each rule is one small function from the raw TOML table to faults, so that all faults are found at once, also in a
contract whose other parts are wrong. A fault is the path of the offending key and what is wrong with it, in words.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from layers.contract import Measure
from twin.access import Audience
from twin.errors import InvalidRequest

__all__ = ["RESERVED_COLUMNS", "RULES", "Fault", "Raw", "faults"]

Raw = dict[str, Any]
Fault = tuple[tuple[str | int, ...], str]

RESERVED_COLUMNS = frozenset(
    {
        *("row", "id", "branch", "valid", "recorded", "subject", "observed_at", "geom", "cell", "batch", "extra"),
        *("place_method", "place_accuracy_m", "place_source", "tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"),
    }
)
"""Columns the twin keeps beside a contract's fields. Only a stream has a field `observed_at`: its time."""


def _table(raw: Raw, name: str) -> Raw:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _tables(raw: Raw, name: str) -> list[Raw]:
    value = raw.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _key(raw: Raw) -> Iterator[Fault]:
    fields = _table(raw, "fields")
    for position, name in enumerate(_texts(raw.get("key"))):
        if name not in fields:
            yield ("key", position), f"the key names {name!r}, which is not a field"


def _reserved(raw: Raw) -> Iterator[Fault]:
    stream = raw.get("kind") in {"observation", "track"}
    for name in _table(raw, "fields"):
        if name in RESERVED_COLUMNS and not (stream and name == "observed_at"):
            yield ("fields", name), f"{name!r} is a column the twin keeps itself; choose another name"


def _time_fields(raw: Raw) -> Iterator[Fault]:
    fields, time = _table(raw, "fields"), _table(raw, "time")
    for role in ("event", "start", "end"):
        name = time.get(role)
        if name is not None and name not in fields:
            yield ("time", role), f"time.{role} names {name!r}, which is not a field"
        elif name is not None and _table(fields, name).get("type") not in {"datetime", "date"}:
            yield ("time", role), f"time.{role} names {name!r}, which is not a datetime or date"


def _time_of_kind(raw: Raw) -> Iterator[Fault]:
    time, kind, key = _table(raw, "time"), raw.get("kind"), _texts(raw.get("key"))
    if kind in {"observation", "track"}:
        if time.get("event") != "observed_at":
            yield (
                ("time",),
                f'a dataset of kind {kind} needs time = {{ event = "observed_at" }} and a field of that name',
            )
        elif "observed_at" not in key:
            yield ("key",), f"the key of a dataset of kind {kind} includes its time field 'observed_at'"
        elif len(key) == 1:
            yield ("key",), "the key needs, beside the time, the field that says what was observed"
    elif time.get("event"):
        yield ("time", "event"), f"time.event is for observations and tracks; a {kind} has time.start and time.end"
    if kind == "event" and not time.get("start"):
        yield ("time",), "an event needs time.start: the field that says when it opened"


def _place(raw: Raw) -> Iterator[Fault]:
    fields = _table(raw, "fields")
    for position, rung in enumerate(_tables(_table(raw, "place"), "rungs")):
        for word in ("x", "y", "id", "code", "text", "area", "road"):
            name = rung.get(word)
            # x and y may be columns of the source that are not kept: the geometry keeps them.
            if isinstance(name, str) and word not in {"x", "y"} and name not in fields:
                yield ("place", "rungs", position, word), f"this rung looks at {name!r}, which is not a field"
        if rung.get("by") == "coordinate" and rung.get("x") == rung.get("y"):
            yield ("place", "rungs", position), "x and y are the same column"
        others = {other.get("by") for other in _tables(_table(raw, "place"), "rungs")} - {"coordinate", "geometry"}
        if rung.get("datum") == "detect" and (rung.get("by") != "coordinate" or not others - {"area", "cell"}):
            yield ("place", "rungs", position, "datum"), "`detect` compares coordinates with another rung: add one"
        if rung.get("datum") == "none":
            yield (
                ("place", "rungs", position, "datum"),
                "a rung with coordinates needs a datum; `none` is for records without any",
            )


def _names(raw: Raw) -> Iterator[Fault]:
    fields, names = _table(raw, "fields"), _table(raw, "names")
    told = [("name", names.get("name")), ("code", names.get("code")), ("road", names.get("road"))]
    told += [(word, name) for word in ("also", "stakes") for name in _texts(names.get(word))]
    told += [("where", name) for name in _table(names, "where")]
    for word, name in told:
        if isinstance(name, str) and name not in fields:
            yield ("names", word), f"names.{word} is {name!r}, which is not a field"
    if names.get("level") in {"district", "town"} and "code" not in names:
        yield ("names",), f"a {names['level']} goes by its code: say which field holds it"
    if "stakes" in names and "road" not in names:
        yield ("names", "stakes"), "stakes belong to a numbered road: say which field holds its number"
    if names and raw.get("kind") not in {"feature", "event"}:
        yield ("names",), "named places are features; this is a stream or a coverage"


def _areas(raw: Raw) -> Iterator[Fault]:
    fields, areas, people = _table(raw, "fields"), _table(raw, "areas"), _table(raw, "dasymetric")
    for part, word in (("areas", "code"), ("areas", "name"), ("dasymetric", "field")):
        name = _table(raw, part).get(word)
        if isinstance(name, str) and name not in fields:
            yield (part, word), f"{part}.{word} is {name!r}, which is not a field"
    if areas and (raw.get("geometry") not in {"polygon", "any"} or raw.get("kind") not in {"feature", "event"}):
        yield ("areas",), "areas are features with polygons"
    for name in _table(people, "where"):
        if name not in fields:
            yield ("dasymetric", "where"), f"where names {name!r}, which is not a field"
    spec = _table(fields, str(people.get("field")))
    if people and spec and spec.get("type") not in {"integer", "float"}:
        yield ("dasymetric", "field"), "people are counted in proportion to a number"


def _codes(raw: Raw) -> Iterator[Fault]:
    for name, spec in _table(raw, "fields").items():
        if isinstance(spec, dict) and "code" in spec and spec.get("type") != "string":
            yield ("fields", name, "code"), "a code is kept as a text"


def _fields(raw: Raw) -> Iterator[Fault]:
    for name, spec in _table(raw, "fields").items():
        if not isinstance(spec, dict):
            continue
        numeric = spec.get("type") in {"integer", "float"}
        if "range" in spec and not numeric:
            yield ("fields", name, "range"), "only numbers have a range"
        bounds = spec.get("range")
        if isinstance(bounds, list) and len(bounds) == 2 and bounds[0] > bounds[1]:
            yield ("fields", name, "range"), f"the range ends ({bounds[1]}) before it starts ({bounds[0]})"
        if numeric and "unit" not in spec and "values" not in spec:
            yield ("fields", name), "a number needs a unit (UCUM; `1` for a count or a ratio)"
        if "pattern" in spec:
            try:
                re.compile(str(spec["pattern"]))
            except re.error as error:
                yield ("fields", name, "pattern"), f"not a regular expression: {error}"


def _indicator_names(raw: Raw) -> Iterator[Fault]:
    fields, system = _table(raw, "fields"), str(raw.get("id", "")).split(".")[0]
    stream = raw.get("kind") in {"observation", "track"}
    seen: set[object] = set()
    for position, indicator in enumerate(_tables(raw, "indicators")):
        name = indicator.get("id")
        if name in seen:
            yield ("indicators", position, "id"), f"two indicators are called {name!r}"
        seen.add(name)
        if isinstance(name, str) and name.split(".")[0] != system:
            yield ("indicators", position, "id"), f"the indicator's id starts with its system: {system}."
        for column in _table(indicator, "where"):
            if column not in fields:
                yield ("indicators", position, "where"), f"where names {column!r}, which is not a field"
        if "window" in indicator and not stream:
            yield ("indicators", position, "window"), "only observations and tracks have a window"


def _measures(raw: Raw) -> Iterator[Fault]:
    fields = _table(raw, "fields")
    for position, indicator in enumerate(_tables(raw, "indicators")):
        path = ("indicators", position, "measure")
        try:
            measure = Measure.parse(str(indicator.get("measure", "count()")))
        except ValueError as error:
            yield path, str(error)
            continue
        # A coverage has one value a pixel, which is no field of its records.
        if measure.field is None or raw.get("kind") == "coverage":
            continue
        allowed = {"boolean"} if measure.how == "share" else {"integer", "float"}
        if measure.field not in fields:
            yield path, f"the measure names {measure.field!r}, which is not a field"
        elif _table(fields, measure.field).get("type") not in allowed:
            yield path, f"{measure.how}() needs a field of type {' or '.join(sorted(allowed))}"


def _protection(raw: Raw) -> Iterator[Fault]:
    if raw.get("class") == "personal":
        for word in ("purpose", "basis", "retention"):
            if not raw.get(word):
                yield ("class",), f"personal data needs {word!r}: without it nobody may hold them"
    for position, reader in enumerate(_texts(raw.get("readers"))):
        try:
            audience = Audience(reader)
        except InvalidRequest as error:
            yield ("readers", position), str(error)
            continue
        if audience.name == "public":
            yield ("readers", position), "the public reads what has class = open; nothing else"


_NAMES_SOMEBODY = re.compile(r"(^|_)(phone|mobile|mac|id_card|id_number|plate|licence_plate|contact_name)(_|$)")


def _private(raw: Raw) -> Iterator[Fault]:
    for name, spec in _table(raw, "fields").items():
        if not isinstance(spec, dict):
            continue
        if "private" in spec and raw.get("class") == "open":
            yield ("fields", name, "private"), "open data identifies nobody: close the dataset or leave the field out"
        if "private" in spec and spec.get("type") != "string":
            yield ("fields", name, "private"), "what identifies somebody is kept as a text (a mask or a pseudonym)"
        if "private" not in spec and _NAMES_SOMEBODY.search(name):
            yield ("fields", name), f"{name!r} looks as if it named somebody: say `private = ...`, or rename it"


def _people(raw: Raw) -> Iterator[Fault]:
    personal, fields = raw.get("class") == "personal", _table(raw, "fields")
    people = raw.get("people")
    if people is not None and (not personal or _table(fields, str(people)).get("type") != "integer"):
        yield ("people",), "people names an integer field of personal data"
    for position, indicator in enumerate(_tables(raw, "indicators")) if personal else ():
        try:
            measure = Measure.parse(str(indicator.get("measure")))
        except ValueError:
            continue
        if measure.how in {"min", "max"}:
            yield (
                ("indicators", position, "measure"),
                "the smallest or largest value is one person's: count, add or average",
            )
        elif people is not None and _table(fields, str(measure.field)).get("type") != "integer":
            yield (
                ("indicators", position, "measure"),
                "where records are groups, numbers are sums of people: sum(a field)",
            )


def _closed_fields(raw: Raw) -> Iterator[Fault]:
    """A field with a class of its own is not there for some: nothing that all need may hang on it."""
    needed = {*_texts(raw.get("key")), *(value for value in _table(raw, "time").values() if isinstance(value, str))}
    needed |= {
        rung.get(word)
        for rung in _tables(_table(raw, "place"), "rungs")
        for word in ("id", "code", "text", "area", "road")
    }
    for name, spec in _table(raw, "fields").items():
        if isinstance(spec, dict) and "class" in spec and name in needed:
            yield ("fields", name, "class"), f"{name!r} is in the key, the time or the place: everyone needs it"


def _edits(raw: Raw) -> Iterator[Fault]:
    fields = _table(raw, "fields")
    for verb, sets in _table(raw, "edits").items():
        if raw.get("kind") not in {"feature", "event"}:
            yield ("edits", verb), "branches change features and events; this is neither"
        for name in sets if isinstance(sets, dict) else ():
            if name not in fields:
                yield ("edits", verb), f"the verb sets {name!r}, which is not a field"


def _sources(raw: Raw) -> Iterator[Fault]:
    fields = _table(raw, "fields")
    coordinates = {
        rung.get(axis) for rung in _tables(_table(raw, "place"), "rungs") for axis in ("x", "y") if rung.get(axis)
    }
    for ours in _table(_table(raw, "source"), "map").values():
        if ours not in fields and ours not in coordinates:
            yield ("source", "map"), f"source.map leads to {ours!r}, which is not a field"
    for word in ("osm", "gtfs", "demo"):
        for ours in _table(_table(raw, word), "map"):
            if ours not in fields and ours not in coordinates:
                yield (word, "map", ours), f"{word}.map fills {ours!r}, which is not a field"


def _demo(raw: Raw) -> Iterator[Fault]:
    demo = _table(raw, "demo")
    texts: list[tuple[tuple[str, ...], object]] = [(("demo", "where"), demo["where"])] if "where" in demo else []
    texts += [(("demo", "map", name), text) for name, text in _table(demo, "map").items()]
    for path, text in texts:
        try:
            pl.sql_expr(str(text))
        except PolarsError as error:
            yield path, f"not an SQL expression: {error}"
    form = demo.get("format", "csv")
    if demo and (form == "tif") != (raw.get("kind") == "coverage"):
        yield ("demo", "format"), "coverages, and only they, are made as `tif`"
    ways = {rung.get("by") for rung in _tables(_table(raw, "place"), "rungs")}
    if demo and form in {"csv", "xlsx"} and ways == {"geometry"}:
        yield ("demo", "format"), f"a {form} file carries no geometry, and the contract has no other rung"


def _style(raw: Raw) -> Iterator[Fault]:
    fields, style = _table(raw, "fields"), _table(raw, "style")
    for word in ("circle", "line", "fill"):
        colour = _table(style, word).get("colour")
        if isinstance(colour, str) and not colour.startswith("#") and colour not in fields:
            yield ("style", word, "colour"), f"colour is {colour!r}, which is neither a hex colour nor a field"
    label = style.get("label")
    if isinstance(label, str) and label not in fields:
        yield ("style", "label"), f"label is {label!r}, which is not a field"


RULES: tuple[Callable[[Raw], Iterator[Fault]], ...] = (
    _key,
    _reserved,
    _time_fields,
    _time_of_kind,
    _place,
    _names,
    _codes,
    _areas,
    _fields,
    _indicator_names,
    _measures,
    _protection,
    _private,
    _people,
    _closed_fields,
    _edits,
    _sources,
    _demo,
    _style,
)


def faults(raw: Raw) -> list[Fault]:
    """All faults of a contract's raw TOML table that these rules find."""
    return [fault for rule in RULES for fault in rule(raw)]
