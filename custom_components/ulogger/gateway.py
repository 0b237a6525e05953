"""One account: puts the four rooms together and owns their lifetimes."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import __version__
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later, async_track_time_interval

from . import approval
from .account import MEGABYTE, AccountSettings
from .capture.model import Capture, DeviceIdentity, DeviceKey
from .cloud.interface import CloudError, Transport, TransportState
from .cloud.mqtt import MqttTransport
from .cloud.ulogger.cloud import UloggerCloud
from .const import CONF_CLIENT_SUFFIX, CONF_CONFIRMED_ADDRESS, DOMAIN, GATEWAY_APPLICATION
from .delivery import Delivery
from .outbox.errors import OutboxError
from .outbox.model import Added, DeviceCounters, Item
from .outbox.outbox import Outbox
from .storage import AccountStore, DeviceRecord

_LOGGER = logging.getLogger(__name__)

SWEEP_EVERY = timedelta(hours=1)
REFRESH_AFTER = 0.25
STOP_TIMEOUT = 8.0
DISK_RESERVE = 64 * MEGABYTE
"""Bytes that stay free on the disk, whatever devices offer."""


class NoRoom(Exception):
    """There is no room for more captures; devices keep theirs until there is."""

    retryable = True
    reason = "no_room"


class Device(Protocol):
    """What the gateway asks of a device's coordinator."""

    record: DeviceRecord

    def start(self) -> None:
        """Begin to watch for when the device is due."""

    async def async_stop(self) -> None:
        """End a session under way."""

    def identified(self, identity: DeviceIdentity, address: str) -> None:
        """Take what the device says of itself."""

    def counters_changed(self, counters: DeviceCounters) -> None:
        """Show what the outbox counts for this device."""

    def delivered(self, capture: Capture) -> None:
        """Tell that the cloud acknowledged a capture."""

    def delivery_failed(self, reason: str, capture_id: int) -> None:
        """Tell that the cloud did not take a capture."""


