"""Warnings: the Common Alerting Protocol 1.2 (ITU-T X.1303 bis).

A record for each area of each language's information, with the fields of alert, info and area under their own names;
`areaDesc`, `geocode.<name>` and the area's polygons and circles as one geometry. Of several languages the first
Chinese one is taken, else the first. Exercises and tests bring no records; a cancelled warning ends when it was
cancelled (`expires`), and names the one it cancels in `identifier`.
"""

import math
from xml.etree.ElementTree import Element

import shapely
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from ingest.codecs.messages import FrameError, Message, Record
from ingest.codecs.records import GEOMETRY
from twin.geometry import METRES_PER_DEGREE

__all__ = ["decode"]

_SPACE = "{urn:oasis:names:tc:emergency:cap:1.2}"
_ALERT = ("identifier", "sender", "sent", "status", "msgType", "scope", "references")
_NEEDED = ("identifier", "sender", "sent", "status", "msgType", "scope")
_INFO = ("language", "category", "event", "urgency", "severity", "certainty", "effective", "onset", "expires",
         "senderName", "headline", "description", "instruction")  # fmt: skip
_STATUSES = frozenset(("Actual", "Exercise", "System", "Test", "Draft"))
_MOST_VERTICES = 10_000


def decode(message: bytes) -> Message:
    """Read an alert. Raises FrameError."""
    try:
        alert = ElementTree.fromstring(message, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise FrameError(f"this is no XML that is read: {error}.") from None
    if alert.tag != f"{_SPACE}alert":
        raise FrameError("this is no alert of CAP 1.2.")
    head = {name: _text(alert, name) for name in _ALERT}
    if missing := [name for name in _NEEDED if not head[name]]:
        raise FrameError(f"the alert lacks {', '.join(missing)}.")
    if head["status"] not in _STATUSES:
        raise FrameError(f"the alert's status is {str(head['status'])[:40]!r}.")
    kind, sender = str(head["msgType"]), str(head["sender"])
    if head["status"] != "Actual":
        return Message(kind, sender)
    if kind in {"Cancel", "Update"} and head["references"]:
        # `sender,identifier,sent`, the newest last: the warning keeps the name it has had since its first message.
        first = str(head["references"]).split()[0].split(",")
        head["identifier"] = first[1] if len(first) == 3 else head["identifier"]
    infos = alert.findall(f"{_SPACE}info")
    chosen = next((info for info in infos if (_text(info, "language") or "").lower().startswith("zh")), None)
    return Message(kind, sender, _records(head, chosen if chosen is not None else infos[0]) if infos else [])


def _records(head: dict[str, str | None], info: Element) -> list[Record]:
    common: Record = {**head, **{name: _text(info, name) for name in _INFO}}
    common["effective"] = common["effective"] or head["sent"]
    if head["msgType"] == "Cancel":
        common["expires"] = head["sent"]
    for parameter in info.findall(f"{_SPACE}parameter"):
        common[f"parameter.{_text(parameter, 'valueName')}"] = _text(parameter, "value")
    for code in info.findall(f"{_SPACE}eventCode"):
        common[f"eventCode.{_text(code, 'valueName')}"] = _text(code, "value")
    return [common | _area(area) for area in info.findall(f"{_SPACE}area")] or [common]


def _area(area: Element) -> Record:
    record: Record = {"areaDesc": _text(area, "areaDesc")}
    for code in area.findall(f"{_SPACE}geocode"):
        record[f"geocode.{_text(code, 'valueName')}"] = _text(code, "value")
    shapes = [_polygon(part.text or "") for part in area.findall(f"{_SPACE}polygon")]
    shapes += [_circle(part.text or "") for part in area.findall(f"{_SPACE}circle")]
    if shapes:
        record[GEOMETRY] = shapely.to_wkb(shapely.union_all(shapes) if len(shapes) > 1 else shapes[0])
    return record


def _text(element: Element, name: str) -> str | None:
    found = element.find(f"{_SPACE}{name}")
    return (found.text or "").strip() or None if found is not None else None


def _polygon(text: str) -> shapely.Polygon:
    """`lat,lon lat,lon ...`, the last pair the first again."""
    pairs = [_pair(word) for word in text.split()]
    if len(pairs) < 4 or pairs[0] != pairs[-1]:
        raise FrameError("a polygon of the warning is not closed.")
    if len(pairs) > _MOST_VERTICES:
        raise FrameError(f"a polygon of the warning has {len(pairs):,} corners.")
    return shapely.Polygon(pairs)


def _circle(text: str) -> shapely.Polygon:
    """`lat,lon radius`, the radius in kilometres."""
    words = text.split()
    if len(words) != 2:
        raise FrameError("a circle of the warning is no place and radius.")
    lon, lat = _pair(words[0])
    radius = _number(words[1]) * 1_000 / METRES_PER_DEGREE
    round_one = shapely.Point(0, 0).buffer(radius)
    squeeze = max(math.cos(math.radians(lat)), 0.01)
    return shapely.transform(round_one, lambda xy: xy / (squeeze, 1.0) + (lon, lat))


def _pair(word: str) -> tuple[float, float]:
    """Longitude and latitude of `lat,lon`."""
    lat, comma, lon = word.partition(",")
    if not comma:
        raise FrameError(f"{word[:40]!r} is no pair of coordinates.")
    return _number(lon), _number(lat)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise FrameError(f"{text[:40]!r} is no number.") from None
    if not math.isfinite(value) or abs(value) > 40_000:
        raise FrameError(f"{text[:40]!r} is no coordinate.")
    return value
