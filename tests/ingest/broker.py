"""A real Mosquitto on a free loopback port."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ingest.demo.broker import Broker

__all__ = ["Broker", "free_port", "running_broker"]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder, free_port())
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
