"""The synthetic city's devices: buses, vehicles and monitoring stations that speak their protocols to real ports.

They are those that the datasets already know, so the city goes on where its history ends. Each keeps a connection and
connects again when it breaks. On a bad line (`Line`) messages are lost, doubled, exchanged, or stamped by a clock that
is wrong.
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
import sqlalchemy as sa

from ingest.codecs import hj212, jt808
from ingest.demo.motion import travel
from ingest.demo.plane import Geometries
from ingest.demo.sensors import value
from layers.catalog import Catalog
from layers.feeds import Feed, TcpFeed
from layers.tables import dataset_table, latest_table, open_rows
from twin.city import City
from twin.database import Database
from twin.errors import SetupError

__all__ = ["LINES", "Line", "devices_of", "run_devices"]

LINES = {"transport.buses": "transport.bus_routes", "transport.vehicles": "transport.roads"}
"""The lines along which the vehicles of a dataset move."""

_BEIJING = ZoneInfo("Asia/Shanghai")
_AIR = {"pm25": "a34004", "pm10": "a34002", "so2": "a21026", "no2": "a21004", "o3": "a05024", "co": "a21005"}
_ANSWER_S, _RETRY_S = 10.0, 2.0
_SHORTEST_LINE_DEG = 0.005
_SEED = 1616


@dataclass(frozen=True, slots=True)
class Line:
    """How bad the line is: shares of messages that are lost, sent twice, or sent after the next one; clocks' errors."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    skew_s: float = 0.0

    def sent(self, message: bytes, held: list[bytes], chance: random.Random) -> list[bytes]:
        """What goes onto the line instead of a message; `held` keeps what comes later."""
        if chance.random() < self.loss:
            return []
        if chance.random() < self.reorder:
            held.append(message)
            return []
        copies = [message, message] if chance.random() < self.duplicate else [message]
        copies += held
        held.clear()
        return copies


@dataclass(frozen=True, slots=True)
class _Fleet:
    """Devices of one feed: their ids, how often they report, and what each (by its number) says at a moment."""

    feed: TcpFeed
    ids: Sequence[str]
    every_s: float
    hello: Callable[[int], list[bytes]]
    report: Callable[[dt.datetime], Callable[[int], bytes]]


def devices_of(database: Database, catalog: Catalog, city: City, feeds: Sequence[Feed]) -> list[_Fleet]:
    """The devices that speak to the synthetic feeds. Raises SetupError when a feed's dataset knows none."""
    fleets: list[_Fleet] = []
    for feed in feeds:
        if not feed.synthetic or not isinstance(feed, TcpFeed):
            continue
        dataset = feed.datasets[0]
        ids = _subjects(database, catalog, city, dataset)
        if not ids:
            raise SetupError(
                f"{dataset} knows no devices.", where=f"feed {feed.id}", remedy="Load the city first: twin ingest demo."
            )
        if feed.protocol == "jt808":
            fleets.append(_vehicles(feed, ids, _lines(database, catalog, city, LINES[dataset])))
        elif feed.protocol == "hj212":
            fleets.append(_stations(feed, ids))
    return fleets


async def run_devices(fleets: Sequence[_Fleet], line: Line, *, pace: float = 1.0) -> None:
    """Let the devices report until cancelled, `pace` times as often as they should."""
    async with asyncio.TaskGroup() as group:
        for fleet in fleets:
            clock = _Clock(fleet, line, pace)
            group.create_task(clock.run())
            for number in range(len(fleet.ids)):
                group.create_task(_device(fleet, number, clock, line))


class _Clock:
    """Works out what all devices of a fleet say at once, a few times in each of their turns."""

    def __init__(self, fleet: _Fleet, line: Line, pace: float) -> None:
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


async def _device(fleet: _Fleet, number: int, clock: _Clock, line: Line) -> None:
    """One device: connects, reports in its turn, and begins again when the line breaks."""
    chance = random.Random(f"{_SEED} {fleet.feed.id} {number}")  # noqa: S311
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


def _subjects(database: Database, catalog: Catalog, city: City, dataset: str) -> list[str]:
    table = latest_table(catalog[dataset], city.srid)
    with database.writing() as connection:
        return list(connection.scalars(sa.select(table.c.subject).order_by(table.c.subject)))


def _lines(database: Database, catalog: Catalog, city: City, dataset: str) -> Geometries:
    table = dataset_table(catalog[dataset], city.srid)
    long_ones = sa.and_(open_rows(table), sa.func.ST_Length(table.c.geom) > _SHORTEST_LINE_DEG)
    with database.writing() as connection:
        rows = connection.scalars(sa.select(sa.func.ST_AsBinary(table.c.geom)).where(long_ones).order_by(table.c.id))
        return np.array([shapely.from_wkb(bytes(row)) for row in rows], dtype=object)


def _vehicles(feed: TcpFeed, ids: list[str], lines: Geometries) -> _Fleet:
    if not len(lines):
        raise SetupError(f"{feed.datasets[0]} has no lines to move on.", where=f"feed {feed.id}")
    count, began_s = len(ids), int(dt.datetime.now(dt.UTC).timestamp())
    mine: Geometries = lines[np.random.default_rng(_SEED).permutation(np.arange(count) % len(lines))]

    def report(now: dt.datetime) -> Callable[[int], bytes]:
        # The first half says where each began, so that the second goes on from there.
        epoch_s = np.repeat([began_s, int(now.timestamp())], count)
        motion = travel(mine, np.tile(np.arange(count), 2), epoch_s, np.random.default_rng(_SEED))
        points = shapely.get_coordinates(motion.points)
        time = f"{now.astimezone(_BEIJING):%y%m%d%H%M%S}"

        def message(number: int) -> bytes:
            at = count + number
            lon, lat = points[at]
            body = jt808.location(lon, lat, motion.speed_kmh[at], motion.heading_deg[at], time)
            return jt808.encode(0x0200, ids[number], int(now.timestamp()), body)

        return message

    def hello(number: int) -> list[bytes]:
        code = ids[number].encode("ascii")
        return [
            jt808.encode(0x0100, ids[number], 1, bytes(76) + code),
            jt808.encode(0x0102, ids[number], 2, bytes((len(code),)) + code + bytes(35)),
        ]

    return _Fleet(feed, ids, 10.0, hello, report)


def _stations(feed: TcpFeed, ids: list[str]) -> _Fleet:
    def report(now: dt.datetime) -> Callable[[int], bytes]:
        local = np.array([now.astimezone(_BEIJING).replace(tzinfo=None)], dtype="datetime64[s]")
        read = {code: value(name, local, np.arange(len(ids))) for name, code in _AIR.items()}
        minute = now.astimezone(_BEIJING).replace(second=0)

        def message(number: int) -> bytes:
            values = ";".join(f"{code}-Rtd={read[code][number]:.3f},{code}-Flag=N" for code in read)
            return hj212.encode(
                f"QN={now.astimezone(_BEIJING):%Y%m%d%H%M%S}000;ST=22;CN=2011;PW=123456;MN={ids[number]};Flag=4;"
                f"CP=&&DataTime={minute:%Y%m%d%H%M%S};{values}&&"
            )

        return message

    return _Fleet(feed, ids, 60.0, lambda _: [], report)
