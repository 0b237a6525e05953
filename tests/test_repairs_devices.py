"""What a person can do about devices that are turned away, right from the card."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.device_registry import registered_device
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.identity import DeviceIdentity
from tests.support.account import APPROVED, SENSOR, ToldTransport, load
from tests.support.bluetooth import ADDRESS
from tests.support.repairs import card, client, kinds

__all__ = ["client"]


def sibling(number: int) -> DeviceIdentity:
    return replace(SENSOR, serial=f"SIBLING{number}")


@pytest.fixture
async def full(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """An account that has met three devices and takes in one."""
    entry = await load(hass, options={**APPROVED, "device_limit": 1})
    for number in range(3):
        entry.runtime_data.fleet.identified(
            sibling(number), f"C0:FF:EE:00:00:1{number}", "uLogger *x*"
        )
    return entry


def in_range(present: bool) -> Any:
    """Have all addresses in range, or none."""
    return patch(
        "custom_components.ulogger.gateway.fleet.bluetooth.async_address_present",
        return_value=present,
    )


async def test_the_card_lists_whom_the_limit_keeps_out(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    assert repair.issue.translation_placeholders == {
        "account": "uLogger 42",
        "limit": "1",
        "count": "2",
    }
    shown = (await repair.open())["description_placeholders"]
    assert shown["devices"] == (
        "- uLogger x, SIBLING1 (C0:FF:EE:00:00:11)\n- uLogger x, SIBLING2 (C0:FF:EE:00:00:12)"
    )
    with patch("custom_components.ulogger.repairs.ROWS_SHOWN", 1):
        menu = await repair.open()
    assert menu["description_placeholders"]["devices"].endswith("(C0:FF:EE:00:00:11)\n- …")


async def test_the_limit_can_be_raised_for_who_waits(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    form = await repair.answer(await repair.open(), next_step_id="raise")
    [field] = form["data_schema"]
    assert field["default"] == 3
    assert field["selector"]["number"]["min"] == 2
    with in_range(True):
        assert (await repair.answer(form, device_limit=3))["type"] == "create_entry"
        await hass.async_block_till_done()
    assert full.options == {**APPROVED, "device_limit": 3}
    assert len(full.runtime_data.devices) == 3
    assert kinds(hass) == []


@pytest.mark.parametrize("limit", [1, 10_001])
async def test_a_limit_that_is_none_is_told_in_words(
    hass: HomeAssistant, client: Any, full: MockConfigEntry, limit: int
) -> None:
    repair = card(hass, client, "device_limit")
    form = await repair.answer(await repair.open(), next_step_id="raise")
    again = await repair.answer(form, device_limit=limit)
    assert again["errors"] == {"device_limit": "device_limit_bounds"}
    assert again["description_placeholders"]["least"] == "2"
    assert full.options == {**APPROVED, "device_limit": 1}


async def test_the_limit_can_be_raised_too_little(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    form = await repair.answer(await repair.open(), next_step_id="raise")
    with in_range(True):
        await repair.answer(form, device_limit=2)
        await hass.async_block_till_done()
    full.runtime_data.account.changed.notify()
    assert card(hass, client, "device_limit").issue.translation_placeholders["count"] == "1"


async def test_the_limit_can_be_left_and_is_asked_for_no_more(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    ended = await repair.answer(await repair.open(), next_step_id="leave")
    assert ended["reason"] == "left"
    full.runtime_data.fleet.identified(sibling(4), "C0:FF:EE:00:00:14", "uLogger")
    issue = card(hass, client, "device_limit").issue
    assert issue.translation_placeholders["count"] == "3"
    assert issue.dismissed_version is not None
    assert full.options["device_limit"] == 1


async def test_what_was_solved_while_it_was_asked_about_is_left_all_the_same(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    form = await repair.open()
    ir.async_delete_issue(hass, DOMAIN, repair.issue.issue_id)
    assert (await repair.answer(form, next_step_id="leave"))["reason"] == "left"
    assert kinds(hass) == []


@pytest.fixture
async def changing(hass: HomeAssistant, account: MockConfigEntry) -> DeviceCoordinator:
    """Have a device change its serial seven times; a person has named it."""
    for number in range(7):
        account.runtime_data.fleet.identified(sibling(number), ADDRESS, "uLogger")
    last = account.runtime_data.devices[sibling(4).key]
    entry = registered_device(hass, account.entry_id, last.identity)
    assert entry is not None
    dr.async_get(hass).async_update_device(entry.id, name_by_user="Front door")
    account.runtime_data.account.changed.notify()
    return last


async def test_a_device_that_changes_its_serial_is_told_by_its_own_name(
    hass: HomeAssistant, client: Any, changing: DeviceCoordinator, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "new_devices_at_address")
    shown = (await repair.open())["description_placeholders"]
    assert shown == {
        "account": "uLogger 42",
        "address": ADDRESS,
        "device": "Front door",
        "most": "5",
    }
    await account.runtime_data.async_forget(changing.identity.key)
    account.runtime_data.account.changed.notify()
    again = card(hass, client, "new_devices_at_address").issue
    assert again.translation_placeholders["device"] == "uLogger"


async def test_more_devices_can_be_taken_in_at_an_address(
    hass: HomeAssistant, client: Any, changing: DeviceCoordinator, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "new_devices_at_address")
    ended = await repair.answer(await repair.open(), next_step_id="allow")
    assert ended["type"] == "create_entry"
    assert sibling(6).key in account.runtime_data.devices
    assert kinds(hass) == []
    for number in range(7, 11):
        account.runtime_data.fleet.identified(sibling(number), ADDRESS, "uLogger")
        assert sibling(number).key in account.runtime_data.devices
    account.runtime_data.fleet.identified(sibling(11), ADDRESS, "uLogger")
    assert kinds(hass) == ["new_devices_at_address"]


async def test_an_address_can_be_left_and_is_asked_for_no_more(
    hass: HomeAssistant, client: Any, changing: DeviceCoordinator, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "new_devices_at_address")
    ended = await repair.answer(await repair.open(), next_step_id="leave")
    assert ended["reason"] == "left"
    assert await hass.config_entries.async_reload(account.entry_id)
    issue = card(hass, client, "new_devices_at_address").issue
    assert issue.dismissed_version is not None
    assert len(account.runtime_data.devices) == 5


@pytest.mark.parametrize(
    ("kind", "choice"), [("device_limit", "raise"), ("new_devices_at_address", "allow")]
)
async def test_an_account_that_went_meanwhile_takes_in_nobody(
    hass: HomeAssistant, client: Any, full: MockConfigEntry, kind: str, choice: str
) -> None:
    fleet = full.runtime_data.fleet
    for _ in range(5):
        fleet.newcomers.taken_in(ADDRESS)
    assert fleet.newcomers.limit(ADDRESS)
    full.runtime_data.account.changed.notify()
    repair = card(hass, client, kind)
    menu = await repair.open()
    full.mock_state(hass, ConfigEntryState.UNLOAD_IN_PROGRESS)
    assert (await repair.open())["reason"] == "account_not_loaded"
    assert (await repair.answer(menu, next_step_id=choice))["reason"] == "account_not_loaded"
    full.mock_state(hass, ConfigEntryState.LOADED)
