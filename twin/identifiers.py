"""Codes by which records name firms, areas, devices, roads and cells: read, checked, and told what is wrong with them.

Structures after the standards named at each kind. A code that is well formed need not exist: registers know that.
"""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import h3

from twin.beidou import box_of
from twin.checkdigits import CREDIT_SIGNS, credit_check, mod_11_10, organisation_check, resident_check
from twin.city import Title
from twin.errors import InvalidRequest

__all__ = ["KINDS", "Fault", "Identifier", "IdentifierKind", "find_stake", "plain", "read", "recognise", "suspects"]

IdentifierKind = Literal[
    "credit_code",
    "area_code",
    "resident_id",
    "device_code",
    "school_id",
    "food_licence",
    "outlet",
    "grid_cell",
    "parcel",
    "road_stake",
    "h3",
    "beidou",
]

_PROVINCES = frozenset(map(str, [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55),
                                 *range(61, 66), 71, 81, 82]))  # fmt: skip
_DEVICES = {
    "111": "DVR",
    "112": "video server",
    "118": "NVR",
    "131": "camera",
    "132": "IP camera",
    "134": "alarm input",
    "200": "signalling server",
    "215": "business group",
    "216": "virtual group",
}
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_CONFUSED = str.maketrans("IOZSV", "10257")
"""What stands for what in copied credit codes; V is a badly read 7."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A code that is well formed: its kind, its normal form, and its parts by name.

    Of a resident's number `text` is empty: it is checked and then forgotten.
    """

    kind: IdentifierKind
    text: str
    parts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a code, and which codes it may have been meant to be.

    `code` is `form` (length or signs), `check` (the check digit), `area` (no such province), `value` (a part that
    cannot be).
    """

    kind: IdentifierKind
    code: Literal["form", "check", "area", "value"]
    what: Title
    fits: tuple[str, ...] = field(default=())


_Read = Callable[[str], Identifier | Fault]


def plain(text: str) -> str:
    """A code with full-width signs made plain, without spaces around it, in capitals."""
    return text.translate(_FULL_WIDTH).strip().upper()


def read(kind: IdentifierKind, text: str) -> Identifier | Fault:
    """Read a code of a known kind: the code, or what is wrong with it."""
    return _READERS[kind](plain(text))


def recognise(text: str) -> list[Identifier]:
    """The codes that a text may be, of whatever kind; the most telling kind first. Residents' numbers are none."""
    asked = plain(text)
    found = (reader(asked) for kind, reader in _READERS.items() if kind != "resident_id")
    return [one for one in found if isinstance(one, Identifier)]


def suspects(text: str) -> list[Fault]:
    """What is wrong with a text that is nearly a code: all of it fits but the check sign, an area or a value."""
    asked = plain(text)
    found = (reader(asked) for kind, reader in _READERS.items() if kind != "resident_id")
    return [one for one in found if isinstance(one, Fault) and (one.code != "form" or one.fits)]


def _form(kind: IdentifierKind, zh: str, en: str) -> Fault:
    return Fault(kind, "form", Title(zh=zh, en=en))


def _area(kind: IdentifierKind, digits: str) -> Fault | None:
    """A fault where the first two digits are no province of GB/T 2260."""
    if digits[:2] in _PROVINCES:
        return None
    return Fault(kind, "area", Title(zh=f"{digits[:2]} 不是省级代码", en=f"{digits[:2]} is no code of a province"))


def _check(kind: IdentifierKind, is_: str, due: str, fits: tuple[str, ...] = ()) -> Fault:
    what = Title(zh=f"校验位是 {is_}，应为 {due}", en=f"the check sign is {is_}, it should be {due}")
    return Fault(kind, "check", what, fits)


def _credit_code(text: str) -> Identifier | Fault:
    """GB 32100-2015: register (1), body (1), area (6), organisation code (9, GB 11714), check sign."""
    kind: IdentifierKind = "credit_code"
    code = re.sub(r"[\s-]", "", text)
    if len(code) != 18:
        return _form(kind, f"应为 18 位，现为 {len(code)} 位", f"it has {len(code)} signs, 18 are due")
    if not set(code) <= set(CREDIT_SIGNS):
        strange = "".join(sorted(set(code) - set(CREDIT_SIGNS)))
        corrected = code.translate(_CONFUSED)
        fits = (corrected,) if set(corrected) <= set(CREDIT_SIGNS) and _credit_is_right(corrected) else ()
        return Fault(
            kind, "form", Title(zh=f"含有不用的字符 {strange}", en=f"it has signs in no code: {strange}"), fits
        )
    if not code[2:8].isdigit():
        return _form(kind, "第 3 至 8 位应为数字", "signs 3 to 8 should be digits")
    if not _credit_is_right(code):
        swapped = {code[:at] + code[at + 1] + code[at] + code[at + 2 :] for at in range(17)} - {code}
        return _check(kind, code[-1], credit_check(code[:-1]), tuple(sorted(filter(_credit_is_right, swapped))))
    parts = {"register": code[:2], "area": code[2:8], "organisation": code[8:17]}
    return _area(kind, code[2:8]) or Identifier(kind, code, parts)


