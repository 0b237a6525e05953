"""A transport that remembers what it is given, and what uLogger's library gives its client."""

import asyncio
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import topic_matches_sub

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.mqtt.transport import MessageCallback, Unsubscribe


class RecordingTransport:
    """A transport of somebody else: takes everything, hears what a test says."""

    def __init__(self) -> None:
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.connected = True
        self.frozen = False
        self.state = ConnectionState.CONNECTED
        self.published: list[tuple[str, bytes]] = []
        self.answer: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self.refuses: Callable[[str], bool] = lambda _filter: False
        self.subscriptions: list[tuple[str, MessageCallback]] = []

    def suspects(self, topic: str) -> bool:
        return False

    def diagnostics(self) -> dict[str, Any]:
        return {}

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def publish(self, topic: str, payload: bytes) -> None:
        if not self.connected:
            raise CloudUnavailable("not connected")
        if self.frozen:
            await asyncio.Event().wait()
        self.published.append((topic, payload))
        self.answer(topic, payload)

    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
        *,
        on_allowed: Callable[[], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> Unsubscribe:
        entry = (topic_filter, callback)
        self.subscriptions.append(entry)
        if self.refuses(topic_filter) and on_refused is not None:
            on_refused()

        async def unsubscribe() -> None:
            if entry in self.subscriptions:
                self.subscriptions.remove(entry)

        return unsubscribe

    async def subscribed(self, topic_filter: str) -> bool:
        return topic_filter in self.filters and not self.refuses(topic_filter)

    def hear(self, topic: str, payload: bytes, retained: bool = False) -> None:
        """Have a message come in."""
        for topic_filter, callback in list(self.subscriptions):
            if topic_matches_sub(topic_filter, topic) and not self.refuses(topic_filter):
                callback(topic, payload, retained)

    @property
    def filters(self) -> list[str]:
        return [topic_filter for topic_filter, _ in self.subscriptions]

    @property
    def topics(self) -> list[str]:
        """The filters that are one topic each; a refused wildcard is wanted all the same."""
        return [topic_filter for topic_filter in self.filters if "+" not in topic_filter]

    def answer_registrations(self, reply: Callable[[str], bytes]) -> None:
        """Answer each registration with what ``reply`` makes of its serial."""
        import json

        def answer(topic: str, payload: bytes) -> None:
            if topic.split("/")[-5:-4] == ["boot"]:
                serial = json.loads(payload)["serial"]
                self.hear(f"{topic}/{serial}", reply(serial))

        self.answer = answer


class LibraryClient:
    """What uLogger's library takes for a connected client in its bridge mode."""

    def __init__(self, token: bytes = b'{"token": 1}') -> None:
        self.published: list[tuple[str, bytes, int, bool]] = []
        self.subscribed: list[tuple[str, int]] = []
        self.on_subscribe: Callable[..., None] | None = None
        self._token = token
        self._callbacks: dict[str, Callable[..., None]] = {}

    def publish(self, topic: str, payload: Any, qos: int = 0, retain: bool = False) -> Any:
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        self.published.append((topic, data, qos, retain))
        if "boot/v0/" in topic:
            for callback in list(self._callbacks.values()):
                message = type("Message", (), {"payload": self._token, "topic": topic})
                callback(self, None, message)
        return _Published()

    def subscribe(self, topic: str, qos: int = 0) -> tuple[int, int]:
        self.subscribed.append((topic, qos))
        if self.on_subscribe is not None:
            self.on_subscribe(self, None, 1, (qos,))
        return (0, 1)

    def hear(self, topic: str, payload: bytes) -> None:
        message = type("Message", (), {"payload": payload, "topic": topic})
        self._callbacks[topic](self, None, message)

    def unsubscribe(self, topic: str) -> None:
        pass

    def message_callback_add(self, topic: str, callback: Callable[..., None]) -> None:
        self._callbacks[topic] = callback

    def message_callback_remove(self, topic: str) -> None:
        self._callbacks.pop(topic, None)


class _Published:
    rc = 0

    def wait_for_publish(self, timeout: float | None = None) -> None:
        pass

    def is_published(self) -> bool:
        return True
