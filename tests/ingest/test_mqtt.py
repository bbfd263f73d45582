"""MQTT over a real broker: kept before acknowledged, nothing lost over restarts of either side, topics say which."""

import asyncio
import datetime as dt
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.running import receive_feeds
from ingest.topics import dataset_of
from ingest.worker import Worker
from layers.catalog import catalog
from layers.feeds import MqttFeed
from layers.store import apply
from tests.ingest.broker import Broker, running_broker
from tests.ingest.test_running import received
from tests.ingest.test_worker import ask, drain
from tests.layers.park import CITY
from twin.database import Database

COUNTS = "wifi.online_counts"
_SITE = """
INSERT INTO wifi.access_points (id, ap_id, name, valid, recorded, geom, cell, place_accuracy_m)
VALUES ('AP1', 'AP1', 'x', '[2020-01-01,)', '[2020-01-01,)', ST_SetSRID(ST_MakePoint(117.3, 34.8), 4490),
 622353317082759167, 10)
"""


def feed(broker: Broker) -> MqttFeed:
    return MqttFeed(id="wifi", transport="mqtt", protocol="json", broker=f"127.0.0.1:{broker.port}",
                    topics={"wifi/+/counts": COUNTS}, datasets=(COUNTS,))  # fmt: skip


def publish(broker: Broker, *messages: tuple[str, str]) -> None:
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for topic, payload in messages:
        client.publish(topic, payload, qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


async def until(condition: object) -> None:
    for _ in range(300):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.1)
    pytest.fail("it never came true")


def count(number: int) -> tuple[str, str]:
    time = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(seconds=number)
    return "wifi/AP1/counts", json.dumps({"time": time.isoformat(), "users": number, "mbps": 1.5})


def test_what_is_published_arrives_over_restarts(database: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        apply(connection, catalog(), CITY)
        connection.execute(sa.text(_SITE))

    async def listening(broker: Broker, wanted: int, *messages: tuple[str, str]) -> None:
        running = asyncio.create_task(receive_feeds(database, catalog(), tmp_path, [feed(broker)]))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(publish, broker, *messages)
        await until(lambda: len(received(database, "wifi")) >= wanted)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with running_broker(tmp_path) as broker:
        asyncio.run(listening(broker, 3, *map(count, range(3))))
        publish(broker, *map(count, range(3, 10)))  # nobody listens
        broker.stop()
        broker.start()
        asyncio.run(listening(broker, 12, count(10), ("wifi/AP9/other", "{}"), ("wifi/AP1/counts", "no json")))
    assert len(received(database, "wifi")) == 12, "what no filter names did not come"
    worker = Worker(database, catalog(), CITY, tmp_path)
    assert drain(worker, feed(broker)) == 12
    assert ask(database, "SELECT count(*), count(DISTINCT users), min(subject) FROM wifi.online_counts") == [
        (11, 11, "AP1")
    ]
    assert ask(database, "SELECT reason FROM twin.quarantine") == [("unreadable-message",)]


def test_filters_of_topics() -> None:
    topics = {"a/+/c": "one", "a/#": "two", "b": "three"}
    assert [dataset_of(topic, topics) for topic in ("a/x/c", "a/x", "a", "b", "b/c", "c")] == [
        "one", "two", "two", "three", None, None,
    ]  # fmt: skip
