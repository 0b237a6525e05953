"""What an entity of Home Assistant shows, as a number."""

import math
from dataclasses import dataclass
from typing import Final

from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT, STATE_OFF, STATE_ON
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er

_SWITCHED: Final = {STATE_ON: 1, STATE_OFF: 0}


@dataclass(frozen=True, slots=True)
class EntityNumber:
    """A value with its unit, and how the device registry names the device that it is of."""

    value: int | float
    unit: str | None
    device_identifiers: frozenset[tuple[str, ...]]


@callback
def entity_number(hass: HomeAssistant, entity_id: str) -> EntityNumber | None:
    """Return what an entity shows now; on is 1, off is 0. None for what is no number."""
    if (state := hass.states.get(entity_id)) is None:
        return None
    value: int | float | None = _SWITCHED.get(state.state)
    if value is None:
        try:
            value = float(state.state)
        except ValueError:
            return None
        if not math.isfinite(value):
            return None
    unit = state.attributes.get(ATTR_UNIT_OF_MEASUREMENT)
    return EntityNumber(value, None if unit is None else str(unit), _identifiers(hass, entity_id))


@callback
def _identifiers(hass: HomeAssistant, entity_id: str) -> frozenset[tuple[str, ...]]:
    entry = er.async_get(hass).async_get(entity_id)
    if entry is None or entry.device_id is None:
        return frozenset()
    device = dr.async_get(hass).async_get(entry.device_id)
    return frozenset() if device is None else frozenset(device.identifiers)
