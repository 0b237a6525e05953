"""The devices of one account: who was met, who may be collected, who was forgotten.

Consent is given per application to exactly one account (see `approval`). A device that another
account may collect is handed to that account; one that nobody may collect is only remembered.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant, callback

from . import approval
from .capture.model import Capture, DeviceIdentity, DeviceKey
from .const import CONF_CONFIRMED_ADDRESS
from .listeners import Listeners
from .outbox.model import DeviceCounters
from .storage import AccountStore, DeviceRecord

LONGEST_NAME = 64
MOST_STRANGERS = 256
"""Devices remembered that nobody collects; whoever was met longest ago is forgotten first."""


class Device(Protocol):
    """What the account asks of a device's coordinator."""

    record: DeviceRecord

    def start(self) -> None:
        """Begin to watch for when the device is due."""

    async def async_stop(self) -> None:
        """End a session under way."""

    def identified(self, identity: DeviceIdentity) -> None:
        """Take what the device says of itself."""

    def counters_changed(self, counters: DeviceCounters) -> None:
        """Show what the outbox counts for this device."""

    def delivered(self, capture: Capture) -> None:
        """Tell that the cloud acknowledged a capture."""

    def delivery_failed(self, reason: str, capture_id: int) -> None:
        """Tell that the cloud did not take a capture."""


class Fleet[DeviceT: Device]:
    """All devices that one account has met."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        store: AccountStore,
        make_device: Callable[[DeviceRecord], DeviceT],
    ) -> None:
        self.hass = hass
        self.entry = entry
        self.store = store
        self.devices: dict[DeviceKey, DeviceT] = {}
        self.identifying: set[str] = set()
        self.adopted = Listeners[DeviceT]()
        self.moved = Listeners[DeviceT]()
        self.forgotten = Listeners[DeviceT]()
        self.unapproved = Listeners[DeviceRecord]()
        self._make_device = make_device

    def collects(self, identity: DeviceIdentity) -> bool:
        """Whether this account has the consent to collect the device, and no other account."""
        return approval.approving_entry(self.hass, identity.application_id) is self.entry

    def strangers(self) -> list[DeviceRecord]:
        """Return the devices that were met and are not collected."""
        return [r for key, r in self.store.devices.items() if key not in self.devices]

    @callback
    def adopt_approved(self) -> None:
        """Take in every device that was met and that may be collected by now."""
        for record in self.strangers():
            if self.collects(record.identity):
                self._adopt(record)

    @callback
    def met(self, identity: DeviceIdentity, address: str, name: str) -> None:
        """Take note of a device that has just been identified at *address*."""
        self._use_confirmation(identity, address)
        owner = approval.approving_entry(self.hass, identity.application_id)
        self._vacate(address, identity.key)
        if owner not in {None, self.entry}:
            self.store.devices.pop(identity.key, None)
            self.store.save_soon()
            if owner is not None and owner.state is ConfigEntryState.LOADED:
                owner.runtime_data.fleet.met(identity, address, name)
            return
        record = self._record(identity, address, name)
        device = self.devices.get(identity.key)
        if device is not None:
            device.identified(identity)
            self.moved.tell(device)
            return
        record.identity = identity
        if owner is None:
            self.unapproved.tell(record)
        elif self.entry.state is not ConfigEntryState.UNLOAD_IN_PROGRESS:
            self._adopt(record)

    def _record(self, identity: DeviceIdentity, address: str, name: str) -> DeviceRecord:
        printable = "".join(char for char in name if char.isprintable())[:LONGEST_NAME]
        record = self.store.devices.get(identity.key)
        if record is None:
            record = self.store.devices[identity.key] = DeviceRecord(identity, address, printable)
        record.address, record.name = address, printable
        record.last_identified = record.last_seen = time.time()
        oldest_first = sorted(self.strangers(), key=lambda stranger: stranger.last_identified)
        for stranger in oldest_first[:-MOST_STRANGERS]:
            del self.store.devices[stranger.identity.key]
        self.store.save_soon()
        return record

    def _vacate(self, address: str, key: DeviceKey) -> None:
        """Take the address away from whoever else was met there before."""
        for other_key, other in self.store.devices.items():
            if other.address == address and other_key != key:
                other.address = ""
                if (device := self.devices.get(other_key)) is not None:
                    self.moved.tell(device)

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
        device = self.devices[record.identity.key] = self._make_device(record)
        device.start()
        self.adopted.tell(device)

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device, ending its session; its next advertisement makes it a new one."""
        device = self.devices.pop(key, None)
        record = self.store.devices.pop(key, None)
        if device is not None:
            await device.async_stop()
            self.forgotten.tell(device)
        await self.store.async_save()
        if record is not None and record.address:
            bluetooth.async_clear_advertisement_history(self.hass, record.address)
            bluetooth.async_rediscover_address(self.hass, record.address)

    async def async_stop(self) -> None:
        """End all sessions; what was not committed stays on the devices."""
        await asyncio.gather(*(device.async_stop() for device in self.devices.values()))

    def has(self, address: str) -> bool:
        """Whether a device of the account, or one just being identified, is at *address*."""
        return address in self.identifying or any(
            device.record.address == address for device in self.devices.values()
        )
