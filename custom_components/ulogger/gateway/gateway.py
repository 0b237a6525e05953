"""An account at work: its devices, its destinations, and the deliveries between them."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from homeassistant.components.sensor import SensorEntity
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import __version__
from homeassistant.core import CALLBACK_TYPE, HassJob, callback

from ..account.account import Account
from ..account.store import outbox_path
from ..cloud.destination import (
    ConnectionState,
    RegistersDevices,
    SetsLogLevels,
    TakesTelemetry,
    TakesTextLogs,
)
from ..cloud.errors import CloudError
from ..cloud.ulogger.over_http import UloggerOverHttp
from ..collecting.shared_radio import shared_radio
from ..const import CONF_CLIENT_SUFFIX, GATEWAY_APPLICATION, ULOGGER_TITLE
from ..coordinator import DeviceCoordinator
from ..firmware.matching import ImageKey
from ..insight.reading import Reading
from ..model.capture import Capture
from ..model.identity import ULOGGER, DeviceIdentity, DeviceKey
from ..model.level import Level
from ..model.signal import Signal
from ..outbox.model import DeviceCounters, Item
from .crashes import Crashes
from .destinations import ActiveDestination
from .firmware_folder import FirmwareFolder
from .fleet import Fleet
from .images import Images
from .metric_hours import MetricKey
from .readings import Readings, readings_path
from .ulogger import Ulogger

type UloggerConfigEntry = ConfigEntry[Gateway]

ERRORS = frozenset({Level.ERROR, Level.CRITICAL})
FINISH_SESSIONS_WITHIN = 10.0
"""Seconds that sessions have to come to their end when the account is unloaded; later ones are
taken up again when it is loaded."""
FINISH_WITHIN = 5.0
"""Seconds that what is being sent has to be acknowledged when the account is unloaded."""


class Gateway:
    """An account at work: its devices, its destinations, and what both notify of.

    The `runtime_data` of its config entry. ``ulogger`` is None for an account without that cloud;
    ``over_http`` is there for one that has it for metrics and events alone.
    ``metric_found`` notifies of each metric that a device has for the first time;
    ``metric_sensors`` are the sensors that show one.
    """

    def __init__(
        self,
        account: Account,
        ulogger: Ulogger | None,
        destinations: Sequence[ActiveDestination] = (),
        over_http: UloggerOverHttp | None = None,
    ) -> None:
        self.hass = account.hass
        self.account = account
        self.entry = account.entry
        self.ulogger = ulogger
        self.over_http = over_http
        if over_http is not None:
            over_http.on_refused = self._token_refused
        self.destinations = {each.id: each for each in destinations}
        if ulogger is not None:
            if account.settings.daily_quota:
                ulogger.cloud.quota = account.quota
            first = ActiveDestination(account, ulogger.cloud, ULOGGER_TITLE)
            first.state_changed.add(self._ulogger_changed)
            self.destinations = {first.id: first, **self.destinations}
        self.fleet = Fleet(account)
        self.fleet.adopted.add(self._adopted)
        self.images = Images(account)
        self.firmware_folder = FirmwareFolder(account, self.images)
        path = readings_path(outbox_path(account.hass, account.entry_id))
        self.readings = Readings(account, path, self.devices.get, self.images)
        self.readings.read.add(self._read)
        self.crashes = Crashes(account, self.readings, self.images.image_of, self.devices)
        self.session_succeeded = Signal[DeviceCoordinator]()
        self.metric_found = Signal[DeviceCoordinator, str]()
        self.metric_sensors: dict[MetricKey, SensorEntity] = {}
        self._stopping = False

    # Life

    async def async_start(self) -> None:
        """Bring up the destinations and the devices that are known; nothing waits for a network."""
        on_unload = self.entry.async_on_unload
        # On unload, after a failed set-up, and before Home Assistant cancels what runs beside it.
        on_unload(self.async_stop)
        on_unload(self.hass.async_add_shutdown_job(HassJob(self.async_stop)))
        on_unload(self.account.counted.add(self._counted))
        reserved = self.account.settings.reserved_slots
        on_unload(shared_radio(self.hass).join(self.account.entry_id, reserved))
        await self.account.async_start()
        on_unload(self.images.changed.add(self._images_changed))
        await self.images.async_start()
        await self.firmware_folder.async_start()
        await self.readings.async_start()
        await self.crashes.async_start()
        self.fleet.adopt_approved()
        for each in self.destinations.values():
            each.item_delivered.add(self._delivered)
            each.item_failed.add(self._failed)
            each.start()

    async def async_finish_sessions(self) -> None:
        """Let sessions come to their end, for a while, before anything is unloaded."""
        await self.fleet.async_finish(FINISH_SESSIONS_WITHIN)

    async def async_stop(self) -> None:
        """End sessions, then close the outbox; what was not committed stays on the devices."""
        if self._stopping:
            return
        self._stopping = True
        self.account.begin_closing()
        await asyncio.gather(
            self.fleet.async_stop(),
            *(each.async_finish(FINISH_WITHIN) for each in self.destinations.values()),
        )
        await self.readings.async_stop()
        await self.crashes.async_stop()
        await self.account.async_close()

    # Devices

    @property
    def devices(self) -> dict[DeviceKey, DeviceCoordinator]:
        """The devices that are collected."""
        return self.fleet.devices

    @callback
    def async_add_device_listener(
        self, listener: Callable[[DeviceCoordinator], None]
    ) -> CALLBACK_TYPE:
        """Notify *listener* of each device there is and will be; returns what ends that."""
        for device in self.devices.values():
            listener(device)
        return self.fleet.adopted.add(listener)

    @callback
    def async_add_forget_listener(
        self, listener: Callable[[DeviceCoordinator], None]
    ) -> CALLBACK_TYPE:
        """Notify *listener* of each device that was forgotten."""
        return self.fleet.forgotten.add(listener)

    @callback
    def _adopted(self, device: DeviceCoordinator) -> None:
        device.session_succeeded.add(partial(self.session_succeeded.notify, device))
        device.captures_stored.add(self._captures_stored)
        device.captures_stored.add(partial(self.readings.captures_stored, device))
        self.crashes.follow(device)
        device.counters_changed(self._counters_of(device))
        self.account.changed.notify()

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device, its tokens and its configuration; captures that wait still go up."""
        for each in self.destinations.values():
            await each.destination.forget(key)
        await self.fleet.async_forget(key)
        await self.readings.async_forget(key)
        self.account.changed.notify()

    def _counters_of(self, device: DeviceCoordinator) -> DeviceCounters:
        return self.account.counters.get(device.identity.key, DeviceCounters())

    @callback
    def _counted(self) -> None:
        for device in self.devices.values():
            device.counters_changed(self._counters_of(device))
        # A new day, a sweep or a delivery may have let something go that had to wait.
        self._wake()

    @callback
    def _read(
        self, device: DeviceCoordinator | None, _id: int, _capture: Capture, reading: Reading
    ) -> None:
        """Have a device that tells of errors asked again sooner."""
        if device is not None and reading.levels.keys() & ERRORS:
            device.reconsider_plan(troubled=True)

    @callback
    def _captures_stored(self) -> None:
        """Have what was put on disk delivered and counted; its device has been released."""
        self._wake()
        self.account.refresh_soon()

    @callback
    def async_stored(self, key: DeviceKey) -> None:
        """Have a capture delivered, counted and read that came to disk by another way."""
        if (device := self.devices.get(key)) is not None:
            device.captures_stored.notify()
        else:
            self._captures_stored()

    @callback
    def _images_changed(self, key: ImageKey) -> None:
        self.crashes.images_changed(key)
        for device in self.devices.values():
            device.async_update_listeners()

    @callback
    def _wake(self) -> None:
        for each in self.destinations.values():
            each.delivery.wake()

    # Captures on their way

    @callback
    def _delivered(self, destination: ActiveDestination, item: Item) -> None:
        if (device := self.devices.get(item.key)) is not None:
            device.delivered(destination.title, item.capture)

    @callback
    def _failed(self, destination: ActiveDestination, item: Item, error: CloudError) -> None:
        if (device := self.devices.get(item.key)) is not None:
            device.delivery_failed(destination.title, error.reason, item.capture_id)

    @callback
    def async_retry_now(self) -> None:
        """Forget all waiting times of all destinations, and deliver what waits."""
        for each in self.destinations.values():
            each.delivery.retry_now()

    @callback
    def async_forgive(self) -> None:
        """Try at once what a destination denied or refused."""
        for each in self.destinations.values():
            each.forgive()

    # Who it is

    @property
    def identity(self) -> DeviceIdentity:
        """Who this gateway is, where it sends something of its own."""
        serial = f"ha-{self.entry.data[CONF_CLIENT_SUFFIX]}"
        return DeviceIdentity(GATEWAY_APPLICATION, serial, "Home Assistant", __version__)

    @property
    def registers(self) -> dict[str, RegistersDevices]:
        """The destinations at which devices are registered, by their IDs."""
        found = {each.id: each.destination for each in self.destinations.values()}
        return {name: each for name, each in found.items() if isinstance(each, RegistersDevices)}

    @property
    def log_levels(self) -> dict[str, SetsLogLevels]:
        """The destinations that wish for log levels, by their IDs."""
        found = {each.id: each.destination for each in self.destinations.values()}
        return {name: each for name, each in found.items() if isinstance(each, SetsLogLevels)}

    @property
    def text_logs(self) -> dict[str, TakesTextLogs]:
        """The destinations that take text logs, by their IDs."""
        found = {each.id: each.destination for each in self.destinations.values()}
        return {name: each for name, each in found.items() if isinstance(each, TakesTextLogs)}

    @property
    def telemetry(self) -> dict[str, TakesTelemetry]:
        """The destinations that take metrics and events, by their IDs; one may take only those."""
        found = {each.id: each.destination for each in self.destinations.values()}
        able: dict[str, TakesTelemetry] = {}
        if self.over_http is not None:
            able[ULOGGER] = self.over_http
        able.update(
            {name: each for name, each in found.items() if isinstance(each, TakesTelemetry)}
        )
        return able

    def is_registered(self, identity: DeviceIdentity) -> bool:
        """Whether every destination that registers devices knows this firmware of the device."""
        return all(each.registered(identity) for each in self.registers.values())

    @callback
    def _ulogger_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CREDENTIALS_REFUSED:
            self.entry.async_start_reauth(self.hass)

    @callback
    def _token_refused(self) -> None:
        self.entry.async_start_reauth(self.hass)
