"""Triggers of the integration's own, each an event that the *Device event* entity shows."""

from collections.abc import Mapping
from typing import ClassVar, override

from homeassistant.components.event import DOMAIN as EVENT_DOMAIN
from homeassistant.components.event import EventEntityStateAttribute
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.automation import DomainSpec
from homeassistant.helpers.trigger import (
    NotTriggeredReasonReporter,
    StatelessEntityTriggerBase,
    Trigger,
)

from .collecting.device_state import DeviceEvent
from .const import DOMAIN


class DeviceEventTrigger(StatelessEntityTriggerBase):
    """Fires when one of the target's devices has an event; its attributes come with it."""

    _domain_specs: Mapping[str, DomainSpec] = {EVENT_DOMAIN: DomainSpec()}
    _event: ClassVar[DeviceEvent]

    @override
    def entity_filter(self, entities: set[str]) -> set[str]:
        """Of all that the target names, only event entities of this integration count."""
        registry = er.async_get(self._hass)
        return {
            entity_id
            for entity_id in super().entity_filter(entities)
            if (entry := registry.async_get(entity_id)) is not None and entry.platform == DOMAIN
        }

    @override
    def is_valid_state(
        self, state: State, report_not_triggered: NotTriggeredReasonReporter
    ) -> bool:
        return state.attributes.get(EventEntityStateAttribute.EVENT_TYPE) == self._event


class UploadedTrigger(DeviceEventTrigger):
    """The cloud has acknowledged a capture."""

    _event = DeviceEvent.UPLOADED


class UploadFailedTrigger(DeviceEventTrigger):
    """The cloud did not take a capture."""

    _event = DeviceEvent.UPLOAD_FAILED


class CrashedTrigger(DeviceEventTrigger):
    """A core dump was taken off a device."""

    _event = DeviceEvent.CORE_DUMP


class FirmwareChangedTrigger(DeviceEventTrigger):
    """A device came back with other firmware."""

    _event = DeviceEvent.FIRMWARE_CHANGED


TRIGGERS: dict[str, type[Trigger]] = {
    "crashed": CrashedTrigger,
    "firmware_changed": FirmwareChangedTrigger,
    "upload_failed": UploadFailedTrigger,
    "uploaded": UploadedTrigger,
}


async def async_get_triggers(hass: HomeAssistant) -> dict[str, type[Trigger]]:
    """Offer the triggers."""
    return TRIGGERS