class Gateway[DeviceT: Device]:
    """One account at work. The `runtime_data` of its config entry."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        *,
        store: AccountStore,
        outbox: Outbox,
        transport: Transport,
        cloud: UloggerCloud,
        certificate_expiry: datetime | None,
        make_device: Callable[[Gateway[DeviceT], DeviceRecord], DeviceT],
    ) -> None:
        self.hass = hass
        self.entry = entry
        self.store = store
        self.outbox = outbox
        self.transport = transport
        self.cloud = cloud
        self.certificate_expiry = certificate_expiry
        self.delivery = Delivery(outbox, cloud, self, over_quota=self._over_quota)
        self.devices: dict[DeviceKey, DeviceT] = {}
        self.counters: Mapping[DeviceKey, DeviceCounters] = {}
        self._make_device = make_device
        self._device_listeners: list[Callable[[DeviceT], None]] = []
        self._listeners: list[CALLBACK_TYPE] = []
        self._session_listeners: list[Callable[[DeviceT], None]] = []
        self._forget_listeners: list[Callable[[DeviceT], None]] = []
        self._refresh_timer: CALLBACK_TYPE | None = None
        self._down_logged = False
        self.identifying: set[str] = set()
        self.rejections: Counter[str] = Counter()
        self.disconnected_since: float | None = time.time()
        self.has_room = True

    # Life

    async def async_start(self) -> None:
        """Bring up the cloud and the devices that are known; nothing here waits for a network."""
        await self.async_refresh_counters()
        for record in list(self.store.devices.values()):
            if record.approved and self.collects(record.identity):
                self._adopt(record)
        self.transport.on_state = self._transport_changed
        for work, name in ((self.transport.run(), "cloud"), (self.delivery.run(), "delivery")):
            self.entry.async_create_background_task(self.hass, work, f"{DOMAIN} {name}")
        self.entry.async_on_unload(
            async_track_time_interval(self.hass, self._sweep, SWEEP_EVERY, cancel_on_shutdown=True)
        )

    async def async_stop(self) -> None:
        """End sessions, then close the outbox; what was not committed stays on the devices."""
        if self._refresh_timer is not None:
            self._refresh_timer()
        async with asyncio.timeout(STOP_TIMEOUT):
            await asyncio.gather(*(device.async_stop() for device in self.devices.values()))
        await self.store.async_save()
        await self.outbox.close()

    @callback
    def async_add_listener(self, listener: CALLBACK_TYPE) -> CALLBACK_TYPE:
        """Tell *listener* when anything of the account changed; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @callback
    def async_add_device_listener(self, listener: Callable[[DeviceT], None]) -> CALLBACK_TYPE:
        """Tell *listener* each device there is and will be; returns what ends that."""
        for device in self.devices.values():
            listener(device)
        self._device_listeners.append(listener)
        return lambda: self._device_listeners.remove(listener)

    @callback
    def async_add_session_listener(self, listener: Callable[[DeviceT], None]) -> CALLBACK_TYPE:
        """Tell *listener* each device whose session came to a good end."""
        self._session_listeners.append(listener)
        return lambda: self._session_listeners.remove(listener)

    @callback
    def async_add_forget_listener(self, listener: Callable[[DeviceT], None]) -> CALLBACK_TYPE:
        """Tell *listener* each device that was forgotten."""
        self._forget_listeners.append(listener)
        return lambda: self._forget_listeners.remove(listener)

    @callback
    def session_succeeded(self, device: DeviceT) -> None:
        """Tell whoever follows sessions."""
        for listener in self._session_listeners:
            listener(device)

    @callback
    def changed(self) -> None:
        """Tell the account's entities."""
        for listener in list(self._listeners):
            listener()

    # Devices

    def collects(self, identity: DeviceIdentity) -> bool:
        """Whether this account has the consent to collect the device, and no other account."""
        return approval.approving_entry(self.hass, identity.application_id) is self.entry

    @callback
    def met(self, identity: DeviceIdentity, address: str, name: str) -> None:
        """Take note of a device that has just been identified, and adopt it if it is ours."""
        record = self.store.devices.get(identity.key)
        if record is None:
            record = DeviceRecord(identity, address, name, approved=False)
            self.store.devices[identity.key] = record
        for other in self.store.devices.values():
            if other is not record and other.address == address:
                other.address = ""
        record.address, record.name = address, name
        record.last_identified = record.last_seen = time.time()
        self._use_confirmation(identity, address)
        record.approved = self.collects(identity)
        if record.approved and identity.key not in self.devices:
            record.identity = identity
            self._adopt(record)
        elif record.approved:
            self.devices[identity.key].identified(identity, address)
        else:
            record.identity = identity
        self.store.save_soon()

    def _use_confirmation(self, identity: DeviceIdentity, address: str) -> None:
        """The device from whose card the account was set up counts as confirmed."""
        options = self.entry.options
        if options.get(CONF_CONFIRMED_ADDRESS) != address:
            return
        if approval.approving_entry(self.hass, identity.application_id) is None:
            self.hass.config_entries.async_update_entry(
                self.entry,
                options=approval.with_confirmation_used(
                    options, identity.application_id, identity.device_type
                ),
            )

    @callback
    def _adopt(self, record: DeviceRecord) -> None:
        device = self._make_device(self, record)
        self.devices[record.identity.key] = device
        device.counters_changed(self.counters.get(record.identity.key, DeviceCounters()))
        device.start()
        for listener in self._device_listeners:
            listener(device)
        self.changed()

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device, its tokens and its configuration; captures that wait still go up."""
        device = self.devices.pop(key, None)
        record = self.store.devices.pop(key, None)
        if device is not None:
            await device.async_stop()
        await self.cloud.forget(key)
        await self.store.async_save()
        if device is not None:
            for listener in self._forget_listeners:
                listener(device)
        if record is not None and record.address:
            bluetooth.async_rediscover_address(self.hass, record.address)
        self.changed()

    def knows(self, address: str) -> bool:
        """Whether somebody here has met, or is just meeting, the device at *address*."""
        return address in self.identifying or self.store.by_address(address) is not None

    # Captures

    async def check_room(self) -> None:
        """Raise NoRoom unless the disk and the budget have room for a session's captures."""
        space = await self.outbox.space()
        has_room = space.has_room(self.settings.undelivered_budget, DISK_RESERVE)
        if has_room is not self.has_room:
            self.has_room = has_room
            self.changed()
        if not has_room:
            raise NoRoom("the disk is full or too many captures wait for the cloud")

    async def keep(self, capture: Capture) -> Added:
        """Put *capture* on disk; it is there, for good, when this returns."""
        added = await self.outbox.add(capture)
        self.delivery.wake()
        self._refresh_soon()
        return added

    # What the delivery tells

    @callback
    def delivered(self, item: Item) -> None:
        """The cloud acknowledged a capture."""
        if (device := self.devices.get(item.key)) is not None:
            device.delivered(item.capture)
        self._refresh_soon()

    @callback
    def failed(self, item: Item, error: CloudError) -> None:
        """The cloud did not take a capture this time."""
        if (device := self.devices.get(item.key)) is not None:
            device.delivery_failed(error.reason, item.capture_id)
        self._refresh_soon()

    @callback
    def quarantined(self, item: Item) -> None:
        """The cloud refused a capture each time."""
        self._refresh_soon()

    # The cloud

    @property
    def identity(self) -> DeviceIdentity:
        """Who this gateway is, where it sends something of its own."""
        serial = f"ha-{self.entry.data[CONF_CLIENT_SUFFIX]}"
        return DeviceIdentity(GATEWAY_APPLICATION, serial, "Home Assistant", __version__)

    def cloud_diagnostics(self) -> dict[str, Any]:
        """Say how the connection was; nothing in it is secret but the customer's topics."""
        transport = self.transport
        own = transport.diagnostics() if isinstance(transport, MqttTransport) else {}
        return {
            "state": transport.state.value,
            "disconnected_since": self.disconnected_since,
            **self.cloud.diagnostics(),
            "transport": dict(own),
        }

    @property
    def settings(self) -> AccountSettings:
        """The account's options as they are now."""
        return AccountSettings.of(self.entry)

    @property
    def totals(self) -> DeviceCounters:
        """All devices' counters, added up."""
        return DeviceCounters.total(self.counters.values())

    @property
    def credentials_refused(self) -> bool:
        """Whether the broker refuses the account's certificate."""
        return self.transport.state is TransportState.CREDENTIALS_REFUSED

    @property
    def taken_over(self) -> bool:
        """Whether another client with the same id keeps ending our connection."""
        return self.transport.state is TransportState.TAKEN_OVER

    def has_token(self, identity: DeviceIdentity) -> bool:
        """Whether the cloud knows this firmware of the device."""
        return self.cloud.tokens.get(identity) is not None

    @callback
    def _transport_changed(self, state: TransportState) -> None:
        if state is TransportState.CONNECTED:
            if self.disconnected_since is not None and self._down_logged:
                _LOGGER.info("%s: connected to the cloud", self.entry.title)
            self.disconnected_since, self._down_logged = None, False
            self.delivery.retry_now()
        elif self.disconnected_since is None:
            self.disconnected_since = time.time()
        if state is TransportState.DISCONNECTED and not self._down_logged:
            self._down_logged = True
            _LOGGER.info("%s: no connection to the cloud; captures wait", self.entry.title)
        if state is TransportState.CREDENTIALS_REFUSED:
            self.entry.async_start_reauth(self.hass)
        self.changed()

    # Room, limits and counters

    def _over_quota(self) -> list[DeviceKey]:
        quota = self.settings.daily_quota
        if not quota:
            return []
        return [key for key, each in self.counters.items() if each.bytes_today >= quota]

    @callback
    def count(self, rejection: str) -> None:
        """Count something that was refused; the diagnostics show it."""
        self.rejections[rejection] += 1

    async def async_refresh_counters(self) -> None:
        """Read what the outbox counts, and show it."""
        self.counters = await self.outbox.counters()
        for key, device in self.devices.items():
            device.counters_changed(self.counters.get(key, DeviceCounters()))
        self.changed()

    @callback
    def _refresh_soon(self) -> None:
        if self._refresh_timer is None:
            self._refresh_timer = async_call_later(self.hass, REFRESH_AFTER, self._refresh)

    async def _refresh(self, _now: datetime) -> None:
        self._refresh_timer = None
        try:
            await self.async_refresh_counters()
        except OutboxError as err:
            _LOGGER.debug("The counters can't be read: %s", err)

    async def _sweep(self, _now: datetime) -> None:
        settings = self.settings
        try:
            await self.outbox.sweep(
                days=settings.retention_days, megabytes=settings.retention_bytes / MEGABYTE
            )
            self.has_room = (await self.outbox.space()).has_room(
                settings.undelivered_budget, DISK_RESERVE
            )
        except OutboxError as err:
            _LOGGER.warning("%s: the outbox can't be tidied up: %s", self.entry.title, err)
        self.delivery.wake()
        self._refresh_soon()
