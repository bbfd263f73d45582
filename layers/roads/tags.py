"""What the tags of OpenStreetMap say of a way or a node: who may pass, how fast, how high, how heavy.

After the tagging schemes https://wiki.openstreetmap.org/wiki/Key:access, Key:oneway, Key:maxspeed, Key:maxheight.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from layers.roads.profiles import Mode

__all__ = ["Passage", "barred", "excepted", "length_m", "passage", "speed_kmh", "weight_t"]

_ALL = Mode.MOTOR | Mode.EMERGENCY | Mode.FOOT
_DRIVEN = Mode.MOTOR | Mode.EMERGENCY
_BY_CLASS = {
    "motorway": _DRIVEN, "motorway_link": _DRIVEN, "busway": Mode.EMERGENCY, "pedestrian": Mode.EMERGENCY | Mode.FOOT,
    "footway": Mode.FOOT, "cycleway": Mode.FOOT, "path": Mode.FOOT, "bridleway": Mode.FOOT, "steps": Mode.FOOT,
    "other": Mode.FOOT,
}  # fmt: skip
_NOT_FOR_ALL = {"no", "private", "permit", "agricultural", "forestry", "agricultural;forestry", "military", "emergency"}
_ROUND = {"roundabout", "circular"}
_MILE_KM, _FOOT_M, _INCH_M, _SHORT_TON_T, _POUND_T = 1.609344, 0.3048, 0.0254, 0.90718474, 0.00045359237
_WALK_KMH = 7.0
_NUMBER = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*([a-zA-Z]*)\s*$")
_FEET = re.compile(r"\s*(\d+)\s*(?:'|ft)\s*(?:(\d+(?:\.\d+)?)\s*(?:\"|in)?)?\s*$")
_SLOWEST_KMH = 5.0
_PASSED_ON_FOOT = {
    "block", "bollard", "chain", "cycle_barrier", "debris", "jersey_barrier", "kissing_gate", "log",
    "motorcycle_barrier", "planter", "rope", "stile", "turnstile",
}  # fmt: skip

Tags = Mapping[str, str]


class Passage(NamedTuple):
    """Who may pass along (`ahead`) and against (`back`) the line of a way: bits of `Mode`."""

    ahead: int
    back: int


def passage(road_class: str, tags: Tags) -> Passage:
    """Who may pass a way of a class (`highway=`, or `ferry`)."""
    allowed = _allowed(_BY_CLASS.get(road_class, _ALL), tags)
    if road_class == "ferry" and "motor_vehicle" not in tags and "motorcar" not in tags:
        allowed &= Mode.FOOT
    ahead, back = _directions(road_class, tags)
    on_foot = allowed & Mode.FOOT
    driven = allowed & _DRIVEN
    return Passage((driven if ahead else 0) | on_foot, (driven if back else 0) | on_foot)


def _allowed(usual: int, tags: Tags) -> int:
    general = tags.get("access")
    vehicles = tags.get("motorcar") or tags.get("motor_vehicle") or tags.get("vehicle")
    motor, foot, emergency = vehicles or general, tags.get("foot") or general, tags.get("emergency")
    allowed = usual
    if motor in _NOT_FOR_ALL:
        allowed &= ~Mode.MOTOR
    elif vehicles is not None and usual & Mode.EMERGENCY:
        allowed |= Mode.MOTOR
    # Who comes in an emergency passes what is private or forbidden to vehicles; what is shut to all, where it says so.
    if emergency == "no" or (general == "no" and emergency is None):
        allowed &= ~Mode.EMERGENCY
    elif emergency in {"yes", "designated", "official"} or motor == "emergency":
        allowed |= Mode.EMERGENCY
    if foot in _NOT_FOR_ALL:
        allowed &= ~Mode.FOOT
    elif tags.get("foot") is not None:
        allowed |= Mode.FOOT
    return allowed


def _directions(road_class: str, tags: Tags) -> tuple[bool, bool]:
    said = tags.get("oneway:motor_vehicle") or tags.get("oneway:vehicle") or tags.get("oneway")
    if said in {"-1", "reverse"}:
        return False, True
    if said == "reversible":
        return False, False
    one_way = said in {"yes", "true", "1"}
    if said is None:
        one_way = tags.get("junction") in _ROUND or road_class in {"motorway", "motorway_link"}
    return True, not one_way


def barred(tags: Tags) -> int:
    """Whom a barrier at a node stops: bits of `Mode`. A gate is opened, unless its tags say for whom it is not."""
    kind = tags.get("barrier")
    if kind is None:
        return 0
    return _ALL & ~_allowed(Mode.FOOT if kind in _PASSED_ON_FOOT else _ALL, tags)


def excepted(text: str | None) -> int:
    """Who is excepted from a restriction (`except=`): bits of `Mode`."""
    words = {word.strip() for word in (text or "").split(";")}
    found = Mode.FOOT  # turns are restricted for who drives
    if "emergency" in words:
        found |= Mode.EMERGENCY
    if words & {"motorcar", "motor_vehicle"}:
        found |= _DRIVEN
    return found


def speed_kmh(text: str | None) -> float:
    """A speed limit (`maxspeed=`) in km/h; NaN for none, and for what is no number."""
    if text == "walk":
        return _WALK_KMH
    match = _NUMBER.match(text or "")
    if match is None or match[2] not in {"", "km/h", "kmh", "kph", "mph"}:
        return math.nan
    speed = float(match[1].replace(",", ".")) * (_MILE_KM if match[2] == "mph" else 1.0)
    return speed if speed >= _SLOWEST_KMH else math.nan


def length_m(text: str | None) -> float:
    """A height or width limit in metres (`3.5`, `3.5 m`, `11'6"`); NaN for none, and for what is no length."""
    feet = _FEET.match(text or "")
    if feet is not None:
        return int(feet[1]) * _FOOT_M + float(feet[2] or 0) * _INCH_M
    match = _NUMBER.match(text or "")
    units = {"": 1.0, "m": 1.0, "cm": 0.01}
    return float(match[1].replace(",", ".")) * units[match[2]] if match is not None and match[2] in units else math.nan


def weight_t(text: str | None) -> float:
    """A weight limit in tonnes (`7.5`, `7.5 t`, `7500 kg`); NaN for none, and for what is no weight."""
    match = _NUMBER.match(text or "")
    units = {"": 1.0, "t": 1.0, "kg": 0.001, "st": _SHORT_TON_T, "lbs": _POUND_T, "lb": _POUND_T}
    return float(match[1].replace(",", ".")) * units[match[2]] if match is not None and match[2] in units else math.nan
