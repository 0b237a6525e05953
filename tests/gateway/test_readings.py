"""Captures are read once, in turn, and what they hold is remembered beside the outbox."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.gateway.readings import Readings, readings_path
from custom_components.ulogger.gateway.summary_file import SummaryFile
from custom_components.ulogger.insight.reading import Reading
from custom_components.ulogger.model.capture import Capture, CaptureFault
from custom_components.ulogger.outbox.errors import DiskFailed, NoSuchCapture, OutboxClosed
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import core_dump, load, log
from tests.support.said import read_all, said, stored

type Told = list[tuple[DeviceCoordinator | None, int, Reading]]


def listen(readings: Readings) -> Told:
    """Note what is read from now on."""
    told: Told = []

    def note(
        device: DeviceCoordinator | None, capture_id: int, _capture: Capture, reading: Reading
    ) -> None:
        told.append((device, capture_id, reading))

    readings.read.add(note)
    return told


async def test_a_capture_is_read_when_it_is_stored(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    readings = device.account.entry.runtime_data.readings
    told = listen(readings)
    first = await stored(device, log())
    second = await stored(device, core_dump())
    assert [(who, capture_id) for who, capture_id, _ in told] == [(device, first), (device, second)]
    assert told[0][2].frames
    rows = await readings.async_summaries(device.identity.key)
    assert [row.capture_id for row in rows] == [second, first]
    assert rows[0].summary.crash is not None
    assert rows[1].summary.frames == len(told[0][2].frames)
    assert await readings.async_summaries((1, "other")) == []


async def test_a_capture_is_told_once_over_restarts(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    first = await stored(device, log())
    assert await hass.config_entries.async_unload(account.entry_id)
    gateway = await started(hass, account)
    told = listen(gateway.readings)
    second = await stored(gateway.devices[device.identity.key], core_dump())
    assert [capture_id for _, capture_id, _ in told] == [second]
    rows = await gateway.readings.async_summaries()
    assert [row.capture_id for row in rows] == [second, first]


async def test_what_was_not_read_before_a_restart_is_read_after_it(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is on disk, and Home Assistant ended before it came to be read."""
    outbox = account.runtime_data.account.outbox
    ids = [(await outbox.add(capture)).capture_id for capture in (log(), core_dump())]
    assert await hass.config_entries.async_unload(account.entry_id)
    told: list[int] = []
    begin = Readings.begin

    def listening(readings: Readings) -> None:
        readings.read.add(lambda _device, capture_id, *_: told.append(capture_id))
        begin(readings)

    monkeypatch.setattr(Readings, "begin", listening)
    await started(hass, account)
    assert told == ids


