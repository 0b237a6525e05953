"""Listens for advertisements, and finds out who stands behind an address nobody knows yet."""

import logging
from datetime import datetime

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import (
    BluetoothCallbackMatcher,
    BluetoothChange,
    BluetoothScanningMode,
    BluetoothServiceInfoBleak,
)
from homeassistant.config_entries import SOURCE_INTEGRATION_DISCOVERY
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers import discovery_flow
from homeassistant.helpers.event import async_call_later

from . import approval
from .agent.errors import AgentError
from .agent.gatt import SERVICE
from .const import ATTR_ADDRESS, ATTR_APPLICATION_ID, ATTR_DEVICE_TYPE, ATTR_NAME, DOMAIN
from .coordinator import DeviceCoordinator, UloggerConfigEntry
from .gateway import Gateway
from .storage import DeviceRecord
from .visit import NoConnectionSlot, VisitError, visit

_LOGGER = logging.getLogger(__name__)

RETRY_SLOT = 5.0
RETRY_FAILED = 60.0
RETRY_LONGEST = 3600.0
RETRY_NOT_OURS = 24 * 3600.0


class Watch:
    """The advertisements of one account's devices, and of strangers that look like them."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self.hass = hass
        self.gateway: Gateway[DeviceCoordinator] = entry.runtime_data
        self._entry = entry
        self._devices: dict[str, DeviceCoordinator] = {}
        self._strangers: dict[str, int] = {}
        self._timers: dict[str, CALLBACK_TYPE] = {}
        self._unavailable: dict[str, CALLBACK_TYPE] = {}
        self._cards: set[int] = set()

    @callback
    def start(self) -> None:
        """Listen until the entry is unloaded."""
        on_unload = self._entry.async_on_unload
        matchers = [BluetoothCallbackMatcher(service_uuid=SERVICE, connectable=True)]
        matchers += [
            BluetoothCallbackMatcher(local_name=pattern, connectable=True)
            for pattern in self.gateway.settings.name_patterns
        ]
        on_unload(self.gateway.async_add_device_listener(self._follow))
        on_unload(self.gateway.async_add_forget_listener(self._forget))
        for matcher in matchers:
            on_unload(
                bluetooth.async_register_callback(
                    self.hass, self._advertised, matcher, BluetoothScanningMode.AUTO
                )
            )
        on_unload(self._stop)

    @callback
    def _stop(self) -> None:
        for cancel in (*self._timers.values(), *self._unavailable.values()):
            cancel()

    @callback
    def _advertised(self, info: BluetoothServiceInfoBleak, _change: BluetoothChange) -> None:
        if (device := self._devices.get(info.address)) is not None:
            device.seen(info)
        elif info.address not in self._strangers:
            self._stranger_seen(info)

    # Devices of the account

    @callback
    def _follow(self, device: DeviceCoordinator) -> None:
        """Route the device's advertisements to it, and tell it when they stop."""
        address = device.record.address
        self._devices[address] = device
        self._strangers.pop(address, None)
        if address not in self._unavailable:
            self._unavailable[address] = bluetooth.async_track_unavailable(
                self.hass, self._lost, address, connectable=True
            )
        if info := bluetooth.async_last_service_info(self.hass, address, connectable=True):
            device.seen(info)

    @callback
    def _lost(self, info: BluetoothServiceInfoBleak) -> None:
        if (device := self._devices.get(info.address)) is not None:
            device.lost()

    @callback
    def _forget(self, device: DeviceCoordinator) -> None:
        for address in [a for a, known in self._devices.items() if known is device]:
            del self._devices[address]
            self._unavailable.pop(address)()
            bluetooth.async_rediscover_address(self.hass, address)

    # Strangers

    @callback
    def _stranger_seen(self, info: BluetoothServiceInfoBleak) -> None:
        """Identify it, unless it was before, or a person or another account has it."""
        if approval.is_address_ignored(self.hass, info.address) or self._is_elsewhere(info.address):
            return
        if (record := self.gateway.store.by_address(info.address)) is None:
            self._strangers[info.address] = 0
            self._identify_soon(info.address, info.name)
            return
        if self.gateway.collects(record.identity):
            self.gateway.met(record.identity, info.address, info.name)
            return
        self._strangers[info.address] = 0
        self._ask(record)

    def _is_elsewhere(self, address: str) -> bool:
        """Whether another account knows the device, so that one connection to it is enough."""
        entries = self.hass.config_entries.async_loaded_entries(DOMAIN)
        return any(
            entry.runtime_data.knows(address) for entry in entries if entry is not self._entry
        )

    @callback
    def _identify_soon(self, address: str, name: str) -> None:
        self._entry.async_create_background_task(
            self.hass, self._identify(address, name), f"{DOMAIN} identifies {address}"
        )

    async def _identify(self, address: str, name: str) -> None:
        """Read who the device is, and nothing else."""
        self.gateway.identifying.add(address)
        try:
            met = await visit(self.hass, address, name, lambda _identity: None)
        except NoConnectionSlot:
            self._retry(address, name, RETRY_SLOT)
        except (VisitError, AgentError) as err:
            failures = self._strangers[address] = self._strangers.get(address, 0) + 1
            if failures == 1:
                _LOGGER.info("%s (%s) could not be identified: %s", name, address, err)
            delay = min(RETRY_FAILED * 2 ** (failures - 1), RETRY_LONGEST)
            self._retry(address, name, delay if err.retryable else RETRY_NOT_OURS)
            self.gateway.count(err.reason)
        else:
            self.gateway.met(met.identity, address, name)
            record = self.gateway.store.devices[met.identity.key]
            if (device := self.gateway.devices.get(met.identity.key)) is not None:
                self._follow(device)
            else:
                self._ask(record)
        finally:
            self.gateway.identifying.discard(address)

    @callback
    def _retry(self, address: str, name: str, delay: float) -> None:
        @callback
        def again(_now: datetime) -> None:
            del self._timers[address]
            if bluetooth.async_address_present(self.hass, address, connectable=True):
                self._identify_soon(address, name)
            else:
                self._strangers.pop(address, None)

        self._timers[address] = async_call_later(self.hass, delay, again)

    @callback
    def _ask(self, record: DeviceRecord) -> None:
        """Show the discovery card of the device's application, once."""
        application_id = record.identity.application_id
        owner = approval.approving_entry(self.hass, application_id)
        if owner is not None or application_id in self._cards:
            return
        if approval.is_ignored(self.hass, application_id):
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
