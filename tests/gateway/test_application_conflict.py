"""Two accounts with one application: a card asks whose it is, and captures stay where they are."""

from typing import Any

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.approval import approving_entry, is_approved
from custom_components.ulogger.capture.log_buffer import LogHeader
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.device.samples import sample_frames
from demo.device.virtual import VirtualDevice

from ..support.repairs import card, client, kinds
from ..support.road import APPLICATION, IDENTITY, LOG, Road, add_account, add_only_here

__all__ = ["client"]


@pytest.fixture
async def accounts(
    hass: HomeAssistant, road: Road, client: Any
) -> tuple[MockConfigEntry, MockConfigEntry, VirtualDevice]:
    """Two accounts that were given the same application, the first one having its device."""
    first = await add_only_here(hass)
    device = road.device()
    coordinator = await road.adopted(first)
    await road.collected(device)
    await road.idle(coordinator)
    second = await add_only_here(hass)
    return first, second, device


async def waiting(entry: MockConfigEntry) -> int:
    """Count the captures of the device that an account holds."""
    return len(await entry.runtime_data.account.outbox.listing(IDENTITY.key))


async def choose(hass: HomeAssistant, client: Any, step_id: str) -> None:
    repair = card(hass, client, "application_conflict")
    step = await repair.open()
    await repair.answer(step, next_step_id=step_id)
    await hass.async_block_till_done()


async def test_the_devices_stay_where_they_are_until_somebody_chooses(
    hass: HomeAssistant, road: Road, client: Any, accounts: Any
) -> None:
    first, second, _ = accounts
    assert kinds(hass) == ["application_conflict"]
    assert approving_entry(hass, APPLICATION) is first
    assert not second.runtime_data.devices


async def test_they_can_be_left_there(
    hass: HomeAssistant, road: Road, client: Any, accounts: Any
) -> None:
    first, second, _ = accounts
    await choose(hass, client, "keep")
    assert kinds(hass) == []
    assert is_approved(first.options, APPLICATION)
    assert not is_approved(second.options, APPLICATION)
    assert IDENTITY.key in first.runtime_data.devices


async def test_moved_devices_are_collected_by_the_other_and_captures_stay_with_the_first(
    hass: HomeAssistant, road: Road, client: Any, accounts: Any
) -> None:
    first, second, device = accounts
    assert await waiting(first) == 1
    device.firmware.append_log(sample_frames(300))
    device.emptied.clear()
    await choose(hass, client, "move")
    assert first.state is second.state is ConfigEntryState.LOADED
    assert kinds(hass) == []
    assert approving_entry(hass, APPLICATION) is second
    coordinator = await road.adopted(second)
    await road.collected(device)
    await road.idle(coordinator)
    assert not first.runtime_data.devices
    assert await waiting(first) == 1
    assert await waiting(second) == 1


@pytest.mark.parametrize("step_id", ["keep", "move"])
async def test_an_account_that_went_meanwhile_gets_and_gives_nothing(
    hass: HomeAssistant, road: Road, client: Any, accounts: Any, step_id: str
) -> None:
    first, second, _ = accounts
    repair = card(hass, client, "application_conflict")
    step = await repair.open()
    await hass.config_entries.async_unload(second.entry_id)
    done = await repair.answer(step, next_step_id=step_id)
    assert (done["type"], done["reason"]) == ("abort", "account_not_loaded")
    assert is_approved(first.options, APPLICATION)
    assert is_approved(second.options, APPLICATION)


async def test_an_account_that_is_not_loaded_gives_its_application_up_all_the_same(
    hass: HomeAssistant, road: Road, client: Any, accounts: Any
) -> None:
    first, second, _ = accounts
    repair = card(hass, client, "application_conflict")
    step = await repair.open()
    await hass.config_entries.async_unload(first.entry_id)
    await repair.answer(step, next_step_id="move")
    await hass.async_block_till_done()
    assert not is_approved(first.options, APPLICATION)
    assert first.state is ConfigEntryState.NOT_LOADED
    assert approving_entry(hass, APPLICATION) is second


async def test_the_card_of_an_account_that_is_just_going_says_so(
    hass: HomeAssistant, road: Road, client: Any, accounts: Any
) -> None:
    _, second, _ = accounts
    repair = card(hass, client, "application_conflict")
    second.mock_state(hass, ConfigEntryState.UNLOAD_IN_PROGRESS)
    done = await repair.open()
    second.mock_state(hass, ConfigEntryState.LOADED)
    assert (done["type"], done["reason"]) == ("abort", "account_not_loaded")


async def test_captures_that_wait_go_up_over_the_account_that_took_them(
    hass: HomeAssistant,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
    client: Any,
) -> None:
    """The account knows the device no longer, and still has it registered and its log named."""
    await broker.astop()
    first = await add_account(hass, broker)
    device = road.device()
    coordinator = await road.adopted(first)
    await road.collected(device)
    await road.idle(coordinator)
    second = await add_only_here(hass)
    device.firmware.append_log(sample_frames(300))
    device.emptied.clear()
    await choose(hass, client, "move")
    await road.adopted(second)
    await road.collected(device)
    assert not first.runtime_data.devices
    await broker.astart()
    [boot] = await cloud_service.wait_for("boot", 1)
    [log] = await cloud_service.wait_for("binlog", 1)
    assert IDENTITY.serial in boot.payload.decode()
    assert len(log.payload) == len(LOG)
    assert LogHeader.parse(log.payload).session_token
    assert await waiting(second) == 1
