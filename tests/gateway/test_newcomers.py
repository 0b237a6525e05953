"""How many new devices are taken in: at an address, in all; and who waits for whom."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.config_entries import SOURCE_IGNORE, SOURCE_INTEGRATION_DISCOVERY
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger import async_remove_config_entry_device
from custom_components.ulogger.collecting.connection import DeviceOutOfRange
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway.newcomers import Limit, Newcomers
from custom_components.ulogger.gateway.waiting_line import WaitingLine
from demo.device.samples import sample_log
from demo.device.virtual import ChangingDevice, VirtualDevice
from tests.support.account import APPROVED, SENSOR, ToldTransport, load
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS
from tests.support.road import FAST_AIR, IDENTITY, LOG, Road, approving

HOUR = 3600.0
DAY = 24 * HOUR


def address(number: int) -> str:
    return f"C0:FF:EE:01:{number >> 8:02X}:{number & 255:02X}"


def serials(account: MockConfigEntry) -> list[str]:
    """Name the devices that an account collects."""
    return sorted(serial for _, serial in account.runtime_data.devices)


async def turned_away(road: Road, account: MockConfigEntry, count: int = 1) -> list[Limit]:
    """Wait until devices were turned away, and say for what."""
    limits: list[Limit] = []
    enough = asyncio.Event()

    def note(_record: object, limit: Limit) -> None:
        limits.append(limit)
        if len(limits) >= count:
            enough.set()

    stop = account.runtime_data.fleet.turned_away.add(note)
    async with asyncio.timeout(15):
        await enough.wait()
    stop()
    await road.hass.async_block_till_done()
    return limits


def changing(road: Road, at: str = ADDRESS) -> ChangingDevice:
    """Put a device into reach that says another serial each time."""
    device = ChangingDevice(at, IDENTITY, LOG, air=FAST_AIR)
    road.adapter.devices[at] = device
    return device


def sibling(number: int) -> Any:
    return replace(IDENTITY, serial=f"SIBLING{number}")


async def identified(device: VirtualDevice) -> None:
    """Wait until nobody is identifying a device."""
    name = f"{DOMAIN} identifies {device.address}"
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == name]
    async with asyncio.timeout(15):
        await asyncio.gather(*tasks)


async def look_again(hass: HomeAssistant) -> None:
    """Let ten minutes pass."""
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(minutes=10, seconds=1))
    await hass.async_block_till_done()


# At an address


def test_five_new_devices_an_hour_are_taken_in_at_an_address(
    freezer: FrozenDateTimeFactory,
) -> None:
    newcomers = Newcomers()
    for _ in range(5):
        assert newcomers.limit(ADDRESS) is None
        newcomers.taken_in(ADDRESS)
        freezer.tick(60)
    assert newcomers.suspicious() == []
    assert newcomers.limit(ADDRESS) is Limit.ADDRESS
    assert newcomers.limit(OTHER_ADDRESS) is None
    assert newcomers.suspicious() == [ADDRESS]
    freezer.tick(HOUR - 300)
    assert newcomers.limit(ADDRESS) is None
    newcomers.taken_in(ADDRESS)
    assert newcomers.limit(ADDRESS) is Limit.ADDRESS
    freezer.tick(60)
    assert newcomers.limit(ADDRESS) is None


def test_an_address_is_told_of_for_a_day_and_forgotten(freezer: FrozenDateTimeFactory) -> None:
    newcomers = Newcomers()
    for _ in range(5):
        newcomers.taken_in(ADDRESS)
    newcomers.limit(ADDRESS)
    freezer.tick(DAY - 1)
    assert newcomers.suspicious() == [ADDRESS]
    freezer.tick(1)
    assert newcomers.suspicious() == []
    assert newcomers._addresses == {}


def test_what_a_person_allows_is_counted_anew() -> None:
    newcomers = Newcomers()
    for _ in range(5):
        newcomers.taken_in(ADDRESS)
    newcomers.limit(ADDRESS)
    newcomers.allow(ADDRESS)
    newcomers.allow(OTHER_ADDRESS)
    assert newcomers.suspicious() == []
    assert newcomers.limit(ADDRESS) is None


async def test_a_device_that_changes_its_serial_becomes_five_devices(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = changing(road)
    waiting = asyncio.ensure_future(turned_away(road, account))
    await asyncio.sleep(0)
    road.adapter.hear(device)
    assert await waiting == [Limit.ADDRESS]
    last = max(account.runtime_data.devices.values(), key=lambda each: each.identity.serial)
    assert len(serials(account)) == 5
    assert last.record.address == ADDRESS
    for _ in range(3):
        with pytest.raises(DeviceOutOfRange):
            await last.async_collect()
    await look_again(hass)
    assert len(serials(account)) == 5
    assert len(account.runtime_data.account.store.devices) == 6
    assert device.erased == []
    assert device.firmware.log == LOG
    assert account.runtime_data.account.rejections["new_devices_at_address"] >= 4


async def test_known_devices_are_collected_whoever_pretends_to_be_at_their_address(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    device = road.device()
    coordinator = await road.adopted(account)
    await road.collected(device)
    await road.idle(coordinator)
    for _ in range(5):
        account.runtime_data.fleet.newcomers.taken_in(ADDRESS)
    pretender = changing(road)
    with pytest.raises(DeviceOutOfRange):
        await coordinator.async_collect()
    assert coordinator.record.address == ADDRESS
    assert await hass.config_entries.async_reload(account.entry_id)
    await look_again(hass)
    assert serials(account) == [IDENTITY.serial]
    assert pretender.erased == []
    again = road.device(log=sample_log(900, seed=3), heard=False)
    await road.coordinator(account).async_collect()
    assert again.empty


# In all


@pytest.fixture
async def two_at_most(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """An account that takes in two devices."""
    return await load(hass, options={**APPROVED, "device_limit": 2})


async def three(road: Road, account: MockConfigEntry) -> list[VirtualDevice]:
    """Bring three devices into reach, one after another."""
    devices = [road.device(address(n), sibling(n), heard=False) for n in range(3)]
    for n, device in enumerate(devices[:2]):
        road.adapter.hear(device)
        coordinator = await road.adopted(account, sibling(n))
        await road.collected(device)
        await road.idle(coordinator)
    waiting = asyncio.ensure_future(turned_away(road, account))
    await asyncio.sleep(0)
    road.adapter.hear(devices[2])
    assert await waiting == [Limit.ACCOUNT]
    return devices


async def test_over_the_limit_new_devices_are_left_alone_and_known_ones_collected(
    hass: HomeAssistant, two_at_most: MockConfigEntry, road: Road
) -> None:
    *known, third = await three(road, two_at_most)
    assert serials(two_at_most) == ["SIBLING0", "SIBLING1"]
    assert road.operations(third) == [("read", "config")]
    assert third.firmware.log == LOG
    again = road.device(known[0].address, sibling(0), sample_log(900, seed=3), heard=False)
    await road.coordinator(two_at_most, sibling(0)).async_collect()
    assert again.empty
    await look_again(hass)
    assert third.connections == 1
    assert road.registered(two_at_most, sibling(2)) is None


async def test_a_higher_limit_takes_in_who_waits_and_is_in_range(
    hass: HomeAssistant, two_at_most: MockConfigEntry, road: Road
) -> None:
    *_, third = await three(road, two_at_most)
    fleet = two_at_most.runtime_data.fleet
    fleet.identified(sibling(3), address(3), "uLogger that left")
    assert [record.identity for record in fleet.waiting()] == [sibling(2), sibling(3)]
    hass.config_entries.async_update_entry(
        two_at_most, options={**two_at_most.options, "device_limit": 3}
    )
    assert await hass.config_entries.async_reload(two_at_most.entry_id)
    await look_again(hass)
    await road.collected(third)
    assert serials(two_at_most) == ["SIBLING0", "SIBLING1", "SIBLING2"]


async def test_a_device_that_is_deleted_makes_room(
    hass: HomeAssistant, two_at_most: MockConfigEntry, road: Road
) -> None:
    first, _, third = await three(road, two_at_most)
    del road.adapter.devices[first.address]
    entry = road.registered(two_at_most, sibling(0))
    assert entry is not None
    assert await async_remove_config_entry_device(hass, two_at_most, entry)
    dr.async_get(hass).async_remove_device(entry.id)
    await look_again(hass)
    await road.collected(third)
    assert serials(two_at_most) == ["SIBLING1", "SIBLING2"]


async def test_a_lower_limit_and_a_reload_take_nobody_away(
    hass: HomeAssistant, two_at_most: MockConfigEntry, road: Road
) -> None:
    *_, third = await three(road, two_at_most)
    hass.config_entries.async_update_entry(
        two_at_most, options={**two_at_most.options, "device_limit": 1}
    )
    assert await hass.config_entries.async_reload(two_at_most.entry_id)
    await hass.async_block_till_done()
    assert serials(two_at_most) == ["SIBLING0", "SIBLING1"]
    assert [r.identity for r in two_at_most.runtime_data.fleet.waiting()] == [sibling(2)]
    assert third.firmware.log == LOG


async def test_two_hundred_devices_are_taken_in_by_default(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    fleet = account.runtime_data.fleet
    for number in range(203):
        fleet.identified(replace(SENSOR, serial=f"S{number}"), address(number), "uLogger Example")
    assert len(fleet.devices) == 200
    assert len(fleet.waiting()) == 3


# Strangers that can't be reached


async def test_ghosts_delay_a_newcomer_by_one_attempt(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    road.adapter.slots = 5
    attempts: list[str] = []
    given_up: dict[str, asyncio.Event] = {}

    async def connecting(to: str) -> None:
        attempts.append(to)
        if to != ADDRESS:
            await given_up.setdefault(to, asyncio.Event()).wait()

    road.adapter.connecting = connecting
    for number in range(60):
        road.adapter.hear(VirtualDevice(address(number), IDENTITY, air=FAST_AIR))
    await asyncio.sleep(0.05)
    device = road.device()
    assert len(set(attempts)) == 2
    for ghost in list(given_up):
        given_up[ghost].set()
    # bleak-retry-connector tries each ghost twice, so both events stay set.
    await road.adopted(account)
    await road.collected(device)
    assert len({ghost for ghost in attempts if ghost != ADDRESS}) <= 4


async def test_a_ghost_that_failed_goes_to_the_end_of_the_line(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    turn = WaitingLine.turn

    def noted(line: WaitingLine, failures: int) -> Any:
        turns.append(failures)
        return turn(line, failures)

    monkeypatch.setattr(WaitingLine, "turn", noted)
    ghost = VirtualDevice(ADDRESS, IDENTITY, air=FAST_AIR)
    for _ in range(3):
        road.adapter.hear(ghost)
        await identified(ghost)
        await road.pass_time(hours=1)
    assert turns[:3] == [0, 1, 2]


# Cards


def cards(hass: HomeAssistant) -> list[str]:
    """Return whose cards are shown."""
    shown = hass.config_entries.flow.async_progress_by_handler(
        DOMAIN, match_context={"source": SOURCE_INTEGRATION_DISCOVERY}
    )
    return sorted(flow["context"]["unique_id"] for flow in shown)


async def test_ten_cards_are_shown_and_the_next_when_one_is_answered(
    hass: HomeAssistant, transport: ToldTransport, road: Road
) -> None:
    account = await load(hass, options={})
    fleet = account.runtime_data.fleet
    for number in range(300):
        fleet.identified(
            replace(SENSOR, application_id=number + 1), address(number), "uLogger Example"
        )
    await hass.async_block_till_done()
    first = [f"application-{number}" for number in range(1, 11)]
    assert cards(hass) == sorted(first)
    waiting = [record.identity.application_id for record in fleet.uncollected()]
    await hass.config_entries.flow.async_init(
        DOMAIN,
        context={"source": SOURCE_IGNORE},
        data={"unique_id": "application-1", "title": "uLogger Example"},
    )
    await road.pass_time(seconds=3)
    following = next(number for number in waiting if number > 10)
    assert cards(hass) == sorted([*first[1:], f"application-{following}"])


async def test_a_stranger_that_left_is_forgotten_and_known_again_when_it_returns(
    hass: HomeAssistant, transport: ToldTransport, road: Road
) -> None:
    account = await load(hass, options=approving())
    device = road.device(heard=False)
    road.adapter.hear(device)
    await identified(device)
    await hass.async_block_till_done()
    assert len(cards(hass)) == 1
    await look_again(hass)
    road.adapter.hear(device, name="uLogger again")
    await identified(device)
    await hass.async_block_till_done()
    assert len(cards(hass)) == 1
    assert device.connections == 1
    assert account.runtime_data.devices == {}
