"""Which way metrics and events go: over MQTT, or over HTTP while there is no MQTT."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ...capture.model import DeviceKey
from .cloud import UloggerCloud
from .http import HttpTelemetry
from .samples import DeviceSamples, Kind, Sample
from .telemetry import Telemetry


class TelemetryRoute:
    """The one place that chooses. ``http`` is None for a customer without an API token.

    Every method that publishes raises CloudError.
    """

    def __init__(self, cloud: UloggerCloud, http: HttpTelemetry | None = None) -> None:
        self._cloud = cloud
        self._http = http

    @property
    def available(self) -> bool:
        """Whether there is a way that could be tried now."""
        return self._cloud.connected or self._http is not None

    @property
    def way(self) -> Telemetry | HttpTelemetry:
        """Return MQTT while it is connected, else HTTP if there is a token for it."""
        if self._cloud.connected or self._http is None:
            return self._cloud
        return self._http

    async def publish_metrics(self, samples: Mapping[DeviceKey, Sequence[Sample]]) -> None:
        """Publish metrics of any devices: many of one application go up in one message."""
        for application_id, devices in _batches(Kind.METRICS, samples).items():
            if len(devices) > 1:
                await self.way.publish_metrics_batch(devices, application_id)
                continue
            [only] = devices
            key = (application_id, only["device_serial"])
            await self.way.publish_metrics(key, only[Kind.METRICS.value])

    async def publish_events(self, samples: Mapping[DeviceKey, Sequence[Sample]]) -> None:
        """Publish events of any devices: many of one application go up in one message."""
        for application_id, devices in _batches(Kind.EVENTS, samples).items():
            if len(devices) > 1:
                await self.way.publish_events_batch(devices, application_id)
                continue
            [only] = devices
            key = (application_id, only["device_serial"])
            await self.way.publish_events(key, only[Kind.EVENTS.value])


def _batches(
    kind: Kind, samples: Mapping[DeviceKey, Sequence[Sample]]
) -> dict[int, list[DeviceSamples]]:
    """Return each application's devices as a batch has them."""
    by_application: dict[int, list[DeviceSamples]] = defaultdict(list)
    for (application_id, serial), each in samples.items():
        by_application[application_id].append({"device_serial": serial, kind.value: list(each)})
    return by_application
