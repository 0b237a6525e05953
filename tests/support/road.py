"""The road inside a Home Assistant: virtual devices in reach of an adapter, and an account.

The devices hang on the adapter directly, in this process and on this loop; each GATT operation
that a host does to one is written down. Nothing in here waits by sleeping.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, override
from unittest.mock import patch

from bleak.backends.client import BaseBleakClient
from bleak.exc import BleakError
from habluetooth import (
    Allocations,
    BaseHaRemoteScanner,
    BluetoothScanningMode,
    HaBluetoothConnector,
    get_manager,
)
from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import EVENT_STATE_CHANGED
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (  # type: ignore[import-untyped]
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger.account.approval import with_application
from custom_components.ulogger.account.device_registry import device_identifier
from custom_components.ulogger.agent import gatt, session
from custom_components.ulogger.const import CONF_CLIENT_SUFFIX, CONNECTION_NONE, DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.flows.account_checks import account_title, account_unique_id
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.broker import LocalBroker
from demo.custom_components.ulogger_demo.client import gatt_table
from demo.device.link import TunableClient
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_log
from demo.device.virtual import VirtualDevice

from .bluetooth import ADDRESS
from .local_cloud import CUSTOMER_ID

APPLICATION = 42
IDENTITY = DeviceIdentity(APPLICATION, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
LOG = sample_log(700)
CORE_DUMP = sample_core_dump(IDENTITY, 900)
FAST_AIR = Air(interval=0.002, packets_up=64, packets_down=64)
SOURCE = "DE:50:00:00:00:02"
PATIENCE_SECONDS = 15.0


class LinkToDevice(BaseBleakClient):
    """One link to a virtual device, as a backend of bleak's; ``adapter`` is bound."""

    adapter: ClassVar[Adapter]

    def __init__(self, address_or_ble_device: Any, **kwargs: Any) -> None:
        super().__init__(address_or_ble_device, **kwargs)
        self._device: VirtualDevice | None = None
        self._link: TunableClient | None = None

    @property
    @override
    def name(self) -> str:
        return self.address

    @property
    @override
    def mtu_size(self) -> int:
        return 23

    @property
    @override
    def is_connected(self) -> bool:
        return self._link is not None and self._link.is_connected

    @override
    async def connect(self, pair: bool, **kwargs: Any) -> None:
        adapter = self.adapter
        adapter.allocate(self.address)
        try:
            await adapter.connecting(self.address)
            device = adapter.devices.get(self.address)
            if device is None:
                raise BleakError("out of reach")  # noqa: TRY301 - released like any failure
            self._link = await device.connect(self._lost)
        except OSError as err:
            adapter.release(self.address)
            raise BleakError(str(err)) from err
        except BaseException:
            adapter.release(self.address)
            raise
        self._device = device
        self.services = gatt_table(
            {
                service: {uuid: list(properties) for uuid, properties in table.items()}
                for service, table in device.table.items()
            },
            self.mtu_size,
        )

    def _lost(self) -> None:
        self._link = None
        self.adapter.release(self.address)
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    @override
    async def disconnect(self) -> None:
        await self.adapter.disconnecting(self.address)
        if self._device is not None:
            await self._device.disconnect()

    @override
    async def pair(self, *args: Any, **kwargs: Any) -> None:
        raise BleakError("no pairing")

    @override
    async def unpair(self) -> None:
        raise BleakError("no pairing")

    def _note(self, operation: str, uuid: str, value: bytes = b"") -> TunableClient:
        self.adapter.operations.append((self.address, operation, gatt.NAMES.get(uuid, uuid), value))
        if self._link is None:
            raise BleakError("not connected")
        return self._link

    @override
    async def read_gatt_char(self, characteristic: Any, **kwargs: Any) -> bytearray:
        return await self._note("read", characteristic.uuid).read_gatt_char(characteristic.uuid)

    @override
    async def write_gatt_char(self, characteristic: Any, data: Any, response: bool) -> None:
        link = self._note("write", characteristic.uuid, bytes(data))
        await link.write_gatt_char(characteristic.uuid, bytes(data), response=response)

    @override
    async def start_notify(self, characteristic: Any, callback: Any, **kwargs: Any) -> None:
        link = self._note("subscribe", characteristic.uuid)
        await link.start_notify(characteristic.uuid, lambda _, value: callback(value))

    @override
    async def stop_notify(self, characteristic: Any) -> None:
        await self._note("unsubscribe", characteristic.uuid).stop_notify(characteristic.uuid)

    @override
    async def read_gatt_descriptor(self, descriptor: Any, **kwargs: Any) -> bytearray:
        raise BleakError("no descriptors")

    @override
    async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
        raise BleakError("no descriptors")


