"""Binary sensors: an account's connections; whether a device is near, registered, has crashed."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import override

from homeassistant.components.binary_sensor import (
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.components.binary_sensor.const import BinarySensorDeviceClass
from homeassistant.const import STATE_ON, EntityCategory
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.event import async_call_later

from .cloud.destination import ConnectionState
from .coordinator import DeviceCoordinator
from .entity import (
    AccountEntity,
    DestinationEntity,
    DeviceEntity,
    add_destination_entities,
    add_device_entities,
)
from .gateway.gateway import Gateway, UloggerConfigEntry

PARALLEL_UPDATES = 0

LASTING = {ConnectionState.CREDENTIALS_REFUSED, ConnectionState.CLIENT_ID_CONFLICT}
SETTLED_WITHIN = 30.0
"""Seconds after a reload until a connection that is not there again is told."""


@dataclass(frozen=True, kw_only=True)
class DeviceBinaryDescription(BinarySensorEntityDescription):
    """A binary sensor of one device."""

    value: Callable[[Gateway, DeviceCoordinator], bool]
    exists: Callable[[Gateway], bool] = lambda _: True


@dataclass(frozen=True, kw_only=True)
class AccountBinaryDescription(BinarySensorEntityDescription):
    """A binary sensor of the account."""

    value: Callable[[Gateway], bool]


DEVICE_BINARY_SENSORS = (
    DeviceBinaryDescription(
        key="in_range",
        translation_key="in_range",
        value=lambda gateway, device: device.data.present,
    ),
    DeviceBinaryDescription(
        key="session_token",
        translation_key="session_token",
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value=lambda gateway, device: gateway.is_registered(device.identity),
        exists=lambda gateway: bool(gateway.registers),
    ),
    DeviceBinaryDescription(
        key="crashed_since",
        translation_key="crashed_since",
        device_class=BinarySensorDeviceClass.PROBLEM,
        entity_registry_enabled_default=False,
        value=lambda gateway, device: gateway.crashes.crashed_since(device),
    ),
)

ACCOUNT_BINARY_SENSORS = (
    AccountBinaryDescription(
        key="cloud_connection",
        translation_key="cloud_connection",
        device_class=BinarySensorDeviceClass.CONNECTIVITY,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda gateway: gateway.ulogger is not None and gateway.ulogger.cloud.connected,
    ),
)

DESTINATION_BINARY_SENSORS = (
    BinarySensorEntityDescription(
        key="connection",
        translation_key="connection",
        device_class=BinarySensorDeviceClass.CONNECTIVITY,
        entity_category=EntityCategory.DIAGNOSTIC,
    ),
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the account's binary sensors, and each device's when it is there."""
    gateway = entry.runtime_data
    add_destination_entities(
        gateway, async_add_entities, DESTINATION_BINARY_SENSORS, DestinationBinarySensor
    )
    if gateway.ulogger is not None:
        async_add_entities(
            AccountBinarySensor(gateway, description) for description in ACCOUNT_BINARY_SENSORS
        )
    add_device_entities(
        entry,
        async_add_entities,
        lambda device: [
            DeviceBinarySensor(device, description)
            for description in DEVICE_BINARY_SENSORS
            if description.exists(gateway)
        ],
    )


class DeviceBinarySensor(DeviceEntity, BinarySensorEntity):
    """A binary sensor of one device."""

    entity_description: DeviceBinaryDescription

    @property
    @override
    def is_on(self) -> bool:
        return self.entity_description.value(self.gateway, self.coordinator)


class ConnectionSensor(BinarySensorEntity):
    """Whether something is connected; a reload, which connects anew, is not told as a fault."""

    _settling = False

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        before = self.hass.states.get(self.entity_id)
        if before is not None and before.state == STATE_ON:
            self._settling = True
            self.async_on_remove(async_call_later(self.hass, SETTLED_WITHIN, self._settled))

    @callback
    def _settled(self, _now: datetime) -> None:
        self._settling = False
        self.async_write_ha_state()

    @property
    @override
    def is_on(self) -> bool:
        return self._connected or (self._settling and not self._failed)

    @property
    @abstractmethod
    def _connected(self) -> bool:
        """Whether it is connected."""

    @property
    @abstractmethod
    def _failed(self) -> bool:
        """Whether it is certain that it can't be connected as things stand."""


class AccountBinarySensor(ConnectionSensor, AccountEntity):
    """A binary sensor of the account."""

    entity_description: AccountBinaryDescription

    @property
    @override
    def _connected(self) -> bool:
        return self.entity_description.value(self.gateway)

    @property
    @override
    def _failed(self) -> bool:
        ulogger = self.gateway.ulogger
        return ulogger is not None and ulogger.transport.state in LASTING


class DestinationBinarySensor(ConnectionSensor, DestinationEntity):
    """Whether a destination takes captures now."""

    @property
    @override
    def _connected(self) -> bool:
        return self.destination.connected

    @property
    @override
    def _failed(self) -> bool:
        return self.destination.destination.state is not ConnectionState.CONNECTING
