"""Live mode: a device is held and watched, makes room for others, and comes back after a loss."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from homeassistant.components.switch import DOMAIN as SWITCH
from homeassistant.const import SERVICE_TURN_OFF, SERVICE_TURN_ON
from homeassistant.core import HomeAssistant

from custom_components.ulogger.agent.errors import LinkLost
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.collecting import collection
from custom_components.ulogger.collecting.shared_radio import SharedRadio, shared_radio
from custom_components.ulogger.model.log_config import ALL_MODULES, LogConfig
from custom_components.ulogger.outbox.model import Outcome
from demo.device.samples import sample_frames
from demo.device.virtual import VirtualDevice

from ..support.log_levels import wish
from ..support.road import LOG, Road, add_only_here
from .test_shared_radio import fleet

LINE = 60
PATIENCE = 15.0


@pytest.fixture
def radio(hass: HomeAssistant, road: Road) -> SharedRadio:
    return shared_radio(hass)


async def watch(hass: HomeAssistant, road: Road, entry: Any, *, on: bool = True) -> None:
    """Turn a device's switch."""
    service = SERVICE_TURN_ON if on else SERVICE_TURN_OFF
    entity = road.entity_id(entry, "live", road.first)  # type: ignore[attr-defined]
    await hass.services.async_call(SWITCH, service, {"entity_id": entity}, blocking=True)


async def logs(device: VirtualDevice, seed: int) -> None:
    """Have a device log a line, and wait until it was taken."""
    device.emptied.clear()
    assert device.firmware.append_log(sample_frames(LINE, seed=seed))
    async with asyncio.timeout(PATIENCE):
        await device.emptied.wait()


async def until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - a link shows no event of its own
            await asyncio.sleep(0.01)


@pytest.fixture
async def watched(hass: HomeAssistant, road: Road, radio: SharedRadio) -> Any:
    """A device that is watched: its account, itself, and what the account knows of it."""
    entry = await add_only_here(hass)
    [(device, coordinator)] = await fleet(road, entry, 1)
    road.first = coordinator.identity  # type: ignore[attr-defined]
    await watch(hass, road, entry)
    await until(lambda: coordinator.data.phase == "live")
    return entry, device, coordinator


