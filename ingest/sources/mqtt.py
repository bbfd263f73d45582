"""Topics of an MQTT broker: a message is acknowledged when it is kept, so the broker gives it again until then.

The session outlives the connection: what is published while nobody listens waits at the broker. Paho's own client is
used, since aiomqtt acknowledges what it has read, and not what has been kept.
"""

import asyncio
import ssl
from collections.abc import Sequence

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.intake import Intake
from ingest.topics import with_topic
from layers.feeds import MqttFeed, secret_named

__all__ = ["MqttSession"]

_SESSION_S = 7 * 24 * 3600
_IN_FLIGHT = 5_000
_KEEPALIVE_S = 30


class MqttSession:
    """A feed's session at its broker; connects again by itself."""

    def __init__(self, feed: MqttFeed, intake: Intake) -> None:
        self._feed = feed
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"citytwin-{feed.id}",
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        if feed.user is not None:
            client.username_pw_set(feed.user, secret_named(intake.home, feed.password) if feed.password else None)
        if feed.tls:
            client.tls_set_context(ssl.create_default_context())
        client.reconnect_delay_set(1, 10)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        self._client = client

    async def start(self) -> None:
        """Connect, now or as soon as the broker answers."""
        host, _, port = self._feed.broker.rpartition(":")
        connecting = Properties(PacketTypes.CONNECT)
        connecting.SessionExpiryInterval = _SESSION_S
        connecting.ReceiveMaximum = _IN_FLIGHT
        self._client.connect_async(host.strip("[]"), int(port), _KEEPALIVE_S, clean_start=False, properties=connecting)
        self._client.loop_start()

    def close(self) -> None:
        """Nothing has to be done: what still comes is not acknowledged, and comes again."""

    def stop(self) -> None:
        """Disconnect; the broker keeps what has not been acknowledged."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _said: Properties | None
    ) -> None:  # fmt: skip
        if reason.is_failure:
            self._tell(f"the broker refuses: {reason}.")
            return
        client.subscribe([(topic, 1) for topic in self._feed.topics])
        self._tell(None)

    def _disconnected(
        self, _client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _said: Properties | None
    ) -> None:  # fmt: skip
        if reason.is_failure:
            self._tell(f"the broker is away: {reason}.")

    def _tell(self, fault: str | None) -> None:
        """Called in the client's own thread."""
        asyncio.run_coroutine_threadsafe(self._intake.contact(fault), self._loop)

    def _arrived(self, client: Client, _data: object, message: MQTTMessage) -> None:
        """Called in the client's own thread."""
        number, quality = message.mid, message.qos

        def kept(_: Sequence[bytes]) -> None:
            client.ack(number, quality)

        self._loop.call_soon_threadsafe(self._intake.put, [with_topic(message.topic, bytes(message.payload))], kept)
