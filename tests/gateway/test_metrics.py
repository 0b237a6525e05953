"""What devices measure becomes sensors, and long-term statistics at its own time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder import Recorder
from homeassistant.components.recorder.statistics import get_metadata
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.recorder import get_instance
from homeassistant.util import dt as dt_util
from homeassistant.util.unit_system import US_CUSTOMARY_SYSTEM
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
    statistics_during_period,
)
from pytest_homeassistant_custom_component.typing import RecorderInstanceContextManager

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway import metric_statistics
from custom_components.ulogger.gateway.readings import readings_path
from tests.support.account import APPROVED, SENSOR, certificate, load, log, meet
from tests.support.encoder import Log, Said
from tests.support.fixtures import real_log
from tests.support.said import CAPTURED_AT, read_all, said, stored

METRIC = 5
RATE = 32768
NOON = datetime(2026, 9, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

type Hours = Callable[[], Awaitable[list[tuple[int, float, float, float]]]]


@pytest.fixture(scope="module", autouse=True)
def issued() -> None:
    """Have a certificate before time is frozen: none can be issued then."""
    certificate(1000)


@pytest.fixture
def enable_statistics() -> bool:
    """Have the recorder compile statistics."""
    return True


@pytest.fixture
def mock_recorder_before_hass(async_test_recorder: RecorderInstanceContextManager) -> None:
    """Have a database ready where a test asks for the recorder."""


@pytest.fixture
async def met(hass: HomeAssistant, device: DeviceCoordinator) -> DeviceCoordinator:
    await hass.async_block_till_done()
    return device


def measured(*samples: tuple[datetime, str, float], closed: datetime, version: int = 4) -> bytes:
    """Return a log of a device that was booted at noon and has a clock."""
    ticks = [round((at - NOON).total_seconds() * RATE) for at, _, _ in samples]
    frames = tuple(
        Said(tick - before, METRIC, 0, 0x400, (("string", name), ("double", value)))
        for tick, before, (_, name, value) in zip(ticks, [0, *ticks], samples, strict=False)
    )
    anchor = round((closed - NOON).total_seconds() * RATE)
    epoch_us = round(closed.timestamp() * 1e6)
    return Log(frames, version, anchor=anchor, epoch_us=epoch_us).encoded()


def sensor_id(hass: HomeAssistant, device: DeviceCoordinator, name: str) -> str | None:
    unique_id = device.unique_id(f"metric-{name}")
    return er.async_get(hass).async_get_entity_id("sensor", DOMAIN, unique_id)


def shown(hass: HomeAssistant, device: DeviceCoordinator, name: str) -> State:
    entity_id = sensor_id(hass, device, name)
    assert entity_id is not None
    state = hass.states.get(entity_id)
    assert state is not None
    return state


async def imported(hass: HomeAssistant) -> None:
    """Let everything be imported that is due."""
    await hass.async_block_till_done()
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "Import metrics"]
    if tasks:
        await asyncio.wait(tasks)
    await hass.async_block_till_done()


def last_metrics(set_name: str = "v4-crash") -> dict[str, float]:
    """Return the newest value of each metric of a real capture."""
    return {
        frame["args"][0][1]: frame["args"][1][1]
        for frame in real_log(set_name).expected["frames"]
        if frame["level"] == "METRIC" and frame["args"]
    }


# Sensors


async def test_metrics_of_a_real_capture_become_sensors(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    newest = last_metrics()
    assert newest.keys() == {"rssi", "battery_mv", "packets_rx"}
    for name, value in newest.items():
        state = shown(hass, met, name)
        assert float(state.state) == value
        assert state.attributes["state_class"] == "measurement"
        assert state.attributes["friendly_name"] == f"DoorSenseV2 A87DE76F0011 {name}"
        at = state.attributes["measured_at"].timestamp()
        assert 0 <= CAPTURED_AT - at < 10
    kinds = {
        name: (
            shown(hass, met, name).attributes.get("unit_of_measurement"),
            shown(hass, met, name).attributes.get("device_class"),
        )
        for name in newest
    }
    assert kinds == {
        "rssi": ("dBm", "signal_strength"),
        "battery_mv": ("mV", "voltage"),
        "packets_rx": (None, None),
    }
    entries = er.async_entries_for_config_entry(er.async_get(hass), met.account.entry_id)
    assert len([entry for entry in entries if "-metric-" in entry.unique_id]) == 3


async def test_a_metric_that_comes_later_gets_its_sensor_then(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    assert sensor_id(hass, met, "temp_c") is None
    late = NOON + HOUR
    data = measured((NOON, "temp_c", 20.0), (NOON + HOUR / 2, "temp_c", 21.5), closed=late)
    await stored(met, said(met, data, late.timestamp()))
    assert shown(hass, met, "temp_c").state == "21.5"
    assert shown(hass, met, "temp_c").attributes["measured_at"] == NOON + HOUR / 2
    assert float(shown(hass, met, "rssi").state) == last_metrics()["rssi"]


async def test_sensors_and_values_are_there_after_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    before = {name: shown(hass, met, name) for name in last_metrics()}
    assert await hass.config_entries.async_unload(account.entry_id)
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=61))
    await hass.async_block_till_done()
    assert {shown(hass, met, name).state for name in before} == {"unavailable"}
    assert await hass.config_entries.async_setup(account.entry_id)
    await hass.async_block_till_done()
    device = account.runtime_data.devices[SENSOR.key]
    for name, state in before.items():
        assert shown(hass, device, name).state == state.state
        assert shown(hass, device, name).attributes == state.attributes


async def test_a_metric_that_is_found_while_the_account_is_unloaded_comes_with_the_next_load(
    hass: HomeAssistant,
    account: MockConfigEntry,
    met: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = account.runtime_data
    stop = gateway.async_stop

    async def stopping() -> None:
        gateway.metric_found.notify(met, "battery_mv")
        await stop()

    monkeypatch.setattr(gateway, "async_stop", stopping)
    assert await hass.config_entries.async_unload(account.entry_id)
    assert sensor_id(hass, met, "battery_mv") is None


async def test_a_person_may_choose_another_unit(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    entity_id = sensor_id(hass, met, "battery_mv")
    assert entity_id is not None
    options = {"unit_of_measurement": "V"}
    er.async_get(hass).async_update_entity_options(entity_id, "sensor", options)
    await hass.async_block_till_done()
    state = shown(hass, met, "battery_mv")
    assert state.attributes["unit_of_measurement"] == "V"
    assert float(state.state) == pytest.approx(last_metrics()["battery_mv"] / 1000)


async def test_captures_that_are_read_anew_do_not_bring_back_old_values(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    record = met.record.heard.metrics["rssi"]
    record.value = -1
    assert await hass.config_entries.async_unload(account.entry_id)
    path = readings_path(outbox_path(hass, account.entry_id))
    await hass.async_add_executor_job(path.unlink)
    assert await hass.config_entries.async_setup(account.entry_id)
    await read_all(account.runtime_data)
    assert shown(hass, account.runtime_data.devices[SENSOR.key], "rssi").state == "-1"


# Too many names


def many(count: int, closed: datetime = NOON + HOUR, start: int = 0) -> bytes:
    samples = [(NOON, f"m{number}", float(number)) for number in range(start, start + count)]
    return measured(*samples, closed=closed)


def issues(hass: HomeAssistant) -> list[ir.IssueEntry]:
    found = ir.async_get(hass).issues.values()
    return [issue for issue in found if issue.translation_key == "metric_limit"]


def metric_sensors(hass: HomeAssistant) -> int:
    return sum("-metric-" in entry.unique_id for entry in er.async_get(hass).entities.values())


async def test_a_device_has_at_most_fifty_and_a_repair_names_the_others(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    await stored(met, said(met, many(50), NOON.timestamp() + 3600))
    assert metric_sensors(hass) == 50
    assert issues(hass) == []
    later = NOON + 2 * HOUR
    await stored(met, said(met, many(5, later, start=48), later.timestamp()))
    assert metric_sensors(hass) == 50
    [issue] = issues(hass)
    placeholders = issue.translation_placeholders
    assert placeholders is not None
    assert placeholders["names"] == "m50, m51, m52"
    assert (placeholders["limit"], placeholders["device"]) == ("50", met.called)
    assert shown(hass, met, "m49").state == "49.0"


async def test_another_limit_is_an_option_and_settles_it(
    hass: HomeAssistant, transport: object
) -> None:
    entry = await load(hass, options={**APPROVED, "metric_limit": 2})
    device = meet(entry)
    await hass.async_block_till_done()
    await stored(device, said(device, many(3), NOON.timestamp() + 3600))
    assert metric_sensors(hass) == 2
    assert len(issues(hass)) == 1
    hass.config_entries.async_update_entry(entry, options={**APPROVED, "metric_limit": 3})
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    assert issues(hass) == []
    device = entry.runtime_data.devices[SENSOR.key]
    later = NOON + 2 * HOUR
    await stored(device, said(device, many(1, later, start=2), later.timestamp()))
    assert metric_sensors(hass) == 3
    assert issues(hass) == []


async def test_nobody_who_wants_no_metrics_is_told_about_them(
    hass: HomeAssistant, transport: object
) -> None:
    entry = await load(hass, options={**APPROVED, "metric_limit": 0})
    device = meet(entry)
    await hass.async_block_till_done()
    await stored(device, log())
    assert metric_sensors(hass) == 0
    assert issues(hass) == []


# Long-term statistics


def at_noon_sensor(device: DeviceCoordinator, name: str) -> Any:
    """Return the entity of a metric."""
    return device.account.entry.runtime_data.metric_sensors[device.identity.key, name]


@pytest.fixture
async def hours_of(
    recorder_mock: Recorder, hass: HomeAssistant
) -> Callable[[str], Awaitable[list[tuple[int, float, float, float]]]]:
    """Return what gives a sensor's statistics: (hours from noon, mean, low, high)."""

    async def ask(entity_id: str) -> list[tuple[int, float, float, float]]:
        await async_wait_recording_done(hass)
        rows = await recorder_mock.async_add_executor_job(
            lambda: statistics_during_period(
                hass, NOON - 24 * HOUR, statistic_ids={entity_id}, period="hour"
            )
        )
        return [
            (
                round((row["start"] - NOON.timestamp()) / 3600),
                row["mean"],
                row["min"],
                row["max"],
            )
            for row in rows.get(entity_id, [])
        ]

    return ask


