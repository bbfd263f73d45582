"""Codecs of messages against bytes that nobody planned: they read them or say FrameError, and soon."""

import contextlib
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.codecs import cap, gb28181, gb32960, gtfs_rt, hj212, jt808, ngsi_ld, sensorthings
from ingest.codecs.messages import FrameError
from tests.ingest.messages import test_documents as documents
from tests.ingest.messages import test_gb28181 as video
from tests.ingest.messages import test_gb32960 as electric
from tests.ingest.messages import test_hj212 as monitors
from tests.ingest.messages import test_jt808 as terminals

SEEDS: dict[ModuleType, list[bytes]] = {
    hj212: [monitors.message()],
    jt808: [terminals.position(), terminals.position(is_2019=False)],
    gb32960: [gb32960.encode(2, electric.VIN, electric.REPORT)],
    gb28181: [video.sent("MESSAGE", video.CATALOGUE.encode("gb18030")), video.sent("REGISTER")],
    cap: [documents.alert()],
    ngsi_ld: [(b'{"id":"urn:1","type":"Bin","level":{"type":"Property","value":0.5},"location":'
              b'{"type":"GeoProperty","value":{"type":"Point","coordinates":[117.5,34.8]}}}')],
    sensorthings: [b'{"value":[{"result":{"a":1},"phenomenonTime":"t","Datastream":{"name":"x"}}]}'],
    gtfs_rt: [(b'\n\x0b\n\x032.0\x18\x80\xe2\xcf\xaa\x06'
              b'\x12\x17\n\x01a"\x12\x12\n\r33\x0bB\x15\x00\x00\xebBB\x04\n\x02B1')],
}  # fmt: skip
LONGEST_S = 0.010


def spoilt(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good message with bytes changed, taken out or put in; or no message at all."""

    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        message = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, max(len(message) - 1, 0)))
            match draw(st.integers(0, 3)):
                case 0:
                    message[at : at + 1] = bytes((draw(st.integers(0, 255)),))
                case 1:
                    del message[at : at + draw(st.integers(1, 12))]
                case 2:
                    message[at:at] = draw(st.binary(min_size=1, max_size=12))
                case _:
                    message[at:at] = message[: draw(st.integers(1, 64))]
        return bytes(message)

    return st.one_of(edited(), st.binary(max_size=200))


def timed(call: Callable[[bytes], object], message: bytes) -> None:
    """Call it; asked again when it took long, since the machine may have been busy."""
    for _ in range(5):
        started = time.thread_time()
        with contextlib.suppress(FrameError):
            call(message)
        if time.thread_time() - started <= LONGEST_S:
            return
    raise AssertionError(f"{call.__module__} took {time.thread_time() - started:.3f} s for {message!r}")


@pytest.mark.parametrize("codec", list(SEEDS), ids=lambda codec: codec.__name__.rpartition(".")[2])
def test_only_frame_errors_and_no_hang(codec: ModuleType) -> None:
    seeds = SEEDS[codec]
    for seed in seeds:
        codec.decode(seed)

    @settings(max_examples=2_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(spoilt(seeds))
    @example(b"")
    def check(message: bytes) -> None:
        timed(codec.decode, message)
        if hasattr(codec, "split"):
            cut = codec.split(message)
            assert 0 <= cut.taken <= len(message)
            assert sum(map(len, cut.messages)) <= len(message)
        if hasattr(codec, "answer"):
            timed(codec.answer, message)
        if hasattr(codec, "redact"):
            timed(codec.redact, message)

    check()
