"""Keys of destinations stay as long as somebody needs them, and no longer."""

from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.destination_keys import (
    async_drop_keys,
    async_keep_keys,
    async_load_keys,
    async_tidy_keys,
    new_keys_id,
)
from custom_components.ulogger.account.key_store import SecretsNotKept
from custom_components.ulogger.const import DOMAIN

NAME = "ulogger.key.5eed5eed.destinations"


@pytest.fixture
def entry(hass: HomeAssistant) -> MockConfigEntry:
    """An account."""
    made = MockConfigEntry(domain=DOMAIN, data={"client_suffix": "5eed5eed"})
    made.add_to_hass(hass)
    return made


def add(hass: HomeAssistant, entry: MockConfigEntry, keys_id: str) -> None:
    data = MappingProxyType({"keys": keys_id})
    subentry = ConfigSubentry(
        data=data, subentry_type="clesyde", title="Clesyde", unique_id=keys_id
    )
    hass.config_entries.async_add_subentry(entry, subentry)


async def test_an_account_that_is_loaded_while_a_destination_is_added_keeps_its_keys(
    hass: HomeAssistant, entry: MockConfigEntry, hass_storage: dict[str, Any]
) -> None:
    keys_id = new_keys_id(hass)
    await async_keep_keys(hass, entry, keys_id, {"thing": "a"})
    await async_tidy_keys(hass, entry)
    assert await async_load_keys(hass, entry, keys_id) == {"thing": "a"}
    add(hass, entry, keys_id)
    await async_tidy_keys(hass, entry)
    assert await async_load_keys(hass, entry, keys_id) == {"thing": "a"}
    hass.config_entries.async_remove_subentry(
        entry, next(iter(entry.subentries.values())).subentry_id
    )
    await async_tidy_keys(hass, entry)
    assert NAME not in hass_storage


async def test_keys_of_a_destination_that_was_not_added_are_dropped(
    hass: HomeAssistant, entry: MockConfigEntry, hass_storage: dict[str, Any]
) -> None:
    keys_id = new_keys_id(hass)
    await async_keep_keys(hass, entry, keys_id, {"thing": "a"})
    await async_drop_keys(hass, entry, keys_id)
    assert NAME not in hass_storage


async def test_an_account_takes_all_keys_along(
    hass: HomeAssistant, entry: MockConfigEntry, hass_storage: dict[str, Any]
) -> None:
    keys_id = new_keys_id(hass)
    await async_keep_keys(hass, entry, keys_id, {"thing": "a"})
    add(hass, entry, keys_id)
    await async_tidy_keys(hass, entry, all_of_them=True)
    assert NAME not in hass_storage


async def test_a_disk_that_takes_no_keys_is_told(
    hass: HomeAssistant, entry: MockConfigEntry
) -> None:
    with patch.object(Store, "async_save"), pytest.raises(SecretsNotKept):
        await async_keep_keys(hass, entry, new_keys_id(hass), {"thing": "a"})