@pytest.fixture
def time_passes(
    recorder_mock: Recorder, hass: HomeAssistant, freezer: FrozenDateTimeFactory
) -> Callable[[datetime], Awaitable[None]]:
    """Return what lets time pass up to a moment, with the recorder's runs on the way."""
    freezer.move_to(NOON)

    async def until(moment: datetime) -> None:
        now = datetime.now(UTC)
        run = now.replace(minute=now.minute - now.minute % 5, second=10, microsecond=0)
        run -= timedelta(minutes=5) if run > now else timedelta()
        while (run := run + timedelta(minutes=5)) <= moment:
            freezer.move_to(run)
            recorder_mock.async_periodic_statistics()
            await async_wait_recording_done(hass)
            await imported(hass)
            await async_wait_recording_done(hass)
        freezer.move_to(moment)

    return until


@pytest.fixture
async def at_noon(
    time_passes: Callable[[datetime], Awaitable[None]], met: DeviceCoordinator
) -> DeviceCoordinator:
    """Return a device that is met at noon, with a recorder that runs."""
    return met


async def test_values_go_to_the_hour_in_which_they_were_measured(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    await time_passes(NOON + 3 * HOUR + timedelta(minutes=20))
    closed = NOON + 3 * HOUR + timedelta(minutes=19)
    data = measured(
        (NOON + 0.1 * HOUR, "temp_c", 10.0),
        (NOON + 0.2 * HOUR, "temp_c", 20.0),
        (NOON + 1.5 * HOUR, "temp_c", 30.0),
        (NOON + 3.1 * HOUR, "temp_c", 40.0),
        (NOON + 3.2 * HOUR, "temp_c", 50.0),
        closed=closed,
    )
    await stored(at_noon, said(at_noon, data, closed.timestamp()))
    entity_id = sensor_id(hass, at_noon, "temp_c")
    assert entity_id is not None
    assert shown(hass, at_noon, "temp_c").state == "50.0"
    await time_passes(NOON + 3 * HOUR + timedelta(minutes=26))
    # The hour that runs still is the recorder's own.
    assert await hours_of(entity_id) == [(0, 15.0, 10.0, 20.0), (1, 30.0, 30.0, 30.0)]
    await time_passes(NOON + 4 * HOUR + timedelta(minutes=6))
    assert (await hours_of(entity_id))[2:] == [(3, 45.0, 40.0, 50.0)]
    await time_passes(NOON + 5 * HOUR + timedelta(minutes=6))
    # Nobody knows more of the next hour than the last value, which the recorder holds.
    assert (await hours_of(entity_id))[3:] == [(4, 50.0, 50.0, 50.0)]


async def test_the_recorder_loses_none_of_its_own_runs(
    hass: HomeAssistant,
    hours_of: Any,
    time_passes: Any,
    at_noon: DeviceCoordinator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows for an hour that it has not written yet would cost it a run of all sensors."""
    hass.states.async_set("sensor.other", "7", {"state_class": "measurement"})
    for quarter in range(1, 13):
        moment = NOON + quarter * HOUR / 4
        await time_passes(moment)
        before = moment - HOUR / 4
        samples = [(before + each * HOUR / 60, "temp_c", float(quarter)) for each in range(1, 14)]
        data = measured(*samples, closed=moment)
        await stored(at_noon, said(at_noon, data, moment.timestamp()))
    await time_passes(NOON + 4 * HOUR + timedelta(minutes=6))
    entity_id = sensor_id(hass, at_noon, "temp_c")
    assert entity_id is not None
    assert [row[:2] for row in await hours_of("sensor.other")] == [(hour, 7.0) for hour in range(4)]
    rows = await hours_of(entity_id)
    assert rows[:3] == [(0, 2.5, 1.0, 4.0), (1, 6.5, 5.0, 8.0), (2, 10.5, 9.0, 12.0)]
    assert "duplicated" not in caplog.text


async def test_parts_of_an_hour_from_several_captures_make_one(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    await time_passes(NOON + 2 * HOUR + timedelta(minutes=20))
    first = measured((NOON + 0.1 * HOUR, "temp_c", 10.0), closed=NOON + 0.5 * HOUR)
    await stored(at_noon, said(at_noon, first, (NOON + 0.5 * HOUR).timestamp()))
    await time_passes(NOON + 2 * HOUR + timedelta(minutes=26))
    entity_id = sensor_id(hass, at_noon, "temp_c")
    assert entity_id is not None
    assert await hours_of(entity_id) == [(0, 10.0, 10.0, 10.0)]
    account = at_noon.account.entry
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    device = account.runtime_data.devices[SENSOR.key]
    # The same sample again, in a log of another version that the outbox can't cut.
    again = measured(
        (NOON + 0.1 * HOUR, "temp_c", 10.0),
        (NOON + 0.6 * HOUR, "temp_c", 30.0),
        closed=NOON + 0.9 * HOUR,
        version=5,
    )
    await stored(device, said(device, again, (NOON + 0.9 * HOUR).timestamp()))
    await time_passes(NOON + 2 * HOUR + timedelta(minutes=36))
    assert await hours_of(entity_id) == [(0, 20.0, 10.0, 30.0)]


async def test_statistics_are_of_the_unit_that_they_have(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    hass.config.units = US_CUSTOMARY_SYSTEM
    await time_passes(NOON + 1.5 * HOUR)
    data = measured((NOON + 0.1 * HOUR, "temp_c", 100.0), closed=NOON + HOUR)
    await stored(at_noon, said(at_noon, data, (NOON + HOUR).timestamp()))
    entity_id = sensor_id(hass, at_noon, "temp_c")
    assert entity_id is not None
    assert shown(hass, at_noon, "temp_c").attributes["unit_of_measurement"] == "°F"
    await time_passes(NOON + 1.5 * HOUR + timedelta(minutes=6))
    assert await hours_of(entity_id) == [(0, 212.0, 212.0, 212.0)]
    known = await hass.async_add_executor_job(lambda: get_metadata(hass, statistic_ids={entity_id}))
    assert known[entity_id][1]["unit_of_measurement"] == "°F"
    assert known[entity_id][1]["unit_class"] == "temperature"


async def test_a_metric_without_a_unit_has_statistics_too(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    data = measured((NOON + 0.1 * HOUR, "packets_rx", 7.0), closed=NOON + 0.5 * HOUR)
    await stored(at_noon, said(at_noon, data, (NOON + 0.5 * HOUR).timestamp()))
    entity_id = sensor_id(hass, at_noon, "packets_rx")
    assert entity_id is not None
    # Before the recorder has compiled anything of it.
    metadata = metric_statistics._metadata(at_noon_sensor(at_noon, "packets_rx"), None)
    assert metadata is not None
    assert (metadata["unit_of_measurement"], metadata["unit_class"]) == (None, "unitless")
    await time_passes(NOON + HOUR + timedelta(minutes=11))
    assert await hours_of(entity_id) == [(0, 7.0, 7.0, 7.0)]


async def test_what_the_recorder_leaves_out_has_no_statistics_and_is_not_kept_for_it(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    get_instance(hass).entity_filter = lambda _: False
    await time_passes(NOON + 1.5 * HOUR)
    data = measured((NOON + 0.1 * HOUR, "rssi", -60.0), closed=NOON + HOUR)
    await stored(at_noon, said(at_noon, data, (NOON + HOUR).timestamp()))
    entity_id = sensor_id(hass, at_noon, "rssi")
    assert entity_id is not None
    await time_passes(NOON + 1.5 * HOUR + timedelta(minutes=6))
    assert await hours_of(entity_id) == []
    readings = at_noon.account.entry.runtime_data.readings
    assert await readings.async_hours_due(2**40) == []


async def test_values_that_no_unit_of_the_statistics_can_hold_are_left_out(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    """The unit of a metric's statistics stays when a device measures something else by its name."""
    await time_passes(NOON + 1.5 * HOUR)
    data = measured((NOON + 0.1 * HOUR, "temp_c", 20.0), closed=NOON + HOUR)
    await stored(at_noon, said(at_noon, data, (NOON + HOUR).timestamp()))
    entity_id = sensor_id(hass, at_noon, "temp_c")
    assert entity_id is not None
    known = metric_statistics._metadata(at_noon_sensor(at_noon, "temp_c"), None)
    assert known is not None
    known |= {"unit_of_measurement": "mV", "unit_class": "voltage"}
    with patch(
        "homeassistant.components.recorder.statistics.get_metadata",
        return_value={entity_id: (1, known)},
    ):
        await time_passes(NOON + 1.5 * HOUR + timedelta(minutes=6))
    assert await hours_of(entity_id) == []


async def test_a_sensor_that_nobody_wants_has_no_statistics(
    hass: HomeAssistant, hours_of: Any, time_passes: Any, at_noon: DeviceCoordinator
) -> None:
    data = measured((NOON + 0.1 * HOUR, "rssi", -60.0), closed=NOON + 0.5 * HOUR)
    await stored(at_noon, said(at_noon, data, (NOON + 0.5 * HOUR).timestamp()))
    entity_id = sensor_id(hass, at_noon, "rssi")
    assert entity_id is not None
    by_user = er.RegistryEntryDisabler.USER
    er.async_get(hass).async_update_entity(entity_id, disabled_by=by_user)
    await hass.async_block_till_done()
    await time_passes(NOON + HOUR + timedelta(minutes=11))
    readings = at_noon.account.entry.runtime_data.readings
    assert await readings.async_hours_due(2**40) == []
    assert await hours_of(entity_id) == []


async def test_without_a_recorder_there_are_sensors_all_the_same(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    assert "recorder" not in hass.config.components
    await stored(met, log())
    hass.bus.async_fire("recorder_5min_statistics_generated")
    await imported(hass)
    assert float(shown(hass, met, "rssi").state) == last_metrics()["rssi"]
    due = await account.runtime_data.readings.async_hours_due(2**40)
    assert {name for (_, name), _ in due} == last_metrics().keys()


async def test_what_is_due_goes_with_its_device(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    await account.runtime_data.async_forget(SENSOR.key)
    assert await account.runtime_data.readings.async_hours_due(2**40) == []
