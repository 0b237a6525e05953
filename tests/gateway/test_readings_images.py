"""Firmware images reach what was read before they came: logs when asked, core dumps at once."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.gateway import readings as module
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.outbox.errors import NoSuchCapture
from tests.support.account import CRASH_DUMP, core_dump, log
from tests.support.fixtures import AGENT
from tests.support.said import read_all, said, stored

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()


async def add(gateway: Gateway, version: str = "") -> None:
    """Add an image of what the device runs, or of another version."""
    await gateway.images.async_add(lambda: IMAGE, ImageKey(version), "pump.elf")
    await read_all(gateway)


async def fingerprints(gateway: Gateway) -> dict[int, str | None]:
    return {row.capture_id: row.summary.crash for row in await gateway.readings.async_summaries()}


def heard(gateway: Gateway) -> list[int]:
    """Note the captures that are read again."""
    told: list[int] = []
    gateway.readings.read_again.add(lambda _device, capture_id, *_: told.append(capture_id))
    return told


@pytest.fixture
def gateway(device: DeviceCoordinator) -> Gateway:
    """Return the account at work."""
    found: Gateway = device.account.entry.runtime_data
    return found


async def test_a_log_has_text_and_names_as_soon_as_there_is_an_image(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    capture_id = await stored(device, log())
    before = await gateway.readings.async_reading(capture_id)
    assert not any(frame.text or frame.module_name for frame in before.frames)
    await add(gateway)
    after = await gateway.readings.async_reading(capture_id)
    assert any(frame.text for frame in after.frames)
    assert {frame.module_name for frame in after.frames} & {"MAIN", "SYSTEM"}
    (subentry,) = gateway.entry.subentries
    gateway.hass.config_entries.async_remove_subentry(gateway.entry, subentry)
    await read_all(gateway)
    assert await gateway.readings.async_reading(capture_id) == before


async def test_an_event_is_told_once_and_lists_and_searches_have_its_text_later(
    hass: HomeAssistant, gateway: Gateway, device: DeviceCoordinator
) -> None:
    told: list[Any] = []
    device.logged.add(lambda _event, attributes: told.append(attributes))
    capture_id = await stored(device, log())
    lines = len(told)
    assert lines
    assert not any(each["text"] for each in told)

    async def found(**query: Any) -> list[Any]:
        answer = await hass.services.async_call(
            DOMAIN,
            "get_logs",
            {"device_id": [registry_id], "level": "error", **query},
            blocking=True,
            return_response=True,
        )
        assert answer is not None
        listed: Any = answer["lines"]
        return list(listed)

    registered = dr.async_get(hass).async_get_device_by_identifier(
        device.identifier, device.account.entry_id
    )
    assert registered is not None
    registry_id = registered.id
    before = await found()
    assert len(before) == lines
    assert all(each["message"].startswith("0x") for each in before)
    await add(gateway)
    after = await found()
    assert [each["capture"] for each in after] == [capture_id] * lines
    assert all(each["module"] and not each["message"].startswith("0x") for each in after)
    words = after[0]["message"].split()
    assert await found(contains=words[0], module=after[0]["module"])
    assert {tuple(each["arguments"]) for each in after} == {
        tuple(each["arguments"]) for each in told
    }
    assert len(told) == lines


async def test_a_crash_is_named_by_its_function_as_soon_as_there_is_an_image(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    first = await stored(device, log())
    dump = await stored(device, core_dump())
    before = await fingerprints(gateway)
    told: list[int] = []
    gateway.readings.read.add(lambda _device, capture_id, *_: told.append(capture_id))
    again = heard(gateway)
    await add(gateway)
    after = await fingerprints(gateway)
    assert after[dump] not in (None, before[dump])
    assert after[first] is None
    assert (again, told) == ([dump], [])
    (subentry,) = gateway.entry.subentries
    gateway.hass.config_entries.async_remove_subentry(gateway.entry, subentry)
    await read_all(gateway)
    assert await fingerprints(gateway) == before
    assert again == [dump, dump]


async def test_an_image_of_other_firmware_has_nothing_read_again(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, core_dump())
    again = heard(gateway)
    await add(gateway, "9.9.9")
    assert again == []


async def test_what_came_after_the_image_is_not_read_twice(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    await add(gateway)
    again = heard(gateway)
    await stored(device, core_dump())
    gateway.images.changed.notify(ImageKey())
    await read_all(gateway)
    assert again == []


async def test_an_image_that_came_while_the_account_was_not_loaded_counts_at_the_start(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    dump = await stored(device, core_dump())
    before = await fingerprints(gateway)
    await hass.config_entries.async_unload(account.entry_id)
    await gateway.images.async_add(lambda: IMAGE, ImageKey("4.24.2", "bc53443"), "pump.elf")
    await hass.config_entries.async_setup(account.entry_id)
    await read_all(account.runtime_data)
    after = await fingerprints(account.runtime_data)
    assert after[dump] not in (None, before[dump])


async def test_reading_again_does_not_disturb_how_the_next_log_is_dated(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    first = await stored(device, log())
    await stored(device, core_dump())
    rows = {row.capture_id: row for row in await gateway.readings.async_summaries()}
    await add(gateway)
    after = {row.capture_id: row for row in await gateway.readings.async_summaries()}
    assert after[first] == rows[first]
    third = await stored(device, said(device, b"\x04"))
    (row,) = [each for each in await gateway.readings.async_summaries() if each.capture_id == third]
    assert row.before == rows[first].summary.anchor


async def test_a_dump_that_is_gone_is_passed_over(
    gateway: Gateway, device: DeviceCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await stored(device, core_dump())
    there = await stored(device, replace(core_dump(), data=CRASH_DUMP[:-4] + b"\1\2\3\4"))
    again = heard(gateway)
    outbox = device.account.outbox
    reading = outbox.read

    async def read_one(capture_id: int) -> Any:
        if capture_id == gone:
            raise NoSuchCapture("gone")
        return await reading(capture_id)

    monkeypatch.setattr(outbox, "read", read_one)
    await add(gateway)
    assert again == [there]


async def test_a_reading_made_while_an_image_came_is_not_kept(
    hass: HomeAssistant,
    gateway: Gateway,
    device: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture_id = await stored(device, log())
    gateway.readings._cache.clear()
    entered, go_on = threading.Event(), threading.Event()

    def slow(*args: Any, **more: Any) -> Reading:
        entered.set()
        assert go_on.wait(10)
        return read(*args, **more)

    monkeypatch.setattr(module, "read", slow)
    asked = hass.async_create_task(gateway.readings.async_reading(capture_id))
    assert await hass.async_add_executor_job(entered.wait, 10)
    await gateway.images.async_add(lambda: IMAGE, ImageKey(), "pump.elf")
    go_on.set()
    assert not any(frame.text for frame in (await asked).frames)
    assert any(frame.text for frame in (await gateway.readings.async_reading(capture_id)).frames)
