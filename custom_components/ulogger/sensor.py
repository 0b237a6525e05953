"""Sensors: what a device has sent, what waits, and how its account is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import override

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import (
    PERCENTAGE,
    SIGNAL_STRENGTH_DECIBELS_MILLIWATT,
    EntityCategory,
    UnitOfInformation,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.typing import StateType

from .cloud.destination import OffersRemoteAccess
from .collecting.device_state import Phase
from .coordinator import DeviceCoordinator
from .entity import (
    AccountEntity,
    DestinationEntity,
    DeviceEntity,
    RemoteAccessEntity,
    add_destination_entities,
    add_device_entities,
    add_remote_access_entities,
)
from .gateway.destinations import ActiveDestination
from .gateway.gateway import Gateway, UloggerConfigEntry
from .model.reason import Reason

PARALLEL_UPDATES = 0

NO_ERROR = "none"


@dataclass(frozen=True, kw_only=True)
class DeviceSensorDescription(SensorEntityDescription):
    """A sensor of one device."""

    value: Callable[[DeviceCoordinator], StateType | datetime]
    available: Callable[[DeviceCoordinator], bool] = lambda _: True
    attributes: Callable[[DeviceCoordinator], dict[str, object]] | None = None


@dataclass(frozen=True, kw_only=True)
class AccountSensorDescription(SensorEntityDescription):
    """A sensor of the account."""

    value: Callable[[Gateway], StateType | datetime]


@dataclass(frozen=True, kw_only=True)
class DestinationSensorDescription(SensorEntityDescription):
    """A sensor of a destination that was added to the account."""

    value: Callable[[ActiveDestination], StateType]


@dataclass(frozen=True, kw_only=True)
class RemoteAccessSensorDescription(SensorEntityDescription):
    """A sensor of a destination through which browsers may come; a moment in Unix seconds."""

    value: Callable[[OffersRemoteAccess], float | None]


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _certificate_expiry(gateway: Gateway) -> datetime | None:
    return None if gateway.ulogger is None else gateway.ulogger.certificate_expiry


def _progress(device: DeviceCoordinator) -> int | None:
    state = device.data
    if state.bytes_done is None or not state.bytes_total:
        return None
    return min(100, round(100 * state.bytes_done / state.bytes_total))


def _log_level_until(device: DeviceCoordinator) -> datetime | None:
    wish = device.log_level
    return None if wish is None else _moment(wish.expires_at)


def _log_modules(device: DeviceCoordinator) -> dict[str, object]:
    wish = device.log_level
    if wish is None:
        return {"modules": [], "module_flags": None, "written": None}
    return {
        "modules": wish.modules,
        "module_flags": f"0x{wish.module_flags:08X}",
        "written": device.log_level_written,
    }


DEVICE_SENSORS = (
    DeviceSensorDescription(
        key="state",
        translation_key="state",
        device_class=SensorDeviceClass.ENUM,
        options=[phase.value for phase in Phase],
        value=lambda device: device.phase.value,
        attributes=lambda device: {
            "bytes_done": device.data.bytes_done,
            "bytes_total": device.data.bytes_total,
        },
    ),
    DeviceSensorDescription(
        key="last_upload",
        translation_key="last_upload",
        device_class=SensorDeviceClass.TIMESTAMP,
        value=lambda device: _moment(device.data.counters.last_upload),
    ),
    DeviceSensorDescription(
        key="last_upload_size",
        translation_key="last_upload_size",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        value=lambda device: device.data.counters.last_upload_size,
    ),
    DeviceSensorDescription(
        key="uploads",
        translation_key="uploads",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value=lambda device: device.data.counters.uploads,
    ),
    DeviceSensorDescription(
        key="bytes_uploaded",
        translation_key="bytes_uploaded",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.TOTAL_INCREASING,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.KILOBYTES,
        suggested_display_precision=1,
        value=lambda device: device.data.counters.bytes_uploaded,
    ),
    DeviceSensorDescription(
        key="bytes_today",
        translation_key="bytes_today",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.TOTAL_INCREASING,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.KILOBYTES,
        suggested_display_precision=1,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.data.counters.bytes_today,
    ),
    DeviceSensorDescription(
        key="captures_waiting",
        translation_key="captures_waiting",
        state_class=SensorStateClass.MEASUREMENT,
        value=lambda device: device.data.counters.waiting,
    ),
    DeviceSensorDescription(
        key="core_dumps",
        translation_key="core_dumps",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value=lambda device: device.data.counters.core_dumps,
    ),
    DeviceSensorDescription(
        key="last_core_dump",
        translation_key="last_core_dump",
        device_class=SensorDeviceClass.TIMESTAMP,
        value=lambda device: _moment(device.data.counters.last_core_dump),
    ),
    DeviceSensorDescription(
        key="duplicates",
        translation_key="duplicates",
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value=lambda device: device.data.counters.duplicates,
    ),
    DeviceSensorDescription(
        key="download_progress",
        translation_key="download_progress",
        native_unit_of_measurement=PERCENTAGE,
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=_progress,
        attributes=lambda device: {
            "bytes_done": device.data.bytes_done,
            "bytes_total": device.data.bytes_total,
        },
    ),
    DeviceSensorDescription(
        key="last_error",
        translation_key="last_error",
        device_class=SensorDeviceClass.ENUM,
        options=[NO_ERROR, *(reason.value for reason in Reason)],
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.data.last_error or NO_ERROR,
    ),
    DeviceSensorDescription(
        key="next_collection",
        translation_key="next_collection",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.data.next_collection,
    ),
    DeviceSensorDescription(
        key="firmware_version",
        translation_key="firmware_version",
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.identity.git_version or None,
        attributes=lambda device: {"git_hash": device.identity.git_hash},
    ),
    DeviceSensorDescription(
        key="signal_strength",
        device_class=SensorDeviceClass.SIGNAL_STRENGTH,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=SIGNAL_STRENGTH_DECIBELS_MILLIWATT,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value=lambda device: device.data.rssi,
        available=lambda device: device.data.present,
    ),
    DeviceSensorDescription(
        key="log_level_until",
        translation_key="log_level_until",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=_log_level_until,
        attributes=_log_modules,
    ),
)

ACCOUNT_SENSORS = (
    AccountSensorDescription(
        key="certificate_expiry",
        translation_key="certificate_expiry",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=_certificate_expiry,
    ),
    AccountSensorDescription(
        key="outbox_size",
        translation_key="outbox_size",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.KILOBYTES,
        suggested_display_precision=1,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda gateway: (
            gateway.account.totals.waiting_bytes + gateway.account.totals.quarantined_bytes
        ),
    ),
    AccountSensorDescription(
        key="captures_waiting",
        translation_key="captures_waiting",
        state_class=SensorStateClass.MEASUREMENT,
        value=lambda gateway: gateway.account.totals.waiting,
    ),
)

DESTINATION_SENSORS = (
    DestinationSensorDescription(
        key="captures_waiting",
        translation_key="captures_waiting",
        state_class=SensorStateClass.MEASUREMENT,
        value=lambda destination: destination.counters.waiting,
    ),
)

REMOTE_ACCESS_SENSORS = (
    RemoteAccessSensorDescription(
        key="certificate_expiry",
        translation_key="certificate_expiry",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda remote: remote.certificate_expires_at,
    ),
    RemoteAccessSensorDescription(
        key="remote_token_expiry",
        translation_key="remote_token_expiry",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda remote: remote.remote_token_expires_at,
    ),
    RemoteAccessSensorDescription(
        key="remote_certificate_expiry",
        translation_key="remote_certificate_expiry",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda remote: remote.remote_certificate_expires_at,
    ),
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the account's sensors, and each device's when it is there."""
    gateway = entry.runtime_data
    async_add_entities(
        AccountSensor(gateway, description)
        for description in ACCOUNT_SENSORS
        if description.key != "certificate_expiry" or _certificate_expiry(gateway) is not None
    )
    add_destination_entities(gateway, async_add_entities, DESTINATION_SENSORS, DestinationSensor)
    add_remote_access_entities(
        gateway, async_add_entities, REMOTE_ACCESS_SENSORS, RemoteAccessSensor
    )
    add_device_entities(
        entry,
        async_add_entities,
        lambda device: [DeviceSensor(device, description) for description in DEVICE_SENSORS],
    )


