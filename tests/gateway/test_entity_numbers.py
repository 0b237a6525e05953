"""What entities show, as numbers."""

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.gateway.entity_numbers import entity_number


@pytest.mark.parametrize(
    ("state", "value"),
    [
        ("21.5", 21.5),
        ("-3", -3),
        ("on", 1),
        ("open", 1),
        ("home", 1),
        ("off", 0),
        ("closed", 0),
        ("not_home", 0),
        ("unknown", None),
        ("unavailable", None),
        ("nan", None),
        ("inf", None),
        ("sunny", None),
        ("", None),
    ],
)
async def test_a_state_is_a_number_or_none(
    hass: HomeAssistant, state: str, value: float | None
) -> None:
    hass.states.async_set("sensor.one", state, {"unit_of_measurement": "°C"})
    number = entity_number(hass, "sensor.one")
    assert (number and number.value) == value
    if number is not None:
        assert number.unit == "°C"
        assert number.device_identifiers == frozenset()


async def test_an_entity_that_is_not_there_is_none(hass: HomeAssistant) -> None:
    assert entity_number(hass, "sensor.nowhere") is None


async def test_the_device_of_an_entity_is_named(hass: HomeAssistant) -> None:
    entry = MockConfigEntry()
    entry.add_to_hass(hass)
    device = dr.async_get(hass).async_get_or_create(
        config_entry_id=entry.entry_id, identifiers={("test", "one")}
    )
    entity = er.async_get(hass).async_get_or_create(
        "sensor", "test", "one", device_id=device.id, config_entry=entry
    )
    hass.states.async_set(entity.entity_id, "7")
    number = entity_number(hass, entity.entity_id)
    assert number is not None
    assert (number.value, number.unit) == (7, None)
    assert number.device_identifiers == {("test", "one")}
