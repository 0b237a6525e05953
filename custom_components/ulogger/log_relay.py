"""Brings log configurations from the cloud to the devices they are for."""

import logging
import time
from datetime import datetime
from functools import partial

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_track_point_in_utc_time
from homeassistant.util import dt as dt_util

from .capture.model import DeviceKey
from .cloud.interface import CloudError
from .cloud.ulogger.messages import LogConfig
from .const import DOMAIN
from .coordinator import DeviceCoordinator, UloggerConfigEntry
from .log_level import LONGEST, LogSetting

_LOGGER = logging.getLogger(__name__)


class LogRelay:
    """One account's log configurations: kept, then written to the device when it is there."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self.hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._follows: dict[DeviceKey, CALLBACK_TYPE] = {}
        self._ends: dict[DeviceKey, tuple[float, CALLBACK_TYPE]] = {}

    @callback
    def start(self) -> None:
        """Relay until the entry is unloaded."""
        self._gateway.cloud.on_log_config = self._received
        on_unload = self._entry.async_on_unload
        on_unload(self._gateway.async_add_device_listener(self._watch))
        on_unload(self._gateway.async_add_forget_listener(self._unwatch))
        on_unload(self._gateway.async_add_session_listener(self._met))
        on_unload(self._stop)

    @callback
    def _stop(self) -> None:
        for unfollow in self._follows.values():
            unfollow()
        for _, cancel in self._ends.values():
            cancel()

    @callback
    def _watch(self, device: DeviceCoordinator) -> None:
        self._in_background(device, watch=True)
        self._follows[device.identity.key] = device.async_add_listener(
            partial(self._plan_end, device)
        )
        self._plan_end(device)

    @callback
    def _unwatch(self, device: DeviceCoordinator) -> None:
        self._in_background(device, watch=False)
        key = device.identity.key
        self._follows.pop(key)()
        if planned := self._ends.pop(key, None):
            planned[1]()

    @callback
    def _met(self, device: DeviceCoordinator) -> None:
        self._gateway.cloud.device_met(device.identity.key, device.record.last_collected)

    @callback
    def _plan_end(self, device: DeviceCoordinator) -> None:
        """Have the device's log configuration dropped, and that shown, at the moment it ends."""
        key, setting = device.identity.key, device.record.log_setting
        expires_at = None if setting is None else setting.expires_at
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
            device.record.log_setting = None
            self._gateway.store.save_soon()
            device.async_update_listeners()

        ends_at = dt_util.utc_from_timestamp(expires_at)
        self._ends[key] = (
            expires_at,
            async_track_point_in_utc_time(self.hass, end, ends_at),
        )

    def _in_background(self, device: DeviceCoordinator, *, watch: bool) -> None:
        self._entry.async_create_background_task(
            self.hass, self._listen(device, watch=watch), f"{DOMAIN} log relay"
        )

    async def _listen(self, device: DeviceCoordinator, *, watch: bool) -> None:
        cloud, key = self._gateway.cloud, device.identity.key
        try:
            if watch:
                await cloud.watch_log_config(key, device.record.last_collected)
            else:
                await cloud.unwatch_log_config(key)
        except CloudError as err:
            _LOGGER.warning("No log configuration will come for %s: %s", key[1], err)

    @callback
    def _received(self, key: DeviceKey, config: LogConfig, retained: bool) -> None:  # noqa: FBT001
        """Take a configuration: a newer one replaces an older."""
        if (device := self._gateway.devices.get(key)) is None:
            return
        if not config.timeout_seconds:
            self._gateway.count("log_config_expired")
            return
        device.record.modules |= named_bits(config)
        setting = LogSetting(
            config.level,
            config.module_flags,
            time.time() + min(config.timeout_seconds, LONGEST),
            list(config.modules),
        )
        self._entry.async_create_background_task(
            self.hass, self._hand_over(device, setting), f"{DOMAIN} log relay"
        )

    async def _hand_over(self, device: DeviceCoordinator, setting: LogSetting) -> None:
        await device.async_set_log_setting(setting)


def named_bits(config: LogConfig) -> dict[str, int]:
    """Tell which bit each name stands for: the flags' bits in rising order, as the names.

    Where there are not as many names as bits nothing can be told.
    """
    bits = [bit for bit in range(32) if config.module_flags >> bit & 1]
    if len(bits) != len(config.modules):
        return {}
    return dict(zip(config.modules, bits, strict=True))
