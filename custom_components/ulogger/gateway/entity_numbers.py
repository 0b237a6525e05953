"""What an entity of Home Assistant shows, as a number."""

import math
from dataclasses import dataclass

from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.state import state_as_number

from .entity_values import UNTOLD


@dataclass(frozen=True, slots=True)
class EntityNumber:
    """A value with its unit, and how the device registry names the device that it is of."""

    value: int | float
    unit: str | None
    device_identifiers: frozenset[tuple[str, ...]]


@callback
def entity_number(hass: HomeAssistant, entity_id: str) -> EntityNumber | None:
    """Return what an entity shows now; on, open or home is 1, their opposite 0. None otherwise."""
    state = hass.states.get(entity_id)
    # Home Assistant's helper takes what is unknown for 0.
    if state is None or state.state in UNTOLD:
        return None
    try:
        value = state_as_number(state)
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
