"""Home Assistant's own MQTT integration as the way to the cloud (bridge mode)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, override

from homeassistant.components import mqtt
from homeassistant.components.mqtt import ReceiveMessage
from homeassistant.components.mqtt.client import TIMEOUT_ACK
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError

from ..cloud.destination import ConnectionState
from ..cloud.errors import CloudUnavailable, NotAcknowledged
from ..cloud.mqtt.transport import MessageCallback, Transport, Unsubscribe

SUBSCRIBED_WITHIN = 12.0
"""Seconds after which Home Assistant has heard of a subscription or given it up."""


class HomeAssistantTransport(Transport):
    """Publishes and subscribes through the broker that Home Assistant uses already."""

    def __init__(self, hass: HomeAssistant) -> None:
        self._hass = hass
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.counters: Counter[str] = Counter()

    @property
    @override
    def connected(self) -> bool:
        return mqtt.util.mqtt_config_entry_enabled(self._hass) is True and mqtt.is_connected(
            self._hass
        )

    @property
    @override
    def state(self) -> ConnectionState:
        return ConnectionState.CONNECTED if self.connected else ConnectionState.DISCONNECTED

    @override
    async def run(self) -> None:
        """Follow the state of the connection; Home Assistant keeps it."""

        @callback
        def changed(connected: bool) -> None:  # noqa: FBT001 - Home Assistant's signature
            self.counters["connections" if connected else "disconnections"] += 1
            if self.on_state is not None:
                self.on_state(self.state)

        unsubscribe = mqtt.async_subscribe_connection_status(self._hass, changed)
        try:
            if self.on_state is not None:
                self.on_state(self.state)
            await self._hass.loop.create_future()
        finally:
            unsubscribe()

    @override
    async def publish(self, topic: str, payload: bytes) -> None:
        if not self.connected:
            raise CloudUnavailable("Home Assistant's MQTT integration is not connected")
        began = self._hass.loop.time()
        try:
            await mqtt.async_publish(self._hass, topic, payload, qos=1, retain=False)
        except HomeAssistantError as err:
            self.counters["failed"] += 1
            raise CloudUnavailable(str(err)) from err
        # The integration returns as if all were well when no acknowledgement came in time.
        if self._hass.loop.time() - began >= TIMEOUT_ACK:
            self.counters["not_acknowledged"] += 1
            raise NotAcknowledged("the broker did not acknowledge the message")
        self.counters["published"] += 1

    @override
    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
        *,
        on_allowed: Callable[[], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> Unsubscribe:
        subscription = _Subscription(callback)
        answered = asyncio.Event()
        try:
            stop = mqtt.async_on_subscribe_done(self._hass, topic_filter, 1, answered.set)
            unsubscribe = await mqtt.async_subscribe(
                self._hass, topic_filter, subscription.received, qos=1, encoding=None
            )
        except HomeAssistantError as err:
            raise CloudUnavailable(str(err)) from err

        async def end() -> None:
            subscription.ended = True
            unsubscribe()

        try:
            # Subscriptions are gathered for a moment: what is asked before then is not heard.
            if self.connected:
                async with asyncio.timeout(SUBSCRIBED_WITHIN):
                    await answered.wait()
        except TimeoutError:
            self.counters["subscriptions_unanswered"] += 1
        except asyncio.CancelledError:
            await end()
            raise
        finally:
            stop()
        return end

    @override
    async def subscribed(self, topic_filter: str) -> bool:
        """Home Assistant subscribes again by itself, and gives no notice of what was refused."""
        return True

    def diagnostics(self) -> Mapping[str, Any]:
        """Count what became of messages; topics and brokers are Home Assistant's to tell."""
        return {"counters": dict(self.counters)}


class _Subscription:
    """Passes messages on until it ends, also when Home Assistant brings it back after that."""

    def __init__(self, heard: MessageCallback) -> None:
        self.ended = False
        self._heard = heard

    @callback
    def received(self, message: ReceiveMessage) -> None:
        """Take a message."""
        if not self.ended and isinstance(payload := message.payload, bytes):
            self._heard(message.topic, payload, message.retain)
