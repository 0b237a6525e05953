"""Triggers of the integration's own, each something that happens to a device."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

import probatio
from homeassistant.components.event import DOMAIN as EVENT_DOMAIN
from homeassistant.components.event import EventEntityDescription, EventEntityStateAttribute
from homeassistant.const import ATTR_ENTITY_ID, CONF_OPTIONS
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, State, callback
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.automation import DomainSpec
from homeassistant.helpers.dispatcher import async_dispatcher_connect
from homeassistant.helpers.target import TargetSelection
from homeassistant.helpers.trigger import (
    ENTITY_STATE_TRIGGER_SCHEMA,
    StatelessEntityTriggerBase,
    Trigger,
    TriggerActionRunner,
    TriggerConfig,
    TriggerNotTriggeredReporter,
)
from homeassistant.util import dt as dt_util
from homeassistant.util.signal_type import SignalType

from .actions.targets import is_targeted
from .collecting.device_state import SIGNAL_DEVICE_EVENT, SIGNAL_DEVICE_LOGGED, DeviceEvent
from .const import CONF_LEVEL, DOMAIN
from .coordinator import DeviceCoordinator
from .event import DEVICE_EVENT, LOG_EVENT
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


class DeviceTrigger(StatelessEntityTriggerBase):
    """Fires on what one of the target's devices tells; its attributes come with it.

    The account's own device stands for all of its devices, also those that are yet to come. An
    event entity names what happened and need not be enabled for it.
    """

    _domain_specs: Mapping[str, DomainSpec] = {EVENT_DOMAIN: DomainSpec()}
    _signal: ClassVar[SignalType[Any, Any, Mapping[str, Any]]]
    _entity: ClassVar[EventEntityDescription]

    def _concerns(self, event: str, attributes: Mapping[str, Any]) -> bool:
        """Whether it is this trigger's."""
        raise NotImplementedError

    @override
    async def async_attach_runner(
        self,
        run_action: TriggerActionRunner,
        did_not_trigger: TriggerNotTriggeredReporter | None = None,
    ) -> CALLBACK_TYPE:
        @callback
        def happened(device: DeviceCoordinator, event: str, attributes: Mapping[str, Any]) -> None:
            if not self._concerns(event, attributes):
                return
            key = device.unique_id(self._entity.key)
            entity_id = er.async_get(self._hass).async_get_entity_id(EVENT_DOMAIN, DOMAIN, key)
            selection = TargetSelection(self._target)
            if entity_id is None or not is_targeted(self._hass, device, selection):
                return
            shown = {EventEntityStateAttribute.EVENT_TYPE: str(event), **attributes}
            state = State(entity_id, dt_util.utcnow().isoformat(timespec="milliseconds"), shown)
            run_action(
                {ATTR_ENTITY_ID: entity_id, "from_state": None, "to_state": state},
                f"{event} of {entity_id}",
            )

        return async_dispatcher_connect(self._hass, self._signal, happened)


class DeviceEventTrigger(DeviceTrigger):
    """Fires when one of the target's devices has an event."""

    _signal = SIGNAL_DEVICE_EVENT
    _entity = DEVICE_EVENT
    _event: ClassVar[DeviceEvent]

    @override
    def _concerns(self, event: str, attributes: Mapping[str, Any]) -> bool:
        return event == self._event


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


class LoggedTrigger(DeviceTrigger):
    """A device has logged a line of a level or above; of a module, and with a text in it."""

    _signal = SIGNAL_DEVICE_LOGGED
    _entity = LOG_EVENT
    _schema = LOGGED_TRIGGER_SCHEMA

    def __init__(self, hass: HomeAssistant, config: TriggerConfig) -> None:
        super().__init__(hass, config)
        self._levels = LEVELS[LEVELS.index(self._options[CONF_LEVEL]) :]
        self._module = self._options.get(CONF_MODULE, "").strip().casefold()
        self._contains = self._options.get(CONF_CONTAINS, "").casefold()

    @override
    def _concerns(self, event: str, attributes: Mapping[str, Any]) -> bool:
        line = attributes
        if event not in self._levels:
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