class DeviceSensor(DeviceEntity, SensorEntity):
    """A sensor of one device."""

    entity_description: DeviceSensorDescription

    @property
    @override
    def native_value(self) -> StateType | datetime:
        return self.entity_description.value(self.coordinator)

    @property
    @override
    def available(self) -> bool:
        return self.entity_description.available(self.coordinator)

    @property
    @override
    def extra_state_attributes(self) -> dict[str, object] | None:
        attributes = self.entity_description.attributes
        return None if attributes is None else attributes(self.coordinator)


class AccountSensor(AccountEntity, SensorEntity):
    """A sensor of the account."""

    entity_description: AccountSensorDescription

    @property
    @override
    def native_value(self) -> StateType | datetime:
        return self.entity_description.value(self.gateway)


class DestinationSensor(DestinationEntity, SensorEntity):
    """A sensor of a destination."""

    entity_description: DestinationSensorDescription

    @property
    @override
    def native_value(self) -> StateType:
        return self.entity_description.value(self.destination)


class RemoteAccessSensor(RemoteAccessEntity, SensorEntity):
    """A moment that matters for remote access."""

    entity_description: RemoteAccessSensorDescription

    @property
    @override
    def native_value(self) -> datetime | None:
        return _moment(self.entity_description.value(self.remote))