async def test_a_listener_that_fails_hurts_nobody(
    hass: HomeAssistant, device: DeviceCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    readings = device.account.entry.runtime_data.readings

    def fail(*_: Any) -> None:
        raise ValueError("a bad listener")

    readings.read.add(fail)
    told = listen(readings)
    await stored(device, log())
    await stored(device, core_dump())
    assert len(told) == 2
    assert caplog.text.count("ValueError: a bad listener") == 2
    caplog.clear()


async def test_a_damaged_capture_is_read_as_far_as_it_goes(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    readings = device.account.entry.runtime_data.readings
    told = listen(readings)
    await stored(device, log(fault=CaptureFault.CHECKSUM))
    await stored(device, said(device, b"\x04"))
    assert [bool(reading.damage) for _, _, reading in told] == [False, True]
    assert len(await readings.async_summaries()) == 2


async def test_a_reading_is_made_again_when_it_is_asked_for(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    capture_id = await stored(device, log())
    before = await account.runtime_data.readings.async_reading(capture_id)
    assert await hass.config_entries.async_unload(account.entry_id)
    gateway = await started(hass, account)
    assert await gateway.readings.async_reading(capture_id) == before
    gateway.images.changed.notify(ImageKey())
    assert await gateway.readings.async_reading(capture_id) == before
    with pytest.raises(NoSuchCapture):
        await gateway.readings.async_reading(capture_id + 1)


async def test_a_capture_is_loaded_from_a_thread(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    readings = device.account.entry.runtime_data.readings
    capture_id = await stored(device, log())
    loaded = await hass.async_add_executor_job(readings.load, capture_id)
    assert loaded == log()
    assert await hass.async_add_executor_job(readings.load, capture_id + 1) is None


async def test_summaries_of_captures_that_are_gone_go(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    gone = await stored(device, log())
    kept = await stored(device, core_dump())
    await account.runtime_data.account.outbox.discard(gone)
    assert await hass.config_entries.async_unload(account.entry_id)
    gateway = await started(hass, account)
    rows = await gateway.readings.async_summaries()
    assert [row.capture_id for row in rows] == [kept]


def scribble(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def of_another_layout(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [scribble, of_another_layout, delete])
async def test_a_file_that_can_not_be_used_is_made_anew(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    damage: Callable[[Path], None],
) -> None:
    capture_id = await stored(device, log())
    before = await account.runtime_data.readings.async_summaries()
    assert await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(damage, path(hass, account))
    gateway = await started(hass, account)
    assert await gateway.readings.async_summaries() == before
    assert before[0].capture_id == capture_id


async def test_a_file_that_fails_at_work_is_made_anew(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, log())
    readings = account.runtime_data.readings
    told = listen(readings)
    readings._file._connection.execute("DROP TABLE captures")
    second = await stored(device, core_dump())
    assert [capture_id for _, capture_id, _ in told] == [second]
    assert [row.capture_id for row in await readings.async_summaries()] == [second]


async def test_the_file_goes_with_the_account(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, log())
    assert await hass.async_add_executor_job(path(hass, account).exists)
    await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    assert not await hass.async_add_executor_job(path(hass, account).exists)


async def test_an_account_without_a_disk_for_it_works(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    assert await hass.config_entries.async_unload(account.entry_id)

    def block(file: Path) -> None:
        file.unlink()
        (file / "in the way").mkdir(parents=True)

    await hass.async_add_executor_job(block, path(hass, account))
    gateway = await started(hass, account)
    told = listen(gateway.readings)
    await stored(gateway.devices[device.identity.key], log())
    assert len(told) == 1


async def test_two_accounts_keep_apart(hass: HomeAssistant, device: DeviceCoordinator) -> None:
    other = await load(hass, options={}, customer_id=43)
    await stored(device, log())
    assert await other.runtime_data.readings.async_summaries() == []


def path(hass: HomeAssistant, account: MockConfigEntry) -> Path:
    return readings_path(outbox_path(hass, account.entry_id))


async def started(hass: HomeAssistant, account: MockConfigEntry) -> Gateway:
    """Set the account up again, and let everything be read."""
    assert await hass.config_entries.async_setup(account.entry_id)
    gateway: Gateway = account.runtime_data
    await read_all(gateway)
    return gateway


def test_what_was_read_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "outbox.readings.sqlite"
    SummaryFile.opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    SummaryFile.opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_capture_that_is_gone_is_loaded_as_none(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    readings = device.account.entry.runtime_data.readings
    assert await hass.async_add_executor_job(readings.load, 99) is None


async def test_a_device_that_is_removed_is_forgotten_here(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, log())
    readings = account.runtime_data.readings
    await account.runtime_data.async_forget(device.identity.key)
    assert device.identity.key not in account.runtime_data.devices
    assert len(await readings.async_summaries()) == 1


async def test_a_listing_that_fails_is_tried_again_with_the_next_capture(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = listen(account.runtime_data.readings)
    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "listing", AsyncMock(side_effect=DiskFailed("told so")))
        first = await stored(device, log())
    assert told == []
    second = await stored(device, core_dump())
    assert [capture_id for _, capture_id, _ in told] == [first, second]


@pytest.mark.parametrize("error", [DiskFailed("told so"), NoSuchCapture("told so")])
async def test_a_capture_that_can_not_be_read_does_not_keep_others_from_it(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    told = listen(account.runtime_data.readings)
    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "read", AsyncMock(side_effect=error))
        await stored(device, log())
    second = await stored(device, core_dump())
    assert [capture_id for _, capture_id, _ in told] == [second]


async def test_an_outbox_that_is_closed_ends_the_reading(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = listen(account.runtime_data.readings)
    with monkeypatch.context() as closed:
        closed.setattr(Outbox, "read", AsyncMock(side_effect=OutboxClosed("told so")))
        await stored(device, log())
    assert told == []


async def test_after_the_account_is_unloaded_nothing_is_read_or_known(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, log())
    readings = account.runtime_data.readings
    task = readings.task
    assert await hass.config_entries.async_unload(account.entry_id)
    readings.captures_stored(device)
    await readings.async_forget(device.identity.key)
    assert readings.task is task
    assert await readings.async_summaries() == []
