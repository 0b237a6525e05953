"""Nothing but the identification is read from a device until a person has said yes."""

import asyncio
from dataclasses import replace
from typing import Any, override

import pytest
from homeassistant.config_entries import (
    SOURCE_IGNORE,
    SOURCE_INTEGRATION_DISCOVERY,
    ConfigEntryDisabler,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers.device_registry import CONNECTION_BLUETOOTH
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.agent import gatt
from custom_components.ulogger.collecting.connection import DeviceOutOfRange
from custom_components.ulogger.const import DOMAIN
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.device.samples import sample_log
from demo.device.virtual import VirtualDevice
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS
from tests.support.flows import expect_abort
from tests.support.road import (
    APPLICATION,
    CORE_DUMP,
    FAST_AIR,
    IDENTITY,
    LOG,
    Road,
    add_account,
    approving,
)

SIBLING = replace(IDENTITY, serial="A87DE76F0012")
NEIGHBOUR = replace(IDENTITY, application_id=APPLICATION + 1, serial="NEIGHBOUR-1")
IDENTIFIED = [("read", "config")]
SUBSCRIBED = [("subscribe", "log_data"), ("subscribe", "core_dump_data")]


class WithoutConfig(VirtualDevice):
    """A device with the name and the service of an agent, that can't be asked who it is."""

    @property
    @override
    def table(self) -> dict[str, dict[str, tuple[str, ...]]]:
        return {
            service: {uuid: how for uuid, how in table.items() if gatt.NAMES[uuid] != "config"}
            for service, table in super().table.items()
        }


async def identified(device: VirtualDevice) -> None:
    """Wait until nobody is identifying a device."""
    name = f"{DOMAIN} identifies {device.address}"
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == name]
    async with asyncio.timeout(15):
        await asyncio.gather(*tasks)


async def meet(road: Road, *devices: VirtualDevice) -> None:
    """Have devices heard, identified, and whatever follows at once."""
    for device in devices:
        road.adapter.hear(device)
    for device in devices:
        await identified(device)
    await road.hass.async_block_till_done()


def cards(hass: HomeAssistant) -> list[Any]:
    """Return the discovery cards that are shown."""
    return list(
        hass.config_entries.flow.async_progress_by_handler(
            DOMAIN, match_context={"source": SOURCE_INTEGRATION_DISCOVERY}
        )
    )


async def card_text(hass: HomeAssistant) -> dict[str, str]:
    """Open the only card and return what it says."""
    [card] = cards(hass)
    form = await hass.config_entries.flow.async_configure(card["flow_id"])
    return dict(form["description_placeholders"])


def untouched(device: VirtualDevice, log: bytes = LOG) -> bool:
    """Whether a device still has all that was put into it."""
    return not device.erased and device.firmware.log == log


# A device of an application that nobody approved