async def test_what_is_logged_is_on_disk_at_once_one_capture_for_each_batch(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    entry, device, coordinator = watched
    connections = device.connections
    stored = []
    coordinator.captures_stored.add(lambda: stored.append(1))
    for seed in range(3):
        began = hass.loop.time()
        await logs(device, seed)
        assert hass.loop.time() - began < 3.0
    await until(lambda: len(stored) == 3)
    assert device.connections == connections
    assert road.state(entry, "state", coordinator.identity) == "live"
    rows = await entry.runtime_data.account.outbox.listing(coordinator.identity.key)
    assert len(rows) == 4
    await watch(hass, road, entry, on=False)
    await road.idle(coordinator)
    assert coordinator.timeline[-1].captures == 3
    assert road.state(entry, "state", coordinator.identity) == "idle"
    assert not road.adapter.allocated


async def test_a_log_level_is_relayed_at_once(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    _, device, coordinator = watched
    await wish(coordinator, LogConfig(0, ALL_MODULES, 3600))
    assert device.firmware.log_config.level == 0
    assert device.connected


@pytest.mark.usefixtures("often_read")
async def test_a_log_level_that_could_not_be_written_is_written_as_soon_as_it_can_be(
    road: Road, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, device, coordinator = watched
    really, failed = AgentSession.write_log_config, []

    async def fails_once(session: AgentSession, config: LogConfig) -> None:
        if not failed:
            failed.append(1)
            raise LinkLost("told so")
        await really(session, config)

    monkeypatch.setattr(AgentSession, "write_log_config", fails_once)
    connections = device.connections
    await wish(coordinator, LogConfig(0, ALL_MODULES, 3600))
    assert device.firmware.log_config is None
    await until(lambda: device.firmware.log_config is not None)
    assert device.connections == connections


@pytest.fixture
def often_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the signal strength of a device that is followed read all the time."""
    monkeypatch.setattr(collection, "RSSI_EVERY", 0.05)


def reads(road: Road, device: VirtualDevice) -> int:
    return road.operations(device).count(("read", "rssi"))


@pytest.mark.usefixtures("often_read")
async def test_its_signal_strength_is_shown_as_the_device_measures_it(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    _, device, coordinator = watched
    connections = device.connections
    for rssi in (-71, -48):
        device.firmware.rssi = rssi
        await until(lambda rssi=rssi: coordinator.data.rssi == rssi)
    await logs(device, 1)
    assert device.connections == connections
    assert coordinator.data.phase == "live"


@pytest.mark.usefixtures("often_read")
async def test_a_signal_strength_that_can_not_be_read_ends_nothing(
    road: Road,
    watched: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, device, coordinator = watched
    really, failed = AgentSession.read_rssi, []

    async def fails_twice(session: AgentSession) -> int | None:
        if len(failed) < 2:
            failed.append(1)
            raise LinkLost("told so")
        return await really(session)

    monkeypatch.setattr(AgentSession, "read_rssi", fails_twice)
    connections = device.connections
    device.firmware.rssi = -77
    await until(lambda: coordinator.data.rssi == -77)
    await logs(device, 2)
    assert (device.connections, len(failed)) == (connections, 2)


@pytest.mark.usefixtures("often_read")
async def test_its_signal_strength_is_read_as_long_as_it_is_watched(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    entry, device, coordinator = watched
    await until(lambda: reads(road, device) > 2)
    await watch(hass, road, entry, on=False)
    await road.idle(coordinator)
    until_now = reads(road, device)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any("signal strength" in name for name in names)
    await coordinator.async_collect()
    # A session that is not live reads it once, at its end.
    assert reads(road, device) == until_now + 1


async def test_it_is_connected_to_again_after_a_loss_and_nothing_is_lost(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    _, device, coordinator = watched
    await logs(device, 1)
    device.cut()
    await logs(device, 2)
    assert coordinator.live
    assert [erased.content[:4] for erased in device.erased][-1]


async def test_it_yields_its_slot_to_those_that_waited_and_takes_it_again(
    hass: HomeAssistant, road: Road, radio: SharedRadio, watched: Any
) -> None:
    entry, device, coordinator = watched
    others = await others_that_wait(hass, road, entry, radio)
    assert device.connected
    await road.pass_time(seconds=70)
    await road.collected(others[0])
    await until(lambda: device.connected and coordinator.data.phase == "live")
    await logs(device, 5)


async def others_that_wait(
    hass: HomeAssistant, road: Road, entry: Any, radio: SharedRadio
) -> list[VirtualDevice]:
    """Bring a device into reach that the account knows, and that is due."""
    [(other, known)] = await fleet(road, entry, 1, first=7)
    road.adapter.slots = 1
    other.emptied.clear()
    other.firmware.append_log(LOG[25:])
    known._schedule.now()
    await until(lambda: known._schedule.waits_for_slot)
    return [other]


async def test_it_ends_by_itself_after_its_time(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    entry, device, coordinator = watched
    await road.pass_time(minutes=31)
    await until(lambda: not device.connected)
    await road.idle(coordinator)
    assert not coordinator.live
    assert road.state(entry, "live", coordinator.identity) == "off"
    assert coordinator.data.next_collection is not None


async def test_who_asks_for_an_upload_meanwhile_gets_one(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    _, device, coordinator = watched
    device.firmware.append_log(sample_frames(LINE, seed=9))
    async with asyncio.timeout(PATIENCE):
        added = await coordinator.async_collect()
    assert [each.outcome for each in added] != [Outcome.DUPLICATE]
    await until(lambda: device.connected and coordinator.data.phase == "live")


async def test_unloading_ends_it(hass: HomeAssistant, road: Road, watched: Any) -> None:
    entry, device, _ = watched
    await hass.config_entries.async_unload(entry.entry_id)
    assert not device.connected
    assert not road.adapter.allocated


async def test_it_goes_on_after_a_reload_for_what_was_left(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    entry, device, coordinator = watched
    left = coordinator._live.left
    assert left > timedelta(0)
    assert await hass.config_entries.async_reload(entry.entry_id)
    after = road.coordinator(entry, coordinator.identity)
    assert after is not coordinator
    assert after.live
    assert after._live.left <= left
    await until(lambda: device.connected and after.data.phase == "live")
    await logs(device, seed=21)


async def test_one_that_was_ended_does_not_begin_again_with_a_reload(
    hass: HomeAssistant, road: Road, watched: Any
) -> None:
    entry, device, coordinator = watched
    await watch(hass, road, entry, on=False)
    await road.idle(coordinator)
    assert await hass.config_entries.async_reload(entry.entry_id)
    assert not road.coordinator(entry, coordinator.identity).live
    assert not device.connected
