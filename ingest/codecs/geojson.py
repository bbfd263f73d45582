"""GeoJSON (RFC 7946): a FeatureCollection or a Feature.

The text is checked as a whole before anything of it is used, then read feature by feature, so that one broken
feature does not cost the others. Only a `crs` member says a coordinate system: files that lack it are often not WGS 84.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import polars as pl
import shapely

from ingest.codecs.encodings import as_utf8
from ingest.codecs.records import GEOMETRY, ROW, ReadOptions, Records, Unreadable, unreadable
from ingest.codecs.shapes import crs_word, wkb
from layers.contract import Contract
from twin.errors import SourceError

__all__ = ["read"]

_SHOWN_BYTES = 8192
_EXACT = 2**53


class _Document(msgspec.Struct):
    type: str
    features: list[msgspec.Raw] | None = None
    crs: dict[str, Any] | None = None


class _Feature(msgspec.Struct):
    type: str
    geometry: msgspec.Raw = msgspec.Raw(b"null")
    properties: dict[str, Any] | None = None
    id: str | int | float | None = None


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:  # noqa: ARG001
    """Read GeoJSON. The columns are the properties, and `id` where features have one and no property of that name.

    Raises SourceError with the position where the JSON is broken, and for JSON that is not GeoJSON.
    """
    with TemporaryDirectory(prefix="citytwin-") as folder:
        data = as_utf8(path, Path(folder), options.encoding).read_bytes()
    features, crs = _opened(data)
    for start in range(0, max(len(features), 1), options.batch_rows):
        yield _records(features[start : start + options.batch_rows], start + 1, crs)


def _opened(data: bytes) -> tuple[list[msgspec.Raw], str | None]:
    """The features, unread, and the coordinate system."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except RecursionError as error:
        raise SourceError("the JSON is nested too deeply.") from error
    except msgspec.ValidationError as error:
        raise SourceError(f"the file is JSON but not GeoJSON: {error}.") from error
    except msgspec.DecodeError as error:
        end = f"it ends in the middle, after byte {len(data)}" if "truncated" in str(error) else str(error)
        raise SourceError(f"the JSON is broken: {end}.", remedy="Export the file again.") from error
    if document.type == "Feature":
        return [msgspec.Raw(data)], _crs(document.crs)
    if document.type != "FeatureCollection" or document.features is None:
        raise SourceError(
            f"the file is JSON of type {document.type[:40]!r}, not a GeoJSON FeatureCollection.",
            remedy="Export it as GeoJSON.",
        )
    return document.features, _crs(document.crs)


def _crs(member: dict[str, Any] | None) -> str | None:
    """The coordinate system of a `crs` member (GeoJSON of 2008): named."""
    properties = member.get("properties") if member else None
    return crs_word(properties.get("name")) if isinstance(properties, dict) else None


def _records(features: list[msgspec.Raw], first: int, crs: str | None) -> Records:
    rows: list[int] = []
    good: list[_Feature] = []
    bad: list[Unreadable] = []
    for row, text in enumerate(features, first):
        try:
            feature = msgspec.json.decode(text, type=_Feature)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            bad.append(_unreadable(row, text, f"it is not a GeoJSON feature: {error}"))
            continue
        if feature.type == "Feature":
            rows.append(row)
            good.append(feature)
        else:
            bad.append(_unreadable(row, text, f"it is a {feature.type[:40]!r}, not a GeoJSON feature"))
    texts = [_geometry(feature) for feature in good]
    with np.errstate(over="ignore"):
        geometries = np.atleast_1d(shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore"))
    own = [pl.Series(ROW, rows, dtype=pl.Int64), wkb(geometries).alias(GEOMETRY)]
    frame = pl.DataFrame([*_properties(good), *own])
    broken = pl.Series(texts, dtype=pl.String).is_not_null() & pl.Series(
        shapely.is_missing(geometries), dtype=pl.Boolean
    )
    bad += [
        _unreadable(rows[position], features[rows[position] - first], "its geometry cannot be read")
        for position in broken.arg_true()
    ]
    return Records(frame.filter(~broken), crs, tuple(sorted(bad, key=lambda one: one.row)))


def _geometry(feature: _Feature) -> str | None:
    text = bytes(feature.geometry).decode()
    return None if text == "null" else text


def _unreadable(row: int, text: msgspec.Raw, why: str) -> Unreadable:
    return unreadable(row, bytes(memoryview(text)[:_SHOWN_BYTES]).decode("utf-8", "replace"), why)


def _properties(features: list[_Feature]) -> list[pl.Series]:
    """One column for each name that occurs."""
    properties = [feature.properties or {} for feature in features]
    names = dict.fromkeys(name for one in properties for name in one if name not in {ROW, GEOMETRY})
    columns = {name: _column([one.get(name) for one in properties]) for name in names}
    ids = [feature.id for feature in features]
    if "id" not in columns and any(one is not None for one in ids):
        columns["id"] = _column(ids)
    return [series.alias(name) for name, series in columns.items()]


def _column(values: list[Any]) -> pl.Series:
    """JSON values of one type as that type; mixed ones, lists and objects as text."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {str}:
        return pl.Series(values, dtype=pl.String)
    if kinds == {bool}:
        return pl.Series(values, dtype=pl.Boolean)
    small = all(abs(value) < _EXACT for value in values if type(value) is int)
    if kinds == {int} and small:
        return pl.Series(values, dtype=pl.Int64)
    if kinds and kinds <= {int, float} and small:
        return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series([_text(value) for value in values], dtype=pl.String)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