def _credit_is_right(code: str) -> bool:
    return code[2:8].isdigit() and organisation_check(code[8:16]) == code[16] and credit_check(code[:17]) == code[17]


def _area_code(text: str) -> Identifier | Fault:
    """GB/T 2260 (6), with town (9, GB/T 10114) and community (12)."""
    kind: IdentifierKind = "area_code"
    if not re.fullmatch(r"\d{6}(\d{3}){0,2}", text):
        return _form(kind, "应为 6、9 或 12 位数字", "it should have 6, 9 or 12 digits")
    return _area(kind, text) or Identifier(kind, text, _area_parts(text))


def _area_parts(digits: str) -> dict[str, str]:
    parts = {"province": digits[:2], "city": digits[:4], "district": digits[:6]}
    if len(digits) >= 9:
        parts["town"] = digits[:9]
    if len(digits) >= 12:
        parts["community"] = digits[:12]
    return parts


def _resident_id(text: str) -> Identifier | Fault:
    """GB 11643: area (6), birth (8), order (3), check sign. Nothing of it but the area is kept."""
    kind: IdentifierKind = "resident_id"
    if not re.fullmatch(r"\d{17}[\dX]", text):
        return _form(kind, "应为 17 位数字加 1 位校验码", "it should have 17 digits and a check sign")
    if resident_check(text[:17]) != text[17]:
        return Fault(kind, "check", Title(zh="校验位不符", en="the check sign is wrong"))
    try:
        dt.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return Fault(kind, "value", Title(zh="出生日期不存在", en="there is no such date of birth"))
    return _area(kind, text) or Identifier(kind, "", {"area": text[:6]})


def _device_code(text: str) -> Identifier | Fault:
    """GB/T 28181 annex D: centre (8, the first six an area), industry (2), type (3), network (1), number (6)."""
    kind: IdentifierKind = "device_code"
    if not re.fullmatch(r"\d{20}", text):
        return _form(kind, "应为 20 位数字", "it should have 20 digits")
    if text[10:13] not in _DEVICES:
        en, zh = f"{text[10:13]} is no type of device", f"{text[10:13]} 不是设备类型码"
        return Fault(kind, "value", Title(zh=zh, en=en))
    parts = {"area": text[:6], "industry": text[8:10], "type": _DEVICES[text[10:13]], "number": text[14:]}
    return _area(kind, text) or Identifier(kind, text, parts)


def _school_id(text: str) -> Identifier | Fault:
    """The education ministry's: kind (2), province (2), number (6)."""
    kind: IdentifierKind = "school_id"
    if not re.fullmatch(r"\d{10}", text):
        return _form(kind, "应为 10 位数字", "it should have 10 digits")
    return _area(kind, text[2:]) or Identifier(kind, text, {"school": text[:2], "province": text[2:4]})


def _food_licence(text: str) -> Identifier | Fault:
    """SC + class (3), area (6), number (4), check; JY + trade (1), area (6), number (6), check (MOD 11,10)."""
    kind: IdentifierKind = "food_licence"
    found = re.fullmatch(r"(SC|JY)\s*(\d{14})", text)
    if found is None:
        return _form(kind, "应为 SC 或 JY 加 14 位数字", "it should be SC or JY and 14 digits")
    prefix, digits = found.groups()
    if mod_11_10(digits[:13]) != digits[13]:
        return _check(kind, digits[13], mod_11_10(digits[:13]))
    area = digits[3:9] if prefix == "SC" else digits[1:7]
    return _area(kind, area) or Identifier(kind, prefix + digits, {"licence": prefix, "area": area})


def _outlet(text: str) -> Identifier | Fault:
    """HJ 608: DA (air) or DW (water) and three digits, unique within a firm; before it may stand the permit or firm."""
    kind: IdentifierKind = "outlet"
    found = re.fullmatch(r"(?:([0-9A-Z]{18})(\d{3}[A-Z])?[\s/-]*)?(D[AW])(\d{3})", text)
    if found is None:
        return _form(kind, "应为 DA 或 DW 加 3 位数字", "it should be DA or DW and three digits")
    firm, permit, medium, number = found.groups()
    parts = {"medium": "air" if medium == "DA" else "water", "number": number}
    if firm is not None:
        owner = _credit_code(firm)
        if isinstance(owner, Fault):
            return Fault(kind, owner.code, owner.what, owner.fits)
        parts["credit_code"] = firm
    return Identifier(kind, f"{firm or ''}{permit or ''}{' ' if firm else ''}{medium}{number}", parts)


