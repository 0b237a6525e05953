"""What a device and its account show, while they are collected and afterwards."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest
from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN, EntityCategory
from homeassistant.core import Event, HomeAssistant, State, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity import Entity
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.collecting.device_state import DeviceEvent
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import Capture, CaptureKind
from tests.support.account import CRASH_DUMP, CRASH_LOG, ToldTransport
from tests.support.bluetooth import ADDRESS
from tests.support.road import IDENTITY, LOG, Road
from tests.support.said import read_all

ALL = len(CRASH_LOG) + len(CRASH_DUMP)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def everything_enabled() -> Iterator[None]:
    """Have entities enabled that are disabled at first."""
    enabled = PropertyMock(return_value=True)
    with patch.object(Entity, "entity_registry_enabled_default", enabled):
        yield


def shown(hass: HomeAssistant, road: Road, entry: MockConfigEntry, key: str) -> State:
    """Return the state of one of the device's entities."""
    state = hass.states.get(road.entity_id(entry, key))
    assert state is not None, key
    return state


def history(hass: HomeAssistant, domain: str) -> list[State]:
    """Write down every state that entities of a kind take from now on."""
    states: list[State] = []

    @callback
    def note(event: Event[Any]) -> None:
        state = event.data["new_state"]
        if state is not None and state.entity_id.startswith(f"{domain}."):
            states.append(state)

    hass.bus.async_listen("state_changed", note)
    return states


async def collected_crash(road: Road, entry: MockConfigEntry) -> None:
    """Collect a log and a core dump, up to the acknowledgement of both."""
    device = road.device(log=CRASH_LOG, core_dump=CRASH_DUMP)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    await road.until(lambda: road.state(entry, "uploads") == "2")
    await read_all(entry.runtime_data)


def phases_of(states: list[State], entity_id: str) -> list[str]:
    """Return what an entity showed in turn."""
    shown = [each.state for each in states if each.entity_id == entity_id]
    return [a for a, b in zip(shown, [None, *shown], strict=False) if a != b]


def happened(kind: str, states: list[State]) -> State:
    """Find the event of a kind."""
    return next(state for state in states if state.attributes.get("event_type") == kind)


# States


