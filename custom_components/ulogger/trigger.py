"""Triggers of the integration's own, each something that happens to a device."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

import probatio
from homeassistant.components.event import DOMAIN as EVENT_DOMAIN
from homeassistant.components.event import EventEntityStateAttribute
from homeassistant.const import ATTR_ENTITY_ID, CONF_OPTIONS
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, State, callback
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.automation import DomainSpec
from homeassistant.helpers.dispatcher import async_dispatcher_connect
from homeassistant.helpers.target import TargetSelection, async_extract_referenced_entity_ids
from homeassistant.helpers.trigger import (
    ENTITY_STATE_TRIGGER_SCHEMA,
    NotTriggeredReasonReporter,
    StatelessEntityTriggerBase,
    Trigger,
    TriggerActionRunner,
    TriggerConfig,
    TriggerNotTriggeredReporter,
)
from homeassistant.util import dt as dt_util

from .collecting.device_state import SIGNAL_DEVICE_EVENT, DeviceEvent
from .const import CONF_LEVEL, DOMAIN
from .coordinator import DeviceCoordinator
from .event import DEVICE_EVENT
from .model.level import LEVELS

CONF_MODULE = "module"
CONF_CONTAINS = "contains"

LOGGED_TRIGGER_SCHEMA = ENTITY_STATE_TRIGGER_SCHEMA.extend(
    {
        probatio.Optional(CONF_OPTIONS, default=dict): {
            probatio.Optional(CONF_LEVEL, default="error"): probatio.In(LEVELS),
            probatio.Optional(CONF_MODULE): cv.string,
            probatio.Optional(CONF_CONTAINS): cv.string,
        }
    }
)


class EventEntityTrigger(StatelessEntityTriggerBase):
    """Fires on events of the target's event entities; their attributes come with it."""

    _domain_specs: Mapping[str, DomainSpec] = {EVENT_DOMAIN: DomainSpec()}
    _entities: ClassVar[str]
    """The translation key of the entities that count."""

    @override
    def entity_filter(self, entities: set[str]) -> set[str]:
        """Of all that the target names, only our event entities of one kind count."""
        registry = er.async_get(self._hass)
        return {
            entity_id
            for entity_id in super().entity_filter(entities)
            if (entry := registry.async_get(entity_id)) is not None
            and (entry.platform, entry.translation_key) == (DOMAIN, self._entities)
        }


class DeviceEventTrigger(EventEntityTrigger):
    """Fires when one of the target's devices has an event."""

    _entities = "device_event"
    _event: ClassVar[DeviceEvent]

    @override
    def is_valid_state(
        self, state: State, report_not_triggered: NotTriggeredReasonReporter
    ) -> bool:
        return state.attributes.get(EventEntityStateAttribute.EVENT_TYPE) == self._event


class UploadedTrigger(DeviceEventTrigger):
    """The cloud has acknowledged a capture.

    Every collection brings that, so *Device event* does not show it; the target is the same.
    """

    _event = DeviceEvent.UPLOADED

    @override
    async def async_attach_runner(
        self,
        run_action: TriggerActionRunner,
        did_not_trigger: TriggerNotTriggeredReporter | None = None,
    ) -> CALLBACK_TYPE:
        @callback
        def happened(
            device: DeviceCoordinator, event: DeviceEvent, attributes: Mapping[str, Any]
        ) -> None:
            if event is not self._event:
                return
            key = device.unique_id(DEVICE_EVENT.key)
            entity_id = er.async_get(self._hass).async_get_entity_id(EVENT_DOMAIN, DOMAIN, key)
            if entity_id is None or entity_id not in self._targeted():
                return
            shown = {EventEntityStateAttribute.EVENT_TYPE: event.value, **attributes}
            state = State(entity_id, dt_util.utcnow().isoformat(timespec="milliseconds"), shown)
            run_action(
                {ATTR_ENTITY_ID: entity_id, "from_state": None, "to_state": state},
                f"{event.value} of {entity_id}",
            )

        return async_dispatcher_connect(self._hass, SIGNAL_DEVICE_EVENT, happened)

    def _targeted(self) -> set[str]:
        """Return the event entities that the target names now."""
        selected = async_extract_referenced_entity_ids(self._hass, TargetSelection(self._target))
        return self.entity_filter(selected.referenced | selected.indirectly_referenced)


class UploadFailedTrigger(DeviceEventTrigger):
    """The cloud did not take a capture."""

    _event = DeviceEvent.UPLOAD_FAILED


class CrashedTrigger(DeviceEventTrigger):
    """A core dump was taken off a device."""

    _event = DeviceEvent.CORE_DUMP


class FirmwareChangedTrigger(DeviceEventTrigger):
    """A device came back with other firmware."""

    _event = DeviceEvent.FIRMWARE_CHANGED


class LoggedTrigger(EventEntityTrigger):
    """A device has logged a line of a level or above; of a module, and with a text in it."""

    _entities = "log"
    _schema = LOGGED_TRIGGER_SCHEMA

    def __init__(self, hass: HomeAssistant, config: TriggerConfig) -> None:
        super().__init__(hass, config)
        self._levels = LEVELS[LEVELS.index(self._options[CONF_LEVEL]) :]
        self._module = self._options.get(CONF_MODULE, "").strip().casefold()
        self._contains = self._options.get(CONF_CONTAINS, "").casefold()

    @override
    def is_valid_state(
        self, state: State, report_not_triggered: NotTriggeredReasonReporter
    ) -> bool:
        line = state.attributes
        if line.get(EventEntityStateAttribute.EVENT_TYPE) not in self._levels:
            return False
        names = {str(line.get("module")), str(line.get("module_name")).casefold()}
        if self._module and self._module not in names:
            return False
        said = line.get("text") or line.get("message") or ""
        return self._contains in said.casefold()


TRIGGERS: dict[str, type[Trigger]] = {
    "crashed": CrashedTrigger,
    "firmware_changed": FirmwareChangedTrigger,
    "logged": LoggedTrigger,
    "upload_failed": UploadFailedTrigger,
    "uploaded": UploadedTrigger,
}


async def async_get_triggers(hass: HomeAssistant) -> dict[str, type[Trigger]]:
    """Offer the triggers."""
    return TRIGGERS
