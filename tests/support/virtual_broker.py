"""A broker in virtual time with the habits of AWS IoT: it answers late, and closes on a denial.

What is denied (a topic, a filter, a message) it does not answer; it closes the connection. A
second client with an id ends the first one's connection.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import topic_matches_sub

from custom_components.ulogger.cloud.errors import CannotConnect, CloudUnavailable
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.mqtt.connection import ConnectionEnded

CONNECT_SECONDS = 0.15
TRIP_SECONDS = 0.025
"""From here to the broker, and back as long again."""


class VirtualBroker:
    """The broker, and the service behind it that answers registrations."""

    def __init__(self) -> None:
        self.up = True
        self.acknowledges_after = 0.0
        self.denies: Callable[[str, bytes], bool] = lambda _topic, _payload: False
        self.denies_filter: Callable[[str], bool] = lambda _filter: False
        self.registers: Callable[[str], bool] = lambda _serial: True
        self.taken: list[tuple[float, str, bytes]] = []
        self.closings = 0
        self.connects: list[tuple[float, str]] = []
        self.clients: dict[str, VirtualConnection] = {}

    def transport(self, client_id: str = "cust-42-ha-test", **more: Any) -> MqttTransport:
        """Make a transport to this broker, not running."""

        def make(settings: Broker, **named: Any) -> VirtualConnection:
            return VirtualConnection(self, client_id=settings.client_id, **named)

        loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        options = {"clock": loop.time, "now": loop.time, "make_connection": make} | more
        return MqttTransport(
            Broker(host="virtual", port=8883, client_id=client_id, tls=context), **options
        )

    def arrivals(self, kind: str) -> list[tuple[float, str, bytes]]:
        """What was taken on topics that begin with a word."""
        return [each for each in self.taken if each[1].split("/")[0] == kind]

    def drop_all(self) -> None:
        """Close every connection, as in a restart."""
        for connection in list(self.clients.values()):
            connection.closed_by_broker()

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message, and answer a registration."""
        self.taken.append((asyncio.get_running_loop().time(), topic, payload))
        if topic.startswith("boot/"):
            serial = json.loads(payload)["serial"]
            if self.registers(serial):
                for client in list(self.clients.values()):
                    client.hear(f"{topic}/{serial}", b'{"token": 7}')


class VirtualConnection:
    """What `MqttConnection` is to a transport."""

    def __init__(
        self,
        broker: VirtualBroker,
        *,
        client_id: str,
        on_message: Callable[[str, bytes, bool], None],
        on_end: Callable[[], None],
        **_others: object,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[bool] = self._loop.create_future()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._filters: set[str] = set()

    # What a transport uses

    async def open(self) -> None:
        await asyncio.sleep(CONNECT_SECONDS)
        if not self._broker.up:
            raise CannotConnect("nobody is there")
        self._broker.connects.append((self._loop.time(), self._client_id))
        if (other := self._broker.clients.get(self._client_id)) is not None:
            other.closed_by_broker()
        self._broker.clients[self._client_id] = self

    async def ended(self) -> bool:
        return await asyncio.shield(self._over)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._end(by_broker=False)

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    def send(self, topic: str, payload: bytes) -> asyncio.Future[None]:
        def reach() -> None:
            if self._broker.denies(topic, payload):
                self.closed_by_broker()
                return
            self._broker.take(topic, payload)
            self._loop.call_later(
                self._broker.acknowledges_after + TRIP_SECONDS, self._resolve, future, None
            )

        future = self._begin(reach)
        return future

    async def allow(self, topic_filter: str) -> bool:
        def reach() -> None:
            if self._broker.denies_filter(topic_filter):
                self.closed_by_broker()
                return
            self._filters.add(topic_filter)
            self._loop.call_later(TRIP_SECONDS, self._resolve, future, True)

        future = self._begin(reach)
        return await future

    def drop(self, topic_filter: str) -> None:
        self._filters.discard(topic_filter)

    # What the broker does

    def hear(self, topic: str, payload: bytes) -> None:
        if any(topic_matches_sub(each, topic) for each in self._filters):
            self._loop.call_later(TRIP_SECONDS, self._on_message, topic, payload, False)

    def closed_by_broker(self) -> None:
        self._broker.closings += 1
        self._end(by_broker=True)

    def _begin(self, reach: Callable[[], None]) -> asyncio.Future[Any]:
        if self._over.done():
            raise CloudUnavailable("there is no connection to the broker")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        self._loop.call_later(TRIP_SECONDS, lambda: None if self._over.done() else reach())
        return future

    def _resolve(self, future: asyncio.Future[Any], result: object) -> None:
        if not future.done():
            future.set_result(result)

    def _end(self, *, by_broker: bool) -> None:
        if self._over.done():
            return
        self._over.set_result(by_broker)
        if self._broker.clients.get(self._client_id) is self:
            del self._broker.clients[self._client_id]
        self._on_end()
        lost = [each for each in self._waiting if not each.done()]
        for future in lost:
            future.set_exception(ConnectionEnded(closed_by_broker=by_broker, in_flight=len(lost)))