@pytest.mark.usefixtures("everything_enabled")
async def test_everything_is_shown_of_a_crash_that_was_collected(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await collected_crash(road, account)
    assert {
        key: road.state(account, key)
        for key in (
            "state",
            "uploads",
            "core_dumps",
            "duplicates",
            "captures_waiting",
            "last_upload_size",
            "download_progress",
            "last_error",
            "firmware_version",
            "signal_strength",
            "log_level_until",
            "session_token",
            "collect",
            "log_level",
        )
    } == {
        "state": "idle",
        "uploads": "2",
        "core_dumps": "1",
        "duplicates": "0",
        "captures_waiting": "0",
        "last_upload_size": str(len(CRASH_DUMP)),
        "download_progress": STATE_UNKNOWN,
        "last_error": "none",
        "firmware_version": "4.24.2",
        "signal_strength": "-58",
        "log_level_until": STATE_UNKNOWN,
        "session_token": "on",
        "collect": "on",
        "log_level": "device_default",
    }
    for key in ("bytes_uploaded", "bytes_today"):
        assert float(road.state(account, key)) == pytest.approx(ALL / 1000)
    assert shown(hass, road, account, "firmware_version").attributes["git_hash"] == "bc53443"
    now = dt_util.utcnow()
    for key in ("last_upload", "last_core_dump"):
        when = dt_util.parse_datetime(road.state(account, key))
        assert when is not None
        assert abs(now - when) < MINUTE
    due = dt_util.parse_datetime(road.state(account, "next_collection"))
    assert due is not None
    assert abs(due - now - timedelta(minutes=15)) < MINUTE


@pytest.mark.usefixtures("everything_enabled")
@pytest.mark.parametrize(
    ("key", "unit", "device_class", "state_class", "category"),
    [
        ("state", None, "enum", None, None),
        ("last_upload", None, "timestamp", None, None),
        ("last_upload_size", "B", "data_size", "measurement", None),
        ("uploads", None, None, "total_increasing", None),
        ("bytes_uploaded", "kB", "data_size", "total_increasing", None),
        ("bytes_today", "kB", "data_size", "total_increasing", "diagnostic"),
        ("captures_waiting", None, None, "measurement", None),
        ("core_dumps", None, None, "total_increasing", None),
        ("errors", None, None, "total_increasing", None),
        ("warnings", None, None, "total_increasing", None),
        ("last_core_dump", None, "timestamp", None, None),
        ("duplicates", None, None, "total_increasing", "diagnostic"),
        ("download_progress", "%", None, "measurement", "diagnostic"),
        ("last_error", None, "enum", None, "diagnostic"),
        ("next_collection", None, "timestamp", None, "diagnostic"),
        ("last_seen", None, "timestamp", None, "diagnostic"),
        ("in_range", None, None, None, None),
        ("firmware_version", None, None, None, "diagnostic"),
        ("signal_strength", "dBm", "signal_strength", "measurement", "diagnostic"),
        ("log_level_until", None, "timestamp", None, "diagnostic"),
        ("session_token", None, None, None, "diagnostic"),
        ("collect", None, None, None, "config"),
    ],
)
async def test_statistics_and_dashboards_are_told_what_a_number_is(
    hass: HomeAssistant,
    road: Road,
    account: MockConfigEntry,
    device: object,
    key: str,
    unit: str | None,
    device_class: str | None,
    state_class: str | None,
    category: str | None,
) -> None:
    await hass.async_block_till_done()
    attributes = shown(hass, road, account, key).attributes
    assert attributes.get("unit_of_measurement") == unit
    assert attributes.get("device_class") == device_class
    assert attributes.get("state_class") == state_class
    registered = er.async_get(hass).async_get(road.entity_id(account, key))
    assert registered is not None
    assert registered.entity_category == (category and EntityCategory(category))


@pytest.mark.as_installed
async def test_a_family_sees_few_entities_of_a_device(
    hass: HomeAssistant, account: MockConfigEntry, device: object
) -> None:
    await hass.async_block_till_done()
    entries = er.async_entries_for_config_entry(er.async_get(hass), account.entry_id)
    ours = [each for each in entries if "-42-" in each.unique_id]
    enabled = {
        each.unique_id.rsplit("-", 1)[1]: each.entity_category for each in ours if not each.disabled
    }
    diagnostic = {key for key, category in enabled.items() if category == "diagnostic"}
    assert diagnostic == {"firmware_version", "last_error"}
    assert enabled.keys() - diagnostic == {
        "state",
        "last_upload",
        "captures_waiting",
        "last_crash",
        "device_event",
        "upload_now",
        "collect",
        "in_range",
    }


@pytest.mark.as_installed
async def test_a_metric_of_a_device_is_shown_as_diagnostic(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await hass.async_block_till_done()
    account.runtime_data.metric_found.notify(device, "battery_mv")
    await hass.async_block_till_done()
    (found,) = [
        each
        for each in er.async_entries_for_config_entry(er.async_get(hass), account.entry_id)
        if each.original_name == "battery_mv"
    ]
    assert (found.disabled, found.entity_category) == (False, EntityCategory.DIAGNOSTIC)


# While it is collected


async def test_the_state_goes_along_with_the_road(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, road: Road
) -> None:
    road.device(log=b"")
    coordinator = await road.adopted(account)
    await road.idle(coordinator)
    del road.adapter.devices[ADDRESS]
    states = history(hass, "sensor")
    transport.tell(ConnectionState.DISCONNECTED)
    road.device(log=CRASH_LOG)
    await coordinator.async_collect()
    # It has waited for long enough to be worth telling.
    await road.until_shown(account, "captures_waiting", "1")
    await road.pass_time(seconds=11)
    assert road.state(account, "state") == "waiting_for_cloud"
    transport.tell(ConnectionState.CONNECTED)
    await road.until_shown(account, "uploads", "1")
    await road.until_shown(account, "state", "idle")
    state = road.entity_id(account, "state")
    assert phases_of(states, state) == [
        "connecting",
        "downloading",
        "idle",
        "waiting_for_cloud",
        "idle",
    ]
    progress = road.entity_id(account, "download_progress")
    steps = [each for each in states if each.entity_id == progress]
    percent = [int(each.state) for each in steps if each.state != STATE_UNKNOWN]
    assert percent == sorted(percent)
    assert percent[-1] == 100
    assert any(0 < each < 100 for each in percent)
    known = [each.attributes for each in steps if each.state != STATE_UNKNOWN]
    assert {each["bytes_total"] for each in known} == {len(CRASH_LOG)}
    assert known[-1]["bytes_done"] == len(CRASH_LOG)
    assert steps[-1].state == STATE_UNKNOWN
    assert steps[-1].attributes["bytes_done"] is None


async def test_an_error_is_shown_by_its_reason_until_a_session_succeeds(
    hass: HomeAssistant, account: MockConfigEntry, device: Any, road: Road
) -> None:
    there = road.device(heard=False)
    there.in_reach = False
    road.adapter.hear(there)
    await road.until_shown(account, "state", "error")
    assert road.state(account, "last_error") == "connection_failed"
    there.in_reach = True
    await device.async_collect()
    await road.until_shown(account, "last_error", "none")
    assert road.state(account, "state") != "error"


@pytest.mark.usefixtures("everything_enabled")
async def test_out_of_range_only_the_signal_is_unavailable(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    await collected_crash(road, account)
    road.coordinator(account).lost()
    assert road.state(account, "signal_strength") == STATE_UNAVAILABLE
    entries = er.async_entries_for_config_entry(er.async_get(hass), account.entry_id)
    unavailable = {
        each.unique_id.rsplit("-", 1)[1]
        for each in entries
        if (state := hass.states.get(each.entity_id)) is None or state.state == STATE_UNAVAILABLE
    }
    assert unavailable == {"signal_strength"}


# The event entity


@pytest.mark.usefixtures("everything_enabled")
async def test_the_event_entities_tell_of_a_crash_from_device_to_cloud(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    events = history(hass, "event")
    await collected_crash(road, account)
    told = [each for each in events if each.attributes.get("event_type") in set(DeviceEvent)]
    kinds = [(each.attributes["event_type"], each.attributes.get("kind")) for each in told]
    assert sorted(kinds) == [
        ("collected", "core_dump"),
        ("collected", "log"),
        ("core_dump", "core_dump"),
        ("uploaded", "core_dump"),
        ("uploaded", "log"),
    ]
    entities = {each.attributes["event_type"]: each.entity_id for each in told}
    assert entities["core_dump"] == road.entity_id(account, "device_event")
    assert entities["collected"] == road.entity_id(account, "capture_event")
    assert entities["uploaded"] == road.entity_id(account, "capture_event")
    lines = [each for each in events if "format_address" in each.attributes]
    assert len(lines) == 8
    # Nothing is read before the device was released.
    assert events.index(lines[0]) > events.index(happened("collected", events))
    sizes = {"log": len(CRASH_LOG), "core_dump": len(CRASH_DUMP)}
    assert all(each.attributes["bytes"] == sizes[each.attributes["kind"]] for each in told)
    crash = happened("core_dump", events)
    assert crash.attributes["pc"].startswith("0x")
    assert int(crash.attributes["pc"], 16)
    assert int(crash.attributes["lr"], 16)
    assert crash.attributes["pc"] in crash.attributes["summary"]
    assert crash.attributes["firmware_version"] == "4.24.2"
    assert (crash.attributes["is_new"], crash.attributes["regressed"]) == (True, False)


@pytest.mark.usefixtures("everything_enabled")
async def test_the_event_entity_tells_of_what_came_twice(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    header = LogHeader.parse(LOG)
    log = replace(header, anchor_tick=100_000).pack() + LOG[header.size :]
    road.device(log=b"")
    coordinator = await road.adopted(account)
    await coordinator.async_collect()
    # It is here already, but nobody knows that the device has erased it.
    await account.runtime_data.account.outbox.add(
        Capture(CaptureKind.LOG, IDENTITY, log, time.time())
    )
    del road.adapter.devices[ADDRESS]
    events = history(hass, "event")
    again = road.device(log=log)
    await coordinator.async_collect()
    assert again.empty
    await hass.async_block_till_done()
    duplicate = happened("duplicate", events)
    assert duplicate.attributes["kind"] == "log"
    assert duplicate.attributes["bytes"] == len(LOG)
    assert "collected" not in [each.attributes.get("event_type") for each in events]


async def test_the_event_entity_tells_of_other_firmware(
    hass: HomeAssistant, account: MockConfigEntry, device: Any, road: Road
) -> None:
    await hass.async_block_till_done()
    events = history(hass, "event")
    device.identified(replace(IDENTITY, git_version="5.0.0", git_hash="0ddba11"))
    device.identified(replace(IDENTITY, git_version="5.0.0", git_hash="0ddba11"))
    await hass.async_block_till_done()
    [changed] = events
    assert changed.attributes["event_type"] == "firmware_changed"
    assert changed.attributes["from_version"] == "4.24.2"
    assert changed.attributes["to_version"] == "5.0.0"
    assert changed.attributes["from_git_hash"] == "bc53443"
    assert changed.attributes["to_git_hash"] == "0ddba11"
    assert road.state(account, "firmware_version") == "5.0.0"


async def test_a_failed_upload_is_told_once_for_each_reason(
    hass: HomeAssistant, account: MockConfigEntry, device: Any
) -> None:
    await hass.async_block_till_done()
    events = history(hass, "event")
    for reason in ("cloud_unavailable", "cloud_unavailable", "message_refused"):
        device.delivery_failed("uLogger", reason, 7)
    assert [each.attributes["reason"] for each in events] == [
        "cloud_unavailable",
        "message_refused",
    ]
    assert {each.attributes["event_type"] for each in events} == {"upload_failed"}
    assert {each.attributes["capture"] for each in events} == {7}
    assert {each.attributes["destination"] for each in events} == {"uLogger"}


# The account


async def test_the_account_shows_its_connection_and_what_waits(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, road: Road
) -> None:
    connection = hass.states.get(road.entity_id(account, "cloud_connection", None))
    assert connection is not None
    assert connection.state == "on"
    assert connection.attributes["device_class"] == "connectivity"
    transport.tell(ConnectionState.DISCONNECTED)
    await hass.async_block_till_done()
    assert road.state(account, "cloud_connection", None) == "off"
    device = road.device(log=CRASH_LOG)
    await road.collected(device)
    await road.until_shown(account, "captures_waiting", "1", None)
    assert float(road.state(account, "outbox_size", None)) == pytest.approx(len(CRASH_LOG) / 1000)
    size = hass.states.get(road.entity_id(account, "outbox_size", None))
    assert size is not None
    assert size.attributes["unit_of_measurement"] == "kB"
    assert size.attributes["state_class"] == "measurement"
    transport.tell(ConnectionState.CONNECTED)
    await road.until_shown(account, "captures_waiting", "0", None)
    assert float(road.state(account, "outbox_size", None)) == 0


async def test_the_account_shows_when_its_certificate_expires(
    account: MockConfigEntry, road: Road
) -> None:
    expiry = dt_util.parse_datetime(road.state(account, "certificate_expiry", None))
    assert expiry is not None
    assert abs(expiry - datetime.now(UTC) - timedelta(days=1000)) < timedelta(hours=1)