def _grid_cell(text: str) -> Identifier | Fault:
    """CJ/T 213, GB/T 30428.1: area (6), town (3), community (3), cell (3)."""
    kind: IdentifierKind = "grid_cell"
    if not re.fullmatch(r"\d{15}", text):
        return _form(kind, "应为 15 位数字", "it should have 15 digits")
    return _area(kind, text) or Identifier(kind, text, _area_parts(text) | {"cell": text[12:]})


def _parcel(text: str) -> Identifier | Fault:
    """A parcel (19): area (6), cadastral district and section (6), right (2 letters), number (5); a unit has 9 more."""
    kind: IdentifierKind = "parcel"
    code = text.replace(" ", "")
    if not re.fullmatch(r"\d{12}[GJZ][A-Z]\d{5}([FLQW]\d{8})?", code):
        return _form(kind, "应为 19 位宗地代码或 28 位不动产单元号", "it should be a parcel (19) or a unit (28 signs)")
    parts = {"area": code[:6], "parcel": code[:19], "right": code[12:14]} | ({"unit": code} if code[19:] else {})
    return _area(kind, code) or Identifier(kind, code, parts)


_CLASSES = {"国道": "G", "省道": "S", "县道": "X", "乡道": "Y", "村道": "C"}
_STAKE = re.compile(
    r"(?<![0-9A-Z])(?:(?P<road>[GSXYCZ]\d{1,4})(?:国道|省道|县道|乡道|村道)?|(?P<number>\d{1,4})(?P<class>国道|省道|县道|乡道|村道))"
    r"[^\dK]{0,12}?"
    r"(?:(?P<side>[ZY])?K\s*(?P<km>\d{1,4})(?:\+(?P<m>\d{1,4}(?:\.\d+)?)|\.(?P<part>\d{1,3}))?"
    r"|(?P<km2>\d{1,4})\s*(?:公里|千米|KM)(?:\s*(?:\+|零|处|加)?\s*(?P<m2>\d{1,4})\s*(?:米|M))?)"
)


def find_stake(text: str) -> tuple[int, int, Identifier | Fault] | None:
    """The first road with a stake in a text (`某市G104 K612+300附近`): where it begins and ends, and what it is."""
    found = _STAKE.search(text.translate(_FULL_WIDTH).upper())
    if found is None:
        return None
    road = found["road"] or _CLASSES[found["class"]] + found["number"]
    metres = float(found["m"] or found["m2"] or 0)
    if found["part"]:
        metres = 1000 * float(f"0.{found['part']}")
    if metres >= 1000:
        what = Title(zh=f"桩号的米数 {metres:g} 应小于 1000", en=f"{metres:g} m behind a stake's kilometre")
        return found.start(), found.end(), Fault("road_stake", "value", what)
    kilometre = int(found["km"] or found["km2"])
    side = {"Z": "left", "Y": "right"}.get(found["side"] or "", "")
    normal = (
        f"{road} {found['side'] or ''}K{kilometre}+{metres:03g}"
        if metres % 1 == 0
        else f"{road} K{kilometre}+{metres:g}"
    )
    parts = {"road": road, "stake_m": f"{1000 * kilometre + metres:g}"} | ({"side": side} if side else {})
    return found.start(), found.end(), Identifier("road_stake", normal, parts)


def _road_stake(text: str) -> Identifier | Fault:
    """A road number (GB/T 917) and a stake: `G104 K612+300`, `104国道612公里300米`."""
    found = find_stake(text)
    if found is None or (found[0], found[1]) != (0, len(text)):
        return _form("road_stake", "应为“G104 K612+300”的形式", "it should look like G104 K612+300")
    return found[2]


def _h3(text: str) -> Identifier | Fault:
    """An H3 cell: 15 hexadecimal digits."""
    cell = text.lower()
    if not re.fullmatch(r"[0-9a-f]{15}", cell) or not h3.is_valid_cell(cell):
        return _form("h3", "不是 H3 网格编码", "it is no index of an H3 cell")
    return Identifier("h3", cell, {"resolution": str(h3.get_resolution(cell))})


def _beidou(text: str) -> Identifier | Fault:
    """A Beidou grid code (GB/T 39409-2020), one to ten levels."""
    code = text.replace(" ", "")
    try:
        west, south, east, north = box_of(code)
    except InvalidRequest as error:
        return _form("beidou", "不是北斗网格位置码", error.what)
    edges = {"west": west, "south": south, "east": east, "north": north}
    return Identifier("beidou", code, {name: f"{edge:.9f}" for name, edge in edges.items()})


_READERS: dict[IdentifierKind, _Read] = {
    "credit_code": _credit_code,
    "food_licence": _food_licence,
    "outlet": _outlet,
    "parcel": _parcel,
    "road_stake": _road_stake,
    "device_code": _device_code,
    "h3": _h3,
    "beidou": _beidou,
    "grid_cell": _grid_cell,
    "resident_id": _resident_id,
    "school_id": _school_id,
    "area_code": _area_code,
}
KINDS: tuple[IdentifierKind, ...] = tuple(_READERS)
