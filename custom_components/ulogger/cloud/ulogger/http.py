"""Metrics and events over HTTP with an API token, where there is no MQTT."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from ...model.identity import DeviceKey
from ..errors import (
    ApiTokenRefused,
    CannotConnect,
    CloudError,
    CloudUnavailable,
    ConnectTimeout,
    MessageRefused,
    MessageTooLarge,
)
from .samples import Compress, DeviceSamples, Kind, Sample, check_batch, check_samples, encode
from .telemetry import heartbeat

DEFAULT_URL = "https://api.ulogger.ai"
TIMEOUT = 30.0
LARGEST_ANSWER = 64 * 1024
_REFUSALS: Mapping[int, type[CloudError]] = {
    401: ApiTokenRefused,
    403: ApiTokenRefused,
    408: CloudUnavailable,
    413: MessageTooLarge,
    429: CloudUnavailable,
}


class HttpTelemetry:
    """Publishes metrics and events of one group with an API token (``ulg_...``).

    The token goes into a header and nowhere else: no error and no log shows it. There is no
    limit on the size of a message here, so nothing is split.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_token: str,
        *,
        group_id: int = 0,
        url: str = DEFAULT_URL,
    ) -> None:
        self._session = session
        self._authorization = f"Bearer {api_token}"
        self._group_id = group_id
        self._url = url.rstrip("/")

    async def publish_metrics(self, key: DeviceKey, metrics: Sequence[Sample]) -> None:
        """Publish one device's metrics; raises CloudError."""
        check_samples(Kind.METRICS, metrics)
        await self._publish_device(Kind.METRICS, key, metrics)

    async def publish_events(self, key: DeviceKey, events: Sequence[Sample]) -> None:
        """Publish one device's events; raises CloudError."""
        check_samples(Kind.EVENTS, events)
        await self._publish_device(Kind.EVENTS, key, events)

    async def publish_heartbeat(
        self, key: DeviceKey, *, rssi: float | None = None, timestamp: float | None = None
    ) -> None:
        """Tell that a device is alive; raises CloudError."""
        await self.publish_metrics(key, heartbeat(rssi, timestamp))

    async def publish_metrics_batch(
        self,
        devices: Sequence[DeviceSamples],
        application_id: int,
        compress: Compress = Compress.AUTO,
    ) -> None:
        """Publish many devices' metrics in one request; raises CloudError."""
        await self._publish_batch(Kind.METRICS, devices, application_id, compress)

    async def publish_events_batch(
        self,
        devices: Sequence[DeviceSamples],
        application_id: int,
        compress: Compress = Compress.AUTO,
    ) -> None:
        """Publish many devices' events in one request; raises CloudError."""
        await self._publish_batch(Kind.EVENTS, devices, application_id, compress)

    async def _publish_device(self, kind: Kind, key: DeviceKey, samples: Sequence[Sample]) -> None:
        application_id, serial = key
        payload = {"device_serial": serial, kind.value: list(samples)}
        await self._post(kind, payload, application_id, Compress.NEVER)

    async def _publish_batch(
        self,
        kind: Kind,
        devices: Sequence[DeviceSamples],
        application_id: int,
        compress: Compress,
    ) -> None:
        check_batch(kind, devices)
        await self._post(kind, {"devices": list(devices)}, application_id, compress)

    async def _post(
        self, kind: Kind, payload: dict[str, Any], application_id: int, compress: Compress
    ) -> None:
        payload |= {"app_id": str(application_id), "group_id": str(self._group_id)}
        data, gzipped = await asyncio.to_thread(encode, payload, compress)
        headers = {"Content-Type": "application/json", "Authorization": self._authorization}
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        try:
            async with self._session.post(
                f"{self._url}/publish/{kind.value}",
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                allow_redirects=False,
            ) as response:
                await _check(response)
        except TimeoutError as err:
            raise ConnectTimeout("the API did not answer in time") from err
        except aiohttp.ClientError as err:
            raise CannotConnect("the API can't be reached") from err


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raise CloudError unless the answer is a success: ``{"success": true}``, or 1."""
    status = response.status
    if status >= 500:
        raise CloudUnavailable(f"the API answered with status {status}")
    if status >= 300:
        raise _REFUSALS.get(status, MessageRefused)(f"the API answered with status {status}")
    try:
        answer = json.loads(await _read(response))
    except (ValueError, RecursionError) as err:
        raise CloudUnavailable("the API's answer can't be read") from err
    if not isinstance(answer, dict) or answer.get("success") != 1:
        raise MessageRefused("the API did not take the message")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer, no more of it than a good one has."""
    try:
        return await response.content.readexactly(LARGEST_ANSWER)
    except asyncio.IncompleteReadError as err:
        return err.partial
