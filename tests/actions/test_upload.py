"""Devices are collected when they are due, and at once when a person asks."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import device_registry as dr
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway import gateway as gateway_module
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.samples import sample_log
from demo.device.virtual import VirtualDevice
from tests.support.account import ToldTransport, load, meet
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS
from tests.support.flows import ENGLISH
from tests.support.road import CORE_DUMP, IDENTITY, LOG, Road

OTHER = DeviceIdentity(42, "OTHER", "DoorSenseV2", "4.24.2", "bc53443")


async def upload(hass: HomeAssistant, *device_ids: str, **data: Any) -> Any:
    """Call the action and return what it says of the devices."""
    response = await hass.services.async_call(
        DOMAIN,
        "upload",
        {"device_id": list(device_ids), **data},
        blocking=True,
        return_response=True,
    )
    assert response is not None
    return response["devices"]


async def press(hass: HomeAssistant, road: Road, entry: MockConfigEntry) -> None:
    """Press *Upload now*."""
    data = {"entity_id": road.entity_id(entry, "upload_now")}
    await hass.services.async_call("button", "press", data, blocking=True)


def mistake(error: pytest.ExceptionInfo[HomeAssistantError]) -> str:
    """Name the error; its text must be there and name the device."""
    key = error.value.translation_key
    assert key is not None
    text = ENGLISH["exceptions"][key]["message"]
    said = text.format(**error.value.translation_placeholders or {})
    assert IDENTITY.serial in said or "device" not in text
    return key


def replaced(road: Road, device: VirtualDevice, log: bytes) -> VirtualDevice:
    """Let the device have gathered another log meanwhile; it is not heard by that."""
    return road.device(device.address, device.identity, log, heard=False)


@pytest.fixture
async def known(hass: HomeAssistant, account: MockConfigEntry) -> DeviceCoordinator:
    """Return a device that was met and is not heard any more."""
    coordinator = meet(account)
    await hass.async_block_till_done()
    return coordinator


@pytest.fixture
async def empty(road: Road, account: MockConfigEntry) -> VirtualDevice:
    """Return a device in reach that has been collected and has nothing more."""
    device = road.device()
    coordinator = await road.adopted(account)
    await road.collected(device)
    await road.idle(coordinator)
    return device


# What it returns


async def test_the_action_tells_what_was_collected_and_delivered(
    hass: HomeAssistant,
    account: MockConfigEntry,
    known: DeviceCoordinator,
    transport: ToldTransport,
    road: Road,
) -> None:
    known.set_collect(collect=False)
    road.device(core_dump=CORE_DUMP)
    response = await upload(hass, road.device_id(account))
    told = response[IDENTITY.serial]
    assert sorted((each["outcome"], each["bytes"]) for each in told["collected"]) == [
        ("stored", len(LOG)),
        ("stored", len(CORE_DUMP)),
    ]
    assert told["delivered"] == 2
    assert told["bytes"] == len(LOG) + len(CORE_DUMP)
    rows = await account.runtime_data.account.outbox.listing(IDENTITY.key)
    assert {each["id"] for each in told["collected"]} == {row.capture_id for row in rows}
    kinds = [topic.split("/")[0] for topic, _ in transport.published]
    assert sorted(kinds) == ["binlog", "boot", "core-dump"]


async def test_a_device_with_nothing_new_returns_nothing(
    hass: HomeAssistant, account: MockConfigEntry, empty: VirtualDevice, road: Road
) -> None:
    response = await upload(hass, road.device_id(account))
    nothing = {"uLogger": {"delivered": 0, "error": None}}
    assert response == {
        IDENTITY.serial: {
            "collected": [],
            "delivered": 0,
            "destinations": nothing,
            "bytes": 0,
            "error": None,
        }
    }


async def test_several_devices_are_collected_in_one_call(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    other = meet(account, OTHER, OTHER_ADDRESS)
    await hass.async_block_till_done()
    for each in (known, other):
        each.set_collect(collect=False)
    road.device()
    road.device(OTHER_ADDRESS, OTHER, sample_log(800, seed=2))
    ids = [road.device_id(account, IDENTITY), road.device_id(account, OTHER)]
    response = await upload(hass, *ids)
    assert {serial: told["bytes"] for serial, told in response.items()} == {
        IDENTITY.serial: len(LOG),
        OTHER.serial: 800,
    }


async def test_a_device_out_of_range_does_not_keep_the_others_from_being_uploaded(
    hass: HomeAssistant,
    account: MockConfigEntry,
    known: DeviceCoordinator,
    transport: ToldTransport,
    road: Road,
) -> None:
    meet(account, OTHER, OTHER_ADDRESS).set_collect(collect=False)
    await hass.async_block_till_done()
    there = road.device(OTHER_ADDRESS, OTHER)
    ids = [road.device_id(account, IDENTITY), road.device_id(account, OTHER)]
    response = await upload(hass, *ids)
    assert there.empty
    assert response[OTHER.serial]["bytes"] == len(LOG)
    assert response[OTHER.serial]["error"] is None
    failed = response[IDENTITY.serial]
    assert failed["error"]["reason"] == "out_of_range"
    assert IDENTITY.serial in failed["error"]["message"]
    assert (failed["collected"], failed["delivered"], failed["bytes"]) == ([], 0, 0)
    assert "binlog" in [topic.split("/")[0] for topic, _ in transport.published]


async def test_the_account_gives_each_of_its_devices_a_result(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    meet(account, OTHER, OTHER_ADDRESS)
    await hass.async_block_till_done()
    road.device(OTHER_ADDRESS, OTHER, heard=True)
    response = await upload(hass, account.runtime_data.account.register_device())
    assert response.keys() == {IDENTITY.serial, OTHER.serial}
    assert response[IDENTITY.serial]["error"]["reason"] == "out_of_range"
    assert response[OTHER.serial]["error"] is None


async def test_what_was_collected_is_told_also_where_it_was_not_delivered(
    hass: HomeAssistant,
    account: MockConfigEntry,
    known: DeviceCoordinator,
    transport: ToldTransport,
    road: Road,
) -> None:
    meet(account, OTHER, OTHER_ADDRESS).set_collect(collect=False)
    known.set_collect(collect=False)
    await hass.async_block_till_done()
    transport.tell(ConnectionState.DISCONNECTED)
    road.device(log=LOG)
    road.device(OTHER_ADDRESS, OTHER, b"")
    ids = [road.device_id(account, IDENTITY), road.device_id(account, OTHER)]
    response = await upload(hass, *ids)
    told = response[IDENTITY.serial]
    assert [each["bytes"] for each in told["collected"]] == [len(LOG)]
    assert told["delivered"] == 0
    assert told["error"]["reason"] == "cloud_unreachable"
    assert response[OTHER.serial]["error"] is None


async def test_a_device_that_is_disabled_or_of_an_account_that_is_not_loaded_fails_for_itself(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    meet(account, OTHER, OTHER_ADDRESS)
    elsewhere = replace(OTHER, application_id=43, serial="ELSEWHERE")
    options = {"applications": {"43": {"device_types": []}}}
    unloaded = await load(hass, options=options, customer_id=43)
    meet(unloaded, elsewhere, "C0:FF:EE:00:00:43")
    await hass.async_block_till_done()
    ids = [road.device_id(account, each) for each in (IDENTITY, OTHER)]
    ids.append(road.device_id(unloaded, elsewhere))
    by_a_person = dr.DeviceEntryDisabler.USER
    dr.async_get(hass).async_update_device(ids[1], disabled_by=by_a_person)
    assert await hass.config_entries.async_unload(unloaded.entry_id)
    await hass.async_block_till_done()
    device = road.device()
    response = await upload(hass, *ids)
    assert device.empty
    assert response[IDENTITY.serial]["error"] is None
    assert response[OTHER.serial]["error"]["reason"] == "device_disabled"
    assert response[OTHER.serial]["collected"] == []
    assert response["ELSEWHERE"]["error"]["message"]
    with pytest.raises(HomeAssistantError) as error:
        await upload(hass, *ids[1:])
    assert error.value.translation_key == "none_uploaded"


async def test_devices_that_share_a_serial_have_a_result_each(
    hass: HomeAssistant, transport: ToldTransport, road: Road
) -> None:
    options = {"applications": {"42": {"device_types": []}, "43": {"device_types": []}}}
    account = await load(hass, options=options)
    twin = replace(IDENTITY, application_id=43)
    for identity, address in ((IDENTITY, ADDRESS), (twin, OTHER_ADDRESS)):
        meet(account, identity, address).set_collect(collect=False)
    await hass.async_block_till_done()
    road.device()
    road.device(OTHER_ADDRESS, twin, sample_log(800, seed=2))
    response = await upload(hass, *(road.device_id(account, each) for each in (IDENTITY, twin)))
    assert {name: told["bytes"] for name, told in response.items()} == {
        f"42-{IDENTITY.serial}": len(LOG),
        f"43-{IDENTITY.serial}": 800,
    }


@pytest.mark.usefixtures("known")
async def test_the_action_fails_when_all_of_several_devices_failed_and_says_why(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    meet(account, OTHER, OTHER_ADDRESS)
    await hass.async_block_till_done()
    ids = [road.device_id(account, IDENTITY), road.device_id(account, OTHER)]
    with pytest.raises(HomeAssistantError) as error:
        await upload(hass, *ids)
    assert mistake(error) == "none_uploaded"
    placeholders = error.value.translation_placeholders
    assert placeholders is not None
    assert placeholders["count"] == "2"
    assert IDENTITY.serial in placeholders["reasons"]
    assert OTHER.serial in placeholders["reasons"]


async def test_an_account_that_is_reloaded_meanwhile_delivers_all_the_same(
    hass: HomeAssistant,
    account: MockConfigEntry,
    known: DeviceCoordinator,
    transport: ToldTransport,
    road: Road,
) -> None:
    known.set_collect(collect=False)
    transport.tell(ConnectionState.DISCONNECTED)
    road.device()
    outbox = account.runtime_data.account.outbox
    add, keeping, go_on = outbox.add, asyncio.Event(), asyncio.Event()

    async def slowly_on_disk(capture: Capture) -> Any:
        keeping.set()
        await go_on.wait()
        return await add(capture)

    outbox.add = slowly_on_disk
    stop = account.runtime_data.async_stop

    async def stop_slowly() -> None:
        await stop()
        # The cloud that was away is there for the account that is loaded next.
        transport.tell(ConnectionState.CONNECTED)

    account.runtime_data.async_stop = stop_slowly
    uploading = asyncio.ensure_future(upload(hass, road.device_id(account)))
    async with asyncio.timeout(10):
        await keeping.wait()
    reloading = asyncio.ensure_future(hass.config_entries.async_reload(account.entry_id))
    await asyncio.sleep(0)
    go_on.set()
    assert await reloading
    told = (await uploading)[IDENTITY.serial]
    assert (told["delivered"], told["error"]) == (1, None)


async def test_who_waits_for_a_connection_during_a_reload_gets_what_was_asked_for(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    known.set_collect(collect=False)
    road.device()
    road.adapter.slots = 1
    road.adapter.allocate("LOCK")
    uploading = asyncio.ensure_future(upload(hass, road.device_id(account)))
    await hass.async_block_till_done()
    assert await hass.config_entries.async_reload(account.entry_id)
    assert not uploading.done()
    road.adapter.release("LOCK")
    told = (await uploading)[IDENTITY.serial]
    assert (told["delivered"], told["bytes"], told["error"]) == (1, len(LOG), None)


async def test_a_session_that_a_reload_ends_is_taken_up_again_and_everything_is_told(
    hass: HomeAssistant,
    account: MockConfigEntry,
    known: DeviceCoordinator,
    road: Road,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_module, "FINISH_SESSIONS_WITHIN", 0.1)
    known.set_collect(collect=False)
    device = road.device(core_dump=CORE_DUMP)
    outbox = account.runtime_data.account.outbox
    add, keeping = outbox.add, asyncio.Event()

    async def dump_never_on_disk(capture: Capture) -> Any:
        if capture.kind is CaptureKind.LOG:
            return await add(capture)
        keeping.set()
        return await hass.loop.create_future()

    outbox.add = dump_never_on_disk
    uploading = asyncio.ensure_future(upload(hass, road.device_id(account)))
    async with asyncio.timeout(10):
        await keeping.wait()
    assert await hass.config_entries.async_reload(account.entry_id)
    told = (await uploading)[IDENTITY.serial]
    assert told["error"] is None
    assert told["bytes"] == len(LOG) + len(CORE_DUMP)
    assert told["delivered"] == 2
    assert device.empty


async def test_who_waits_is_told_when_the_account_does_not_come_back(
    hass: HomeAssistant,
    account: MockConfigEntry,
    known: DeviceCoordinator,
    road: Road,
) -> None:
    road.device()
    road.adapter.slots = 1
    road.adapter.allocate("LOCK")
    uploading = asyncio.ensure_future(upload(hass, road.device_id(account)))
    await hass.async_block_till_done()
    by_a_person = ConfigEntryDisabler.USER
    await hass.config_entries.async_set_disabled_by(account.entry_id, by_a_person)
    with pytest.raises(HomeAssistantError) as error:
        await uploading
    assert mistake(error) == "interrupted"


async def test_a_session_under_way_is_joined(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    device = road.device()
    response = await upload(hass, road.device_id(account))
    assert response[IDENTITY.serial]["bytes"] == len(LOG)
    assert device.connections == 1


async def test_the_button_collects(
    hass: HomeAssistant, account: MockConfigEntry, empty: VirtualDevice, road: Road
) -> None:
    device = replaced(road, empty, sample_log(900, seed=3))
    await press(hass, road, account)
    assert device.empty
    await road.until_shown(account, "uploads", "2")


# What goes wrong


@pytest.mark.usefixtures("known")
async def test_out_of_range_is_said_in_words(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    with pytest.raises(HomeAssistantError) as error:
        await upload(hass, road.device_id(account))
    assert error.value.translation_domain == DOMAIN
    assert mistake(error) == "out_of_range"
    with pytest.raises(HomeAssistantError) as error:
        await press(hass, road, account)
    assert mistake(error) == "out_of_range"
    assert road.state(account, "last_error") == "out_of_range"


@pytest.mark.usefixtures("known")
async def test_an_error_calls_the_device_as_its_user_does_and_leaves_the_detail_to_the_log(
    hass: HomeAssistant,
    account: MockConfigEntry,
    road: Road,
    caplog: pytest.LogCaptureFixture,
) -> None:
    device_id = road.device_id(account)
    dr.async_get(hass).async_update_device(device_id, name_by_user="Cellar pump")
    caplog.set_level("INFO", "custom_components.ulogger")
    said = "Cellar pump could not be reached. Is it near and switched on?"
    with pytest.raises(HomeAssistantError) as error:
        await upload(hass, device_id)
    assert str(error.value) == said
    with pytest.raises(HomeAssistantError) as error:
        await press(hass, road, account)
    assert str(error.value) == said
    assert any(
        each.name == "custom_components.ulogger.errors"
        and each.getMessage().startswith("Cellar pump: ")
        for each in caplog.records
    )


async def test_an_unreachable_cloud_is_said_and_the_captures_are_kept(
    hass: HomeAssistant,
    account: MockConfigEntry,
    empty: VirtualDevice,
    transport: ToldTransport,
    road: Road,
) -> None:
    await road.until_shown(account, "uploads", "1")
    transport.tell(ConnectionState.DISCONNECTED)
    device = replaced(road, empty, sample_log(900, seed=3))
    with pytest.raises(HomeAssistantError) as error:
        await upload(hass, road.device_id(account))
    assert mistake(error) == "cloud_unreachable"
    assert device.empty
    await road.until_shown(account, "captures_waiting", "1")
    transport.tell(ConnectionState.CONNECTED)
    await road.until_shown(account, "captures_waiting", "0")
    assert road.state(account, "uploads") == "2"


async def test_a_cloud_that_does_not_acknowledge_is_not_waited_for_longer_than_asked(
    hass: HomeAssistant,
    account: MockConfigEntry,
    empty: VirtualDevice,
    transport: ToldTransport,
    road: Road,
) -> None:
    replaced(road, empty, sample_log(900, seed=3))
    never = asyncio.get_running_loop().create_future()
    delivery = account.runtime_data.destinations["ulogger"].delivery
    wait = delivery.wait_delivered
    with (
        patch.object(transport, "publish", lambda *_: never),
        patch.object(delivery, "wait_delivered", lambda key, ids, s: wait(key, ids, s / 100)),
        pytest.raises(HomeAssistantError) as error,
    ):
        await upload(hass, road.device_id(account), timeout=5)
    assert mistake(error) == "delivery_timeout"
    never.cancel()


async def test_a_target_that_is_not_ours_is_a_mistake(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    foreign = MockConfigEntry(domain="other")
    foreign.add_to_hass(hass)
    theirs = dr.async_get(hass).async_get_or_create(
        config_entry_id=foreign.entry_id, identifiers={("other", "1")}
    )
    sessions = len(known.timeline)
    for target in (theirs.id, "nobody"):
        with pytest.raises(ServiceValidationError):
            await upload(hass, road.device_id(account), target)
    assert len(known.timeline) == sessions


# When it is due


async def test_a_device_is_not_collected_again_by_itself_before_its_interval_is_over(
    hass: HomeAssistant, account: MockConfigEntry, empty: VirtualDevice, road: Road
) -> None:
    coordinator = road.coordinator(account)
    sessions = len(coordinator.timeline)
    device = replaced(road, empty, sample_log(900, seed=3))
    for _ in range(20):
        road.adapter.hear(device)
    await road.pass_time(minutes=14, seconds=50)
    road.adapter.hear(device)
    await hass.async_block_till_done()
    assert len(coordinator.timeline) == sessions
    assert coordinator._task is None
    assert device.connections == 0
    await upload(hass, road.device_id(account))
    assert device.connections == 1
    due = coordinator.data.next_collection
    assert due is not None
    assert due - dt_util.utcnow() > timedelta(minutes=14, seconds=50)


async def test_identical_advertisements_do_not_keep_a_device_from_being_collected_when_due(
    hass: HomeAssistant, account: MockConfigEntry, empty: VirtualDevice, road: Road
) -> None:
    device = replaced(road, empty, sample_log(900, seed=3))
    road.adapter.hear(device)
    await road.pass_time(minutes=15, seconds=10)
    await road.collected(device)
    assert device.connections == 1


async def test_a_device_that_is_away_when_due_is_collected_when_it_is_back(
    hass: HomeAssistant, account: MockConfigEntry, known: DeviceCoordinator, road: Road
) -> None:
    await road.pass_time(minutes=15, seconds=10)
    assert len(known.timeline) == 0
    device = road.device()
    await road.collected(device)
    await road.idle(known)
    assert [each.result for each in known.timeline] == ["ok"]
