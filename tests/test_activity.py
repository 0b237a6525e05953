"""What Home Assistant's activity tells of devices: what matters, and not what happens all day."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import PropertyMock, patch

import bleak_retry_connector
import pytest
from bleak_retry_connector import BleakOutOfConnectionSlotsError
from homeassistant.components.logbook.helpers import async_subscribe_events
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.const import EVENT_STATE_CHANGED, STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import Event, EventStateChangedData, HomeAssistant, callback
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.event import async_track_state_change_event
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_mock_service

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.collecting import collector, shown_phase
from custom_components.ulogger.collecting.device_state import DeviceEvent
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.activity import EVENT_LOGGED
from custom_components.ulogger.outbox.errors import OutboxLocked
from custom_components.ulogger.outbox.model import DeviceCounters
from custom_components.ulogger.outbox.outbox import Outbox
from demo.device.radio import Air
from demo.device.samples import sample_log
from tests.support.account import ToldTransport
from tests.support.bluetooth import ADDRESS
from tests.support.road import LOG, Road


@pytest.fixture
def lines(hass: HomeAssistant) -> list[str]:
    """Return the lines of the activity from now on, as its live view decides on them."""
    lines: list[str] = []

    @callback
    def note(event: Event[Any]) -> None:
        if event.event_type == EVENT_LOGGED:
            lines.append(f"logged {event.data['levels']}")
            return
        state = event.data["new_state"]
        lines.append(f"{state.entity_id} {state.state}")

    async_subscribe_events(hass, [], note, {EVENT_LOGGED}, None, None, None)
    return lines


@pytest.fixture
def changes(hass: HomeAssistant) -> list[str]:
    """Return what becomes of states from now on."""
    changes: list[str] = []

    @callback
    def note(event: Event[EventStateChangedData]) -> None:
        before, now = event.data["old_state"], event.data["new_state"]
        if before is not None and now is not None and before.state != now.state:
            changes.append(f"{now.entity_id} {now.state}")

    hass.bus.async_listen(EVENT_STATE_CHANGED, note)
    return changes


async def met(road: Road, entry: MockConfigEntry) -> DeviceCoordinator:
    """Have a device met that has nothing, and let a minute pass."""
    road.device(log=b"")
    coordinator = await road.adopted(entry)
    await road.idle(coordinator)
    await road.pass_time(seconds=60)
    return coordinator


async def routine(road: Road, coordinator: DeviceCoordinator, log: bytes) -> None:
    """Have the device collected by itself, with a log in it."""
    del road.adapter.devices[ADDRESS]
    road.device(log=log, heard=False)
    ended = len(coordinator.timeline) + 1
    over = asyncio.Event()
    stop = coordinator.async_add_listener(
        lambda: over.set() if len(coordinator.timeline) == ended else None
    )
    await road.pass_time(minutes=16)
    async with asyncio.timeout(15):
        await over.wait()
    stop()
    await road.idle(coordinator)
    await road.hass.async_block_till_done()


async def counted(road: Road, account: MockConfigEntry) -> None:
    """Wait until a capture went up, and it was counted after its collection had ended."""
    await road.until_shown(account, "uploads", "1")
    await road.pass_time(seconds=5)
    await road.until(lambda: road.state(account, "last_upload") != STATE_UNKNOWN)
    await road.hass.async_block_till_done()


async def test_a_routine_collection_that_brought_something_is_shown_and_no_line(
    account: MockConfigEntry, road: Road, lines: list[str], changes: list[str]
) -> None:
    coordinator = await met(road, account)
    lines.clear()
    changes.clear()
    await routine(road, coordinator, LOG)
    await counted(road, account)
    uploaded = road.entity_id(account, "last_upload")
    assert [line.split()[0] for line in changes].count(uploaded) == 1
    assert lines == []


async def test_a_log_and_a_core_dump_that_go_up_one_after_the_other_are_one_upload(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, changes: list[str]
) -> None:
    coordinator = await met(road, account)
    uploaded = road.entity_id(account, "last_upload")
    changes.clear()
    coordinator.counters_changed(DeviceCounters(last_upload=1_790_000_000.0, waiting=1))
    coordinator.counters_changed(DeviceCounters(last_upload=1_790_000_002.0))
    await hass.async_block_till_done()
    assert [line for line in changes if line.startswith(uploaded)] == [
        f"{uploaded} 2026-09-21T14:13:22+00:00"
    ]


async def test_a_log_that_goes_up_while_the_core_dump_is_still_fetched_is_not_shown_yet(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, changes: list[str]
) -> None:
    coordinator = await met(road, account)
    uploaded = road.entity_id(account, "last_upload")

    async def wait(_address: str) -> None:
        coordinator.counters_changed(DeviceCounters(last_upload=1_790_000_000.0))
        await hass.async_block_till_done()
        assert not any(line.startswith(uploaded) for line in changes)
        coordinator.counters_changed(DeviceCounters(last_upload=1_790_000_002.0))

    road.adapter.disconnecting = wait
    with patch.object(coordinator.account, "refresh_soon") as refresh_soon:
        await coordinator.async_collect()
    await hass.async_block_till_done()
    assert not any(line.startswith(uploaded) for line in changes)
    refresh_soon.assert_called_with()
    coordinator.counters_changed(coordinator.data.counters)
    said = [line for line in changes if line.startswith(uploaded)]
    assert said == [f"{uploaded} 2026-09-21T14:13:22+00:00"]


async def test_a_routine_collection_that_brought_nothing_is_no_line(
    account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    lines.clear()
    await routine(road, coordinator, b"")
    assert [each.result for each in coordinator.timeline] == ["ok", "ok"]
    assert lines == []


async def test_a_reload_tells_of_nothing(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    await routine(road, coordinator, LOG)
    await counted(road, account)
    before = {state.entity_id: state.state for state in hass.states.async_all()}
    lines.clear()
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert lines == []
    after = hass.states.async_all()
    assert {state.entity_id: state.state for state in after} == before
    assert not any("restored" in state.attributes for state in after)
    await road.pass_time(seconds=61)
    assert not any(state.state == STATE_UNAVAILABLE for state in hass.states.async_all())


async def test_a_connection_that_is_made_anew_by_a_reload_is_no_fault(
    hass: HomeAssistant,
    account: MockConfigEntry,
    transport: ToldTransport,
    road: Road,
    lines: list[str],
) -> None:
    async def connect() -> None:
        transport.tell(ConnectionState.DISCONNECTED)
        await hass.loop.create_future()

    lines.clear()
    with patch.object(transport, "run", connect):
        assert await hass.config_entries.async_reload(account.entry_id)
        await hass.async_block_till_done()
    assert not account.runtime_data.ulogger.cloud.connected
    assert lines == []
    await road.pass_time(seconds=31)
    (line,) = lines
    assert line.endswith("cloud_connection off")


async def test_an_automation_does_not_take_what_is_there_again_for_news(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    """Guarded as people do it, and as our blueprint does."""
    coordinator = await met(road, account)
    coordinator.fire(DeviceEvent.CORE_DUMP, {})
    calls = async_mock_service(hass, "test", "told")
    event = road.entity_id(account, "device_event")
    trigger = {"trigger": "state", "entity_id": event, "not_from": "unavailable"}
    triggers = [{**trigger, "not_to": ["unavailable", "unknown"]}]
    triggers.append({"trigger": "ulogger.crashed", "target": {"entity_id": event}})
    automation = {"triggers": triggers, "actions": {"action": "test.told"}}
    assert await async_setup_component(hass, "automation", {"automation": automation})
    await hass.async_block_till_done()
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert calls == []
    account.runtime_data.devices[coordinator.identity.key].fire(DeviceEvent.CORE_DUMP, {})
    await hass.async_block_till_done()
    assert len(calls) == 2


async def test_an_account_that_does_not_come_back_gives_its_states_up(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await met(road, account)
    shown = len(hass.states.async_all())
    with patch.object(Outbox, "open", side_effect=OutboxLocked("taken")):
        assert not await hass.config_entries.async_reload(account.entry_id)
        await hass.async_block_till_done()
        assert not any(each.state == STATE_UNAVAILABLE for each in hass.states.async_all())
        await road.pass_time(seconds=61)
    states = hass.states.async_all()
    assert [each.state for each in states] == [STATE_UNAVAILABLE] * shown


async def test_an_account_that_is_removed_leaves_no_state_behind(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await met(road, account)
    assert hass.states.async_all() != []
    await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    assert hass.states.async_all() == []


async def test_an_account_that_is_disabled_shows_it_at_once(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await met(road, account)
    by_a_person = ConfigEntryDisabler.USER
    await hass.config_entries.async_set_disabled_by(account.entry_id, by_a_person)
    await hass.async_block_till_done()
    # 2026.11 takes the states away instead.
    assert {each.state for each in hass.states.async_all()} <= {STATE_UNAVAILABLE}


async def test_what_a_person_asks_for_is_shown_while_it_goes_on(
    account: MockConfigEntry, road: Road, lines: list[str], changes: list[str]
) -> None:
    coordinator = await met(road, account)
    del road.adapter.devices[ADDRESS]
    road.device(log=LOG, heard=False)
    lines.clear()
    changes.clear()
    await coordinator.async_collect()
    await road.hass.async_block_till_done()
    state = road.entity_id(account, "state")
    assert [line for line in changes if line.startswith(f"{state} ")] == [
        f"{state} {phase}" for phase in ("connecting", "downloading", "idle")
    ]
    await counted(road, account)
    assert lines == []


async def test_a_long_collection_is_shown_whoever_wanted_it(
    account: MockConfigEntry, road: Road
) -> None:
    coordinator = await met(road, account)
    del road.adapter.devices[ADDRESS]
    slow = Air(interval=0.01, packets_up=1, packets_down=1)
    road.device(log=sample_log(4000, seed=5), heard=False, air=slow)
    with patch.object(shown_phase, "SHOWN_AFTER", 0.2):
        await road.pass_time(minutes=16)
        await road.until_shown(account, "state", "downloading")
        await road.until_shown(account, "state", "idle")
    await road.idle(coordinator)


async def test_the_state_leaves_downloading_when_the_transfer_has_ended(
    account: MockConfigEntry, road: Road
) -> None:
    coordinator = await met(road, account)
    del road.adapter.devices[ADDRESS]
    device = road.device(log=LOG, heard=False)
    taking_leave, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_address: str) -> None:
        taking_leave.set()
        await go_on.wait()

    road.adapter.disconnecting = wait
    asked = asyncio.ensure_future(coordinator.async_collect())
    async with asyncio.timeout(15):
        await taking_leave.wait()
    assert device.empty
    assert not asked.done()
    assert road.state(account, "state") == "idle"
    assert road.state(account, "download_progress") == "unknown"
    go_on.set()
    await asked


async def test_waiting_for_a_connection_is_a_state_of_its_own(
    account: MockConfigEntry, road: Road
) -> None:
    coordinator = await met(road, account)
    taken = BleakOutOfConnectionSlotsError("all are taken")
    with patch.object(bleak_retry_connector, "establish_connection", side_effect=taken):
        await road.pass_time(minutes=16)
        await road.idle(coordinator)
        # It may be over in a moment: nobody is told yet.
        assert coordinator.data.phase == "waiting_for_slot"
        assert road.state(account, "state") == "idle"
        await road.pass_time(seconds=shown_phase.SHOWN_AFTER + 1)
        await road.idle(coordinator)
        assert road.state(account, "state") == "waiting_for_slot"
        assert road.state(account, "last_error") == "none"
    await road.pass_time(seconds=6)
    await road.until_shown(account, "state", "idle")


async def test_an_error_is_shown_until_a_session_succeeds_not_while_it_is_tried_again(
    account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    road.adapter.devices[ADDRESS].in_reach = False
    await road.pass_time(minutes=16)
    await road.until_shown(account, "state", "error")
    lines.clear()
    sessions = len(coordinator.timeline)
    await road.pass_time(seconds=20)
    await road.idle(coordinator)
    assert len(coordinator.timeline) > sessions
    assert lines == []


def test_a_phase_that_passes_is_not_shown_before_it_takes_long(hass: HomeAssistant) -> None:
    changed: list[None] = []
    phases = shown_phase.ShownPhase(hass, lambda: changed.append(None))
    phases.update(shown_phase.Phase.CONNECTING)
    assert phases.phase == "idle"
    phases.awaited()
    assert phases.phase == "connecting"
    phases.update(shown_phase.Phase.ERROR)
    phases.session_ended()
    phases.update(shown_phase.Phase.CONNECTING)
    assert phases.phase == "error"
    phases.stop()
    assert changed == []


# In range or away


async def test_a_device_that_goes_away_shows_that(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    coordinator = await met(road, account)
    assert road.state(account, "in_range") == "on"
    coordinator.lost()
    assert road.state(account, "in_range") == "off"
    road.adapter.hear(news_of(road))
    await hass.async_block_till_done()
    assert road.state(account, "in_range") == "on"


def news_of(road: Road) -> Any:
    """Return the device with another name: Home Assistant tells the same news only once."""
    device = road.adapter.devices[ADDRESS]
    device.name = "uLogger Example, again"
    return device


@pytest.fixture
def everything_enabled() -> Iterator[None]:
    """Have entities enabled that are disabled at first."""
    enabled = PropertyMock(return_value=True)
    with patch.object(Entity, "entity_registry_enabled_default", enabled):
        yield


@pytest.mark.usefixtures("everything_enabled")
async def test_when_a_device_is_due_is_not_told_while_it_is_away(
    account: MockConfigEntry, road: Road
) -> None:
    coordinator = await met(road, account)
    assert road.state(account, "next_collection") != "unknown"
    coordinator.lost()
    assert road.state(account, "next_collection") == "unknown"


@pytest.mark.usefixtures("everything_enabled")
async def test_when_a_device_was_seen_is_told_once_a_minute_at_most(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await met(road, account)
    told: list[str] = []
    entity_id = road.entity_id(account, "last_seen")
    async_track_state_change_event(hass, entity_id, lambda event: told.append(entity_id))
    for number in range(20):
        device = road.adapter.devices[ADDRESS]
        device.name = f"uLogger Example {number}"
        road.adapter.hear(device)
    await hass.async_block_till_done()
    assert told == []


@pytest.mark.usefixtures("everything_enabled")
async def test_when_a_device_was_seen_is_told_though_it_says_the_same_again_and_again(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    coordinator = await met(road, account)
    coordinator.record.last_seen = 1_790_000_000.0
    coordinator.show(last_seen=dt_util.utc_from_timestamp(1_790_000_000))
    with patch.object(collector, "SEEN_EVERY", 0.0):
        road.adapter.hear(road.adapter.devices[ADDRESS])
        await road.pass_time(minutes=1)
    seen = dt_util.parse_datetime(road.state(account, "last_seen"))
    assert seen is not None
    assert abs(seen - dt_util.utcnow()) < timedelta(minutes=2)
