"""A broker with limits, and the cloud behind it, in virtual time: no socket and no process."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import topic_matches_sub

from custom_components.ulogger.cloud.errors import CannotConnect, CloudUnavailable
from custom_components.ulogger.cloud.mqtt.connection import ConnectionEnded
from demo.cloud.limits import Answer, Client, Limits

ROUND_TRIP = 0.08
HANDSHAKE = 0.3


class VirtualBroker:
    """Answers after a round trip, registers devices, and closes as its limits say."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.reachable = True
        self.mute = False
        self.answers_subscriptions = True
        self.taken: list[tuple[float, str, bytes]] = []
        self.connections: list[VirtualConnection] = []
        self.closed_on: Counter[str] = Counter()
        self.tokens: dict[str, int] = {}
        self.retained: dict[str, bytes] = {}

    def connect(self, *_where: object, **settings: Any) -> VirtualConnection:
        """Stand in for the class of a real connection."""
        connection = VirtualConnection(self, settings["on_message"], settings["on_end"])
        self.connections.append(connection)
        return connection

    @property
    def connection(self) -> VirtualConnection | None:
        """The connection that is open."""
        return next((each for each in self.connections if each.open_), None)

    @property
    def most_filters(self) -> int:
        """The most filters that one connection ever had."""
        return max((each.client.most_filters for each in self.connections), default=0)

    def send(self, topic: str, payload: bytes, *, retained: bool = False) -> bool:
        """Publish to who listens; a topic that is too long can't be published to at all."""
        if len(topic.encode()) > self.limits.longest_topic or (now := self.connection) is None:
            return False
        if not any(topic_matches_sub(each, topic) for each in now.client.filters):
            return False
        now.hear(topic, payload, retained)
        return True

    def took(self, topic: str, payload: bytes) -> None:
        """Keep a message, and answer a registration."""
        self.taken.append((asyncio.get_running_loop().time(), topic, payload))
        if topic.startswith("boot/") and not self.mute:
            serial = json.loads(payload)["serial"]
            token = self.tokens.setdefault(serial, 1000 + len(self.tokens))
            self.send(f"{topic}/{serial}", json.dumps({"token": token}).encode())

    def of(self, kind: str) -> list[tuple[float, str, bytes]]:
        """All messages of one kind."""
        return [each for each in self.taken if each[1].startswith(f"{kind}/")]


class VirtualConnection:
    """What `MqttConnection` is to a transport."""

    def __init__(
        self,
        broker: VirtualBroker,
        on_message: Callable[[str, bytes, bool], None],
        on_end: Callable[[], None],
    ) -> None:
        self.client = Client(broker.limits)
        self.open_ = False
        self.asked: list[str] = []
        self.opened_at = self.ended_at = 0.0
        self._broker = broker
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[bool] = self._loop.create_future()
        self._waiting: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        await asyncio.sleep(HANDSHAKE)
        if not self._broker.reachable:
            raise CannotConnect("told so")
        self.open_, self.opened_at = True, self._loop.time()

    async def ended(self) -> bool:
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._over(by_broker=False)

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    def send(self, topic: str, payload: bytes) -> asyncio.Future[None]:
        def arrived(answer: asyncio.Future[None]) -> None:
            if (said := self.client.publish(topic, len(payload))) is Answer.CLOSED:
                self._broker.closed_on[topic] += 1
                self._over(by_broker=True)
                return
            if said is Answer.TAKEN:
                self._broker.took(topic, payload)
            self._loop.call_later(ROUND_TRIP / 2, self._resolve, answer, None)

        return self._later(arrived)

    async def allow(self, topic_filter: str) -> bool:
        def arrived(answer: asyncio.Future[bool]) -> None:
            self.asked.append(topic_filter)
            if (said := self.client.subscribe(topic_filter)) is Answer.CLOSED:
                self._broker.closed_on[topic_filter] += 1
                self._over(by_broker=True)
                return
            if not self._broker.answers_subscriptions:
                return
            self._loop.call_later(ROUND_TRIP / 2, self._resolve, answer, said is Answer.TAKEN)
            for topic, payload in self._broker.retained.items():
                if said is Answer.TAKEN and topic_matches_sub(topic_filter, topic):
                    self.hear(topic, payload, retained=True)

        return await self._later(arrived)

    def drop(self, topic_filter: str) -> None:
        self._loop.call_later(ROUND_TRIP / 2, self.client.unsubscribe, topic_filter)

    def hear(self, topic: str, payload: bytes, retained: bool) -> None:
        self._loop.call_later(ROUND_TRIP / 2, self._hear, topic, payload, retained)

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        if self.open_:
            self._on_message(topic, payload, retained)

    def _later(self, arrived: Callable[[asyncio.Future[Any]], None]) -> asyncio.Future[Any]:
        if not self.open_:
            raise CloudUnavailable("there is no connection to the broker")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.add(answer)
        self._loop.call_later(ROUND_TRIP / 2, lambda: self.open_ and arrived(answer))
        return answer

    def _resolve(self, answer: asyncio.Future[Any], result: object) -> None:
        self._waiting.discard(answer)
        if not answer.done():
            answer.set_result(result)

    def _over(self, *, by_broker: bool) -> None:
        if not self._end.done():
            self._end.set_result(by_broker)
        self.open_, self.ended_at = False, self._loop.time()
        self._on_end()
        lost = [each for each in self._waiting if not each.done()]
        self._waiting.clear()
        for each in lost:
            each.set_exception(ConnectionEnded(closed_by_broker=by_broker, in_flight=len(lost)))
