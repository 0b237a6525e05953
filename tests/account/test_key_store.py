"""Key and API token stand in a file of their own, and go when their account goes."""

import asyncio
import ssl
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryDisabler, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store
from homeassistant.util.file import WriteError
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.key_store import (
    SecretsNotKept,
    async_keep_key,
    async_keep_token,
    async_load_key,
    async_load_secrets,
    async_remove_secrets,
)
from custom_components.ulogger.const import DOMAIN
from tests.support.account import APPROVED, ToldTransport, certificate, load

NAME = "ulogger.key.5eed5eed"


async def test_a_key_that_an_entry_of_an_earlier_version_carries_is_moved(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    assert "private_key" not in account.data
    assert await async_load_key(hass, account) == certificate(1000).private_key


async def test_an_account_whose_key_is_gone_asks_for_a_new_certificate(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await async_remove_secrets(hass, account)
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


# Entries of earlier versions


def public(entry: MockConfigEntry) -> str:
    """Return all that Home Assistant writes of an entry into its public file."""
    return str(entry.as_dict())


@pytest.mark.parametrize("name", ["certificate", "ca"])
async def test_a_key_within_a_certificate_of_an_entry_is_cut_off_at_the_start(
    hass: HomeAssistant, transport: ToldTransport, name: str
) -> None:
    issued = certificate(1000)
    entry = await load(
        hass, **{name: f"Bag Attributes: Schlüssel\n{issued.private_key}{issued.certificate}"}
    )
    assert entry.data[name] == issued.certificate
    assert "PRIVATE KEY" not in public(entry)
    assert entry.state is ConfigEntryState.LOADED


async def test_a_key_in_what_is_no_certificate_is_cut_off_too(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    with patch(
        "custom_components.ulogger.gateway.ulogger._tls",
        return_value=(ssl.create_default_context(), None),
    ):
        entry = await load(hass, ca=f"mine\n{certificate(1000).private_key}")
    assert "PRIVATE KEY" not in public(entry)


async def test_the_secrets_of_a_disabled_account_are_moved_when_another_one_starts(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    issued = certificate(1000)
    off = MockConfigEntry(
        domain=DOMAIN,
        unique_id="7-0",
        data={
            "connection": "mqtt",
            "client_suffix": "0ff0ff00",
            "certificate": issued.certificate + issued.private_key,
            "private_key": issued.private_key,
        },
        options={"api_token": "ulg_secret"},
        disabled_by=ConfigEntryDisabler.USER,
    )
    off.add_to_hass(hass)
    await load(hass)
    assert "PRIVATE KEY" not in public(off)
    assert "ulg_secret" not in public(off)
    assert await async_load_secrets(hass, off) == {
        "private_key": issued.private_key,
        "api_token": "ulg_secret",
    }


async def test_an_api_token_among_the_options_is_moved_at_the_start(
    hass: HomeAssistant, transport: ToldTransport, hass_storage: dict[str, Any]
) -> None:
    entry = await load(hass, options={**APPROVED, "api_token": "ulg_secret"})
    assert "ulg_secret" not in public(entry)
    assert entry.options == APPROVED
    assert hass_storage[NAME]["data"]["api_token"] == "ulg_secret"
    await hass.config_entries.async_remove(entry.entry_id)
    assert NAME not in hass_storage


async def test_an_emptied_api_token_leaves_nothing_behind(
    hass: HomeAssistant, transport: ToldTransport, hass_storage: dict[str, Any]
) -> None:
    entry = await load(hass, options={**APPROVED, "api_token": ""})
    assert entry.options == APPROVED
    assert hass_storage[NAME]["data"].keys() == {"private_key"}


# The disk


async def test_the_key_and_the_token_do_not_push_each_other_out(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    entry = MockConfigEntry(domain=DOMAIN, data={"client_suffix": "5eed5eed"})
    load_at_once = Store.async_load

    async def load_slowly(store: Store[Any]) -> Any:
        loaded = await load_at_once(store)
        await asyncio.sleep(0)
        return loaded

    with patch.object(Store, "async_load", load_slowly):
        await asyncio.gather(
            async_keep_key(hass, "5eed5eed", {"private_key": "k"}),
            async_keep_token(hass, entry, "t"),
        )
    assert await async_load_secrets(hass, entry) == {"private_key": "k", "api_token": "t"}
    await async_keep_key(hass, "5eed5eed", {})
    assert hass_storage[NAME]["data"] == {"api_token": "t"}
    assert await async_keep_token(hass, entry, "")
    assert not await async_keep_token(hass, entry, "")
    assert NAME not in hass_storage


async def test_secrets_that_the_disk_does_not_take_stay_where_they_are(
    hass: HomeAssistant, transport: ToldTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with patch.object(Store, "async_save"):
        entry = await load(hass, options={**APPROVED, "api_token": "ulg_secret"})
    assert entry.state is ConfigEntryState.LOADED
    assert "key and token stay in the config entry" in caplog.text
    key = certificate(1000).private_key
    assert await async_load_secrets(hass, entry) == {"private_key": key, "api_token": "ulg_secret"}
    await hass.config_entries.async_reload(entry.entry_id)
    assert "private_key" not in entry.data
    assert entry.options == APPROVED
    assert await async_load_key(hass, entry) == key


async def test_a_full_disk_is_told_and_not_only_logged(hass: HomeAssistant) -> None:
    # Home Assistant's store catches this and writes a line into the log.
    full = WriteError("no space left on device")
    with patch.object(Store, "_async_write_data", side_effect=full), pytest.raises(SecretsNotKept):
        await async_keep_key(hass, "5eed5eed", {"private_key": "k"})