async def _at_once(_address: str) -> None:
    """Take no time."""


class Adapter(BaseHaRemoteScanner):
    """What hears the virtual devices, and holds the links to them.

    ``connecting`` and ``disconnecting`` are waited for before a link comes up or goes down.
    """

    def __init__(self, source: str = SOURCE) -> None:
        self.devices: dict[str, VirtualDevice] = {}
        self.operations: list[tuple[str, str, str, bytes]] = []
        self.allocated: list[str] = []
        self.slots = 3
        self.connecting: Callable[[str], Any] = _at_once  # type: ignore[assignment]
        self.disconnecting: Callable[[str], Any] = _at_once
        client = type("BoundLink", (LinkToDevice,), {"adapter": self})
        super().__init__(
            source,
            "test adapter",
            HaBluetoothConnector(client, source, lambda: len(self.allocated) < self.slots),
            connectable=True,
            requested_mode=BluetoothScanningMode.ACTIVE,
            current_mode=BluetoothScanningMode.ACTIVE,
        )

    @override
    def get_allocations(self) -> Allocations:
        free = self.slots - len(self.allocated)
        return Allocations(self.source, self.slots, free, list(self.allocated))

    def allocate(self, address: str) -> None:
        self.allocated.append(address)
        get_manager().async_on_allocation_changed(self.get_allocations())

    def release(self, address: str) -> None:
        if address in self.allocated:
            self.allocated.remove(address)
        get_manager().async_on_allocation_changed(self.get_allocations())

    def hear(self, device: VirtualDevice, *, name: str | None = None) -> None:
        """Pass on one advertisement, always with the same content."""
        self._async_on_advertisement(
            device.address,
            device.rssi,
            device.name if name is None else name,
            device.service_uuids,
            {},
            {},
            None,
            {},
            bluetooth.MONOTONIC_TIME(),
        )


@dataclass
class Road:
    """The way from devices to the cloud, inside one Home Assistant."""

    hass: HomeAssistant
    adapter: Adapter
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def device(
        self,
        address: str = ADDRESS,
        identity: DeviceIdentity = IDENTITY,
        log: bytes = LOG,
        core_dump: bytes | None = None,
        *,
        name: str = "uLogger Example",
        heard: bool = True,
        air: Air = FAST_AIR,
    ) -> VirtualDevice:
        """Put a device into reach."""
        device = VirtualDevice(address, identity, log, core_dump, name=name, air=air)
        self.adapter.devices[address] = device
        if heard:
            self.adapter.hear(device)
        return device

    def move(self, device: VirtualDevice, address: str) -> None:
        """Give a device another Bluetooth address."""
        del self.adapter.devices[device.address]
        device.address = address
        self.adapter.devices[address] = device

    def operations(self, device: VirtualDevice) -> list[tuple[str, str]]:
        """What hosts have done to a device."""
        return [(op, name) for at, op, name, _ in self.adapter.operations if at == device.address]

    def coordinator(
        self, entry: MockConfigEntry, identity: DeviceIdentity = IDENTITY
    ) -> DeviceCoordinator:
        """What the account knows of a device."""
        found: DeviceCoordinator = entry.runtime_data.devices[identity.key]
        return found

    def entity_id(
        self, entry: MockConfigEntry, key: str, identity: DeviceIdentity | None = IDENTITY
    ) -> str:
        """Find an entity by what it shows; of the account without a device."""
        of = "" if identity is None else f"-{device_identifier(identity)[1]}"
        unique_id = f"{entry.entry_id}{of}-{key}"
        for each in er.async_entries_for_config_entry(er.async_get(self.hass), entry.entry_id):
            if each.unique_id == unique_id:
                return each.entity_id
        raise AssertionError(f"no entity {unique_id}")

    def state(
        self, entry: MockConfigEntry, key: str, identity: DeviceIdentity | None = IDENTITY
    ) -> str:
        """Return what an entity shows."""
        found = self.hass.states.get(self.entity_id(entry, key, identity))
        assert found is not None, key
        return found.state

    def registered(
        self, entry: MockConfigEntry, identity: DeviceIdentity = IDENTITY
    ) -> dr.DeviceEntry | None:
        """Find a device in the registry."""
        return dr.async_get(self.hass).async_get_device_by_identifier(
            device_identifier(identity), entry.entry_id
        )

    def device_id(self, entry: MockConfigEntry, identity: DeviceIdentity = IDENTITY) -> str:
        """Name a device as actions name it."""
        device = self.registered(entry, identity)
        assert device is not None
        return device.id

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds that is shown by a state."""
        changed = asyncio.Event()

        @callback
        def look(_: Event[Any]) -> None:
            changed.set()

        stop = self.hass.bus.async_listen(EVENT_STATE_CHANGED, look)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    changed.clear()
                    await changed.wait()
        finally:
            stop()

    async def until_shown(
        self,
        entry: MockConfigEntry,
        key: str,
        state: str,
        identity: DeviceIdentity | None = IDENTITY,
    ) -> None:
        """Wait until an entity shows something."""

        def shown() -> bool:
            try:
                return self.state(entry, key, identity) == state
            except AssertionError:
                return False

        await self.until(shown)

    async def collected(self, device: VirtualDevice) -> None:
        """Wait until a device has erased everything."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await device.emptied.wait()

    async def adopted(
        self, entry: MockConfigEntry, identity: DeviceIdentity = IDENTITY
    ) -> DeviceCoordinator:
        """Wait until an account collects a device."""
        fleet = entry.runtime_data.fleet
        there = asyncio.Event()
        stop = fleet.adopted.add(lambda _: there.set())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while identity.key not in fleet.devices:
                    there.clear()
                    await there.wait()
        finally:
            stop()
        await self.hass.async_block_till_done()
        return self.coordinator(entry, identity)

    async def session_over(self, coordinator: DeviceCoordinator) -> None:
        """Wait until a session that is under way or due has come to its end."""
        sessions = len(coordinator.timeline)
        over = asyncio.Event()
        stop = coordinator.async_add_listener(over.set)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while coordinator._task is not None or len(coordinator.timeline) == sessions:
                    over.clear()
                    await over.wait()
        finally:
            stop()

    async def idle(self, coordinator: DeviceCoordinator) -> None:
        """Wait until no session is under way, of those that began already."""
        over = asyncio.Event()
        stop = coordinator.async_add_listener(over.set)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while coordinator._task is not None or not coordinator.timeline:
                    over.clear()
                    await over.wait()
        finally:
            stop()

    async def pass_time(self, **time: float) -> None:
        """Let time go by in Home Assistant."""
        async_fire_time_changed(self.hass, dt_util.utcnow() + timedelta(**time))
        await self.hass.async_block_till_done()

    def listen(self, coordinator: DeviceCoordinator) -> None:
        """Write down what happens to a device."""
        coordinator.async_add_event_listener(
            lambda event, attributes: self.events.append((event.value, dict(attributes)))
        )


