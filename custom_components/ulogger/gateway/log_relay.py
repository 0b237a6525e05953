"""Brings log configurations from the cloud to the devices they are for."""

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later, async_track_point_in_utc_time
from homeassistant.util import dt as dt_util

from ..cloud.destination import SetsLogLevels
from ..cloud.errors import CloudError
from ..cloud.ulogger.messages import log_config_message
from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..model.identity import DeviceKey
from ..model.log_config import LogConfig, one_name_a_bit
from ..model.log_levels import LogLevels, Wish
from .gateway import UloggerConfigEntry

_LOGGER = logging.getLogger(__name__)

BURST = 5
REFILL = 30.0
"""Seconds in which a device earns one more configuration."""


class LogRelay:
    """One account's log configurations: kept, then written to the device when it is there."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self.hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._wishing = self._gateway.log_levels
        self._listeners: dict[DeviceKey, CALLBACK_TYPE] = {}
        self._ends: dict[DeviceKey, tuple[float, CALLBACK_TYPE]] = {}
        self._limits: dict[DeviceKey, _Limit] = {}

    @callback
    def start(self) -> None:
        """Relay until the entry is unloaded."""
        for name, destination in self._wishing.items():
            destination.on_log_config = partial(self._received, name)
        on_unload = self._entry.async_on_unload
        on_unload(self._gateway.async_add_device_listener(self._follow))
        on_unload(self._gateway.async_add_forget_listener(self._unfollow))
        on_unload(self._gateway.session_succeeded.add(self._session_succeeded))
        on_unload(self._stop)

    @callback
    def _stop(self) -> None:
        for unfollow in self._listeners.values():
            unfollow()
        for _, cancel in self._ends.values():
            cancel()
        for limit in self._limits.values():
            limit.stop()

    @callback
    def _follow(self, device: DeviceCoordinator) -> None:
        self._in_background(device, follow=True)
        self._listeners[device.identity.key] = device.async_add_listener(
            partial(self._plan_end, device)
        )
        self._plan_end(device)

    @callback
    def _unfollow(self, device: DeviceCoordinator) -> None:
        self._in_background(device, follow=False)
        key = device.identity.key
        self._listeners.pop(key)()
        if planned := self._ends.pop(key, None):
            planned[1]()
        if limit := self._limits.pop(key, None):
            limit.stop()

    @callback
    def _session_succeeded(self, device: DeviceCoordinator) -> None:
        for each in self._wishing.values():
            each.device_identified(device.identity.key, device.record.last_collected)

    @callback
    def _plan_end(self, device: DeviceCoordinator) -> None:
        """Have what a device shall log decided anew, and shown, when the next wish ends."""
        key, expires_at = device.identity.key, device.record.log_levels.next_end
        if planned := self._ends.get(key):
            if planned[0] == expires_at:
                return
            del self._ends[key]
            planned[1]()
        if expires_at is None:
            return

        @callback
        def end(_now: datetime) -> None:
            del self._ends[key]
            self._set(device, device.record.log_levels.without_ended(time.time()))

        ends_at = dt_util.utc_from_timestamp(expires_at)
        self._ends[key] = (
            expires_at,
            async_track_point_in_utc_time(self.hass, end, ends_at),
        )

    def _in_background(self, device: DeviceCoordinator, *, follow: bool) -> None:
        for each in self._wishing.values():
            self._entry.async_create_background_task(
                self.hass, self._listen(each, device, follow=follow), f"{DOMAIN} log relay"
            )

    async def _listen(
        self, destination: SetsLogLevels, device: DeviceCoordinator, *, follow: bool
    ) -> None:
        key = device.identity.key
        try:
            if follow:
                await destination.follow_log_config(key, device.record.last_collected)
            else:
                await destination.unfollow_log_config(key)
        except CloudError as err:
            _LOGGER.warning("No log configuration will come for %s: %s", key[1], err)

    @callback
    def _received(
        self,
        source: str,
        key: DeviceKey,
        config: LogConfig,
        retained: bool,  # noqa: FBT001
    ) -> None:
        """Take a configuration: a newer one replaces an older.

        One that the broker had retained comes with each subscription; it counts from when it
        came first. Where more come than anybody could mean, the last one counts after a while.
        """
        if (device := self._gateway.devices.get(key)) is None:
            return
        if not config.timeout_seconds:
            self._gateway.account.count("log_config_expired")
            return
        record, mark = device.record, _mark(config)
        if retained and mark == record.last_config:
            self._gateway.account.count("log_config_repeated")
            return
        record.modules = one_name_a_bit(record.modules, config.named_bits())
        record.last_config = mark
        levels = record.log_levels.wished(Wish.of(source, config, time.time()))
        limit = self._limits.setdefault(key, _Limit(self.hass.loop.time()))
        if limit.cancel is None and not (wait := limit.wait(self.hass.loop.time())):
            self._set(device, levels)
            return
        record.log_levels = levels
        self._gateway.account.store.save_soon()
        if limit.cancel is None:
            limit.cancel = async_call_later(self.hass, wait, partial(self._waited, key))
        else:
            self._gateway.account.count("log_config_superseded")

    @callback
    def _waited(self, key: DeviceKey, _now: datetime) -> None:
        """Show and write what has come meanwhile, unless it was taken back."""
        limit = self._limits[key]
        limit.cancel = None
        limit.wait(self.hass.loop.time())
        device = self._gateway.devices.get(key)
        if device is not None:
            self._set(device, device.record.log_levels)

    def _set(self, device: DeviceCoordinator, levels: LogLevels) -> None:
        """Keep *levels*, and have them shown and written."""
        self._entry.async_create_background_task(
            self.hass, device.async_set_log_levels(levels, save_now=False), f"{DOMAIN} log relay"
        )


@dataclass(slots=True)
class _Limit:
    """How many configurations are shown and written: `BURST` at once, then one each `REFILL`."""

    at: float
    left: float = BURST
    cancel: CALLBACK_TYPE | None = None

    def wait(self, now: float) -> float:
        """Take one; return 0, or the seconds until there is one again."""
        self.left = min(BURST, self.left + (now - self.at) / REFILL)
        self.at = now
        if self.left < 1:
            return (1 - self.left) * REFILL
        self.left -= 1
        return 0

    def stop(self) -> None:
        """Wait no longer."""
        if self.cancel is not None:
            self.cancel()


def _mark(config: LogConfig) -> str:
    """Return what a configuration is recognised by."""
    return hashlib.sha256(log_config_message(config)).hexdigest()[:16]
