"""What is shown of a destination that was added to the account."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import override

from homeassistant.components.sensor import (
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import EntityCategory
from homeassistant.helpers.typing import StateType

from .entity import REJECTED, DestinationEntity
from .gateway.destinations import ActiveDestination


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
