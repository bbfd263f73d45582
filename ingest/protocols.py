"""What can be done with the messages of each protocol."""

from collections.abc import Callable
from dataclasses import dataclass

from ingest.codecs import cap, flatcsv, flatjson, gb28181, gb32960, gtfs_rt, hj212, jt808, ngsi_ld, sensorthings
from ingest.codecs.messages import Cut, Message

__all__ = ["PROTOCOLS", "Protocol"]


def _as_it_is(message: bytes) -> bytes:
    return message


@dataclass(frozen=True, slots=True)
class Protocol:
    """The functions of a codec.

    `decode` reads a message; `split` cuts a stream; `answer` says what a sender waits for; `joined` makes one message
    of its pieces; `redact` takes out what must not be kept.
    """

    decode: Callable[[bytes], Message]
    split: Callable[[bytes], Cut] | None = None
    answer: Callable[[bytes], bytes | None] | None = None
    joined: Callable[[bytes, list[bytes]], Message] | None = None
    redact: Callable[[bytes], bytes] = _as_it_is


PROTOCOLS = {
    "hj212": Protocol(hj212.decode, hj212.split, hj212.answer, hj212.joined),
    "jt808": Protocol(jt808.decode, jt808.split, jt808.answer, jt808.joined),
    "gb32960": Protocol(gb32960.decode, gb32960.split, gb32960.answer),
    "gb28181": Protocol(gb28181.decode, gb28181.split, redact=gb28181.redact),
    "cap": Protocol(cap.decode),
    "ngsi_ld": Protocol(ngsi_ld.decode),
    "sensorthings": Protocol(sensorthings.decode),
    "gtfs_rt": Protocol(gtfs_rt.decode),
    "json": Protocol(flatjson.decode),
    "csv": Protocol(flatcsv.decode),
}
