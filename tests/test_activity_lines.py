"""One line of the activity at most for a collection, whatever it brought and whoever wanted it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from homeassistant.components import bluetooth
from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.history import get_significant_states
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
)
from pytest_homeassistant_custom_component.typing import (
    RecorderInstanceContextManager,
    WebSocketGenerator,
)

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.collecting import shown_phase
from custom_components.ulogger.collecting.device_state import Phase
from custom_components.ulogger.model.level import Level
from demo.device.radio import Air
from demo.device.samples import sample_log
from demo.living import line_frame
from tests.support.account import ToldTransport
from tests.support.bluetooth import ADDRESS
from tests.support.encoder import Log, Said
from tests.support.road import CORE_DUMP, IDENTITY, LOG, Road
from tests.support.said import read_all
from tests.test_activity import changes, lines, met, routine

__all__ = ["changes", "lines"]

pytestmark = pytest.mark.as_installed

ERROR, CRITICAL = 3, 4


@pytest.fixture
def mock_recorder_before_hass(async_test_recorder: RecorderInstanceContextManager) -> None:
    """Have a database ready where a test asks for the recorder."""


def telling(*levels: int, start: int = 0) -> bytes:
    """Return a log with a line of each level."""
    frames = tuple(
        Said(32768, level, 3, 0x400 + start + place, (("int", place),))
        for place, level in enumerate(levels)
    )
    return Log(frames, 4, anchor=32768 * (1000 + start)).encoded()


def having(road: Road, log: bytes, core_dump: bytes | None = None, **more: Any) -> Any:
    """Have the device hold something."""
    road.adapter.devices.pop(ADDRESS, None)
    return road.device(log=log, core_dump=core_dump, heard=False, **more)


async def all_told(road: Road, account: MockConfigEntry) -> None:
    """Wait until what came was read, went up, and was counted."""
    await read_all(account.runtime_data)
    await road.pass_time(seconds=5)
    await read_all(account.runtime_data)


async def test_errors_are_one_sentence(
    account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    lines.clear()
    await routine(road, coordinator, telling(ERROR, CRITICAL, ERROR))
    await all_told(road, account)
    assert lines == ["logged {'critical': 1, 'error': 2}"]


async def test_a_crash_with_errors_before_it_is_one_line(
    account: MockConfigEntry, road: Road, lines: list[str], changes: list[str]
) -> None:
    coordinator = await met(road, account)
    having(road, telling(ERROR, CRITICAL), CORE_DUMP)
    lines.clear()
    await coordinator.async_collect()
    await all_told(road, account)
    event = road.entity_id(account, "device_event")
    assert [line.split()[0] for line in lines] == [event]
    changed = {line.split()[0] for line in changes}
    shown = {road.entity_id(account, key) for key in ("last_crash", "last_upload")}
    assert shown < changed
    # What has a unit is drawn as a curve.
    states = [road.hass.states.get(entity_id) for entity_id in shown]
    assert not any("unit_of_measurement" in state.attributes for state in states if state)
    assert coordinator.heard.errors == 2


async def test_errors_after_a_crash_are_told_again(
    account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    having(road, telling(ERROR), CORE_DUMP)
    await coordinator.async_collect()
    await all_told(road, account)
    lines.clear()
    having(road, telling(ERROR, start=50))
    await coordinator.async_collect()
    await all_told(road, account)
    assert lines == ["logged {'error': 1}"]


@pytest.mark.parametrize("log", [LOG, telling(ERROR, CRITICAL)], ids=["plain", "with errors"])
async def test_new_firmware_is_one_line(
    account: MockConfigEntry, road: Road, lines: list[str], changes: list[str], log: bytes
) -> None:
    coordinator = await met(road, account)
    having(road, log, identity=replace(IDENTITY, git_version="5.0.0", git_hash="0ddba11"))
    lines.clear()
    await coordinator.async_collect()
    await all_told(road, account)
    event = road.entity_id(account, "device_event")
    assert [line.split()[0] for line in lines] == [event]
    assert f"{road.entity_id(account, 'firmware_version')} 5.0.0" in changes


async def test_several_logs_of_a_device_that_is_followed_are_one_sentence(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    device = having(road, telling(ERROR))
    lines.clear()
    coordinator.set_live(live=True)
    async with asyncio.timeout(15):
        await device.emptied.wait()
        device.emptied.clear()
        device.firmware.append_log(line_frame(Level.CRITICAL, 1, 0x448, 7))
        await device.emptied.wait()
    await read_all(account.runtime_data)
    assert lines == []
    coordinator.set_live(live=False)
    await road.idle(coordinator)
    await all_told(road, account)
    assert lines == ["logged {'critical': 1, 'error': 1}"]


async def test_a_failure_and_its_end_are_shown_and_no_lines(
    account: MockConfigEntry, road: Road, lines: list[str], changes: list[str]
) -> None:
    coordinator = await met(road, account)
    device = having(road, LOG)
    device.in_reach = False
    lines.clear()
    await road.pass_time(minutes=16)
    await road.until_shown(account, "state", "error")
    assert road.state(account, "last_error") == "connection_failed"
    device.in_reach = True
    await coordinator.async_collect()
    await all_told(road, account)
    assert road.state(account, "last_error") == "none"
    assert road.state(account, "state") == "idle"
    assert lines == []


async def test_the_state_is_kept_out_only_while_it_changes(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, lines: list[str]
) -> None:
    """What has a unit is drawn as a curve; a history of states is one of coloured bars."""
    coordinator = await met(road, account)
    lines.clear()
    coordinator.show(phase=Phase.ERROR)
    shown = hass.states.get(road.entity_id(account, "state"))
    assert shown is not None
    assert shown.state == "error"
    assert "unit_of_measurement" not in shown.attributes
    assert lines == []


async def test_a_collection_that_takes_long_is_no_line(
    account: MockConfigEntry, road: Road, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await met(road, account)
    having(road, sample_log(4000, seed=5), air=Air(interval=0.01, packets_up=1, packets_down=1))
    monkeypatch.setattr(shown_phase, "SHOWN_AFTER", 0.2)
    lines.clear()
    await road.pass_time(minutes=16)
    await road.until_shown(account, "state", "downloading")
    await road.until_shown(account, "state", "idle")
    await all_told(road, account)
    assert lines == []


async def test_a_device_that_was_connected_for_long_is_not_told_to_have_gone(
    account: MockConfigEntry, road: Road, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Home Assistant forgets it meanwhile: nothing advertises while it is connected."""
    coordinator = await met(road, account)
    having(road, LOG)

    async def forgotten(_address: str) -> None:
        monkeypatch.setattr(bluetooth, "async_address_present", lambda *_, **__: False)
        monkeypatch.setattr(bluetooth, "async_last_service_info", lambda *_, **__: None)

    road.adapter.disconnecting = forgotten
    lines.clear()
    await coordinator.async_collect()
    await all_told(road, account)
    assert lines == []
    await road.pass_time(minutes=1)
    in_range = road.entity_id(account, "in_range")
    assert [line for line in lines if in_range in line] == [f"{in_range} off"]


