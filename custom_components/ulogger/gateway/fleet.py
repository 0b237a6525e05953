"""The devices of one account: who was identified, who may be collected, who was forgotten.

Consent is given per application to exactly one account (see `approval`). A device that another
account may collect is handed to that account; one that nobody may collect is only remembered.
"""

import asyncio
import time
from typing import Any

from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.singleton import singleton

from ..account import approval
from ..account.account import Account
from ..account.device_registry import device_identifier, registered_device
from ..account.store import AccountStore, DeviceRecord
from ..cloud.ulogger.tokens import TokenCache
from ..collecting.kept import forget_kept
from ..const import CONF_CONFIRMED_ADDRESS, DOMAIN
from ..coordinator import DeviceCoordinator
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.signal import Signal
from .newcomers import Limit, Newcomers

LONGEST_NAME = 64
MOST_UNCOLLECTED = 256
"""Devices remembered that nobody collects; the one identified longest ago is forgotten first."""


class Fleet:
    """All devices that one account has identified."""

    def __init__(self, account: Account) -> None:
        self.hass = account.hass
        self.account = account
        self.entry = account.entry
        self.store = account.store
        self.devices: dict[DeviceKey, DeviceCoordinator] = {}
        self.identifying: set[str] = set()
        # Outlives a reload, so that nobody is taken in faster by bringing one about.
        self.newcomers = _newcomers(account.hass).setdefault(account.entry_id, Newcomers())
        self.adopted = Signal[DeviceCoordinator]()
        self.moved = Signal[DeviceCoordinator]()
        self.forgotten = Signal[DeviceCoordinator]()
        self.unapproved = Signal[DeviceRecord]()
        self.turned_away = Signal[DeviceRecord, Limit]()

    def uncollected(self) -> list[DeviceRecord]:
        """Return the devices that were identified and are not collected."""
        return [r for key, r in self.store.devices.items() if key not in self.devices]

    def waiting(self) -> list[DeviceRecord]:
        """Return the devices that may be collected and were turned away, by their address."""
        return [r for r in self.uncollected() if r.address and self.account.collects(r.identity)]

    @property
    def full(self) -> bool:
        """Whether there are as many devices as the account may take in."""
        return len(self.devices) >= self.account.settings.device_limit

    @property
    def _ending(self) -> bool:
        """Whether the account is being unloaded: entities that come now would stay for ever."""
        return self.entry.state is ConfigEntryState.UNLOAD_IN_PROGRESS

    @callback
    def adopt_approved(self) -> None:
        """Take in the devices that were identified and that may be collected by now.

        Those that were taken in before come first and are never too many.
        """
        if self._ending:
            return
        for record in self.uncollected():
            if self.account.collects(record.identity) and self._is_known(record):
                self._adopt(record)
        for record in self._waiting_alone():
            self._adopt_within_limits(record)

    @callback
    def adopt_heard(self) -> None:
        """Take in the devices that may be collected by now, of those in range."""
        if self._ending:
            return
        for record in self._waiting_alone():
            if bluetooth.async_address_present(self.hass, record.address, connectable=True):
                self._adopt_within_limits(record)

    @callback
    def allow_at(self, address: str) -> None:
        """Take in who waits at *address*, and begin to count there anew."""
        self.newcomers.allow(address)
        for record in self.waiting():
            if record.address == address:
                self._adopt_within_limits(record)

    def _waiting_alone(self) -> list[DeviceRecord]:
        """Return those that wait where no known device is: that one finds out who is there."""
        taken = {device.record.address for device in self.devices.values()}
        return [record for record in self.waiting() if record.address not in taken]

    @callback
    def identified(self, identity: DeviceIdentity, address: str, name: str) -> None:
        """Take note of a device that has just been identified at *address*."""
        self._use_confirmation(identity, address)
        owner = approval.approving_entry(self.hass, identity.application_id)
        if owner not in {None, self.entry}:
            self._vacate(address, identity.key)
            self.store.forget(identity.key)
            self.store.save_soon()
            if owner is not None and owner.state is ConfigEntryState.LOADED:
                owner.runtime_data.fleet.identified(identity, address, name)
            return
        record = self._record(identity, address, name)
        device = self.devices.get(identity.key)
        if device is not None:
            self._vacate(address, identity.key)
            device.identified(identity)
            self.moved.notify(device)
            return
        record.identity = identity
        if owner is None:
            self._vacate(address, identity.key)
            self.unapproved.notify(record)
        elif not self._ending:
            self._adopt_within_limits(record)

    def _record(self, identity: DeviceIdentity, address: str, name: str) -> DeviceRecord:
        printable = "".join(char for char in name if char.isprintable())[:LONGEST_NAME]
        record = self.store.devices.get(identity.key)
        if record is None:
            record = self.store.add(identity, address, printable)
            record.collect &= not self._left_alone_elsewhere(identity.key)
        record.address, record.name = address, printable
        record.last_identified = record.last_seen = time.time()
        oldest_first = sorted(self.uncollected(), key=lambda each: each.last_identified)
        for each in oldest_first[:-MOST_UNCOLLECTED]:
            self.store.forget(each.identity.key)
        self.store.save_soon()
        return record

    def _left_alone_elsewhere(self, key: DeviceKey) -> bool:
        """Take a device over from accounts that may not collect it any more.

        Returns whether a person said there not to collect it: that holds here, too.
        """
        left_alone = False
        if approval.approving_entry(self.hass, key[0]) is not self.entry:
            return False
        for entry in self.hass.config_entries.async_loaded_entries(DOMAIN):
            fleet = entry.runtime_data.fleet
            if fleet is not self and key not in fleet.devices:
                left_alone |= fleet.store.hand_over(key)
                fleet.store.save_soon()
        return left_alone

    def _is_known(self, record: DeviceRecord) -> bool:
        """Whether the device was taken in before; the device registry remembers that."""
        return registered_device(self.hass, self.entry.entry_id, record.identity) is not None

    def _adopt_within_limits(self, record: DeviceRecord) -> None:
        """Take a device in, unless it is new and one too many.

        Whoever is turned away takes no address from a device that is known there.
        """
        address, key = record.address, record.identity.key
        if not self._is_known(record):
            if limit := self._limit(address):
                self._forget_waiting_at(address, key)
                self.turned_away.notify(record, limit)
                return
            self.newcomers.taken_in(address)
        self._vacate(address, key)
        self._adopt(record)

    def _limit(self, address: str) -> Limit | None:
        return Limit.ACCOUNT if self.full else self.newcomers.limit(address)

    def _forget_waiting_at(self, address: str, key: DeviceKey) -> None:
        """Remember only the last of those that were turned away at one address."""
        for other in self.waiting():
            if other.address == address and other.identity.key != key:
                self.store.forget(other.identity.key)
                self.store.save_soon()

    def _vacate(self, address: str, key: DeviceKey) -> None:
        """Take the address away from whoever else was identified there before."""
        for other_key, other in self.store.devices.items():
            if other.address == address and other_key != key:
                other.address = ""
                if (device := self.devices.get(other_key)) is not None:
                    self.moved.notify(device)

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
        device = DeviceCoordinator(
            self.hass, self.account, record, another_identified=self.identified
        )
        self.devices[record.identity.key] = device
        device.start()
        self.adopted.notify(device)

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device, ending its session; its next advertisement makes it a new one.

        What a person said about collecting it holds for the new one, too.
        """
        device = self.devices.pop(key, None)
        record = self.store.forget(key)
        if device is not None:
            await device.async_stop()
            forget_kept(self.hass, self.account.entry_id, key)
            self.forgotten.notify(device)
        await self.store.async_save()
        if record is not None and record.address:
            bluetooth.async_clear_advertisement_history(self.hass, record.address)
            bluetooth.async_rediscover_address(self.hass, record.address)

    async def async_finish(self, seconds: float) -> None:
        """Let sessions under way come to their end, within *seconds*; none begins any more."""
        await asyncio.gather(*(device.async_finish(seconds) for device in self.devices.values()))

    async def async_stop(self) -> None:
        """End all sessions; what was not committed stays on the devices."""
        await asyncio.gather(*(device.async_stop() for device in self.devices.values()))

    def has(self, address: str) -> bool:
        """Whether a device of the account, or one just being identified, is at *address*."""
        return address in self.identifying or any(
            device.record.address == address for device in self.devices.values()
        )


async def async_forget_stored(
    hass: HomeAssistant, entry: ConfigEntry[Any], device: dr.AnyDeviceEntry
) -> None:
    """Forget a device, and its tokens, of an account that is not at work."""
    store = AccountStore(hass, entry.entry_id)
    await store.async_load()
    tokens = TokenCache(store.tokens, store.async_save_tokens)
    for key, record in list(store.devices.items()):
        if device_identifier(record.identity) in device.identifiers:
            store.forget(key)
            forget_kept(hass, entry.entry_id, key)
            await tokens.forget(key)
    await store.async_save()


@singleton(f"{DOMAIN}.newcomers")
def _newcomers(hass: HomeAssistant) -> dict[str, Newcomers]:
    """Return what happened at addresses, by account; there is one for all of Home Assistant."""
    return {}
