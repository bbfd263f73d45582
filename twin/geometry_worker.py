"""The process that makes polygons valid. `twin.geometry` starts it by its path; it imports nothing of ours.

It reads geometries from standard input and answers each on standard output until the input ends. A message is a length
(4 bytes, little-endian) and that many bytes of WKB; an answer of length 0 says that no polygon is left of it.

The system kills the process when one geometry takes more than the given seconds of processor time. Only that stops GEOS
once it computes, and it works whether or not the parent still lives. Processor time, so that a busy machine refuses
no more than an idle one.
"""

import signal
import struct
import sys
from typing import BinaryIO

import shapely
from shapely.errors import ShapelyError

__all__ = ["LENGTH", "serve"]

LENGTH = struct.Struct("<I")
_POLYGON_TYPES = (3, 6)


def serve(requests: BinaryIO, replies: BinaryIO, limit_s: float) -> None:
    """Answer geometries until `requests` ends."""
    while header := requests.read(LENGTH.size):
        wkb = requests.read(*LENGTH.unpack(header))
        signal.setitimer(signal.ITIMER_PROF, limit_s)  # SIGPROF, left to its default action: the end
        answer = _valid_polygon(wkb)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(LENGTH.pack(len(answer)) + answer)
        replies.flush()


def _valid_polygon(wkb: bytes) -> bytes:
    try:
        valid = shapely.make_valid(shapely.from_wkb(wkb), method="structure", keep_collapsed=False)
    except ShapelyError:
        return b""
    usable = shapely.get_type_id(valid) in _POLYGON_TYPES and not shapely.is_empty(valid) and shapely.is_valid(valid)
    return shapely.to_wkb(valid) if usable else b""


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))
