"""Sensors whose changes are no lines of Home Assistant's activity.

A device's sensors change with every collection, and a collection is worth one line at most: what
happened is told by *Device event*, or in a sentence (see `gateway/activity.py`). Home Assistant
leaves out each change of a sensor that has a unit then, whatever it is. It also draws a curve of
what has a unit now. So only the change itself says that there is none, and the same state is
written once more without that: its history stays one of states.
"""

from typing import Final, override

from homeassistant.components.sensor import SensorEntity
from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN, EntityStateAttribute
from homeassistant.core import callback
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from ..coordinator import DeviceCoordinator

UNTOLD: Final[dict[str, object]] = {EntityStateAttribute.UNIT_OF_MEASUREMENT: None}
"""Attributes of a state that is no line of the activity."""


class QuietSensor(CoordinatorEntity[DeviceCoordinator], SensorEntity):
    """A sensor of which no change is a line; ``details`` are its attributes."""

    _written: object = None
    _changes: bool | None = None

    @property
    def details(self) -> dict[str, object]:
        """What there is to say beside the state."""
        return {}

    @property
    def untold(self) -> bool:
        """Whether what is written now has to be kept out: what is counted or measured is not."""
        description = self.entity_description
        if not (description.state_class is None and description.native_unit_of_measurement is None):
            return False
        before = self.hass.states.get(self.entity_id)
        return before is not None and before.state != self._shows

    @property
    def _shows(self) -> str:
        if not self.available:
            return STATE_UNAVAILABLE
        state = self.state
        return STATE_UNKNOWN if state is None else str(state)

    @property
    @override
    def extra_state_attributes(self) -> dict[str, object]:
        changes = self.untold if self._changes is None else self._changes
        return {**self.details, **UNTOLD} if changes else self.details

    @callback
    @override
    def _handle_coordinator_update(self) -> None:
        # Most updates are of something else, and what a state looks like is dear to find out.
        before, self._written = self._written, (self.available, self.native_value)
        self._changes = self._written != before and self.untold
        super()._handle_coordinator_update()
        if self._changes:
            self._changes = False
            super()._handle_coordinator_update()
        self._changes = None
