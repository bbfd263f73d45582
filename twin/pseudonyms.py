"""What names a person or a device never enters a layer: pseudonyms, masks, and a search through free text.

Kinds: `mac` (address of a network device), `phone` (mobile number), `id_number` (GB 11643), `plate` (vehicle licence
plate, GA 36), `name` (of a person). A pseudonym is a keyed hash (HMAC-SHA-256): the same value has the same one as long
as the key lives, and nobody without the key can try out values. A mask keeps what people need to recognise it.
"""

import datetime as dt
import hashlib
import hmac
import re
from pathlib import Path
from typing import Literal

import polars as pl

from twin.checkdigits import resident_check
from twin.keys import sealed_key, secret

__all__ = ["KINDS", "PrivateKind", "Pseudonyms", "mask", "redact", "redacted"]

PrivateKind = Literal["mac", "phone", "id_number", "plate", "name"]
KINDS: tuple[PrivateKind, ...] = ("mac", "phone", "id_number", "plate", "name")

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MARK = "•"
_BYTES = 12

_MAC = r"(?:[0-9A-Fa-f]{2}([-:\s]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
_PHONE = r"(?:\+?86[-\s]?)?1[3-9]\d[-\s]?\d{4}[-\s]?\d{4}"
_ID = r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[0-9Xx]"
_LETTER = "A-HJ-NP-Za-hj-np-z"
_PLATE = rf"[{_PROVINCES}][{_LETTER}][-·•.\s]?(?:[{_LETTER}0-9]{{6}}|[{_LETTER}0-9]{{4}}[{_LETTER}0-9挂学警港澳])"
_APART = r"(?<![0-9A-Za-z]){}(?![0-9A-Za-z])"
_FOUND = re.compile(
    "|".join(
        f"(?P<{kind}>{_APART.format(f'(?:{pattern})')})"
        for kind, pattern in (("mac", _MAC.replace(r"\1", "(?P=sep)").replace(r"([-:\s])", r"(?P<sep>[-:\s])")),
                              ("id_number", _ID), ("phone", _PHONE))
    )
    + f"|(?P<plate>{_PLATE}(?![0-9A-Za-z]))"
)  # fmt: skip
_SUSPECT = (
    rf"[{_PROVINCES}]\s*[A-Za-z]|1[3-9]\d[-\s]?\d{{4}}|[1-9]\d{{5}}(?:18|19|20)\d{{2}}[01]|[０-９Ａ-Ｚａ-ｚ]"
    r"|[0-9A-Fa-f]{2}[-:\s][0-9A-Fa-f]{2}[-:\s][0-9A-Fa-f]{2}[-:\s]|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\."
)
"""What any of them holds at least, in a form that polars can search: a text without it is left alone."""


def mask(value: str, kind: PrivateKind) -> str:
    """A value as people may see it: `138••••5678`, `张••`, `京A•••12`, `110105••••••••••2X`, `a4:••:••:••:••:••`."""
    text = value.strip()
    match kind:
        case "name":
            return text[:1] + _MARK * 2
        case "phone":
            digits = re.sub(r"\D", "", text)[-11:]
            return f"{digits[:3]}{_MARK * 4}{digits[-4:]}" if len(digits) == 11 else _MARK * 4
        case "id_number":
            return f"{text[:6]}{_MARK * 10}{text[-2:]}" if len(text) == 18 else _MARK * 10
        case "plate":
            return f"{text[:2]}{_MARK * 3}{text[-2:]}" if len(text) > 5 else _MARK * 3
        case "mac":
            return ":".join([re.sub(r"[^0-9A-Fa-f]", "", text)[:2], *[_MARK * 2] * 5])


def redact(text: str) -> str:
    """The text with every MAC address, mobile number, ID number and licence plate in it masked.

    Full-width digits and letters count as plain ones. An ID number counts when its check digit is right. Credit codes,
    H3 cells, telephone lines of offices, stakes and other numbers stay as they are.
    """
    plain = text.translate(_FULL_WIDTH)
    found = list(_FOUND.finditer(plain))
    for match in reversed(found):
        kind = str(match.lastgroup if match.lastgroup != "sep" else "mac")
        if kind == "id_number" and resident_check(match[0][:17]) != match[0][17].upper():
            continue
        start, end = match.span()
        text = text[:start] + mask(match.group(0), _kind(kind)) + text[end:]
    return text


def _kind(word: str) -> PrivateKind:
    return next(kind for kind in KINDS if kind == word)


def redacted(texts: pl.Series) -> pl.Series:
    """`redact` for a column of texts. Only those that can hold something are looked at one by one."""
    suspects = texts.str.contains(_SUSPECT).fill_null(value=False)
    if not suspects.any():
        return texts
    values = texts.to_list()
    for at in suspects.arg_true().to_list():
        values[at] = redact(values[at])
    return pl.Series(texts.name, values, dtype=pl.String)


class Pseudonyms:
    """Turns values that identify somebody into pseudonyms, by the keys of a state folder.

    Devices' addresses have a key a day, which is removed after it (`forget_old_keys`): no visit of one day can be
    linked to one of another. The others have the twin's own key.
    """

    def __init__(self, home: Path, now: dt.datetime) -> None:
        self._home, self._now = home, now
        self._keys: dict[PrivateKind, bytes] = {}

    def of(self, value: str, kind: PrivateKind) -> str:
        """The pseudonym of a value: 24 hexadecimal digits. How it is written (case, separators) does not matter."""
        plain = re.sub(r"[\s:·•.\-]", "", value.translate(_FULL_WIDTH)).upper()
        if kind == "phone":
            plain = plain.lstrip("+")[-11:]
        digest = hmac.new(self._key(kind), f"{kind}:{plain}".encode(), hashlib.sha256).digest()
        return digest[:_BYTES].hex()

    def _key(self, kind: PrivateKind) -> bytes:
        if kind not in self._keys:
            daily = kind == "mac"
            own = sealed_key(self._home, f"mac-{self._now:%Y%m%d}") if daily else secret(self._home).encode()
            self._keys[kind] = hmac.new(own, b"pseudonyms", hashlib.sha256).digest()
        return self._keys[kind]
