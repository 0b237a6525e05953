"""Entities of the inputs of a Pepeunit unit: the last value (sensor), or each one (event)."""

from typing import override

from homeassistant.components.event import EventEntity, EventEntityDescription
from homeassistant.components.sensor import SensorEntity, SensorEntityDescription
from homeassistant.const import MAX_LENGTH_STATE_STATE
from homeassistant.core import callback
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from ..const import CONF_NODE, CONF_SHOWN_AS
from ..entity import DestinationEntity
from ..gateway.gateway import Gateway
from ..gateway.pepeunit import ActivePepeunit

AS_SENSOR = "sensor"
AS_EVENT = "event"
RECEIVED = "received"


@callback
def async_add_inputs(
    gateway: Gateway, async_add_entities: AddConfigEntryEntitiesCallback, shown_as: str
) -> None:
    """Add the entities of those inputs that are shown in a way."""
    make = {AS_SENSOR: UnitInputSensor, AS_EVENT: UnitInputEvent}[shown_as]
    for each in gateway.destinations.values():
        if isinstance(each, ActivePepeunit):
            made: list[Entity] = [
                make(gateway, each, node[CONF_NODE])
                for node in each.input_nodes
                if node.get(CONF_SHOWN_AS, AS_SENSOR) == shown_as
            ]
            async_add_entities(made, config_subentry_id=each.subentry_id)


class UnitInputSensor(DestinationEntity, SensorEntity):
    """The last value that an input got; a long one is cut, and is whole as an attribute."""

    destination: ActivePepeunit

    def __init__(self, gateway: Gateway, destination: ActivePepeunit, node: str) -> None:
        description = SensorEntityDescription(key=f"input-{node}", translation_key="unit_input")
        super().__init__(gateway, destination, description)
        self._node = node
        self._attr_name = node

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        self.async_on_remove(self.destination.inputs.received.add(self._received))

    @callback
    def _received(self, node: str, _value: str) -> None:
        if node == self._node:
            self.async_write_ha_state()

    @property
    @override
    def native_value(self) -> str | None:
        value = self.destination.inputs.last.get(self._node)
        return None if value is None else value[:MAX_LENGTH_STATE_STATE]

    @property
    @override
    def extra_state_attributes(self) -> dict[str, str] | None:
        value = self.destination.inputs.last.get(self._node, "")
        return {"value": value} if len(value) > MAX_LENGTH_STATE_STATE else None


class UnitInputEvent(DestinationEntity, EventEntity):
    """Each value that an input gets, also one that it got before."""

    destination: ActivePepeunit

    def __init__(self, gateway: Gateway, destination: ActivePepeunit, node: str) -> None:
        description = EventEntityDescription(
            key=f"input-{node}", translation_key="unit_input", event_types=[RECEIVED]
        )
        super().__init__(gateway, destination, description)
        self._node = node
        self._attr_name = node

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        self.async_on_remove(self.destination.inputs.received.add(self._received))

    @callback
    def _received(self, node: str, value: str) -> None:
        if node == self._node:
            self._trigger_event(RECEIVED, {"value": value})
            self.async_write_ha_state()
