"""A Mosquitto of one's own on a loopback port: for the synthetic city, and for tests."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from layers.feeds import Feed, MqttFeed
from twin.errors import SetupError

__all__ = ["Broker", "broker_of"]

_FOLDER = "broker"
_STARTS_S, _ENDS_S = 20.0, 20.0


class Broker:
    """A broker that keeps its sessions over restarts, in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. Raises SetupError where it is not installed or does not start."""
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise SetupError("Mosquitto is not installed.", remedy="apt install mosquitto")
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self._folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"max_queued_messages 0\n{user}"
        )
        self._process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)  # noqa: S603
        deadline = time.monotonic() + _STARTS_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SetupError(
                    "Mosquitto does not start.", where=str(config), remedy="See whether its port is taken."
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as a shutdown would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=_ENDS_S)
            self._process = None

    def answers(self) -> bool:
        """Whether a broker listens at its port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def broker_of(feeds: Sequence[Feed], home: Path) -> Generator[None]:
    """The broker of the synthetic city's feeds while the block runs; none where they have none, or another runs it."""
    addresses = {feed.broker for feed in feeds if isinstance(feed, MqttFeed) and feed.synthetic}
    brokers = [Broker(home / _FOLDER, int(address.rpartition(":")[2])) for address in sorted(addresses)[:1]]
    mine = [broker for broker in brokers if not broker.answers()]
    for broker in mine:
        broker.start()
    try:
        yield
    finally:
        for broker in mine:
            broker.stop()
