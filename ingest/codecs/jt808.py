"""Messages of vehicle terminals: JT/T 808 in its editions of 2011, 2013 and 2019.

A message stands between two bytes 7E; a 7E inside is sent as 7D 02, a 7D as 7D 01; the last byte is the exclusive or
of the others. Positions (0x0200, many at once in 0x0704, read back in 0x0201) become records; driver's cards (0x0702)
name a person and are not kept. Degrees are WGS 84 unless whoever runs the terminals says otherwise; times are those of
Beijing, whatever the city.
"""

import struct

from ingest.codecs.messages import Cut, FrameError, Message, Part, Record

__all__ = ["answer", "decode", "encode", "joined", "location", "split"]

_MARK = 0x7E
_LONGEST = 4096
"""A message holds up to 1,023 bytes beside its header, each of which may take two."""

_REGISTRATION, _AUTHENTICATION, _POSITION, _POSITIONS, _ASKED_POSITION = 0x0100, 0x0102, 0x0200, 0x0704, 0x0201
_ANSWER, _REGISTRATION_ANSWER, _TERMINAL_ANSWER = 0x8001, 0x8100, 0x0001
_HAS_VERSION, _IS_PART, _SIZE = 0x4000, 0x2000, 0x03FF
_LOCATED, _SOUTH, _WEST = 2, 4, 8
_HEAD, _NUMBER, _PIECE, _BASE = (struct.Struct(form) for form in (">HH", ">H", ">HH", ">IIIIHHH6s"))
_MILEAGE, _FUEL, _SIGNAL, _SATELLITES, _RECORDER = 0x01, 0x02, 0x30, 0x31, 0x03


def split(buffer: bytes) -> Cut:
    """Messages between marks; bytes outside are a message too, and will not be readable."""
    messages: list[bytes] = []
    at, end = 0, len(buffer)
    while at < end:
        if buffer[at] != _MARK:
            start = buffer.find(b"\x7e", at)
            if start < 0:
                if end - at <= _LONGEST:
                    break
                start = end
            messages.append(buffer[at:start])
            at = start
            continue
        close = buffer.find(b"\x7e", at + 1)
        if close < 0:
            if end - at > _LONGEST:
                messages.append(buffer[at:])
                at = end
            break
        if close == at + 1:  # the end of one and the beginning of the next
            at = close
            continue
        messages.append(buffer[at : close + 1])
        at = close + 1
    return Cut(messages, at)


def decode(message: bytes) -> Message:
    """Read a message. Raises FrameError."""
    kind, device, _, part, body = _opened(message)
    if part is not None:
        return Message(f"0x{kind:04X}", device, part=part, body=body)
    return Message(f"0x{kind:04X}", device, _records(kind, device, body))


def joined(first: bytes, bodies: list[bytes]) -> Message:
    """The message whose pieces have these bodies, in order; `first` is one of the pieces. Raises FrameError."""
    kind, device, *_ = _opened(first)
    return Message(f"0x{kind:04X}", device, _records(kind, device, b"".join(bodies)))


def answer(message: bytes) -> bytes | None:
    """What the sender of a readable message waits for: a general answer, or the code it shall authenticate by.

    Who may connect is settled before, by the network: the code is the terminal's own number.
    """
    kind, device, number, _, _ = _opened(message)
    if kind == _TERMINAL_ANSWER:
        return None
    is_2019 = _is_2019(message)
    if kind == _REGISTRATION:
        body = _NUMBER.pack(number) + b"\0" + device.encode("ascii")
        return encode(_REGISTRATION_ANSWER, device, number, body, is_2019=is_2019)
    return encode(_ANSWER, device, number, _HEAD.pack(number, kind) + b"\0", is_2019=is_2019)


def encode(
    kind: int, device: str, number: int, body: bytes, *, is_2019: bool = True, part: Part | None = None
) -> bytes:
    """A message, ready to be sent. `device` is the terminal's number in digits."""
    properties = len(body) | (_HAS_VERSION if is_2019 else 0) | (_IS_PART if part else 0)
    phone = bytes.fromhex(device.zfill(20 if is_2019 else 12))
    head = _HEAD.pack(kind, properties) + (b"\x01" if is_2019 else b"") + phone + _NUMBER.pack(number & 0xFFFF)
    plain = head + (_PIECE.pack(part.total, part.number) if part else b"") + body
    check = 0
    for byte in plain:
        check ^= byte
    inside = (plain + bytes((check,))).replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02")
    return b"\x7e" + inside + b"\x7e"


def location(lon: float, lat: float, speed_kmh: float, heading_deg: float, time: str, alarm: int = 0) -> bytes:
    """The body of a position: degrees, and the time in Beijing as `YYMMDDhhmmss`."""
    status = 1 | _LOCATED | (_SOUTH if lat < 0 else 0) | (_WEST if lon < 0 else 0)
    degrees = round(abs(lat) * 1e6), round(abs(lon) * 1e6)
    return _BASE.pack(alarm, status, *degrees, 0, round(speed_kmh * 10), round(heading_deg) % 360, bytes.fromhex(time))


def _unescaped(message: bytes) -> bytes:
    if len(message) < 15 or message[0] != _MARK or message[-1] != _MARK:
        raise FrameError("it does not stand between two bytes 7E, or is too short.")
    plain = message[1:-1]
    if 0x7D in plain:
        plain = plain.replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")
    return plain


