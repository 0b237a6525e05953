"""Home Assistant's own MQTT integration as the way to the cloud (bridge mode)."""

import asyncio
from collections.abc import Callable
from typing import override

from homeassistant.components import mqtt
from homeassistant.components.mqtt import ReceiveMessage
from homeassistant.components.mqtt.client import TIMEOUT_ACK
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError

from .cloud.interface import (
    CloudUnavailable,
    MessageCallback,
    NotAcknowledged,
    Transport,
    TransportState,
    Unsubscribe,
)


class HomeAssistantTransport(Transport):
    """Publishes and subscribes through the broker that Home Assistant uses already."""

    def __init__(self, hass: HomeAssistant) -> None:
        self._hass = hass
        self.on_state: Callable[[TransportState], None] | None = None

    @property
    @override
    def connected(self) -> bool:
        return mqtt.util.mqtt_config_entry_enabled(self._hass) is True and mqtt.is_connected(
            self._hass
        )

    @property
    @override
    def state(self) -> TransportState:
        return TransportState.CONNECTED if self.connected else TransportState.DISCONNECTED

    @override
    async def run(self) -> None:
        """Follow the state of the connection; Home Assistant keeps it."""

        @callback
        def changed(_connected: bool) -> None:  # noqa: FBT001 - Home Assistant's signature
            if self.on_state is not None:
                self.on_state(self.state)

        unsubscribe = mqtt.async_subscribe_connection_status(self._hass, changed)
        try:
            changed(self.connected)
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
            raise CloudUnavailable(str(err)) from err
        # The integration returns as if all were well when no acknowledgement came in time.
        if self._hass.loop.time() - began >= TIMEOUT_ACK:
            raise NotAcknowledged("the broker did not acknowledge the message")

    @override
    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
    ) -> Unsubscribe:
        def received(message: ReceiveMessage) -> None:
            if isinstance(payload := message.payload, bytes):
                callback(message.topic, payload)

        try:
            unsubscribe = await mqtt.async_subscribe(
                self._hass, topic_filter, received, qos=1, encoding=None
            )
        except HomeAssistantError as err:
            raise CloudUnavailable(str(err)) from err

        async def end() -> None:
            unsubscribe()
            await asyncio.sleep(0)

        return end
