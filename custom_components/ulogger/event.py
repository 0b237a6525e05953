"""The event entities that automations trigger on."""

from collections.abc import Mapping
from typing import Any, override

from homeassistant.components.event import EventEntity, EventEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .collecting.device_state import ROUTINE, DeviceEvent
from .entities.unit_inputs import AS_EVENT, async_add_inputs
from .entity import DeviceEntity, add_device_entities
from .gateway.device_news import LOG_EVENTS
from .gateway.gateway import UloggerConfigEntry

PARALLEL_UPDATES = 0

DEVICE_EVENT = EventEntityDescription(
    key="device_event",
    translation_key="device_event",
    event_types=[event.value for event in DeviceEvent if event not in ROUTINE],
)
CAPTURE_EVENT = EventEntityDescription(
    key="capture_event",
    translation_key="capture_event",
    event_types=[event.value for event in DeviceEvent if event in ROUTINE],
    entity_category=EntityCategory.DIAGNOSTIC,
    entity_registry_enabled_default=False,
)

LOG_EVENT = EventEntityDescription(
    key="log",
    translation_key="log",
    event_types=list(LOG_EVENTS),
    # Each of its lines is one in the activity, which says it in a sentence for a capture.
    entity_registry_enabled_default=False,
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the event entities of each device when it is there, and of inputs of units."""
    async_add_inputs(entry.runtime_data, async_add_entities, AS_EVENT)
    add_device_entities(
        entry,
        async_add_entities,
        lambda device: [
            DeviceEventEntity(device, DEVICE_EVENT),
            DeviceEventEntity(device, CAPTURE_EVENT),
            DeviceLogEntity(device, LOG_EVENT),
        ],
    )


class DeviceEventEntity(DeviceEntity, EventEntity):
    """Shows what happened to a device and its captures, as far as it is of the entity's types."""

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        self.async_on_remove(self.coordinator.async_add_event_listener(self._happened))

    @callback
    def _happened(self, event: DeviceEvent, attributes: Mapping[str, Any]) -> None:
        if event.value in self.event_types:
            self._trigger_event(event.value, dict(attributes))
            self.async_write_ha_state()


class DeviceLogEntity(DeviceEntity, EventEntity):
    """Shows the lines of a device's log that are worth an event, each by its level."""

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        self.async_on_remove(self.coordinator.logged.add(self._logged))

    @callback
    def _logged(self, event: str, attributes: Mapping[str, Any]) -> None:
        self._trigger_event(event, dict(attributes))
        self.async_write_ha_state()