def _is_2019(message: bytes) -> bool:
    return bool(_HEAD.unpack_from(_unescaped(message))[1] & _HAS_VERSION)


def _opened(message: bytes) -> tuple[int, str, int, Part | None, bytes]:
    """Message id, terminal number, message number, which piece it is, and the body."""
    plain = _unescaped(message)
    # The exclusive or of all bytes, the check itself among them, is nothing; folding halves is faster than a loop.
    folded = int.from_bytes(plain, "big")
    width = 8 * len(plain)
    while width > 8:
        width = (width // 8 + 1) // 2 * 8
        folded = (folded >> width) ^ (folded & ((1 << width) - 1))
    if folded:
        raise FrameError("its check byte is not that of its bytes.")
    kind, properties = _HEAD.unpack_from(plain)
    at = 15 if properties & _HAS_VERSION else 10
    if len(plain) < at + 3 + (4 if properties & _IS_PART else 0):
        raise FrameError("its header is cut off.")
    device = plain[5 if properties & _HAS_VERSION else 4 : at].hex().lstrip("0") or "0"
    (number,) = _NUMBER.unpack_from(plain, at)
    at += 2
    part = None
    if properties & _IS_PART:
        total, piece = _PIECE.unpack_from(plain, at)
        at += 4
        if not 1 <= piece <= total:
            raise FrameError(f"it is piece {piece} of {total}.")
        if total > 1:
            # All pieces are numbered one after another: the number of the first is common to them.
            part = Part(f"{device} {kind:04X} {(number - piece + 1) & 0xFFFF}", piece, total)
    body = plain[at:-1]
    if len(body) != properties & _SIZE:
        raise FrameError(f"it says that it holds {properties & _SIZE} bytes, and holds {len(body)}.")
    return kind, device, number, part, body


def _records(kind: int, device: str, body: bytes) -> list[Record]:
    """The positions in a body; none for other messages."""
    match kind:
        case 0x0200:
            return [_position(device, body)]
        case 0x0201:
            return [_position(device, body[2:])]
        case 0x0704:
            return _positions(device, body)
        case _:
            return []


def _positions(device: str, body: bytes) -> list[Record]:
    """Many positions at once: how many, of which kind (1: sent late, from where there was no network), then each."""
    if len(body) < 3:
        raise FrameError("its positions are cut off.")
    (count,), at = _NUMBER.unpack_from(body), 3
    found: list[Record] = []
    while at < len(body):
        if at + 2 > len(body):
            raise FrameError("its positions are cut off.")
        (size,) = _NUMBER.unpack_from(body, at)
        if at + 2 + size > len(body):
            raise FrameError("its positions are cut off.")
        found.append(_position(device, body[at + 2 : at + 2 + size]) | {"late": body[2] == 1})
        at += 2 + size
    if len(found) != count:
        raise FrameError(f"it says that it holds {count} positions, and holds {len(found)}.")
    return found


def _position(device: str, body: bytes) -> Record:
    if len(body) < _BASE.size:
        raise FrameError("its position is cut off.")
    alarm, status, lat, lon, altitude, speed, direction, time = _BASE.unpack_from(body)
    stamp = time.hex()
    if not stamp.isdigit():
        raise FrameError(f"its time is {stamp}.")
    is_located = bool(status & _LOCATED)
    record: Record = {
        "terminal": device,
        "time": f"20{stamp[:2]}-{stamp[2:4]}-{stamp[4:6]}T{stamp[6:8]}:{stamp[8:10]}:{stamp[10:]}+08:00",
        # Without a fix a terminal repeats the last one it had: that is no position of this moment.
        "longitude": (-lon if status & _WEST else lon) / 1e6 if is_located else None,
        "latitude": (-lat if status & _SOUTH else lat) / 1e6 if is_located else None,
        "altitude_m": altitude,
        "speed_kmh": speed / 10,
        "direction": direction,
        "alarm": alarm != 0,
        "alarms": f"{alarm:08X}",
        "engine_on": bool(status & 1),
    }
    if len(body) > _BASE.size:
        _read_extras(body, record)
    return record


def _read_extras(body: bytes, record: Record) -> None:
    """Read what follows a position: items of a kind, a length and a value; those that nobody asks for are left out."""
    at = _BASE.size
    while at + 2 <= len(body):
        kind, size = body[at], body[at + 1]
        value = body[at + 2 : at + 2 + size]
        if len(value) != size:
            raise FrameError(f"its item {kind:02X} is cut off.")
        if kind == _MILEAGE and size == 4:
            record["mileage_km"] = int.from_bytes(value, "big") / 10
        elif kind == _FUEL and size == 2:
            record["fuel_l"] = int.from_bytes(value, "big") / 10
        elif kind == _RECORDER and size == 2:
            record["recorder_kmh"] = int.from_bytes(value, "big") / 10
        elif kind == _SIGNAL and size == 1:
            record["signal"] = value[0]
        elif kind == _SATELLITES and size == 1:
            record["satellites"] = value[0]
        at += 2 + size
    if at != len(body):
        raise FrameError("an item behind its position is cut off.")
