"""Observations of sensors: OGC SensorThings API 1.1.

Read are one Observation, a page of them (`value`), and a data array. A record has `result`, `phenomenonTime` (of an
interval its end), `resultTime`, and what was expanded beside it: `Datastream.@iot.id`, `Datastream.name`,
`ObservedProperty.name`, `Thing.@iot.id`, `Thing.name` and the like; the place of the FeatureOfInterest, or else that of
the Datastream, is the record's geometry. Parts of a composite result stand under dotted names (`result.pm25`).
"""

from ingest.codecs.jsontree import geometry, parsed, plain, spread
from ingest.codecs.messages import FrameError, Message, Record
from ingest.codecs.records import GEOMETRY

__all__ = ["decode", "next_page"]

_EXPANDED = ("Datastream", "MultiDatastream", "ObservedProperty", "Sensor", "Thing", "FeatureOfInterest")
_SEVERAL = 10_000
_DEEPEST = 6

_Said = dict[str, object]


def decode(message: bytes) -> Message:
    """Read observations. Raises FrameError."""
    said = _opened(message)
    if isinstance(said, list):  # a request with data arrays has one for each datastream
        observations = [one for array in said for one in _of_array(array)]
    elif "dataArray" in said:
        observations = _of_array(said)
    else:
        found = said.get("value", [said])
        if not isinstance(found, list):
            raise FrameError("its `value` is no list.")
        observations = [one if isinstance(one, dict) else {} for one in found]
        if observations and "dataArray" in observations[0]:
            observations = [one for array in observations for one in _of_array(array)]
    if len(observations) > _SEVERAL:
        raise FrameError(f"it holds {len(observations):,} observations; at most {_SEVERAL:,} are read at once.")
    return Message("observations", "", [_record(one) for one in observations])


def next_page(message: bytes) -> str | None:
    """The address of the page behind this one. Raises FrameError."""
    said = _opened(message)
    link = said.get("@iot.nextLink") if isinstance(said, dict) else None
    return link if isinstance(link, str) else None


def _opened(message: bytes) -> _Said | list[object]:
    said = parsed(message)
    if not isinstance(said, dict | list):
        raise FrameError("this is no observation.")
    return said


def _of_array(array: object) -> list[_Said]:
    """The observations of a data array: names of components once, then a row of values for each observation."""
    if not isinstance(array, dict):
        raise FrameError("a data array is none.")
    names, rows = array.get("components"), array.get("dataArray")
    if not isinstance(names, list) or not isinstance(rows, list):
        raise FrameError("a data array lacks its components or its rows.")
    common = {name: array[name] for name in _EXPANDED if name in array}
    found: list[_Said] = []
    for row in rows:
        if not isinstance(row, list) or len(row) != len(names):
            raise FrameError("a row of a data array has another length than its components.")
        found.append({**common, **dict(zip(map(str, names), row, strict=True))})
    return found


def _record(observation: _Said) -> Record:
    if "result" not in observation:
        raise FrameError("an observation has no result.")
    time = observation.get("phenomenonTime")
    record: Record = {
        "@iot.id": plain(observation.get("@iot.id")),
        "phenomenonTime": time.rpartition("/")[2] if isinstance(time, str) else None,
        "resultTime": plain(observation.get("resultTime")),
    }
    spread("result", observation["result"], record)

    _read_expanded(observation, record, 0)
    return record


def _read_expanded(body: _Said, record: Record, depth: int) -> None:
    """Names and ids of what was expanded, however deep; and a place."""
    if depth > _DEEPEST:
        raise FrameError("an observation is nested too deep.")
    for name in _EXPANDED:
        part = body.get(name)
        if isinstance(part, dict):
            for field in ("@iot.id", "name"):
                if field in part:
                    record[f"{name}.{field}"] = plain(part[field])
            place = part.get("feature") if name == "FeatureOfInterest" else part.get("observedArea")
            if isinstance(place, dict) and (name == "FeatureOfInterest" or GEOMETRY not in record):
                record[GEOMETRY] = geometry(place)
            if isinstance(part.get("properties"), dict):
                spread(f"{name}.properties", part["properties"], record)
            _read_expanded(part, record, depth + 1)
