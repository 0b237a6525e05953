"""Reports to the cloud which devices are alive: after a session, and daily while they are seen."""

import logging
import time
from datetime import datetime, timedelta

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later, async_track_time_interval
from homeassistant.util import dt as dt_util

from ..cloud.destination import TakesTelemetry
from ..cloud.errors import CloudError
from ..coordinator import DeviceCoordinator
from ..model.identity import DeviceKey
from ..model.telemetry import Metric, heartbeat
from .gateway import UloggerConfigEntry

_LOGGER = logging.getLogger(__name__)

GATHER = 5.0
"""Seconds that heartbeats wait for others, to go up together."""
LOOK_EVERY = timedelta(minutes=30)
AT_LEAST_EVERY = 23 * 3600.0
SEEN_WITHIN = 3600.0


class Heartbeats:
    """One account's heartbeats, many devices in one message."""

    def __init__(
        self, hass: HomeAssistant, entry: UloggerConfigEntry, telemetry: TakesTelemetry
    ) -> None:
        self.hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._telemetry = telemetry
        self._waiting: dict[DeviceKey, list[Metric]] = {}
        self._timer: CALLBACK_TYPE | None = None

    @callback
    def start(self) -> None:
        """Send heartbeats until the entry is unloaded."""
        on_unload = self._entry.async_on_unload
        on_unload(self._gateway.session_succeeded.add(self._session_succeeded))
        on_unload(self._gateway.account.changed.add(self._send_soon))
        on_unload(async_track_time_interval(self.hass, self._look, LOOK_EVERY))
        on_unload(self._stop)
        # Those seen before a restart may be due.
        self._look(dt_util.utcnow())

    @callback
    def _stop(self) -> None:
        if self._timer is not None:
            self._timer()

    @callback
    def _session_succeeded(self, device: DeviceCoordinator) -> None:
        self._beat(device)

    @callback
    def _look(self, _now: datetime) -> None:
        now = time.time()
        for device in self._gateway.devices.values():
            seen = now - device.record.last_seen <= SEEN_WITHIN or device.data.present
            # A time to come is one from before the clock was set back.
            since = now - device.record.last_heartbeat
            if seen and not device.disabled and not 0 <= since < AT_LEAST_EVERY:
                self._beat(device)

    @callback
    def _beat(self, device: DeviceCoordinator) -> None:
        if not self._gateway.account.settings.heartbeats:
            return
        self._waiting[device.identity.key] = heartbeat(device.data.rssi, int(time.time()))
        self._send_soon()

    @callback
    def _send_soon(self) -> None:
        if self._waiting and self._timer is None and self._telemetry.takes_telemetry_now:
            self._timer = async_call_later(self.hass, GATHER, self._send)

    async def _send(self, _now: datetime) -> None:
        self._timer = None
        sending, self._waiting = self._waiting, {}
        try:
            await self._telemetry.publish_metrics(sending)
        except CloudError as err:
            self._gateway.account.count(err.reason)
            if not err.retryable:
                _LOGGER.debug("Heartbeats are refused: %s", err)
                return
            _LOGGER.debug("Heartbeats could not be sent and will be later: %s", err)
            self._waiting = sending | self._waiting
            return
        for key in sending:
            if (device := self._gateway.devices.get(key)) is not None:
                device.record.last_heartbeat = time.time()
        self._gateway.account.store.save_soon()
