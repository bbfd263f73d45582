"""Plain JSON: an object or a list of objects, each a record; parts of objects under dotted names."""

from ingest.codecs.jsontree import geometry, parsed, spread
from ingest.codecs.messages import FrameError, Message, Record
from ingest.codecs.records import GEOMETRY

__all__ = ["decode"]

_SEVERAL = 10_000


def decode(message: bytes) -> Message:
    """Read an object, a list, or a GeoJSON feature or collection of them. Raises FrameError."""
    said = parsed(message)
    if isinstance(said, dict) and said.get("type") == "FeatureCollection":
        said = said.get("features")
    objects = said if isinstance(said, list) else [said]
    if len(objects) > _SEVERAL:
        raise FrameError(f"it holds {len(objects):,} records; at most {_SEVERAL:,} are read at once.")
    return Message("records", "", [_record(one) for one in objects])


def _record(value: object) -> Record:
    if not isinstance(value, dict):
        raise FrameError("a record is no object.")
    record: Record = {}
    if value.get("type") == "Feature" and "properties" in value:
        if value.get("geometry") is not None:
            record[GEOMETRY] = geometry(value)
        value = value["properties"] or {}
        if not isinstance(value, dict):
            raise FrameError("the properties of a feature are no object.")
    spread("", value, record)
    return record
