"""Messages of video networks: GB/T 28181, XML bodies (MANSCDP) in SIP messages.

A catalogue brings a record for each device, a keepalive one for the device that is alive, a mobile position one with a
place. All have `CmdType`; the fields stand under the standard's own names. `Industry` and `DeviceType` are read out of
the 20 digits of a device code. Passwords and certificates are taken out at the door, before anything is kept.
"""

import re
from xml.etree.ElementTree import Element

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from ingest.codecs import sip
from ingest.codecs.messages import FrameError, Message, Record

__all__ = ["catalogue_query", "decode", "position_subscription", "redact", "split"]

split = sip.split

_SECRET_ELEMENTS = re.compile(rb"<(Password|CertNum)>[^<]*</\1>", re.IGNORECASE)
_SECRET_HEADERS = re.compile(rb"(?im)^(authorization|proxy-authorization)(\s*:)[^\r\n]*")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_SECRETS = frozenset(("password", "certnum", "certificate"))
_RECORD_TYPES = frozenset(("Catalog", "Keepalive", "MobilePosition", "DeviceStatus"))
_CODE_DIGITS = 20
_LONGEST_VALUE = 2_000


def redact(message: bytes) -> bytes:
    """The message without what proves who somebody is."""
    cleared = _SECRET_ELEMENTS.sub(rb"<\1></\1>", message)
    if len(cleared) != len(message):
        head, blank, body = cleared.partition(b"\r\n\r\n")
        head = re.sub(rb"(?im)^(content-length|l)(\s*:)[^\r\n]*", rb"\1\2 %d" % len(body), head)
        cleared = head + blank + body
    return _SECRET_HEADERS.sub(rb"\1\2 -", cleared)


def decode(message: bytes) -> Message:
    """Read a message. Raises FrameError."""
    said = sip.parse(message)
    if said.method not in {"MESSAGE", "NOTIFY"} or said.status is not None or not said.body:
        return Message(said.method, said.user)
    root = _parsed(said.body)
    kind = _value(root, "CmdType") or ""
    if root.tag == "Query" or kind not in _RECORD_TYPES:
        return Message(kind or root.tag, said.user)
    common: Record = {"CmdType": kind, "sender": said.user}
    if kind == "Catalog":
        items = root.findall("./DeviceList/Item")
        return Message(kind, said.user, [common | _fields(item) for item in items])
    return Message(kind, said.user, [common | _fields(root)])


def catalogue_query(device: str, number: int) -> bytes:
    """The body that asks a device for its catalogue."""
    return _query("Catalog", device, number, "")


def position_subscription(device: str, number: int, interval_s: int) -> bytes:
    """The body that asks a device for its position every few seconds."""
    return _query("MobilePosition", device, number, f"<Interval>{interval_s}</Interval>\r\n")


def _query(kind: str, device: str, number: int, more: str) -> bytes:
    text = (
        '<?xml version="1.0" encoding="GB2312"?>\r\n<Query>\r\n'
        f"<CmdType>{kind}</CmdType>\r\n<SN>{number}</SN>\r\n<DeviceID>{device}</DeviceID>\r\n{more}</Query>\r\n"
    )
    return text.encode("gb18030")


def _parsed(body: bytes) -> Element:
    """The XML of a body. Whatever it declares, bodies come in GB 18030 or, from newer devices, in UTF-8."""
    for encoding in ("gb18030", "utf-8") if b"utf-8" not in body[:100].lower() else ("utf-8", "gb18030"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        try:
            return ElementTree.fromstring(_DECLARATION.sub("", text), forbid_dtd=True)
        except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
            raise FrameError(f"its body is no XML that is read: {error}.") from None
    raise FrameError("its body is neither in GB 18030 nor in UTF-8.")


def _value(element: Element, name: str) -> str | None:
    found = element.find(name)
    return (found.text or "").strip() or None if found is not None else None


def _fields(element: Element) -> Record:
    record: Record = {}
    for part in element:
        if len(part) or part.tag.lower() in _SECRETS:
            continue
        record[part.tag] = (part.text or "").strip()[:_LONGEST_VALUE] or None
    code = record.get("DeviceID")
    if isinstance(code, str) and len(code) == _CODE_DIGITS and code.isascii() and code.isdigit():
        record["Industry"], record["DeviceType"] = code[8:10], code[10:13]
    return record
