"""Devices come, move, change, are left alone, are forgotten, and go with their account."""

import asyncio
import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger import async_remove_config_entry_device
from custom_components.ulogger.account.store import AccountStore, outbox_path
from custom_components.ulogger.agent import session
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.collecting.connection import Interrupted
from custom_components.ulogger.collecting.device_state import DeviceEvent
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway import gateway as gateway_module
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.log_config import ALL_MODULES, LogConfig
from custom_components.ulogger.model.log_levels import PERSON
from custom_components.ulogger.outbox.model import Added
from demo.device.radio import Air
from demo.device.samples import sample_log
from demo.device.virtual import VirtualDevice
from tests.support.account import ToldTransport, load
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS
from tests.support.log_levels import wish
from tests.support.road import CORE_DUMP, IDENTITY, LOG, Road

UNLOADED_WITHIN = 10.0


async def arrived(road: Road, entry: MockConfigEntry, log: bytes = LOG) -> VirtualDevice:
    """Bring a device into reach and collect it once."""
    device = road.device(log=log)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    await road.until_shown(entry, "uploads", "1")
    return device


def entry_of(road: Road, entry: MockConfigEntry) -> dr.DeviceEntry:
    """Return the device's entry in the registry."""
    device = road.registered(entry)
    assert device is not None
    return device


async def stored(hass: HomeAssistant, entry: MockConfigEntry) -> AccountStore:
    """Read what is on disk of an account."""
    store = AccountStore(hass, entry.entry_id)
    await store.async_load()
    return store


def files(hass: HomeAssistant) -> list[str]:
    """Name the files that the integration has on disk."""
    return sorted(path.name for path in outbox_path(hass, "").parent.iterdir())


async def set_switch(hass: HomeAssistant, road: Road, entry: MockConfigEntry, to: str) -> None:
    """Turn *Collect* on or off."""
    data = {"entity_id": road.entity_id(entry, "collect")}
    await hass.services.async_call("switch", f"turn_{to}", data, blocking=True)


def disable(hass: HomeAssistant, device: dr.DeviceEntry, by: Any) -> None:
    """Disable a device, or enable it."""
    dr.async_get(hass).async_update_device(device.id, disabled_by=by)


# In the registry


async def test_a_device_is_registered_with_what_it_says_of_itself(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await arrived(road, account)
    device = entry_of(road, account)
    assert device.identifiers == {(DOMAIN, "42-A87DE76F0011")}
    assert device.serial_number == "A87DE76F0011"
    assert device.model == "DoorSenseV2"
    assert device.model_id == "42"
    assert device.sw_version == "4.24.2"
    assert device.manufacturer == "uLogger"
    assert device.name == "DoorSenseV2 A87DE76F0011"
    assert device.connections == {(dr.CONNECTION_BLUETOOTH, ADDRESS)}
    of_account = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, account.entry_id), account.entry_id
    )
    assert of_account is not None
    assert device.via_device_id == of_account.id
    assert of_account.entry_type is dr.DeviceEntryType.SERVICE


