"""Messages of pollution monitors: HJ 212 in its editions of 2005, 2017 and 2025.

    ##0091ST=22;CN=2011;PW=123456;MN=...;Flag=5;CP=&&DataTime=20260104081500;a34004-Rtd=35.2,a34004-Flag=N&&8801

Four digits say how long the text is, four hexadecimal ones behind it are its CRC. A record has the header's fields
(ST, CN, MN, QN), those of the whole message (DataTime) and one field for each value (`a34004-Rtd`), as texts. Values
that their instrument itself says are none (out of service, under maintenance, broken, being calibrated, cut off: flags
F, M, D, C, B) stand under a name that ends in that flag (`a34004-Rtd-D`), so that no average takes them in.
The check sum and the version bits of Flag are those of HJ 212-2017; a message of a later version is read by what it
says, whatever its version bits are.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from ingest.codecs.messages import Cut, FrameError, Message, Part, Record

__all__ = ["answer", "decode", "encode", "split"]

_HEAD, _TAIL = b"##", b"\r\n"
_LONGEST = 16_384
"""A message holds up to 9,999 bytes; what is longer without an end is none."""

_ANSWERED, _SPLIT = 1, 2
_INTERACTION = "91"
_DATA_ANSWER = "9014"
_NO_VALUE = frozenset("FMDCB")
_POLYNOMIAL = 0xA001


def _table() -> NDArray[np.uint16]:
    found = np.arange(256, dtype=np.uint16)
    for _ in range(8):
        found = np.where(found & 1, (found >> 1) ^ _POLYNOMIAL, found >> 1).astype(np.uint16)
    return found


_TABLE = _table()


@numba.njit(cache=True)
def _crc(data: NDArray[np.uint8], table: NDArray[np.uint16]) -> int:
    """The check sum of HJ 212-2017, appendix A: the byte meets the high half of the register, not the low one."""
    register = 0xFFFF
    for byte in data:
        register = int(table[(register >> 8) ^ byte])
    return register


def _check_sum(text: bytes) -> int:
    return int(_crc(np.frombuffer(text, dtype=np.uint8), _TABLE))


def split(buffer: bytes) -> Cut:
    """Messages end with CR LF; what stands between two is a message too, and will not be readable."""
    messages = [line for line in buffer.split(_TAIL) if line]
    if buffer.endswith(_TAIL):
        return Cut(messages, len(buffer))
    rest = messages.pop() if messages else b""
    if len(rest) > _LONGEST:
        return Cut([*messages, rest], len(buffer))
    return Cut(messages, len(buffer) - len(rest))


def decode(message: bytes) -> Message:
    """Read a message. Raises FrameError."""
    head, contents = _opened(message)
    device, kind = head.get("MN", ""), head.get("CN", "")
    if not device:
        raise FrameError("no MN says which device sent it.")
    part = _part(head)
    if part is not None:
        return Message(kind, device, part=part, body=contents.encode())
    return Message(kind, device, _records(head, contents))


def joined(first: bytes, bodies: list[bytes]) -> Message:
    """The message whose pieces have these bodies, in order; `first` is one of the pieces. Raises FrameError."""
    head, _ = _opened(first)
    contents = ";".join(body.decode().strip(";") for body in bodies)
    return Message(head.get("CN", ""), head["MN"], _records(head, contents))


def answer(message: bytes) -> bytes | None:
    """What the sender of a readable message waits for, or None."""
    head, _ = _opened(message)
    flag = _flag(head)
    if not flag & _ANSWERED or head.get("ST") == _INTERACTION:
        return None
    said = [f"{name}={head[name]}" for name in ("QN",) if name in head]
    words = [*said, f"ST={_INTERACTION}", f"CN={_DATA_ANSWER}", f"PW={head.get('PW', '')}", f"MN={head.get('MN', '')}"]
    return encode(";".join([*words, f"Flag={flag & ~(_ANSWERED | _SPLIT)}", "CP=&&&&"]))


def encode(text: str) -> bytes:
    """A text with its length, check sum and end."""
    data = text.encode("gb18030")
    return b"##%04d%s%04X\r\n" % (len(data), data, _check_sum(data))


def _opened(message: bytes) -> tuple[dict[str, str], str]:
    """The fields of the header, and what stands between the && of CP."""
    line = message.rstrip(_TAIL)
    if line[:2] != _HEAD:
        raise FrameError("it does not begin with ##.")
    if not line[2:6].isdigit():
        raise FrameError("its length is no number.")
    length = int(line[2:6])
    text, check = line[6 : 6 + length], line[6 + length :]
    if len(text) != length or len(check) != 4:
        raise FrameError(f"it says that it holds {length} bytes, and holds {len(line) - 10}.")
    try:
        expected = int(check, 16)
    except ValueError:
        raise FrameError("its check sum is no number.") from None
    if expected != _check_sum(text):
        raise FrameError(f"its check sum is {expected:04X}, that of its bytes {_check_sum(text):04X}.")
    try:
        said = text.decode("gb18030")
    except UnicodeDecodeError:
        raise FrameError("its text is not in GB 18030.") from None
    start, end = said.find("CP=&&"), said.rfind("&&")
    if start < 0 or end < start + 5:
        raise FrameError("it has no contents between CP=&& and &&.")
    return _head(said[:start]), said[start + 5 : end]


def _head(text: str) -> dict[str, str]:
    head: dict[str, str] = {}
    for pair in text.split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            head[name.strip()] = value.strip()
        elif name.strip():
            raise FrameError(f"its header has {name.strip()[:40]!r} without a value.")
    return head


def _flag(head: dict[str, str]) -> int:
    flag = head.get("Flag", "0")
    return int(flag) if flag.isascii() and flag.isdigit() and len(flag) < 4 else 0


def _part(head: dict[str, str]) -> Part | None:
    """Which piece it is, when the device had to cut its message: PNO of PNUM."""
    if not _flag(head) & _SPLIT and "PNUM" not in head:
        return None
    total, number = head.get("PNUM", ""), head.get("PNO", "")
    if not (total.isascii() and total.isdigit() and number.isascii() and number.isdigit()):
        raise FrameError("it is a piece of a message, but PNUM and PNO do not say which.")
    if not 1 <= int(number) <= int(total) <= 9999:
        raise FrameError(f"it is piece {number[:9]} of {total[:9]}.")
    if int(total) == 1:
        return None
    return Part(f"{head.get('MN')} {head.get('CN')} {head.get('QN', '')}", int(number), int(total))


def _records(head: dict[str, str], contents: str) -> list[Record]:
    """The record of a message that brings data; none for those that only keep the connection going."""
    if head.get("ST") == _INTERACTION:
        return []
    record: Record = {name: head[name] for name in ("ST", "CN", "MN", "QN") if name in head}
    for group in contents.split(";"):
        if group:
            _read_group(group, record)
    return [record]


def _read_group(group: str, record: Record) -> None:
    """Read `a34004-Rtd=35.2,a34004-Flag=N`, or `DataTime=...`, into the record."""
    values: list[tuple[str, str]] = []
    flag = ""
    for pair in group.split(","):
        name, equals, value = pair.partition("=")
        if not equals:
            raise FrameError(f"its contents have {pair[:40]!r} without a value.")
        if name.endswith("-Flag"):
            flag = value.strip()
        values.append((name.strip(), value.strip()))
    for name, value in values:
        if flag in _NO_VALUE and flag and not name.endswith("-Flag"):
            record[f"{name}-{flag}"] = value
        else:
            record[name] = value
