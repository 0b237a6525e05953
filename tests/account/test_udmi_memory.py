"""A UDMI gateway's memory is on disk before anybody relies on it, and goes with its gateway."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account import udmi_memory
from custom_components.ulogger.account.destination_keys import async_keep_keys
from custom_components.ulogger.account.udmi_keys import async_registration
from custom_components.ulogger.account.udmi_memory import UdmiMemory, async_tidy_memories
from custom_components.ulogger.const import DOMAIN


async def test_what_the_disk_did_not_take_is_not_remembered(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    memory = UdmiMemory(hass, "entry", "gateway")
    await memory.async_keep("off", "shutdown")
    with patch.object(Store, "async_save"), pytest.raises(OSError, match="the disk did not take"):
        await memory.async_keep("off", "terminate")
    assert memory.get("off") == "shutdown"
    await memory.async_keep("off", "terminate")
    again = UdmiMemory(hass, "entry", "gateway")
    await again.async_load()
    assert again.get("off") == "terminate"


async def test_what_has_not_changed_is_not_written_again(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    memory = UdmiMemory(hass, "entry", "gateway")
    await memory.async_keep("off", "shutdown")
    with patch.object(Store, "async_save") as save:
        await memory.async_keep("off", "shutdown")
        await memory.async_keep("starts", None)
    save.assert_not_called()


async def test_memories_of_gateways_that_are_gone_are_deleted_and_no_others(
    hass: HomeAssistant, hass_storage: dict[str, Any], tmp_path: Path
) -> None:
    names = ["ulogger.udmi.entry.gone", "ulogger.udmi.entry.kept", "ulogger.udmi.other.gone"]
    (tmp_path / udmi_memory.STORAGE_DIR).mkdir()
    for name in names:
        (tmp_path / udmi_memory.STORAGE_DIR / name).write_text("{}")
        _, _, entry_id, gateway = name.split(".")
        await UdmiMemory(hass, entry_id, gateway).async_keep("off", "shutdown")
    with patch.object(hass.config, "config_dir", str(tmp_path)):
        await async_tidy_memories(hass, "entry", {"kept"})
    assert sorted(each for each in hass_storage if each.startswith("ulogger.udmi.")) == names[1:]


async def test_a_key_that_is_damaged_is_nothing_to_register(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    entry = MockConfigEntry(domain=DOMAIN, data={"client_suffix": "5eed5eed"})
    await async_keep_keys(hass, entry, "keys", {"private_key": "damaged"})
    assert await async_registration(hass, entry, "keys") is None