async def test_the_same_serial_at_another_address_is_the_same_device(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = await arrived(road, account)
    before = entry_of(road, account)
    coordinator = road.coordinator(account)
    road.move(device, OTHER_ADDRESS)
    moved = asyncio.Event()
    stop = account.runtime_data.fleet.moved.add(lambda _: moved.set())
    road.adapter.hear(device)
    async with asyncio.timeout(10):
        await moved.wait()
    stop()
    after = entry_of(road, account)
    assert after.id == before.id
    assert after.connections == {(dr.CONNECTION_BLUETOOTH, OTHER_ADDRESS)}
    assert list(account.runtime_data.devices.values()) == [coordinator]
    there = road.device(OTHER_ADDRESS, log=sample_log(900, seed=3), heard=False)
    await coordinator.async_collect()
    assert there.empty


async def test_other_firmware_updates_the_registry_and_is_told(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = await arrived(road, account)
    coordinator = road.coordinator(account)
    road.listen(coordinator)
    newer = replace(IDENTITY, git_version="5.0.0", git_hash="0ddba11")
    road.device(device.address, newer, b"", heard=False)
    await coordinator.async_collect()
    assert entry_of(road, account).sw_version == "5.0.0"
    assert [event for event, _ in road.events] == ["firmware_changed"]
    assert road.events[0][1]["to_git_hash"] == "0ddba11"
    await account.runtime_data.account.store.async_save()
    kept = (await stored(hass, account)).devices[IDENTITY.key]
    assert kept.identity == newer


# Left alone


async def test_a_disabled_device_is_left_alone_and_resumed_when_it_is_enabled(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = await arrived(road, account)
    coordinator = road.coordinator(account)
    disable(hass, entry_of(road, account), dr.DeviceEntryDisabler.USER)
    await hass.async_block_till_done()
    again = road.device(device.address, log=sample_log(900, seed=3), heard=False)
    assert coordinator.data.next_collection is None
    await road.pass_time(hours=1)
    road.adapter.hear(again)
    await hass.async_block_till_done()
    assert again.connections == 0
    disable(hass, entry_of(road, account), None)
    await road.pass_time(seconds=1)
    await road.collected(again)


async def test_a_device_that_is_not_to_be_collected_is_left_alone_over_a_reload(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = await arrived(road, account)
    await set_switch(hass, road, account, "off")
    assert road.state(account, "collect") == "off"
    assert road.coordinator(account).data.next_collection is None
    again = road.device(device.address, log=sample_log(900, seed=3), heard=False)
    await road.pass_time(hours=1)
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert road.coordinator(account).data.next_collection is None
    await road.pass_time(hours=1)
    road.adapter.hear(again)
    await hass.async_block_till_done()
    assert road.state(account, "collect") == "off"
    assert again.connections == 0
    await set_switch(hass, road, account, "on")
    await road.pass_time(seconds=1)
    await road.collected(again)
    assert road.state(account, "collect") == "on"


# Forgotten


async def test_a_removed_device_is_forgotten_with_all_that_was_known_of_it(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await arrived(road, account)
    coordinator = road.coordinator(account)
    await wish(coordinator, LogConfig(1, ALL_MODULES, 600))
    known = await stored(hass, account)
    assert known.tokens
    assert PERSON in known.devices[IDENTITY.key].log_levels.wishes
    road.adapter.devices.clear()
    removed = entry_of(road, account)
    assert await async_remove_config_entry_device(hass, account, removed)
    dr.async_get(hass).async_remove_device(removed.id)
    await hass.async_block_till_done()
    left = await stored(hass, account)
    assert left.devices == {}
    assert IDENTITY.serial not in str(left.tokens)
    assert not account.runtime_data.is_registered(IDENTITY)
    assert account.runtime_data.devices == {}
    entities = er.async_entries_for_config_entry(er.async_get(hass), account.entry_id)
    assert [each.unique_id for each in entities if IDENTITY.serial in each.unique_id] == []


async def test_a_device_of_an_account_that_is_not_loaded_can_be_removed(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await arrived(road, account)
    assert await hass.config_entries.async_unload(account.entry_id)
    assert (await stored(hass, account)).tokens
    removed = entry_of(road, account)
    assert await async_remove_config_entry_device(hass, account, removed)
    left = await stored(hass, account)
    assert left.devices == {}
    assert left.tokens == {}
    road.adapter.devices.clear()
    dr.async_get(hass).async_remove_device(removed.id)
    assert await hass.config_entries.async_setup(account.entry_id)
    await hass.async_block_till_done()
    assert account.runtime_data.devices == {}


async def test_a_removed_device_comes_back_with_its_next_advertisement(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, road: Road
) -> None:
    device = await arrived(road, account)
    road.adapter.devices.clear()
    removed = entry_of(road, account)
    assert await async_remove_config_entry_device(hass, account, removed)
    dr.async_get(hass).async_remove_device(removed.id)
    await hass.async_block_till_done()
    again = road.device(device.address, log=sample_log(900, seed=3))
    coordinator = await road.adopted(account)
    await road.collected(again)
    await road.until_shown(account, "uploads", "2")
    assert coordinator.log_level is None
    registrations = [topic for topic, _ in transport.published if topic.startswith("boot/")]
    assert len(registrations) == 2


@pytest.mark.parametrize("between", ["nothing", "reload"])
async def test_a_removed_device_that_was_not_to_be_collected_comes_back_left_alone(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, between: str
) -> None:
    device = await arrived(road, account)
    await set_switch(hass, road, account, "off")
    road.adapter.devices.clear()
    removed = entry_of(road, account)
    assert await async_remove_config_entry_device(hass, account, removed)
    dr.async_get(hass).async_remove_device(removed.id)
    await hass.async_block_till_done()
    if between == "reload":
        assert await hass.config_entries.async_reload(account.entry_id)
        await hass.async_block_till_done()
    assert account.runtime_data.devices == {}
    log = sample_log(900, seed=3)
    again = road.device(device.address, log=log)
    await road.adopted(account)
    assert road.state(account, "collect") == "off"
    await road.pass_time(hours=1)
    road.adapter.hear(again)
    await hass.async_block_till_done()
    assert again.erased == []
    assert again.firmware.log == log
    await set_switch(hass, road, account, "on")
    await road.pass_time(seconds=1)
    await road.collected(again)
    assert await hass.config_entries.async_reload(account.entry_id)
    assert road.state(account, "collect") == "on"


async def test_the_account_can_not_be_removed_as_a_device(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    own = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, account.entry_id), account.entry_id
    )
    assert own is not None
    assert not await async_remove_config_entry_device(hass, account, own)
    assert list(account.runtime_data.devices.values()) == [device]


# The account goes


@pytest.mark.parametrize("action", ["async_unload", "async_reload"])
async def test_unloading_ends_a_session_that_takes_too_long_and_the_device_keeps_its_capture(
    hass: HomeAssistant,
    account: MockConfigEntry,
    road: Road,
    action: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_module, "FINISH_SESSIONS_WITHIN", 0.1)
    gateway = account.runtime_data
    keeping = asyncio.Event()

    async def never_on_disk(_: Capture) -> Added:
        keeping.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    gateway.account.outbox.add = never_on_disk
    device = road.device()
    async with asyncio.timeout(10):
        await keeping.wait()
    coordinator = road.coordinator(account)
    asked = asyncio.ensure_future(coordinator.async_collect())
    began = time.monotonic()
    assert await getattr(hass.config_entries, action)(account.entry_id)
    assert time.monotonic() - began < UNLOADED_WITHIN
    assert [each.result for each in coordinator.timeline][:1] == ["cancelled"]
    with pytest.raises(Interrupted):
        await asked
    if action == "async_unload":
        assert account.state is ConfigEntryState.NOT_LOADED
        assert device.erased == []
        assert device.firmware.log
        assert not device.connected
        assert await hass.config_entries.async_setup(account.entry_id)
    await road.collected(device)
    await road.until_shown(account, "uploads", "1")
    await road.idle(road.coordinator(account))
    # What was interrupted is still told, beside the session that went on.
    assert [each.result for each in road.coordinator(account).timeline] == ["cancelled", "ok"]
    [row] = await account.runtime_data.account.outbox.listing()
    assert row.size == len(LOG)


@pytest.mark.parametrize("action", ["async_unload", "async_reload"])
async def test_a_session_under_way_is_finished_before_the_account_is_unloaded(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, action: str
) -> None:
    outbox = account.runtime_data.account.outbox
    add, keeping, go_on = outbox.add, asyncio.Event(), asyncio.Event()

    async def slowly_on_disk(capture: Capture) -> Added:
        keeping.set()
        await go_on.wait()
        return await add(capture)

    outbox.add = slowly_on_disk
    device = road.device(core_dump=CORE_DUMP)
    async with asyncio.timeout(10):
        await keeping.wait()
    coordinator = road.coordinator(account)
    told: dict[str, str] = {}
    entity_id = road.entity_id(account, "last_upload")

    def note(event: DeviceEvent, _attributes: Any) -> None:
        state = hass.states.get(entity_id)
        assert state is not None
        told[event.value] = state.state

    coordinator.async_add_event_listener(note)
    asked = asyncio.ensure_future(coordinator.async_collect())
    unloading = asyncio.ensure_future(getattr(hass.config_entries, action)(account.entry_id))
    await asyncio.sleep(0)
    assert not asked.done()
    go_on.set()
    assert await unloading
    assert [added.size for added in await asked] == [len(LOG), len(CORE_DUMP)]
    assert device.empty
    assert [each.result for each in coordinator.timeline] == ["ok"]
    # Automations hear of it: entities are unloaded afterwards.
    assert told["collected"] != STATE_UNAVAILABLE


async def test_a_session_that_was_interrupted_goes_on_where_it_was_not_after_the_interval(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "FINISH_SESSIONS_WITHIN", 0.1)
    device = await arrived(road, account)
    coordinator = road.coordinator(account)
    log = sample_log(9000, seed=3)
    slow = Air(interval=0.01, packets_up=1, packets_down=1)
    again = road.device(device.address, log=log, heard=False, air=slow)
    begun = asyncio.Event()
    coordinator.async_add_listener(lambda: coordinator.data.bytes_done and begun.set())
    with patch.object(session, "PROGRESS_INTERVAL", 0):
        asked = asyncio.ensure_future(coordinator.async_collect())
        async with asyncio.timeout(10):
            await begun.wait()
        assert await hass.config_entries.async_reload(account.entry_id)
    with pytest.raises(Interrupted):
        await asked
    after = road.coordinator(account)
    assert after is not coordinator
    had = len(after.memory.partials[CaptureKind.LOG].prefix)
    assert had
    # The interval has not passed, but the session did not come to its end.
    await road.pass_time(seconds=1)
    await road.collected(again)
    await road.idle(after)
    await account.runtime_data.account.store.async_save()
    assert not (await stored(hass, account)).devices[IDENTITY.key].interrupted


async def test_a_session_that_home_assistants_end_interrupts_is_noted_on_disk(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    outbox, keeping = account.runtime_data.account.outbox, asyncio.Event()

    async def never_on_disk(_: Capture) -> Added:
        keeping.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    outbox.add = never_on_disk
    device = road.device()
    async with asyncio.timeout(10):
        await keeping.wait()
    # What Home Assistant calls when it stops.
    await account.runtime_data.async_stop()
    assert (await stored(hass, account)).devices[IDENTITY.key].interrupted
    assert device.erased == []


async def test_a_session_that_was_interrupted_is_due_at_once_after_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = await arrived(road, account)
    assert await hass.config_entries.async_unload(account.entry_id)
    store = await stored(hass, account)
    assert not store.devices[IDENTITY.key].interrupted
    store.devices[IDENTITY.key].interrupted = True
    await store.async_save()
    again = road.device(device.address, log=sample_log(900, seed=3), heard=False)
    assert await hass.config_entries.async_setup(account.entry_id)
    await road.pass_time(seconds=1)
    await road.collected(again)


async def test_a_removed_account_takes_its_store_and_its_outbox_with_it(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, hass_storage: dict[str, Any]
) -> None:
    await arrived(road, account)
    await account.runtime_data.account.store.async_save()
    assert [key for key in hass_storage if account.entry_id in key]
    assert files(hass)
    await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    assert files(hass) == []
    assert [key for key in hass_storage if account.entry_id in key] == []
    assert dr.async_entries_for_config_entry(dr.async_get(hass), account.entry_id) == []


async def test_captures_that_wait_outlive_their_account_until_it_is_added_again(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, road: Road
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    device = road.device()
    await road.collected(device)
    await road.until_shown(account, "captures_waiting", "1")
    await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    [issue] = [each for each in ir.async_get(hass).issues.values() if each.domain == DOMAIN]
    assert issue.translation_key == "left_behind"
    assert issue.translation_placeholders is not None
    assert issue.translation_placeholders["count"] == "1"
    assert files(hass)
    transport.tell(ConnectionState.CONNECTED)
    again = await load(hass)
    assert again.entry_id != account.entry_id
    assert [each for each in ir.async_get(hass).issues.values() if each.domain == DOMAIN] == []
    await road.until_shown(again, "captures_waiting", "0", None)
    logs = [payload for topic, payload in transport.published if topic.startswith("binlog/")]
    assert [len(each) for each in logs] == [len(LOG)]
    assert {file.split(".")[0] for file in files(hass)} == {again.entry_id}
