"""Messages of electric vehicles: GB/T 32960.3-2016.

`##`, the command, an answer flag, the vehicle's number (VIN), encryption, a length, the data, and the exclusive or of
all bytes behind `##`. A report (command 2, or 3 for one sent late) becomes a record with what the city asks of it:
position, speed, mileage, state of charge. Numbers that say "abnormal" or "invalid" are none.
"""

import datetime as dt
import struct

from ingest.codecs.messages import Cut, FrameError, Message, Record

__all__ = ["answer", "decode", "encode", "report", "split"]

_MARKS = (b"##", b"$$")
_HEAD_BYTES, _REPORT, _LATE_REPORT = 24, 2, 3
_COMMAND, _NO_ANSWER, _SUCCESS = 0xFE, 0xFE, 0x01
_PLAIN = 1
_VEHICLE, _MOTORS, _FUEL_CELL, _ENGINE, _POSITION, _EXTREMES, _ALARMS = range(1, 8)
_VEHICLE_DATA = struct.Struct(">BBBHIHHBBBHBB")
_POSITION_DATA = struct.Struct(">BII")
_SIZES = {_VEHICLE: _VEHICLE_DATA.size, _ENGINE: 5, _POSITION: _POSITION_DATA.size, _EXTREMES: 14}
_INVALID_1, _INVALID_2, _INVALID_4 = 0xFE, 0xFFFE, 0xFFFFFFFE
_NOT_LOCATED, _SOUTH, _WEST = 1, 2, 4


def split(buffer: bytes) -> Cut:
    """Messages by the length in their heads; bytes before a mark are a message too, and will not be readable."""
    messages: list[bytes] = []
    at = 0
    while at < len(buffer):
        start = min((found for mark in _MARKS if (found := buffer.find(mark, at)) >= 0), default=-1)
        if start < 0:
            # The last byte may be the first half of a mark.
            if len(buffer) - at > 1:
                messages.append(buffer[at:-1])
                at = len(buffer) - 1
            break
        if start > at:
            messages.append(buffer[at:start])
            at = start
        if len(buffer) - at < _HEAD_BYTES:
            break
        size = _HEAD_BYTES + int.from_bytes(buffer[at + 22 : at + 24], "big") + 1
        if len(buffer) - at < size:
            break
        messages.append(buffer[at : at + size])
        at += size
    return Cut(messages, at)


def decode(message: bytes) -> Message:
    """Read a message. Raises FrameError."""
    command, _, vin, encryption, data = _opened(message)
    if command not in {_REPORT, _LATE_REPORT} or not data:
        return Message(str(command), vin)
    if encryption != _PLAIN:
        raise FrameError("its data are encrypted.")
    record: Record = {"vin": vin, "time": _time(data[:6]), "late": command == _LATE_REPORT}
    _read_items(data, record)
    return Message(str(command), vin, [record])


def answer(message: bytes) -> bytes | None:
    """What the sender of a readable message waits for: the same command, marked as taken, with its time."""
    command, flag, vin, _, data = _opened(message)
    return encode(command, vin, data[:6], flag=_SUCCESS) if flag == _COMMAND else None


def encode(command: int, vin: str, data: bytes, *, flag: int = _NO_ANSWER) -> bytes:
    """A message, ready to be sent."""
    plain = bytes((command, flag)) + vin.encode("ascii") + bytes((_PLAIN,)) + len(data).to_bytes(2, "big") + data
    check = 0
    for byte in plain:
        check ^= byte
    return b"##" + plain + bytes((check,))


def report(time: dt.datetime, lon: float, lat: float, speed_kmh: float, mileage_km: float, charge: int) -> bytes:
    """The data of a report; `time` is that of Beijing."""
    stamp = bytes((time.year % 100, time.month, time.day, time.hour, time.minute, time.second))
    vehicle = _VEHICLE_DATA.pack(
        1, 3, 1, round(speed_kmh * 10), round(mileage_km * 10), 3600, 10000, charge, 1, 0x0F, 2000, 0, 0
    )
    where = _POSITION_DATA.pack(
        (_SOUTH if lat < 0 else 0) | (_WEST if lon < 0 else 0), round(abs(lon) * 1e6), round(abs(lat) * 1e6)
    )
    return stamp + bytes((_VEHICLE,)) + vehicle + bytes((_POSITION,)) + where


def _opened(message: bytes) -> tuple[int, int, str, int, bytes]:
    """Command, answer flag, VIN, encryption, data."""
    if message[:2] not in _MARKS:
        raise FrameError("it does not begin with ## or $$.")
    if len(message) <= _HEAD_BYTES:
        raise FrameError("it is cut off.")
    size = int.from_bytes(message[22:24], "big")
    if len(message) != _HEAD_BYTES + size + 1:
        raise FrameError(f"it says that it holds {size} bytes, and holds {len(message) - _HEAD_BYTES - 1}.")
    check = 0
    for byte in message[2:]:
        check ^= byte
    if check:
        raise FrameError("its check byte is not that of its bytes.")
    vin = message[4:21]
    if not (vin.isascii() and vin.decode("ascii").strip().isalnum()):
        raise FrameError("its vehicle number is no VIN.")
    return message[2], message[3], vin.decode("ascii").strip(), message[21], message[24:-1]


def _time(stamp: bytes) -> str:
    if len(stamp) < 6:
        raise FrameError("its time is cut off.")
    year, month, day, hour, minute, second = stamp
    return f"20{year:02d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}+08:00"


def _read_items(data: bytes, record: Record) -> None:
    at = 6
    while at < len(data):
        kind, start = data[at], at + 1
        size = _size(kind, data, start)
        if size is None:  # from here on only its maker knows what stands where
            return
        if start + size > len(data):
            raise FrameError(f"its item {kind} is cut off.")
        if kind == _VEHICLE:
            _read_vehicle(data[start : start + size], record)
        elif kind == _POSITION:
            _read_position(data[start : start + size], record)
        at = start + size


def _size(kind: int, data: bytes, start: int) -> int | None:
    """How many bytes an item takes behind its kind; None for kinds that the standard leaves to makers."""
    if kind in _SIZES:
        return _SIZES[kind]
    if kind == _MOTORS:
        return 1 + 12 * data[start] if start < len(data) else 1
    if kind == _FUEL_CELL:
        probes = int.from_bytes(data[start + 6 : start + 8], "big")
        return 18 + probes
    if kind == _ALARMS:
        size = 5
        for _ in range(4):
            size += 1 + 4 * (data[start + size] if start + size < len(data) else 0)
        return size
    return None


def _read_vehicle(data: bytes, record: Record) -> None:
    state, charging, _, speed, mileage, _, _, charge, *_ = _VEHICLE_DATA.unpack(data)
    record |= {
        "running": state == 1,
        "charging": charging in {1, 2},
        "speed_kmh": None if speed >= _INVALID_2 else speed / 10,
        "mileage_km": None if mileage >= _INVALID_4 else mileage / 10,
        "charge_percent": None if charge >= _INVALID_1 else charge,
    }


def _read_position(data: bytes, record: Record) -> None:
    state, lon, lat = _POSITION_DATA.unpack(data)
    if not state & _NOT_LOCATED:
        record["longitude"] = (-lon if state & _WEST else lon) / 1e6
        record["latitude"] = (-lat if state & _SOUTH else lat) / 1e6
