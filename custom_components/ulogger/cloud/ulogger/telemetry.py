"""Metrics, events and heartbeats over MQTT."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from ...model.identity import DeviceKey
from ..mqtt.transport import Transport
from .samples import (
    Compress,
    DeviceSamples,
    Kind,
    Sample,
    batch_messages,
    check_batch,
    check_samples,
    device_messages,
)
from .topics import Topics, checked_serial

LARGEST_MESSAGE = 131_072
"""AWS IoT Core's limit, compressed or not."""
ELSEWHERE_FROM = 500
"""Samples from which encoding would hold up the event loop, and is done beside it."""


def heartbeat(rssi: float | None = None, timestamp: float | None = None) -> list[Sample]:
    """Return what keeps a device "active" for a day, with its signal strength in dBm."""
    at = {} if timestamp is None else {"timestamp": timestamp}
    metrics: list[Sample] = [{"name": "heartbeat", "value": 1, **at}]
    if rssi is not None:
        metrics.append({"name": "rssi", "value": rssi, **at})
    return metrics


class Telemetry:
    """Metrics and events of one customer's group.

    What is too large for one message is split. Each method returns once everything is
    acknowledged, and raises CloudError; InvalidMessage comes before anything is sent.
    """

    def __init__(self, transport: Transport, topics: Topics) -> None:
        self._transport = transport
        self._topics = topics

    async def publish_metrics(self, key: DeviceKey, metrics: Sequence[Sample]) -> None:
        """Publish one device's metrics: ``{"name", "value", "timestamp"?}``."""
        await self._publish(Kind.METRICS, key, metrics)

    async def publish_events(self, key: DeviceKey, events: Sequence[Sample]) -> None:
        """Publish one device's events: ``{"type", "timestamp"?}``."""
        await self._publish(Kind.EVENTS, key, events)

    async def publish_heartbeat(
        self, key: DeviceKey, *, rssi: float | None = None, timestamp: float | None = None
    ) -> None:
        """Tell that a device is alive."""
        await self.publish_metrics(key, heartbeat(rssi, timestamp))

    async def publish_metrics_batch(
        self,
        devices: Sequence[DeviceSamples],
        application_id: int,
        compress: Compress = Compress.AUTO,
    ) -> None:
        """Publish many devices' metrics in one message: ``{"device_serial", "metrics"}``.

        An entry's own ``app_id`` overrides ``application_id``, which names the topic.
        """
        await self._publish_batch(Kind.METRICS, devices, application_id, compress)

    async def publish_events_batch(
        self,
        devices: Sequence[DeviceSamples],
        application_id: int,
        compress: Compress = Compress.AUTO,
    ) -> None:
        """Publish many devices' events in one message: ``{"device_serial", "events"}``."""
        await self._publish_batch(Kind.EVENTS, devices, application_id, compress)

    async def _publish(self, kind: Kind, key: DeviceKey, samples: Sequence[Sample]) -> None:
        application_id, serial = key
        check_samples(kind, samples)
        await self._send(
            self._topics.telemetry(kind.value, application_id),
            len(samples),
            lambda: device_messages(kind, checked_serial(serial), samples, LARGEST_MESSAGE),
        )

    async def _publish_batch(
        self,
        kind: Kind,
        devices: Sequence[DeviceSamples],
        application_id: int,
        compress: Compress,
    ) -> None:
        check_batch(kind, devices)
        await self._send(
            self._topics.telemetry(kind.value, application_id),
            sum(len(entry[kind.value]) for entry in devices),
            lambda: batch_messages(kind, devices, compress, LARGEST_MESSAGE),
        )

    async def _send(
        self, topic: str, samples: int, messages: Callable[[], Iterator[bytes]]
    ) -> None:
        """Publish all messages of one call."""
        if samples < ELSEWHERE_FROM:
            ready = list(messages())
        else:
            ready = await asyncio.to_thread(lambda: list(messages()))
        for message in ready:
            await self._transport.publish(topic, message)
