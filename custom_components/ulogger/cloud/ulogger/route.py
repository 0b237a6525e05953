"""Which way metrics and events go: over MQTT, or over HTTP while there is no MQTT."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from ...model.identity import DeviceKey
from ..errors import CloudUnavailable
from .cloud import UloggerCloud
from .http import HttpTelemetry
from .samples import DeviceSamples, Kind, Sample
from .telemetry import Telemetry

FROZEN_AFTER = 10.0
"""Seconds without an acknowledgement after which a connection is taken for a frozen one."""

type Way = Telemetry | HttpTelemetry


class TelemetryRoute:
    """The one place that chooses. ``http`` is None for a customer without an API token.

    What MQTT does not acknowledge in time goes over HTTP, and may arrive twice then. Every
    method that publishes raises CloudError.
    """

    def __init__(self, cloud: UloggerCloud, http: HttpTelemetry | None = None) -> None:
        self._cloud = cloud
        self._http = http

    @property
    def available(self) -> bool:
        """Whether there is a way that could be tried now."""
        return self._cloud.connected or self._http is not None

    async def publish_metrics(self, samples: Mapping[DeviceKey, Sequence[Sample]]) -> None:
        """Publish metrics of any devices: many of one application go up in one message."""
        for application_id, devices in _batches(Kind.METRICS, samples).items():
            await self._publish(partial(_metrics, application_id, devices))

    async def publish_events(self, samples: Mapping[DeviceKey, Sequence[Sample]]) -> None:
        """Publish events of any devices: many of one application go up in one message."""
        for application_id, devices in _batches(Kind.EVENTS, samples).items():
            await self._publish(partial(_events, application_id, devices))

    async def _publish(self, send: Callable[[Way], Awaitable[None]]) -> None:
        """Send over MQTT; over HTTP, if there is a token for it, where that is not to be had."""
        if self._http is None:
            await send(self._cloud)
            return
        if self._cloud.connected:
            try:
                async with asyncio.timeout(FROZEN_AFTER):
                    await send(self._cloud)
            except TimeoutError, CloudUnavailable:
                pass
            else:
                return
        await send(self._http)


async def _metrics(application_id: int, devices: list[DeviceSamples], way: Way) -> None:
    if len(devices) > 1:
        await way.publish_metrics_batch(devices, application_id)
        return
    [only] = devices
    await way.publish_metrics((application_id, only["device_serial"]), only[Kind.METRICS.value])


async def _events(application_id: int, devices: list[DeviceSamples], way: Way) -> None:
    if len(devices) > 1:
        await way.publish_events_batch(devices, application_id)
        return
    [only] = devices
    await way.publish_events((application_id, only["device_serial"]), only[Kind.EVENTS.value])


def _batches(
    kind: Kind, samples: Mapping[DeviceKey, Sequence[Sample]]
) -> dict[int, list[DeviceSamples]]:
    """Return each application's devices as a batch has them."""
    by_application: dict[int, list[DeviceSamples]] = defaultdict(list)
    for (application_id, serial), each in samples.items():
        by_application[application_id].append({"device_serial": serial, kind.value: list(each)})
    return by_application
