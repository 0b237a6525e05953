"""Listens for advertisements, and finds out who stands behind an address nobody knows yet."""

import logging
from datetime import datetime, timedelta
from typing import Any

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import (
    BluetoothCallbackMatcher,
    BluetoothChange,
    BluetoothScanningMode,
    BluetoothServiceInfoBleak,
)
from homeassistant.config_entries import (
    SIGNAL_CONFIG_ENTRY_CHANGED,
    SOURCE_INTEGRATION_DISCOVERY,
    ConfigEntry,
    ConfigEntryChange,
)
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers import discovery_flow
from homeassistant.helpers.dispatcher import async_dispatcher_connect
from homeassistant.helpers.event import async_call_later, async_track_time_interval

from ..account import approval
from ..account.store import DeviceRecord
from ..agent.errors import AgentError
from ..agent.gatt import SERVICE
from ..collecting.connection import ConnectError, NoConnectionSlot, identify
from ..collecting.shared_radio import shared_radio
from ..const import ATTR_ADDRESS, ATTR_APPLICATION_ID, ATTR_DEVICE_TYPE, ATTR_NAME, DOMAIN
from ..coordinator import DeviceCoordinator
from ..model.backoff import Backoff, never
from ..model.plain_text import one_line, plain_text
from .fleet import Fleet
from .gateway import UloggerConfigEntry
from .newcomers import Limit
from .waiting_line import waiting_line

_LOGGER = logging.getLogger(__name__)

RETRY_SLOT = 15.0
"""Seconds after a scanner had no slot although it had said so."""
RETRY = Backoff(60.0, 3600.0, never)
RETRY_NOT_OURS = 24 * 3600.0
RECONSIDER = 2.0
LOOK_EVERY = timedelta(minutes=1)
RECONSIDER_EVERY = timedelta(minutes=10)
"""How often unidentified devices are looked at again, whom a limit kept out or had no card yet."""


