"""The private key stands in a file of its own, and goes when its account goes."""

from typing import Any

from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.key_store import (
    async_keep_key,
    async_load_key,
    async_remove_key,
)
from tests.account import certificate

NAME = "ulogger.key.5eed5eed"


async def test_a_key_that_an_entry_of_an_earlier_version_carries_is_moved(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    assert "private_key" not in account.data
    assert await async_load_key(hass, account) == certificate(1000).private_key


async def test_an_account_whose_key_is_gone_asks_for_a_new_certificate(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await async_remove_key(hass, account)
    await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert account.state is ConfigEntryState.SETUP_ERROR
    [flow] = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert flow["context"]["source"] == SOURCE_REAUTH


async def test_the_key_goes_with_its_account(
    hass: HomeAssistant, account: MockConfigEntry, hass_storage: dict[str, Any]
) -> None:
    assert hass_storage[NAME]["data"] == {"private_key": certificate(1000).private_key}
    await hass.config_entries.async_remove(account.entry_id)
    assert NAME not in hass_storage


async def test_an_account_that_needs_no_key_any_longer_keeps_none(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await async_keep_key(hass, "5eed5eed", {"private_key": "k", "group_id": 0})
    assert NAME in hass_storage
    assert await async_keep_key(hass, "5eed5eed", {"group_id": 7}) == {"group_id": 7}
    assert NAME not in hass_storage
