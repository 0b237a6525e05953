"""Which way metrics and events go: over MQTT, or over HTTP while there is no MQTT."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from ...model.identity import DeviceKey
from ...model.telemetry import Event, Metric
from ..errors import CloudUnavailable
from .samples import Devices, Kind, Sample, check_samples
from .telemetry import Sender, send_samples

FROZEN_AFTER = 10.0
"""Seconds without an acknowledgement after which a connection is taken for a frozen one."""


class TelemetryRoute:
    """The one place that chooses; ``is_connected`` tells whether MQTT is.

    ``http`` is None for a customer without an API token.

    What MQTT does not acknowledge in time goes over HTTP, and may arrive twice then. Many
    devices of one application go up in one message. Every method that publishes raises
    CloudError; InvalidMessage comes before anything is sent.
    """

    def __init__(
        self, mqtt: Sender, is_connected: Callable[[], bool], http: Sender | None = None
    ) -> None:
        self.http = http
        self._mqtt = mqtt
        self._is_connected = is_connected

    @property
    def available(self) -> bool:
        """Whether there is a way that could be tried now."""
        return self._is_connected() or self.http is not None

    async def publish_metrics(self, metrics: Mapping[DeviceKey, Sequence[Metric]]) -> None:
        """Publish metrics of any devices."""
        await self._publish(Kind.METRICS, metrics)

    async def publish_events(self, events: Mapping[DeviceKey, Sequence[Event]]) -> None:
        """Publish events of any devices."""
        await self._publish(Kind.EVENTS, events)

    async def _publish(self, kind: Kind, samples: Mapping[DeviceKey, Sequence[Sample]]) -> None:
        by_application: dict[int, dict[str, Sequence[Sample]]] = defaultdict(dict)
        for (application_id, serial), each in samples.items():
            check_samples(kind, each)
            by_application[application_id][serial] = each
        for application_id, devices in by_application.items():
            await self._send(kind, application_id, devices)

    async def _send(self, kind: Kind, application_id: int, devices: Devices) -> None:
        """Send over MQTT; over HTTP, if there is a token for it, where that is not to be had."""
        if self.http is None:
            await send_samples(self._mqtt, kind, application_id, devices)
            return
        if self._is_connected():
            try:
                async with asyncio.timeout(FROZEN_AFTER):
                    await send_samples(self._mqtt, kind, application_id, devices)
            except TimeoutError, CloudUnavailable:
                pass
            else:
                return
        await send_samples(self.http, kind, application_id, devices)
