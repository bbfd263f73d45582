"""Devices of the synthetic city that publish over MQTT: Wi-Fi access points, meters, ambulances."""

import asyncio
import datetime as dt
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import shapely
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.demo.fleets import BEIJING, Moving
from ingest.demo.line import SEED, Line
from ingest.demo.plane import Geometries
from ingest.demo.sensors import value
from layers.feeds import MqttFeed
from twin.city import City
from twin.datum import from_city, parse_datum

__all__ = ["Publishers", "access_points", "ambulances", "meters"]

_KEEPALIVE_S, _FIRST_S = 30, 2.0
_QUARTER_S = 900
_NUMPY = orjson.OPT_SERIALIZE_NUMPY

Published = Iterator[tuple[str, dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Publishers:
    """Devices of one feed, and what all of them publish at a moment: topic and record of each."""

    feed: MqttFeed
    ids: Sequence[str]
    every_s: float
    publish: Callable[[dt.datetime], Published]

    def start(self, group: asyncio.TaskGroup, line: Line, pace: float) -> None:
        """Let them publish; the broker is connected to as soon as it answers."""
        group.create_task(self._run(line, pace))

    async def _run(self, line: Line, pace: float) -> None:
        host, _, port = self.feed.broker.rpartition(":")
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"demo-{self.feed.id}")
        client.connect_async(host.strip("[]"), int(port), _KEEPALIVE_S)
        client.loop_start()
        chance, held = random.Random(f"{SEED} {self.feed.id}"), list[bytes]()  # noqa: S311
        try:
            await asyncio.sleep(_FIRST_S)  # until somebody has subscribed
            while True:
                now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=line.skew_s)
                for topic, record in await asyncio.to_thread(list, self.publish(now)):
                    # What is held back by the line keeps its topic.
                    for message in line.sent(
                        topic.encode() + b"\n" + orjson.dumps(record, option=_NUMPY), held, chance
                    ):
                        where, _, payload = message.partition(b"\n")
                        client.publish(where.decode(), payload, qos=1)
                await asyncio.sleep(self.every_s / pace)
        finally:
            client.disconnect()
            client.loop_stop()


def access_points(feed: MqttFeed, ids: list[str]) -> Publishers:
    """Access points that say every minute how many are online."""

    def publish(now: dt.datetime) -> Published:
        local = _local(now)
        users, mbytes = (value(name, local, np.arange(len(ids))) for name in ("wifi_users", "wifi_mb_s"))
        minute = now.replace(second=0, microsecond=0)
        for number, ap in enumerate(ids):
            yield (
                f"wifi/{ap}/counts",
                {"time": minute, "users": round(users[number]), "mbps": round(8 * mbytes[number], 2)},
            )

    return Publishers(feed, ids, 60.0, publish)


def meters(feed: MqttFeed, buildings: dict[str, str]) -> Publishers:
    """Meters that are read every quarter of an hour, and say what they read now and then; `buildings` by meter."""
    ids = list(buildings)

    def publish(now: dt.datetime) -> Published:
        quarter = dt.datetime.fromtimestamp(now.timestamp() // _QUARTER_S * _QUARTER_S, dt.UTC)
        names = ("electricity_kw", "water_m3_h", "gas_m3_h")
        kw, water, gas = (value(name, _local(quarter), np.arange(len(ids))) for name in names)
        for number, (meter, building) in enumerate(buildings.items()):
            yield f"meters/{meter}", {
                "meter_id": meter, "building_id": building, "observed_at": quarter,
                "electricity_kwh": kw[number] / 4, "water_m3": water[number] / 4, "gas_m3": gas[number] / 4,
            }  # fmt: skip

    return Publishers(feed, ids, _QUARTER_S / 5, publish)


def ambulances(feed: MqttFeed, stations: dict[str, str], lines: Geometries, city: City) -> Publishers:
    """Ambulances that say where they are, in GCJ-02 as their navigation does; `stations` by vehicle."""
    ids = list(stations)
    moving, datum = Moving(lines, len(ids), feed.id), parse_datum("gcj02")

    def publish(now: dt.datetime) -> Published:
        motion = moving.at(now)
        x, y = shapely.get_coordinates(motion.points).T
        lon, lat = from_city(x, y, datum, city)
        for number, (vehicle, station) in enumerate(stations.items()):
            yield f"ambulances/{vehicle}", {
                "vehicle_id": vehicle, "station_id": station, "observed_at": now.replace(microsecond=0),
                "lon": lon[number], "lat": lat[number], "speed_kmh": round(motion.speed_kmh[number], 1),
                "heading_deg": round(motion.heading_deg[number], 1), "state": "available",
            }  # fmt: skip

    return Publishers(feed, ids, 10.0, publish)


def _local(now: dt.datetime) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.array([now.astimezone(BEIJING).replace(tzinfo=None)], dtype="datetime64[s]")