async def test_a_device_of_an_unapproved_application_is_only_identified(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    entry = await add_account(hass, broker, {})
    device = road.device(core_dump=CORE_DUMP, heard=False)
    log = device.firmware.log

    await meet(road, device)
    await meet(road, device)

    assert road.operations(device) == IDENTIFIED
    assert device.connections == 1
    assert untouched(device, log)
    assert device.firmware.core_dump == CORE_DUMP
    assert entry.runtime_data.devices == {}
    assert road.registered(entry) is None


async def test_its_card_says_what_it_is(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    await add_account(hass, broker, {})

    await meet(road, road.device(name="uLogger Hall", heard=False))

    assert await card_text(hass) == {
        "application_id": str(APPLICATION),
        "device_type": IDENTITY.device_type,
        "name": "uLogger Hall",
        "address": ADDRESS,
        "signal": "-58 dBm",
    }


async def test_two_devices_of_one_application_bring_one_card(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    await add_account(hass, broker, {})
    first = road.device(heard=False)
    second = road.device(OTHER_ADDRESS, SIBLING, heard=False)
    third = road.device("C0:FF:EE:00:00:03", NEIGHBOUR, heard=False)

    await meet(road, first, second)
    assert [card["context"]["unique_id"] for card in cards(hass)] == [f"application-{APPLICATION}"]

    await meet(road, third)
    assert len(cards(hass)) == 2
    assert [road.operations(each) for each in (first, second, third)] == [IDENTIFIED] * 3


async def test_confirming_the_card_collects_all_devices_of_the_application(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    entry = await add_account(hass, broker, {})
    first = road.device(heard=False)
    second = road.device(OTHER_ADDRESS, SIBLING, heard=False)
    neighbour = road.device("C0:FF:EE:00:00:03", NEIGHBOUR, heard=False)
    await meet(road, first, second)
    [card] = cards(hass)
    await meet(road, neighbour)

    end = await hass.config_entries.flow.async_configure(card["flow_id"], {})

    expect_abort(end, "application_added")
    assert entry.options == {
        "applications": {str(APPLICATION): {"device_types": [IDENTITY.device_type]}}
    }
    await road.collected(first)
    await road.collected(second)
    logs = await cloud_service.wait_for("binlog", 2)
    senders = [cloud_service.device_of(log) for log in logs]
    assert {each.serial for each in senders if each is not None} == {
        IDENTITY.serial,
        SIBLING.serial,
    }
    assert road.operations(neighbour) == IDENTIFIED
    assert untouched(neighbour)


@pytest.mark.parametrize("moment", ["adopt_approved", "adopt_heard"])
async def test_a_device_that_was_approved_a_moment_ago_comes_in_when_the_account_is_there_again(
    hass: HomeAssistant,
    broker: LocalBroker,
    road: Road,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Its platforms have gone, and the account has not: what came in then would stay, and dead."""
    entry = await add_account(hass, broker, {})
    device = road.device(heard=False)
    await meet(road, device)
    fleet, stop = entry.runtime_data.fleet, entry.runtime_data.async_stop

    async def stopping() -> None:
        getattr(fleet, moment)()
        await stop()

    monkeypatch.setattr(entry.runtime_data, "async_stop", stopping)
    hass.config_entries.async_update_entry(entry, options=approving(APPLICATION))
    assert await hass.config_entries.async_reload(entry.entry_id)
    assert fleet.devices == {}
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    shown = hass.states.get(road.entity_id(entry, "in_range"))
    assert shown is not None
    assert shown.state == "on"
    assert "does not generate unique IDs" not in caplog.text


async def test_ignoring_the_card_leaves_the_device_alone_for_good(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    entry = await add_account(hass, broker, {})
    device = road.device(heard=False)
    await meet(road, device)
    [card] = cards(hass)

    await hass.config_entries.flow.async_init(
        DOMAIN,
        context={"source": SOURCE_IGNORE},
        data={"unique_id": card["context"]["unique_id"], "title": "uLogger Example"},
    )
    await hass.async_block_till_done()
    assert cards(hass) == []
    await road.pass_time(minutes=20)
    await meet(road, device)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    await meet(road, device)

    assert cards(hass) == []
    assert device.connections == 1
    assert road.operations(device) == IDENTIFIED
    assert untouched(device)
    assert entry.options == {}


# Cards that ask nothing any more


async def test_the_card_of_a_sibling_closes_when_the_confirmed_device_was_identified(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    entry = await add_account(hass, broker, {"confirmed_address": ADDRESS})
    sibling = road.device(OTHER_ADDRESS, SIBLING, heard=False)
    await meet(road, sibling)
    assert len(cards(hass)) == 1

    await meet(road, road.device(heard=False))
    await road.pass_time(seconds=3)

    assert cards(hass) == []
    assert entry.runtime_data.devices.keys() == {IDENTITY.key, SIBLING.key}


async def test_a_card_closes_when_its_application_is_typed_in_the_options(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    entry = await add_account(hass, broker, {})
    await meet(road, road.device(heard=False))
    assert len(cards(hass)) == 1

    hass.config_entries.async_update_entry(entry, options=approving(APPLICATION))
    assert await hass.config_entries.async_reload(entry.entry_id)
    await road.pass_time(seconds=3)

    assert cards(hass) == []


@pytest.mark.parametrize("way", ["remove", "disable"])
async def test_cards_go_with_the_last_account(
    hass: HomeAssistant, broker: LocalBroker, road: Road, way: str
) -> None:
    entry = await add_account(hass, broker, {})
    await meet(road, road.device(heard=False))
    assert len(cards(hass)) == 1

    if way == "remove":
        await hass.config_entries.async_remove(entry.entry_id)
    else:
        await hass.config_entries.async_set_disabled_by(entry.entry_id, ConfigEntryDisabler.USER)
    await hass.async_block_till_done()

    assert cards(hass) == []


async def test_a_card_that_was_put_off_until_its_application_was_approved_is_not_shown(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    await add_account(hass, broker, approving(APPLICATION))

    end = await hass.config_entries.flow.async_init(
        DOMAIN,
        context={"source": SOURCE_INTEGRATION_DISCOVERY},
        data={
            "application_id": APPLICATION,
            "device_type": IDENTITY.device_type,
            "name": "uLogger Example",
            "address": ADDRESS,
        },
    )

    expect_abort(end, "already_configured")


# Consent that was given before


async def test_the_device_of_the_first_card_counts_as_confirmed_once(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    neighbour = road.device(OTHER_ADDRESS, NEIGHBOUR)
    device = road.device()

    entry = await add_account(hass, broker, {"confirmed_address": ADDRESS})
    await road.collected(device)
    await cloud_service.wait_for("binlog")
    await identified(neighbour)
    await hass.async_block_till_done()

    assert entry.options == {
        "applications": {str(APPLICATION): {"device_types": [IDENTITY.device_type]}}
    }
    assert [card["context"]["unique_id"] for card in cards(hass)] == [
        f"application-{NEIGHBOUR.application_id}"
    ]
    assert road.operations(neighbour) == IDENTIFIED


async def test_an_application_typed_in_the_options_is_collected_without_asking(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device()

    await add_account(hass, broker, approving(APPLICATION))

    await road.collected(device)
    await cloud_service.wait_for("binlog")
    assert cards(hass) == []


# Somebody else at a known address


@pytest.mark.parametrize("identity", [NEIGHBOUR, replace(NEIGHBOUR, serial=IDENTITY.serial)])
async def test_a_neighbour_at_a_known_address_is_asked_for_nothing_but_who_it_is(
    hass: HomeAssistant, broker: LocalBroker, road: Road, identity: Any
) -> None:
    device = road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    road.adapter.operations.clear()
    stranger = road.device(identity=identity, core_dump=CORE_DUMP, heard=False)

    with pytest.raises(DeviceOutOfRange):
        await coordinator.async_collect()
    await hass.async_block_till_done()

    # The device that was expected there begins to send by itself: it is subscribed to first.
    assert road.operations(stranger) == SUBSCRIBED + IDENTIFIED
    assert stranger.firmware.requests == 0
    assert untouched(stranger)
    assert stranger.firmware.core_dump == CORE_DUMP
    assert list(entry.runtime_data.devices) == [IDENTITY.key]
    assert len(cards(hass)) == 1


async def test_a_sibling_at_a_known_address_is_collected_as_itself(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    sibling = road.device(identity=SIBLING, heard=False)

    with pytest.raises(DeviceOutOfRange):
        await coordinator.async_collect()
    await road.collected(sibling)

    logs = await cloud_service.wait_for("binlog", 2)
    senders = [cloud_service.device_of(log) for log in logs]
    assert [each.serial for each in senders if each is not None] == [
        IDENTITY.serial,
        SIBLING.serial,
    ]
    before, now = road.registered(entry), road.registered(entry, SIBLING)
    assert before is not None
    assert now is not None
    assert before.connections == set()
    assert now.connections == {(CONNECTION_BLUETOOTH, ADDRESS)}


# Two accounts


@pytest.mark.parametrize("collector", [0, 1])
async def test_of_two_accounts_the_approved_one_collects_a_device(
    hass: HomeAssistant,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
    collector: int,
) -> None:
    options = [{}, {}]
    options[collector] = approving(APPLICATION)
    accounts = [await add_account(hass, broker, options[n], group_id=n) for n in (0, 1)]
    device = road.device(heard=False)

    await meet(road, device)
    await road.collected(device)
    await cloud_service.wait_for("binlog")
    await road.idle(road.coordinator(accounts[collector]))
    await road.pass_time(minutes=2)

    assert collectors(accounts) == [collector]
    assert len(cloud_service.of("binlog")) == 1
    assert cards(hass) == []


async def test_of_two_accounts_with_the_same_application_one_collects_a_device(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    accounts = [await add_account(hass, broker, group_id=n) for n in (0, 1)]
    device = road.device(heard=False)

    await meet(road, device)
    await road.collected(device)
    await cloud_service.wait_for("binlog")
    await road.idle(road.coordinator(accounts[0]))
    await road.pass_time(minutes=2)

    assert collectors(accounts) == [0]
    assert len(cloud_service.of("binlog")) == 1


async def test_a_device_that_is_left_alone_stays_so_when_its_application_goes_to_another_account(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    options = [approving(APPLICATION), {}]
    accounts = [await add_account(hass, broker, options[n], group_id=n) for n in (0, 1)]
    device = road.device(heard=False)
    await meet(road, device)
    await road.collected(device)
    await road.idle(road.coordinator(accounts[0]))
    road.coordinator(accounts[0]).set_collect(collect=False)
    later = sample_log(900, seed=3)
    again = road.device(log=later, heard=False)
    for entry, theirs in zip(accounts, ({}, approving(APPLICATION)), strict=True):
        hass.config_entries.async_update_entry(entry, options=theirs)
        assert await hass.config_entries.async_reload(entry.entry_id)
    await meet(road, again)
    await road.pass_time(seconds=3)
    assert collectors(accounts) == [1]
    coordinator = road.coordinator(accounts[1])
    assert not coordinator.record.collect
    await road.pass_time(hours=1)
    assert untouched(again, later)
    # The word of a person here is the one that counts from now on.
    coordinator.set_collect(collect=True)
    await accounts[1].runtime_data.async_forget(IDENTITY.key)
    await meet(road, again)
    await road.pass_time(seconds=3)
    assert road.coordinator(accounts[1]).record.collect


def collectors(accounts: list[MockConfigEntry]) -> list[int]:
    """Say which accounts have taken the device in."""
    return [n for n, entry in enumerate(accounts) if IDENTITY.key in entry.runtime_data.devices]


# Devices that can't be who they say


@pytest.mark.parametrize("serial", ["", "A87D/E76F", "A87D+", "#"])
async def test_a_device_with_a_bad_identification_is_refused_and_counted(
    hass: HomeAssistant, broker: LocalBroker, road: Road, serial: str
) -> None:
    entry = await add_account(hass, broker)
    device = road.device(identity=replace(IDENTITY, serial=serial), heard=False)

    await meet(road, device)
    await meet(road, device)

    assert entry.runtime_data.account.rejections == {"bad_identification": 1}
    assert road.operations(device) == IDENTIFIED
    assert untouched(device)
    assert entry.runtime_data.devices == {}
    assert entry.runtime_data.account.store.devices == {}
    assert cards(hass) == []


async def test_what_a_device_advertises_forges_no_line_of_the_log(
    hass: HomeAssistant, broker: LocalBroker, road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    await add_account(hass, broker)
    name = "uLogger\n2026-01-01 ERROR (MainThread) [forged] <b>\x1b[31m"
    nameless = replace(IDENTITY, serial="")
    await meet(road, road.device(identity=nameless, name=name, heard=False))

    [line] = [each for each in caplog.messages if "could not be identified" in each]
    assert line.startswith("uLogger 2026-01-01 ERROR (MainThread) forged b 31m (")
    assert line.splitlines() == [line]


async def test_the_card_of_a_device_is_text_whatever_it_is_called(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    await add_account(hass, broker, {})
    device_type = "![x](//evil.invalid)"
    identity = replace(IDENTITY, device_type=device_type)
    await meet(road, road.device(identity=identity, name="uLogger <www.evil.invalid>", heard=False))

    text = await card_text(hass)
    assert text["name"] == "uLogger www evil.invalid"
    assert text["device_type"] == "! x (//evil.invalid)"


async def test_a_device_that_is_no_agent_is_not_connected_to_again_for_a_day(
    hass: HomeAssistant, broker: LocalBroker, road: Road
) -> None:
    entry = await add_account(hass, broker)
    device = WithoutConfig(ADDRESS, IDENTITY, LOG, air=FAST_AIR)
    road.adapter.devices[ADDRESS] = device

    await meet(road, device)
    # The second time with services that are not remembered from other firmware.
    assert device.connections == 2
    assert entry.runtime_data.account.rejections == {"not_an_agent": 1}
    for hours in (1, 23):
        await road.pass_time(hours=hours)
        await meet(road, device)

    assert device.connections == 2
    assert road.operations(device) == []
    assert untouched(device)
    await road.pass_time(hours=24, seconds=1)
    await identified(device)
    assert device.connections == 4
