"""Feeds of public transport: GTFS Realtime, version 2.

Each entity becomes a record of its fields under dotted names (`vehicle.id`, `trip.route_id`, `position.longitude`);
`entity` says what it is: vehicle, trip_update or alert. Of a trip update the next stop's delay stands in `delay`.
Times are seconds since 1970.
"""

from google.protobuf.message import DecodeError
from google.transit import gtfs_realtime_pb2 as realtime

from ingest.codecs.messages import FrameError, Message, Record

__all__ = ["decode"]

_PARTS = ("trip_update", "vehicle", "alert")


def decode(message: bytes) -> Message:
    """Read a feed. Raises FrameError."""
    feed = realtime.FeedMessage()
    try:
        feed.ParseFromString(message)
    except DecodeError as error:
        raise FrameError(f"this is no GTFS Realtime feed: {error}.") from None
    if not feed.IsInitialized():
        raise FrameError("the feed lacks its header.")
    said = feed.header.timestamp
    return Message("feed", "", [_record(entity, said) for entity in feed.entity if not entity.is_deleted])


def _record(entity: "realtime.FeedEntity", feed_time: int) -> Record:
    part = next((name for name in _PARTS if entity.HasField(name)), "")
    record: Record = {"entity": part, "entity_id": entity.id}
    if not part:
        return record
    body = getattr(entity, part)
    _flatten(body, "", record)
    if part == "trip_update" and body.stop_time_update:
        event = body.stop_time_update[0]
        record["delay"] = (event.arrival if event.HasField("arrival") else event.departure).delay
        record["stop_id"] = event.stop_id
    if part == "alert":
        record["header_text"] = next((one.text for one in body.header_text.translation), "")
    record.setdefault("timestamp", str(feed_time) if feed_time else None)
    return record


def _flatten(body: object, prefix: str, record: Record) -> None:
    """The fields that are set; lists are left to `_record`."""
    for field, value in body.ListFields():  # type: ignore[attr-defined]
        name = f"{prefix}{field.name}"
        if field.is_repeated:
            continue
        if field.type == field.TYPE_MESSAGE:
            _flatten(value, f"{name}.", record)
        elif field.type == field.TYPE_ENUM:
            known = field.enum_type.values_by_number.get(value)
            record[name] = known.name if known else str(value)
        elif field.name == "timestamp":
            record[name] = str(value)
        else:
            record[name] = value
