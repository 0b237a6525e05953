"""Devices that are met at an awkward moment."""

from homeassistant.config_entries import ConfigEntryState
from homeassistant.helpers import entity_registry as er

from tests.support.account import SENSOR
from tests.support.bluetooth import ADDRESS


async def test_a_device_met_while_the_account_is_unloaded_is_taken_in_with_the_next_set_up(
    hass, account
):
    account.mock_state(hass, ConfigEntryState.UNLOAD_IN_PROGRESS)
    account.runtime_data.fleet.identified(SENSOR, ADDRESS, "uLogger Example")
    await hass.async_block_till_done()
    assert SENSOR.key not in account.runtime_data.devices
    account.mock_state(hass, ConfigEntryState.LOADED)
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert SENSOR.key in account.runtime_data.devices
    entities = er.async_entries_for_config_entry(er.async_get(hass), account.entry_id)
    assert any(SENSOR.serial in entity.unique_id for entity in entities)