async def test_collections_while_the_cloud_is_away_are_no_lines(
    account: MockConfigEntry, transport: ToldTransport, road: Road, lines: list[str]
) -> None:
    coordinator = await met(road, account)
    transport.tell(ConnectionState.DISCONNECTED)
    await routine(road, coordinator, LOG)
    await road.pass_time(seconds=60)
    await road.until_shown(account, "state", "waiting_for_cloud")
    lines.clear()
    await routine(road, coordinator, sample_log(900, seed=3))
    await all_told(road, account)
    assert road.state(account, "state") == "waiting_for_cloud"
    assert [line for line in lines if "cloud_connection" not in line] == []


async def test_the_activity_of_a_device_has_one_line_for_a_crash_and_its_state_a_history(
    recorder_mock: Recorder,
    hass: HomeAssistant,
    account: MockConfigEntry,
    road: Road,
    hass_ws_client: WebSocketGenerator,
) -> None:
    assert await async_setup_component(hass, "logbook", {})
    coordinator = await met(road, account)
    await async_wait_recording_done(hass)
    began = dt_util.utcnow()
    having(road, telling(ERROR), CORE_DUMP)
    await coordinator.async_collect()
    await all_told(road, account)
    await async_wait_recording_done(hass)
    device_id = road.device_id(account)
    of_device = er.async_entries_for_device(er.async_get(hass), device_id)
    client = await hass_ws_client()
    for asked in (
        {},
        {"device_ids": [device_id], "entity_ids": [each.entity_id for each in of_device]},
    ):
        await client.send_json_auto_id(
            {"type": "logbook/get_events", "start_time": began.isoformat(), **asked}
        )
        told = (await client.receive_json())["result"]
        assert [line["entity_id"] for line in told] == [road.entity_id(account, "device_event")]
    state = road.entity_id(account, "state")
    shown = hass.states.get(state)
    assert shown is not None
    assert "unit_of_measurement" not in shown.attributes
    kept = await get_instance(hass).async_add_executor_job(
        get_significant_states, hass, began, None, [state]
    )
    phases = [each.state for each in kept[state]]  # type: ignore[union-attr]
    assert "downloading" in phases
    assert phases[-1] == "idle"
