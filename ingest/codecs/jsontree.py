"""JSON documents -> the flat records that messages bring: parts of objects under dotted names."""

import orjson
import shapely
from shapely.errors import GEOSException

from ingest.codecs.messages import FrameError, Record

__all__ = ["geometry", "parsed", "plain", "spread"]

_DEEPEST = 20
_EXACT = 2**53


def parsed(message: bytes) -> object:
    """The document. Raises FrameError."""
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise FrameError(f"this is no JSON: {error}.") from None


def spread(name: str, value: object, record: Record, depth: int = 0) -> None:
    """Put a value, or the parts of an object, into a record. Raises FrameError where it is nested too deep."""
    if depth > _DEEPEST:
        raise FrameError(f"{name[:40]!r} is nested too deep.")
    if isinstance(value, dict):
        for part, inner in value.items():
            spread(f"{name}.{part}" if name else str(part), inner, record, depth + 1)
    else:
        record[name] = plain(value)


def plain(value: object) -> str | float | bool | None:
    """A value as records hold it: lists and objects as JSON text, integers that a float cannot hold as text."""
    if value is None or isinstance(value, str | float | bool):
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < _EXACT else str(value)
    return orjson.dumps(value).decode()


def geometry(value: object) -> bytes:
    """A GeoJSON geometry, or that of a feature, as WKB. Raises FrameError."""
    if isinstance(value, dict) and value.get("type") == "Feature":
        value = value.get("geometry")
    try:
        return shapely.to_wkb(shapely.from_geojson(orjson.dumps(value)))
    except (GEOSException, TypeError) as error:
        raise FrameError(f"this is no geometry of GeoJSON: {error}.") from None
