"""One radio for all accounts: who gets its slots, over which scanner, and what it leaves behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from habluetooth import get_manager
from homeassistant.components import bluetooth
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.collecting import capped_run, collector
from custom_components.ulogger.collecting.connection import (
    Interrupted,
    NoConnectionSlot,
    SessionTooLong,
)
from custom_components.ulogger.collecting.shared_radio import SharedRadio, shared_radio
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.level import Level
from custom_components.ulogger.model.log_config import ALL_MODULES, LogConfig
from custom_components.ulogger.radio.scheduler import State
from custom_components.ulogger.radio.session_cap import SessionCap
from custom_components.ulogger.radio.urgency import Urgency
from demo.device.samples import sample_frames
from demo.device.virtual import VirtualDevice

from ..support import road as roads
from ..support.log_levels import wish
from ..support.road import APPLICATION, IDENTITY, Road, add_only_here, approving

OTHER_APPLICATION = APPLICATION + 1


class Gate:
    """Holds every connection up until it is opened, and knows who is at it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.at: list[str] = []
        self._came = asyncio.Condition()

    async def __call__(self, address: str) -> None:
        self.at.append(address)
        async with self._came:
            self._came.notify_all()
        await self.open.wait()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(roads.PATIENCE_SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.at) >= count)


@pytest.fixture
def gate(road: Road) -> Gate:
    return Gate()


@pytest.fixture
def radio(hass: HomeAssistant, road: Road) -> SharedRadio:
    return shared_radio(hass)


def address(number: int) -> str:
    return f"C0:DE:00:00:00:{number:02X}"


async def fleet(
    road: Road, entry: MockConfigEntry, count: int, application: int = APPLICATION, first: int = 1
) -> list[tuple[VirtualDevice, DeviceCoordinator]]:
    """Have an account know devices that were all collected once."""
    found = []
    for number in range(first, first + count):
        identity = replace(IDENTITY, application_id=application, serial=f"S{number}")
        device = road.device(address(number), identity)
        coordinator = await road.adopted(entry, identity)
        await road.collected(device)
        await road.idle(coordinator)
        found.append((device, coordinator))
    return found


async def ask_all(
    devices: list[tuple[VirtualDevice, DeviceCoordinator]],
) -> AsyncIterator[asyncio.Task[Any]]:
    for _, coordinator in devices:
        yield asyncio.ensure_future(coordinator.async_collect())


async def test_accounts_share_the_slots_and_leave_the_reserve_to_others(
    hass: HomeAssistant, road: Road, gate: Gate, radio: SharedRadio
) -> None:
    one = await add_only_here(hass)
    two = await add_only_here(hass, approving(OTHER_APPLICATION))
    devices = await fleet(road, one, 3)
    devices += await fleet(road, two, 3, OTHER_APPLICATION, first=10)
    road.adapter.connecting = gate
    asked = [task async for task in ask_all(devices)]
    await gate.until(2)
    await hass.async_block_till_done()
    assert len(gate.at) == len(road.adapter.allocated) == 2
    assert radio.scheduler.waiting == 4
    assert sum(each.data.phase == "connecting" for _, each in devices) == 2

    gate.open.set()
    await asyncio.gather(*asked)
    assert sorted(gate.at) == sorted(device.address for device, _ in devices)
    assert not radio.scheduler.running
    assert all(each.timeline[-1].result == "ok" for _, each in devices)


