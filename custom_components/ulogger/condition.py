"""A condition of the integration's own: whether there are captures that no cloud has yet."""

from collections.abc import Mapping
from typing import override

from homeassistant.components.sensor import DOMAIN as SENSOR_DOMAIN
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.automation import DomainSpec
from homeassistant.helpers.condition import Condition, EntityConditionBase

from .const import DOMAIN

CAPTURES_WAITING = "captures_waiting"


class CapturesWaitingCondition(EntityConditionBase):
    """Holds while captures of the target's devices, or of its account, wait for the cloud."""

    _domain_specs: Mapping[str, DomainSpec] = {SENSOR_DOMAIN: DomainSpec()}

    @override
    def entity_filter(self, entities: set[str]) -> set[str]:
        """Of all that the target names, only the sensors that count waiting captures count."""
        registry = er.async_get(self._hass)
        return {
            entity_id
            for entity_id in super().entity_filter(entities)
            if (entry := registry.async_get(entity_id)) is not None
            and (entry.platform, entry.translation_key) == (DOMAIN, CAPTURES_WAITING)
        }

    @override
    def is_valid_state(self, entity_state: State) -> bool:
        return entity_state.state.isdecimal() and int(entity_state.state) > 0


CONDITIONS: dict[str, type[Condition]] = {CAPTURES_WAITING: CapturesWaitingCondition}


async def async_get_conditions(hass: HomeAssistant) -> dict[str, type[Condition]]:
    """Offer the condition."""
    return CONDITIONS
