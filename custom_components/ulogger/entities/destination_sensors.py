"""What is shown of a destination that was added to the account."""

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
from homeassistant.const import EntityCategory
from homeassistant.helpers.typing import StateType

from ..cloud.destination import OffersRemoteAccess
from ..entity import REJECTED, DestinationEntity, RemoteAccessEntity
from ..gateway.destinations import ActiveDestination


@dataclass(frozen=True, kw_only=True)
class DestinationSensorDescription(SensorEntityDescription):
    """A sensor of a destination that was added to the account."""

    value: Callable[[ActiveDestination], StateType]


DESTINATION_SENSORS = (
    DestinationSensorDescription(
        key="captures_waiting",
        translation_key="captures_waiting",
        state_class=SensorStateClass.MEASUREMENT,
        value=lambda destination: destination.counters.waiting,
    ),
    DestinationSensorDescription(
        key=REJECTED,
        translation_key=REJECTED,
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda destination: destination.rejected,
    ),
)


class DestinationSensor(DestinationEntity, SensorEntity):
    """A sensor of a destination."""

    entity_description: DestinationSensorDescription

    @property
    @override
    def native_value(self) -> StateType:
        return self.entity_description.value(self.destination)


@dataclass(frozen=True, kw_only=True)
class RemoteAccessSensorDescription(SensorEntityDescription):
    """A sensor of a destination through which browsers may come; a moment in Unix seconds."""

    value: Callable[[OffersRemoteAccess], float | None]


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


class RemoteAccessSensor(RemoteAccessEntity, SensorEntity):
    """A moment that matters for remote access."""

    entity_description: RemoteAccessSensorDescription

    @property
    @override
    def native_value(self) -> datetime | None:
        seconds = self.entity_description.value(self.remote)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
