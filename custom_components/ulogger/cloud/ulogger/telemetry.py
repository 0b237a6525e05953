"""How metrics and events are sent, over whichever way; and the way over MQTT."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from ..mqtt.transport import Transport
from .samples import Devices, Kind, Message, messages
from .topics import Topics

LARGEST_MESSAGE = 131_072
"""AWS IoT Core's limit, compressed or not."""
ELSEWHERE_FROM = 500
"""Samples from which encoding would hold up the event loop, and is done beside it."""


class Sender(Protocol):
    """One way for metrics and events to the cloud."""

    @property
    def largest(self) -> int | None:
        """Bytes that one message may have; what is longer is split."""

    def fields(self, application_id: int) -> Mapping[str, str]:
        """Return what a message has to name besides its devices."""

    async def send(self, kind: Kind, application_id: int, message: Message) -> None:
        """Return once the message is acknowledged; raises CloudError."""


class MqttTelemetry:
    """The way over MQTT: the topic names group and application."""

    largest = LARGEST_MESSAGE

    def __init__(self, transport: Transport, topics: Topics) -> None:
        self._transport = transport
        self._topics = topics

    def fields(self, application_id: int) -> Mapping[str, str]:
        """Return nothing: the topic names it all."""
        return {}

    async def send(self, kind: Kind, application_id: int, message: Message) -> None:
        """Publish one message."""
        await self._transport.publish(
            self._topics.telemetry(kind.value, application_id), message.data
        )


async def send_samples(sender: Sender, kind: Kind, application_id: int, devices: Devices) -> None:
    """Send all samples of one application; returns once everything is acknowledged.

    Raises CloudError; nothing is sent of what can't be packed.
    """

    def pack() -> list[Message]:
        return list(messages(kind, devices, sender.fields(application_id), sender.largest))

    few = sum(map(len, devices.values())) < ELSEWHERE_FROM
    for message in pack() if few else await asyncio.to_thread(pack):
        await sender.send(kind, application_id, message)