async def test_a_slot_that_another_integration_gives_back_is_taken_at_once(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    entry = await add_only_here(hass)
    [(device, coordinator)] = await fleet(road, entry, 1)
    for lock in ("LOCK 1", "LOCK 2", "LOCK 3"):
        road.adapter.allocate(lock)
    before = device.connections
    asked = asyncio.ensure_future(coordinator.async_collect())
    while not coordinator._schedule.waits_for_slot:  # noqa: ASYNC110 - no time passes
        await asyncio.sleep(0)
    assert device.connections == before
    road.adapter.release("LOCK 2")
    await asked
    assert device.connections == before + 1


async def test_who_asks_and_gets_no_slot_is_told_so_and_stays_in_the_line(
    hass: HomeAssistant,
    road: Road,
    radio: SharedRadio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "ASKED_WAITS", 0.05)
    entry = await add_only_here(hass)
    [(device, coordinator)] = await fleet(road, entry, 1)
    road.adapter.slots = 1
    road.adapter.allocate("LOCK")
    with pytest.raises(NoConnectionSlot):
        await coordinator.async_collect()
    device.emptied.clear()
    device.firmware.append_log(roads.LOG[25:])
    road.adapter.release("LOCK")
    await road.collected(device)


async def test_who_asks_comes_before_those_that_are_only_due(
    hass: HomeAssistant, road: Road, gate: Gate, radio: SharedRadio
) -> None:
    entry = await add_only_here(hass)
    devices = await fleet(road, entry, 3)
    road.adapter.slots = 1
    road.adapter.connecting = gate
    tasks = [asyncio.ensure_future(devices[0][1].async_collect())]
    await gate.until(1)
    devices[1][1]._schedule.now()
    tasks.append(asyncio.ensure_future(devices[2][1].async_collect()))
    await hass.async_block_till_done()
    gate.open.set()
    await asyncio.gather(*tasks)
    await gate.until(3)
    assert gate.at == [devices[0][0].address, devices[2][0].address, devices[1][0].address]


async def test_an_account_that_is_unloaded_lets_nobody_wait_and_leaves_nothing(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    manager = get_manager()
    callbacks = len(manager._allocations_callbacks.get(None, ()))
    entry = await add_only_here(hass)
    [(_, coordinator)] = await fleet(road, entry, 1)
    road.adapter.slots = 1
    road.adapter.allocate("LOCK")
    asked = asyncio.ensure_future(coordinator.async_collect())
    await hass.async_block_till_done()
    await hass.config_entries.async_unload(entry.entry_id)
    with pytest.raises(Interrupted):
        await asked
    await hass.async_block_till_done()
    assert not radio.scheduler.running
    assert radio.scheduler.waiting == 0
    assert radio.scheduler.wake_at(radio.now) is None
    assert radio._timer is None
    assert not radio._listening
    assert len(manager._allocations_callbacks.get(None, ())) == callbacks


async def test_the_scanner_that_was_chosen_is_connected_over(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    """Home Assistant's own choice would be the one with the better signal."""
    entry = await add_only_here(hass)
    [(device, coordinator)] = await fleet(road, entry, 1)
    far = roads.Adapter(source="DE:50:00:00:00:77")
    unregister = bluetooth.async_register_scanner(hass, far)
    unsetup = far.async_setup()
    far.devices = road.adapter.devices
    device.rssi = -80
    far.hear(device)
    over: list[str] = []

    async def note(_: str) -> None:
        over.append("far")

    far.connecting = note
    near = replace_paths(radio, far.source)
    await coordinator.async_collect()
    near()
    assert over == ["far"]
    unregister()
    unsetup()


def replace_paths(radio: SharedRadio, source: str) -> Callable[[], None]:
    """Have only one scanner be chosen from."""
    paths = radio.paths
    radio.paths = lambda *args, **kwargs: [  # type: ignore[assignment]
        path for path in paths(*args, **kwargs) if path.source == source
    ]

    def put_back() -> None:
        radio.paths = paths

    return put_back


async def test_a_device_that_fell_silent_is_left_alone_until_it_is_heard(
    hass: HomeAssistant,
    road: Road,
    radio: SharedRadio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = await add_only_here(hass)
    [(device, coordinator), (other, _)] = await fleet(road, entry, 2)
    later = bluetooth.MONOTONIC_TIME() + 20.0
    monkeypatch.setattr(bluetooth, "MONOTONIC_TIME", lambda: later)
    monkeypatch.setattr(type(road.adapter), "time_since_last_detection", lambda _: 0.1)
    road.adapter.hear(other)
    before = device.connections
    coordinator._schedule.now()
    await hass.async_block_till_done()
    assert coordinator._schedule._candidate.state is State.AWAY
    assert device.connections == before
    device.emptied.clear()
    device.firmware.append_log(roads.LOG[25:])
    # The same advertisement as ever: Home Assistant passes it on to nobody else.
    road.adapter.hear(device)
    await road.collected(device)
    assert not radio._listening


async def test_a_session_that_brings_nothing_gives_its_slot_back(
    hass: HomeAssistant,
    road: Road,
    radio: SharedRadio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = await add_only_here(hass)
    [(device, coordinator)] = await fleet(road, entry, 1)
    monkeypatch.setattr(capped_run, "SessionCap", lambda began: SessionCap(began, 0.05, 0.05))
    device.firmware.write_ack = lambda _: None  # type: ignore[method-assign]
    with pytest.raises(SessionTooLong):
        await coordinator.async_collect()
    assert coordinator.data.last_error == "session_too_long"
    assert not radio.scheduler.running
    assert not road.adapter.allocated


async def test_what_is_urgent(hass: HomeAssistant, road: Road, radio: SharedRadio) -> None:
    entry = await add_only_here(hass, approving(APPLICATION, adaptive_interval=True))
    [(device, coordinator)] = await fleet(road, entry, 1)
    assert coordinator.urgency is Urgency.USUAL
    coordinator.record.last_collected = 0.0
    assert coordinator.urgency is Urgency.NEVER_COLLECTED
    device.firmware.crash(roads.CORE_DUMP)
    await coordinator.async_collect()
    assert coordinator.urgency is Urgency.TROUBLED
    assert coordinator._interval() == timedelta(minutes=5)
    for _ in range(6):
        await coordinator.async_collect()
    assert coordinator.urgency is Urgency.USUAL
    assert coordinator._interval() == timedelta(minutes=60)


async def test_who_tells_of_errors_is_asked_again_sooner(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    entry = await add_only_here(hass, approving(APPLICATION, adaptive_interval=True))
    [(device, coordinator)] = await fleet(road, entry, 1)
    error = bytearray(sample_frames(60))
    error[6] = Level.ERROR << 5
    device.firmware.append_log(bytes(error))
    await coordinator.async_collect()
    await road.until(lambda: coordinator.urgency is Urgency.TROUBLED)
    assert coordinator.data.next_collection is not None
    wait = coordinator.data.next_collection - dt_util.utcnow()
    assert wait <= timedelta(minutes=5)


async def test_a_log_configuration_that_waits_is_urgent(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    entry = await add_only_here(hass)
    [(_, coordinator)] = await fleet(road, entry, 1)
    candidate = coordinator._schedule._candidate
    assert candidate.urgency is Urgency.USUAL
    await wish(coordinator, LogConfig(0, ALL_MODULES, 3600))
    assert candidate.urgency is Urgency.LOG_CONFIG


async def test_a_log_level_does_not_wait_for_a_device_that_is_asked_seldom(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    """It would have ended before the device is asked again."""
    entry = await add_only_here(hass, approving(APPLICATION, adaptive_interval=True))
    [(_, coordinator)] = await fleet(road, entry, 1)
    for _ in range(10):
        await coordinator.async_collect()
    assert until_next(coordinator) > timedelta(hours=1)
    await wish(coordinator, LogConfig(0, ALL_MODULES, 3600))
    assert until_next(coordinator) <= timedelta(minutes=15)
    await coordinator.async_collect()
    assert until_next(coordinator) > timedelta(hours=1)


def until_next(coordinator: DeviceCoordinator) -> timedelta:
    assert coordinator.data.next_collection is not None
    return coordinator.data.next_collection - dt_util.utcnow()


async def test_an_advertisement_of_a_device_that_is_not_due_costs_next_to_nothing(
    hass: HomeAssistant, road: Road, radio: SharedRadio
) -> None:
    entry = await add_only_here(hass)
    [(device, coordinator)] = await fleet(road, entry, 1)
    info = bluetooth.async_last_service_info(hass, device.address)
    assert info is not None
    looks = []
    radio.look_soon = lambda *_: looks.append(1)  # type: ignore[method-assign]
    clock = hass.loop.time
    best = float("inf")
    for _ in range(20):
        began = clock()
        for _ in range(200):
            coordinator.seen(info)
        best = min(best, (clock() - began) / 200)
    assert best < 20e-6
    assert not looks
