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
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import (
    MAX_LENGTH_STATE_STATE,
    PERCENTAGE,
    SIGNAL_STRENGTH_DECIBELS_MILLIWATT,
    EntityCategory,
    UnitOfInformation,
)
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.typing import StateType

from .account.firmware_images import image_title
from .collecting.device_state import Phase
from .coordinator import DeviceCoordinator
from .entities.destination_sensors import (
    DESTINATION_SENSORS,
    REMOTE_ACCESS_SENSORS,
    DestinationSensor,
    RemoteAccessSensor,
)
from .entities.quiet import QuietSensor
from .entities.unit_inputs import AS_SENSOR, async_add_inputs
from .entity import (
    AccountEntity,
    DeviceEntity,
    add_destination_entities,
    add_device_entities,
    add_remote_access_entities,
)
from .gateway.crash_words import LONGEST_PLACE, crash_line
from .gateway.gateway import Gateway, UloggerConfigEntry
from .gateway.metric_hours import metric_key
from .insight.units import measure
from .model.heard import MetricValue
from .model.reason import Reason

PARALLEL_UPDATES = 0

NO_ERROR = "none"
MOST_NAMED = 20
"""Firmware versions, and devices of each, that an attribute names."""


@dataclass(frozen=True, kw_only=True)
class DeviceSensorDescription(SensorEntityDescription):
    """A sensor of one device; most are for those who look for them."""

    entity_registry_enabled_default: bool = False
    value: Callable[[DeviceCoordinator], StateType | datetime]
    available: Callable[[DeviceCoordinator], bool] = lambda _: True
    attributes: Callable[[DeviceCoordinator], dict[str, object]] | None = None


@dataclass(frozen=True, kw_only=True)
class AccountSensorDescription(SensorEntityDescription):
    """A sensor of the account."""

    value: Callable[[Gateway], StateType | datetime]
    attributes: Callable[[Gateway], dict[str, object]] | None = None


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _certificate_expiry(gateway: Gateway) -> datetime | None:
    return None if gateway.ulogger is None else gateway.ulogger.certificate_expiry


def _progress(device: DeviceCoordinator) -> int | None:
    state = device.data
    if state.bytes_done is None or not state.bytes_total:
        return None
    return min(100, round(100 * state.bytes_done / state.bytes_total))


def _bytes(device: DeviceCoordinator) -> dict[str, object]:
    return {"bytes_done": device.data.bytes_done, "bytes_total": device.data.bytes_total}


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


def _gateway(device: DeviceCoordinator) -> Gateway:
    gateway: Gateway = device.account.entry.runtime_data
    return gateway


def _last_crash(device: DeviceCoordinator) -> str | None:
    last = _gateway(device).crashes.last_of(device.identity.key)
    if last is None:
        return None
    return crash_line(device.account.hass, last, LONGEST_PLACE)[:MAX_LENGTH_STATE_STATE]


def _last_crash_attributes(device: DeviceCoordinator) -> dict[str, object]:
    last = _gateway(device).crashes.last_of(device.identity.key)
    if last is None:
        return {}
    return {
        "time": _moment(last.at),
        "reason": last.reason,
        "fault_kind": last.fault_kind or None,
        "place": last.place or None,
        "firmware_version": last.version,
        "git_hash": last.git_hash,
        "fingerprint": last.group.fingerprint,
        "crash_state": last.group.state.value,
        "count": last.group.count,
    }


def _firmware(device: DeviceCoordinator) -> dict[str, object]:
    return {
        "git_hash": device.identity.git_hash,
        "image": _gateway(device).images.title_of(device.identity),
    }


def _without_image(gateway: Gateway) -> dict[str, object]:
    """Say which devices run what has no image; in a large fleet only the first of them."""
    missing = list(gateway.images.missing().items())
    return {
        "versions": [
            {
                "firmware": image_title(key),
                "devices": [each.serial for each in devices[:MOST_NAMED]],
            }
            for key, devices in missing[:MOST_NAMED]
        ]
    }