def account_data(broker: LocalBroker, group_id: int = 0) -> dict[str, Any]:
    """What the config flow keeps of an account."""
    return {
        "connection": "mqtt",
        "customer_id": CUSTOMER_ID,
        "group_id": group_id,
        "certificate": broker.customer.certificate,
        "private_key": broker.customer.private_key,
        "broker": broker.host,
        "port": broker.port,
        "ca": broker.ca,
        "client_suffix": f"test{group_id}",
    }


def approving(*applications: int, **options: Any) -> dict[str, Any]:
    """Options with which applications are collected."""
    approved: Mapping[str, Any] = options
    for application in applications:
        approved = with_application(approved, application, "")
    return dict(approved)


async def add_account(
    hass: HomeAssistant,
    broker: LocalBroker,
    options: dict[str, Any] | None = None,
    *,
    group_id: int = 0,
    entry_id: str | None = None,
) -> MockConfigEntry:
    """Set up an account, that collects application 42 if no options say otherwise."""
    data = account_data(broker, group_id)
    entry = MockConfigEntry(
        domain=DOMAIN,
        title=account_title(data),
        unique_id=account_unique_id(data),
        data=data,
        options=approving(APPLICATION) if options is None else options,
        **({} if entry_id is None else {"entry_id": entry_id}),
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    return entry


async def add_only_here(
    hass: HomeAssistant, options: dict[str, Any] | None = None
) -> MockConfigEntry:
    """Set up an account without a cloud, that collects application 42 if nobody says otherwise."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Only here",
        data={"connection": CONNECTION_NONE, CONF_CLIENT_SUFFIX: "test"},
        options=approving(APPLICATION) if options is None else options,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


def short_patience() -> Any:
    """Wait less long for a device that has nothing: on this air it would have answered."""
    return patch.multiple(session, PATIENCE=(0.2, 0.2), AFTER_A_LOG=(0.3, 0.3))


def make_adapter(hass: HomeAssistant) -> tuple[Adapter, Callable[[], None]]:
    """Register an adapter; returns what takes it away."""
    adapter = Adapter()
    unregister = bluetooth.async_register_scanner(hass, adapter)
    unsetup = adapter.async_setup()

    def remove() -> None:
        unregister()
        unsetup()

    return adapter, remove