class Discovery:
    """The advertisements of one account's devices, and of others that look like them."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self.hass = hass
        self._gateway = entry.runtime_data
        self._fleet = entry.runtime_data.fleet
        self._entry = entry
        self._devices: dict[str, DeviceCoordinator] = {}
        self._unavailable: dict[str, CALLBACK_TYPE] = {}
        self._unidentified: dict[str, int] = {}
        self._timers: dict[str, CALLBACK_TYPE] = {}
        self._cards: set[int] = set()
        self._reconsider_timer: CALLBACK_TYPE | None = None
        self._line = waiting_line(hass)
        self._radio = shared_radio(hass)

    @callback
    def start(self) -> None:
        """Listen until the entry is unloaded."""
        on_unload = self._entry.async_on_unload
        on_unload(self._stop)
        on_unload(self._gateway.async_add_device_listener(self._follow))
        on_unload(self._fleet.moved.add(self._follow))
        on_unload(self._fleet.forgotten.add(self._unfollow))
        on_unload(self._fleet.unapproved.add(self._ask))
        on_unload(self._fleet.turned_away.add(self._turned_away))
        on_unload(async_track_time_interval(self.hass, self._look_again, RECONSIDER_EVERY))
        on_unload(async_track_time_interval(self.hass, self._look, LOOK_EVERY))
        on_unload(
            async_dispatcher_connect(self.hass, SIGNAL_CONFIG_ENTRY_CHANGED, self._entry_changed)
        )
        matchers = [BluetoothCallbackMatcher(service_uuid=SERVICE, connectable=True)]
        matchers += [
            BluetoothCallbackMatcher(local_name=pattern, connectable=True)
            for pattern in self._gateway.account.settings.name_patterns
        ]
        self._reconsider_soon()
        for matcher in matchers:
            on_unload(
                bluetooth.async_register_callback(
                    self.hass, self._advertised, matcher, BluetoothScanningMode.AUTO
                )
            )

    @callback
    def _stop(self) -> None:
        for cancel in (*self._timers.values(), *self._unavailable.values()):
            cancel()
        if self._reconsider_timer is not None:
            self._reconsider_timer()
        if self._entry.disabled_by is not None:
            approval.close_pointless_cards(self.hass)

    @callback
    def _advertised(self, info: BluetoothServiceInfoBleak, _change: BluetoothChange) -> None:
        if (device := self._devices.get(info.address)) is not None:
            device.seen(info)
        elif info.address not in self._unidentified:
            self._unidentified_seen(info.address, info.name)

    # Devices of the account

    @callback
    def _follow(self, device: DeviceCoordinator) -> None:
        """Route the device's advertisements to it, and notify it when they stop."""
        address = device.record.address
        if self._devices.get(address) is device:
            return
        self._unfollow(device)
        if not address:
            return
        self._devices[address] = device
        self._unidentified.pop(address, None)
        if address not in self._unavailable:
            self._unavailable[address] = bluetooth.async_track_unavailable(
                self.hass, self._lost, address, connectable=True
            )
        if info := bluetooth.async_last_service_info(self.hass, address, connectable=True):
            device.seen(info)

    @callback
    def _unfollow(self, device: DeviceCoordinator) -> None:
        for address in [a for a, known in self._devices.items() if known is device]:
            del self._devices[address]
            self._unavailable.pop(address)()

    @callback
    def _lost(self, info: BluetoothServiceInfoBleak) -> None:
        if (device := self._devices.get(info.address)) is not None:
            device.lost()

    @callback
    def _look(self, _now: datetime) -> None:
        for device in self._devices.values():
            device.look()

    # Devices that nobody has identified yet

    @callback
    def _unidentified_seen(self, address: str, name: str, failures: int = 0) -> None:
        """Identify it, unless it was before, or a person or another account has it."""
        if approval.is_address_ignored(self.hass, address):
            return
        self._unidentified[address] = failures
        fleets = self._fleets()
        if any(fleet is not self._fleet and fleet.has(address) for fleet in fleets):
            # Whoever identifies it hands it over if it is ours; should they go, it is our turn.
            self._retry(address, name, RETRY.first)
            return
        for fleet in fleets:
            if (record := fleet.store.by_address(address)) is not None:
                self._fleet.identified(record.identity, address, name)
                return
        self._identify_soon(address, name)

    def _fleets(self) -> list[Fleet]:
        """All accounts' devices, ours first."""
        others = self.hass.config_entries.async_loaded_entries(DOMAIN)
        return [
            self._fleet,
            *(entry.runtime_data.fleet for entry in others if entry is not self._entry),
        ]

    @callback
    def _identify_soon(self, address: str, name: str) -> None:
        self._fleet.identifying.add(address)
        self._entry.async_create_background_task(
            self.hass, self._identify(address, name), f"{DOMAIN} identifies {address}"
        )

    async def _identify(self, address: str, name: str) -> None:
        """Read who the device is, and nothing else."""
        try:
            # A few at a time: they must not take the connections that our devices need.
            async with (
                self._line.turn(self._unidentified.get(address, 0)),
                self._radio.turn(address) as source,
            ):
                identity = await identify(self.hass, address, name, source)
        except NoConnectionSlot:
            self._retry(address, name, RETRY_SLOT)
        except (ConnectError, AgentError) as err:
            failures = self._unidentified[address] = self._unidentified.get(address, 0) + 1
            if failures == 1:
                _LOGGER.info(
                    "%s (%s) could not be identified: %s", plain_text(name), address, one_line(err)
                )
            delay = RETRY.delay(failures) if err.retryable else RETRY_NOT_OURS
            self._retry(address, name, delay)
            self._gateway.account.count(err.reason)
        else:
            self._fleet.identified(identity, address, name)
        finally:
            self._fleet.identifying.discard(address)

    @callback
    def _retry(self, address: str, name: str, delay: float) -> None:
        @callback
        def again(_now: datetime) -> None:
            del self._timers[address]
            failures = self._unidentified.pop(address, 0)
            if address in self._devices:
                return
            if bluetooth.async_address_present(self.hass, address, connectable=True):
                self._unidentified_seen(address, name, failures)

        self._timers[address] = async_call_later(self.hass, delay, again)

    @callback
    def _ask(self, record: DeviceRecord) -> None:
        """Show the discovery card of the device's application, once."""
        application_id = record.identity.application_id
        if application_id in self._cards or approval.is_ignored(self.hass, application_id):
            return
        if approval.room_for_cards(self.hass) <= 0:
            return
        self._cards.add(application_id)
        discovery_flow.async_create_flow(
            self.hass,
            DOMAIN,
            context={"source": SOURCE_INTEGRATION_DISCOVERY},
            data={
                ATTR_APPLICATION_ID: application_id,
                ATTR_DEVICE_TYPE: record.identity.device_type,
                ATTR_NAME: record.name,
                ATTR_ADDRESS: record.address,
            },
        )

    @callback
    def _turned_away(self, record: DeviceRecord, limit: Limit) -> None:
        """Have it said and counted that a device is not taken in."""
        _LOGGER.debug("%s at %s is one too many", record.identity.serial, record.address)
        self._gateway.account.count(limit.value)
        self._gateway.account.changed.notify()

    # Consent given or withdrawn while we listen

    @callback
    def _entry_changed(self, _change: ConfigEntryChange, entry: ConfigEntry[Any]) -> None:
        """Look at the unidentified devices again, unless a reload does that anyway."""
        if entry.domain == DOMAIN:
            self._reconsider_soon()

    @callback
    def _reconsider_soon(self) -> None:
        if self._reconsider_timer is None:
            self._reconsider_timer = async_call_later(self.hass, RECONSIDER, self._reconsider)

    @callback
    def _reconsider(self, _now: datetime) -> None:
        self._reconsider_timer = None
        approval.close_pointless_cards(self.hass)
        self._fleet.adopt_approved()
        self._ask_again()

    @callback
    def _look_again(self, _now: datetime) -> None:
        """Take in who may come in by now, and forget unidentified devices that have gone."""
        self._fleet.adopt_heard()
        self._ask_again()
        for address in self._unidentified.keys() - self._timers.keys() - self._fleet.identifying:
            if not bluetooth.async_address_present(self.hass, address, connectable=True):
                del self._unidentified[address]

    @callback
    def _ask_again(self) -> None:
        """Show the cards that there was no room for."""
        self._cards.clear()
        for record in self._fleet.uncollected():
            if approval.approving_entry(self.hass, record.identity.application_id) is None:
                self._ask(record)