DEVICE_SENSORS = (
    DeviceSensorDescription(
        key="state",
        translation_key="state",
        device_class=SensorDeviceClass.ENUM,
        options=[phase.value for phase in Phase],
        entity_registry_enabled_default=True,
        value=lambda device: device.phase.value,
        attributes=_bytes,
    ),
    DeviceSensorDescription(
        key="last_upload",
        translation_key="last_upload",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_registry_enabled_default=True,
        value=lambda device: _moment(device.last_upload),
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
        entity_registry_enabled_default=True,
        value=lambda device: device.data.counters.waiting,
    ),
    DeviceSensorDescription(
        key="core_dumps",
        translation_key="core_dumps",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value=lambda device: device.data.counters.core_dumps,
    ),
    DeviceSensorDescription(
        key="errors",
        translation_key="errors",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value=lambda device: device.heard.errors,
        attributes=lambda device: {"last_capture": device.heard.last_errors},
    ),
    DeviceSensorDescription(
        key="warnings",
        translation_key="warnings",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value=lambda device: device.heard.warnings,
        attributes=lambda device: {"last_capture": device.heard.last_warnings},
    ),
    DeviceSensorDescription(
        key="last_core_dump",
        translation_key="last_core_dump",
        device_class=SensorDeviceClass.TIMESTAMP,
        value=lambda device: _moment(device.data.counters.last_core_dump),
    ),
    DeviceSensorDescription(
        key="last_crash",
        translation_key="last_crash",
        entity_registry_enabled_default=True,
        value=_last_crash,
        attributes=_last_crash_attributes,
    ),
    DeviceSensorDescription(
        key="duplicates",
        translation_key="duplicates",
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.data.counters.duplicates,
    ),
    DeviceSensorDescription(
        key="download_progress",
        translation_key="download_progress",
        native_unit_of_measurement=PERCENTAGE,
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=_progress,
        attributes=_bytes,
    ),
    DeviceSensorDescription(
        key="last_error",
        translation_key="last_error",
        device_class=SensorDeviceClass.ENUM,
        options=[NO_ERROR, *(reason.value for reason in Reason)],
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=True,
        value=lambda device: device.data.last_error or NO_ERROR,
    ),
    DeviceSensorDescription(
        key="next_collection",
        translation_key="next_collection",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.data.next_collection if device.data.present else None,
    ),
    DeviceSensorDescription(
        key="last_seen",
        translation_key="last_seen",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda device: device.data.last_seen,
    ),
    DeviceSensorDescription(
        key="firmware_version",
        translation_key="firmware_version",
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=True,
        value=lambda device: device.identity.git_version or None,
        attributes=_firmware,
    ),
    DeviceSensorDescription(
        key="signal_strength",
        device_class=SensorDeviceClass.SIGNAL_STRENGTH,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=SIGNAL_STRENGTH_DECIBELS_MILLIWATT,
        entity_category=EntityCategory.DIAGNOSTIC,
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
    AccountSensorDescription(
        key="open_crash_groups",
        translation_key="open_crash_groups",
        state_class=SensorStateClass.MEASUREMENT,
        value=lambda gateway: gateway.crashes.groups.open_count,
    ),
    AccountSensorDescription(
        key="versions_without_image",
        translation_key="versions_without_image",
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda gateway: len(gateway.images.missing()),
        attributes=_without_image,
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
    async_add_inputs(gateway, async_add_entities, AS_SENSOR)
    limit = gateway.account.settings.metric_limit
    add_device_entities(
        entry,
        async_add_entities,
        lambda device: [
            *(DeviceSensor(device, description) for description in DEVICE_SENSORS),
            *(MetricSensor(device, name) for name in device.heard.names(limit)),
        ],
    )

    @callback
    def found(device: DeviceCoordinator, name: str) -> None:
        # One that is found while the account is unloaded comes when it is there again.
        if entry.state is not ConfigEntryState.UNLOAD_IN_PROGRESS:
            async_add_entities([MetricSensor(device, name)])

    entry.async_on_unload(gateway.metric_found.add(found))


class DeviceSensor(DeviceEntity, QuietSensor):
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
    def details(self) -> dict[str, object]:
        attributes = self.entity_description.attributes
        return {} if attributes is None else attributes(self.coordinator)


class MetricSensor(DeviceEntity, SensorEntity):
    """A metric of a device: what it measures by a name of its own.

    Unit and kind of quantity are guessed from the name; a person may change them.
    """

    def __init__(self, coordinator: DeviceCoordinator, name: str) -> None:
        unit, kind = measure(name)
        device_class = None if kind is None else SensorDeviceClass(kind)
        description = SensorEntityDescription(
            key=metric_key(name),
            # With a class of its own Home Assistant has an icon for it.
            translation_key="metric" if device_class is None else None,
            device_class=device_class,
            native_unit_of_measurement=unit,
            state_class=SensorStateClass.MEASUREMENT,
            entity_category=EntityCategory.DIAGNOSTIC,
        )
        super().__init__(coordinator, description)
        self._attr_name = name
        self._metric = (coordinator.identity.key, name)

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        self.gateway.metric_sensors[self._metric] = self

    @override
    async def async_will_remove_from_hass(self) -> None:
        del self.gateway.metric_sensors[self._metric]
        await super().async_will_remove_from_hass()

    @property
    @override
    def native_value(self) -> StateType:
        value = self._value
        return None if value is None else value.value

    @property
    @override
    def extra_state_attributes(self) -> dict[str, object]:
        value = self._value
        return {"measured_at": None if value is None else _moment(value.at)}

    @property
    def _value(self) -> MetricValue | None:
        _, name = self._metric
        return self.coordinator.heard.metrics.get(name)


class AccountSensor(AccountEntity, SensorEntity):
    """A sensor of the account."""

    entity_description: AccountSensorDescription

    @property
    @override
    def native_value(self) -> StateType | datetime:
        return self.entity_description.value(self.gateway)

    @property
    @override
    def extra_state_attributes(self) -> dict[str, object] | None:
        attributes = self.entity_description.attributes
        return None if attributes is None else attributes(self.gateway)
