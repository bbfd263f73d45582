"""Devices of the synthetic city that keep a TCP connection: vehicles (JT/T 808), stations and outlets (HJ 212).

Each connects again when its connection breaks.
"""

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import shapely

from ingest.codecs import hj212, jt808
from ingest.demo.line import SEED, Line
from ingest.demo.motion import Motion, travel
from ingest.demo.plane import Geometries
from ingest.demo.sensors import value
from layers.feeds import TcpFeed
from twin.errors import SetupError

__all__ = ["BEIJING", "Fleet", "Moving", "outlets", "stations", "vehicles"]

BEIJING = ZoneInfo("Asia/Shanghai")
"""The zone of the clocks that these protocols prescribe."""

_AIR = {"pm25": "a34004", "pm10": "a34002", "so2": "a21026", "no2": "a21004", "o3": "a05024", "co": "a21005"}
_ANSWER_S, _RETRY_S = 10.0, 2.0
_REPORT_S, _MINUTE_S = 10.0, 60.0

Report = Callable[[dt.datetime], Callable[[int], bytes]]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices of one feed: their ids, how often they report, and what each (by its number) says at a moment."""

    feed: TcpFeed
    ids: Sequence[str]
    every_s: float
    hello: Callable[[int], list[bytes]]
    report: Report

    def start(self, group: asyncio.TaskGroup, line: Line, pace: float) -> None:
        """Let each connect and report."""
        clock = _Clock(self, line, pace)
        group.create_task(clock.run())
        for number in range(len(self.ids)):
            group.create_task(_device(self, number, clock, line))


class Moving:
    """Where vehicles are on their lines, from now on."""

    def __init__(self, lines: Geometries, count: int, feed: str) -> None:
        if not len(lines):
            raise SetupError("there are no lines to move on.", where=f"feed {feed}", remedy="Load the city first.")
        self._count = count
        self._began_s = int(dt.datetime.now(dt.UTC).timestamp())
        self._lines: Geometries = lines[np.random.default_rng(SEED).permutation(np.arange(count) % len(lines))]

    def at(self, now: dt.datetime) -> Motion:
        """Where each of them is at a moment."""
        # The first half says where each began, so that the second goes on from there.
        epoch_s = np.repeat([self._began_s, int(now.timestamp())], self._count)
        both = travel(self._lines, np.tile(np.arange(self._count), 2), epoch_s, np.random.default_rng(SEED))
        here = slice(self._count, None)
        return Motion(both.points[here], both.speed_kmh[here], both.heading_deg[here])


def vehicles(feed: TcpFeed, ids: list[str], lines: Geometries) -> Fleet:
    """Vehicles that move along lines, by JT/T 808. Raises SetupError where there are none."""
    moving = Moving(lines, len(ids), feed.id)

    def report(now: dt.datetime) -> Callable[[int], bytes]:
        motion = moving.at(now)
        points = shapely.get_coordinates(motion.points)
        time = f"{now.astimezone(BEIJING):%y%m%d%H%M%S}"

        def message(number: int) -> bytes:
            lon, lat = points[number]
            body = jt808.location(lon, lat, motion.speed_kmh[number], motion.heading_deg[number], time)
            return jt808.encode(0x0200, ids[number], int(now.timestamp()), body)

        return message

    def hello(number: int) -> list[bytes]:
        code = ids[number].encode("ascii")
        return [
            jt808.encode(0x0100, ids[number], 1, bytes(76) + code),
            jt808.encode(0x0102, ids[number], 2, bytes((len(code),)) + code + bytes(35)),
        ]

    return Fleet(feed, ids, _REPORT_S, hello, report)


def stations(feed: TcpFeed, ids: list[str]) -> Fleet:
    """Stations that measure the air, by HJ 212."""

    def read(local: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> dict[str, Sequence[float]]:
        return {f"{code}-Rtd": value(name, local, np.arange(len(ids))).tolist() for name, code in _AIR.items()}

    return Fleet(feed, ids, _MINUTE_S, lambda _: [], _readings(ids, ["22"] * len(ids), "2011", read))


def outlets(feed: TcpFeed, media: dict[str, str]) -> Fleet:
    """Outlets into air and water, by HJ 212; `media`: `gas` or `water` by id."""
    ids = list(media)

    def read(local: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> dict[str, Sequence[float]]:
        seeds = np.arange(len(ids))
        cod, ammonia = value("cod", local, seeds), value("nh3n", local, seeds)
        share = np.random.default_rng(int(local[0].astype(np.int64))).random((3, len(ids)))
        return {
            "a34013-Avg": (3 + 6 * share[0]).tolist(),
            "a21026-Avg": (12 + 18 * share[1]).tolist(),
            "a21002-Avg": (28 + 40 * share[2]).tolist(),
            "w01018-Avg": (cod + 12).tolist(),
            "w21003-Avg": (ammonia * 1.4).tolist(),
        }

    kinds = ["31" if medium == "gas" else "32" for medium in media.values()]
    return Fleet(feed, ids, _MINUTE_S, lambda _: [], _readings(ids, kinds, "2051", read))


def _readings(
    ids: list[str],
    kinds: list[str],
    command: str,
    read: Callable[[np.ndarray[tuple[int], np.dtype[np.datetime64]]], dict[str, Sequence[float]]],
) -> Report:
    """What devices of HJ 212 say; those of kind 31 measure gases (a...), those of kind 32 water (w...)."""

    def report(now: dt.datetime) -> Callable[[int], bytes]:
        local = now.astimezone(BEIJING)
        found = read(np.array([local.replace(tzinfo=None)], dtype="datetime64[s]"))

        def message(number: int) -> bytes:
            other = {"31": "w", "32": "a"}.get(kinds[number], "-")
            values = ";".join(
                f"{name}={numbers[number]:.3f},{name.partition('-')[0]}-Flag=N"
                for name, numbers in found.items()
                if not name.startswith(other)
            )
            return hj212.encode(
                f"QN={local:%Y%m%d%H%M%S}000;ST={kinds[number]};CN={command};PW=123456;MN={ids[number]};Flag=4;"
                f"CP=&&DataTime={local:%Y%m%d%H%M}00;{values}&&"
            )

        return message

    return report


class _Clock:
    """Works out what all devices of a fleet say at once, a few times in each of their turns."""

    def __init__(self, fleet: Fleet, line: Line, pace: float) -> None:
        self._fleet, self._line = fleet, line
        self.turn_s = fleet.every_s / pace
        self._report: Callable[[int], bytes] | None = None
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Read the clock until cancelled."""
        while True:
            wrong = dt.timedelta(seconds=self._line.skew_s)
            self._report = self._fleet.report(dt.datetime.now(dt.UTC) + wrong)
            self._ready.set()
            await asyncio.sleep(min(1.0, self.turn_s))

    async def message(self, number: int) -> bytes:
        """What a device says now."""
        await self._ready.wait()
        if self._report is None:
            raise RuntimeError("the clock was not read")
        return self._report(number)


async def _device(fleet: Fleet, number: int, clock: _Clock, line: Line) -> None:
    """One device: connects, reports in its turn, and begins again when the line breaks."""
    chance = random.Random(f"{SEED} {fleet.feed.id} {number}")  # noqa: S311
    held: list[bytes] = []
    await asyncio.sleep(chance.random() * clock.turn_s)
    while True:
        try:
            async with _connected(fleet.feed) as (reader, writer):
                for message in fleet.hello(number):
                    await _say(reader, writer, message)
                while True:
                    for message in line.sent(await clock.message(number), held, chance):
                        await _say(reader, writer, message)
                    await asyncio.sleep(clock.turn_s)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.sleep(_RETRY_S)


@contextlib.asynccontextmanager
async def _connected(feed: TcpFeed) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = feed.listen.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> None:
    """Send a message; where its protocol answers, wait for something to come back."""
    writer.write(message)
    await writer.drain()
    if message[:1] == b"\x7e":
        async with asyncio.timeout(_ANSWER_S):
            await reader.readuntil(b"\x7e")
            await reader.readuntil(b"\x7e")
