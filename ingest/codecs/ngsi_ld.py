"""Entities of context brokers: NGSI-LD (ETSI GS CIM 009), normalized, concise and key-values.

Read are one entity, a list of them, or a notification. A record has `id`, `type` and each attribute under its name:
properties by their value, relationships by what they lead to; parts of objects under dotted names
(`address.addressLocality`). The attribute `location` is the record's geometry. `observedAt` is the entity's, or else
the newest of its attributes'.
"""

from ingest.codecs.jsontree import geometry, parsed, plain, spread
from ingest.codecs.messages import FrameError, Message, Record
from ingest.codecs.records import GEOMETRY

__all__ = ["decode"]

_MEMBERS = ("value", "object", "languageMap", "json", "vocab")
_SEVERAL = 1000


def decode(message: bytes) -> Message:
    """Read entities. Raises FrameError."""
    said, kind = parsed(message), "entities"
    if isinstance(said, dict) and said.get("type") == "Notification":
        kind, said = "notification", said.get("data")
    entities = said if isinstance(said, list) else [said]
    if len(entities) > _SEVERAL:
        raise FrameError(f"it holds {len(entities):,} entities; at most {_SEVERAL:,} are read at once.")
    return Message(kind, "", [_record(entity) for entity in entities])


def _record(entity: object) -> Record:
    if not isinstance(entity, dict) or not isinstance(entity.get("id"), str):
        raise FrameError("an entity has no id.")
    record: Record = {"id": entity["id"], "type": plain(entity.get("type"))}
    newest = ""
    for name, attribute in entity.items():
        if name in {"id", "type", "@context"}:
            continue
        value = _value(attribute)
        if name in {"location", "observationSpace"} and isinstance(value, dict):
            if name == "location":
                record[GEOMETRY] = geometry(value)
            continue
        if isinstance(attribute, dict) and isinstance(attribute.get("observedAt"), str):
            newest = max(newest, attribute["observedAt"])
        spread(name, value, record)
    if newest:
        record.setdefault("observedAt", newest)
    return record


def _value(attribute: object) -> object:
    """The value of an attribute, whichever of the three forms it is written in."""
    if not isinstance(attribute, dict):
        return attribute
    if attribute.get("type") == "GeoProperty" or "coordinates" in attribute or _is_attribute(attribute):
        found = next((attribute[member] for member in _MEMBERS if member in attribute), attribute)
        # Older brokers write dates as {"@type": "DateTime", "@value": ...}.
        return found["@value"] if isinstance(found, dict) and "@value" in found else found
    return attribute.get("@value", attribute)


def _is_attribute(attribute: dict[str, object]) -> bool:
    return any(member in attribute for member in _MEMBERS)
