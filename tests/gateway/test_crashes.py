"""Crashes of devices: counted once each, told when they come, and named anew by an image."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.const import STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.device_registry import device_identifier
from custom_components.ulogger.account.store import AccountStore
from custom_components.ulogger.capture.core_dump import HEADER_SIZE
from custom_components.ulogger.collecting.device_state import DeviceEvent
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.gateway import crashes as module
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.insight.crash_groups import CrashGroup, CrashState
from custom_components.ulogger.insight.crash_report import CrashReport
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import CRASH_DUMP, SENSOR, load, log, meet
from tests.support.bluetooth import OTHER_ADDRESS
from tests.support.fixtures import AGENT
from tests.support.said import read_all, stored

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
FAULT = (
    "an access where nothing answers at 0xFFFF0030 (precise data bus error, BFAR holds the address)"
)
IN_SHORT = "Bus error in 0x0000007A"
OTHER = replace(SENSOR, serial="A87DE76F0012")
AT = 1_790_000_100.0


def crash(
    version: str = "4.24.2",
    git_hash: str = "bc53443",
    at: float = AT,
    identity: DeviceIdentity = SENSOR,
) -> Capture:
    """The real core dump, as firmware of this version would have left it."""
    start = HEADER_SIZE - 68
    named = version.encode().ljust(68, b"\0")
    data = CRASH_DUMP[:16] + git_hash.encode().ljust(44, b"\0") + CRASH_DUMP[60:start] + named
    return Capture(CaptureKind.CORE_DUMP, identity, data + CRASH_DUMP[HEADER_SIZE:], at)


@pytest.fixture
def gateway(device: DeviceCoordinator) -> Gateway:
    """The account at work, with a device."""
    found: Gateway = device.account.entry.runtime_data
    return found


@pytest.fixture
def told(device: DeviceCoordinator) -> list[dict[str, Any]]:
    """The crashes that the device's event entity is told of."""
    return listen(device)


def listen(device: DeviceCoordinator) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []

    def happened(event: DeviceEvent, attributes: Any) -> None:
        if event is DeviceEvent.CORE_DUMP:
            told.append(dict(attributes))

    device.async_add_event_listener(happened)
    return told


def listen_to_all(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what devices are told of, those included that are only there after a restart."""
    told: list[str] = []
    monkeypatch.setattr(DeviceCoordinator, "fire", lambda _self, event, _: told.append(event.value))
    return told


def only(gateway: Gateway) -> CrashGroup:
    (group,) = gateway.crashes.groups
    return group


async def add_image(gateway: Gateway) -> None:
    await gateway.images.async_add(lambda: IMAGE, ImageKey(), "pump.elf")
    await read_all(gateway)


async def restarted(hass: HomeAssistant, account: MockConfigEntry) -> Gateway:
    """Unload the account and set it up again."""
    assert await hass.config_entries.async_unload(account.entry_id)
    return await started(hass, account)


async def started(hass: HomeAssistant, account: MockConfigEntry) -> Gateway:
    assert await hass.config_entries.async_setup(account.entry_id)
    await read_all(account.runtime_data)
    gateway: Gateway = account.runtime_data
    return gateway


def shown(hass: HomeAssistant, entry_id: str, key: str, device: DeviceIdentity | None) -> Any:
    """Return the state of an entity."""
    of = "" if device is None else f"-{device_identifier(device)[1]}"
    for platform in ("sensor", "binary_sensor", "button"):
        entity_id = er.async_get(hass).async_get_entity_id(
            platform, "ulogger", f"{entry_id}{of}-{key}"
        )
        if entity_id is not None:
            return hass.states.get(entity_id)
    raise AssertionError(key)


# Counted and told


async def test_a_crash_is_told_with_its_report_when_it_was_read(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    await add_image(gateway)
    await stored(device, log())
    assert told == []
    await stored(device, crash())
    (attributes,) = told
    backtrace, registers = attributes.pop("backtrace"), attributes.pop("registers")
    assert [frame["location"] for frame in backtrace[:2]] == ["session.c:3", "session.c:8"]
    assert registers["pc"] == attributes["pc"]
    group = only(gateway)
    assert attributes == {
        "kind": "core_dump",
        "bytes": len(CRASH_DUMP),
        "summary": "Bus error in read_register (session.c:3)",
        "application": 42,
        "firmware_version": "4.24.2",
        "git_hash": "bc53443",
        "fault": FAULT,
        "fault_kind": "data_bus_error",
        "fault_address": "0xFFFF0030",
        "pc": attributes["pc"],
        "lr": attributes["lr"],
        "function": "read_register",
        "location": "session.c:3",
        "fingerprint": group.fingerprint,
        "is_new": True,
        "regressed": False,
    }
    assert (group.count, group.reason) == (1, f"{FAULT} in read_register (session.c:3)")
    json.dumps(told)


async def test_the_same_crash_is_one_group_over_devices_and_versions(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    other = meet(gateway.entry, OTHER, OTHER_ADDRESS)
    await gateway.hass.async_block_till_done()
    told_of_other = listen(other)
    await stored(device, crash())
    await stored(other, crash("4.25.0", at=AT + 60, identity=OTHER))
    await stored(device, crash(at=AT + 120))
    assert [each["is_new"] for each in told] == [True, False]
    assert [each["is_new"] for each in told_of_other] == [False]
    group = only(gateway)
    assert (group.count, group.first_seen, group.last_seen) == (3, AT, AT + 120)
    assert group.devices == {OTHER.serial: AT + 60, SENSOR.serial: AT + 120}
    assert set(group.versions) == {"4.24.2", "4.25.0"}
    assert {each["fingerprint"] for each in told + told_of_other} == {group.fingerprint}


async def test_a_resolved_crash_in_a_newer_version_is_told_as_regressed(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    await stored(device, crash())
    group = await gateway.crashes.async_set_state(only(gateway).fingerprint, CrashState.RESOLVED)
    await stored(device, crash(at=AT + 60))
    assert str(group.state) == "resolved"
    await stored(device, crash("4.25.0", at=AT + 120))
    assert [each["regressed"] for each in told] == [False, False, True]
    assert only(gateway).state is CrashState.REGRESSED


@pytest.mark.parametrize("data", [CRASH_DUMP[:300], b"\1\0\0\0\0", CRASH_DUMP[:264]])
async def test_a_core_dump_that_says_nothing_is_a_crash_all_the_same(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]], data: bytes
) -> None:
    await stored(device, Capture(CaptureKind.CORE_DUMP, SENSOR, data, AT))
    (attributes,) = told
    assert attributes == {
        "kind": "core_dump",
        "bytes": len(data),
        "summary": "Unreadable core dump",
        "fingerprint": only(gateway).fingerprint,
        "is_new": True,
        "regressed": False,
    }
    assert gateway.crashes.crashed_since(device)


async def test_a_crash_that_may_be_an_old_one_says_so(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    outbox = gateway.account.outbox
    await stored(device, crash())
    await outbox.held([])
    # Whether the device erased it is not known, so an equal one may be the same.
    await stored(device, crash(at=AT + 60))
    rows = await outbox.listing()
    assert [each.get("may_repeat", False) for each in told] == [
        row.may_repeat for row in reversed(rows)
    ]


async def test_the_core_dump_is_read_in_a_thread(
    hass: HomeAssistant, gateway: Gateway, device: DeviceCoordinator
) -> None:
    threads: list[int] = []
    read = module.crash_report

    def reading(*dump: Any) -> CrashReport | None:
        threads.append(threading.get_ident())
        return read(*dump)

    with patch.object(module, "crash_report", reading):
        await stored(device, crash())
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


# Over restarts


async def test_groups_and_what_people_said_outlast_a_restart_and_the_captures(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    ids = [await stored(device, crash(at=AT + number)) for number in range(3)]
    fingerprint = only(gateway).fingerprint
    await gateway.crashes.async_set_state(fingerprint, CrashState.IGNORED)
    for capture_id in ids[:2]:
        await gateway.account.outbox.discard(capture_id)
    before = gateway.crashes.groups.as_dict()
    again = await restarted(hass, account)
    assert again.crashes.groups.as_dict() == before
    group = only(again)
    assert (group.count, group.state) == (3, CrashState.IGNORED)


async def test_what_was_counted_is_on_disk_at_once(
    account: MockConfigEntry, device: DeviceCoordinator, hass_storage: dict[str, Any]
) -> None:
    """Else it would be told again after a power cut."""
    await stored(device, crash())
    (group,) = hass_storage[f"ulogger.{account.entry_id}"]["data"]["crashes"]["groups"]
    assert len(group["occurrences"]) == 1


async def test_a_core_dump_is_told_once_over_restarts(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    again = await restarted(hass, account)
    known = again.devices[SENSOR.key]
    told = listen(known)
    await stored(known, crash(at=AT + 60))
    assert [each["is_new"] for each in told] == [False]
    assert only(again).count == 2


async def test_what_was_not_read_before_a_restart_is_told_after_it(
    hass: HomeAssistant,
    account: MockConfigEntry,
    gateway: Gateway,
    device: DeviceCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = listen_to_all(monkeypatch)
    await gateway.account.outbox.add(crash())
    await restarted(hass, account)
    assert told.count("core_dump") == 1


async def test_core_dumps_of_an_earlier_version_are_counted_and_no_news(
    hass: HomeAssistant,
    account: MockConfigEntry,
    gateway: Gateway,
    device: DeviceCoordinator,
    hass_storage: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await stored(device, crash())
    assert await hass.config_entries.async_unload(account.entry_id)
    del hass_storage[f"ulogger.{account.entry_id}"]["data"]["crashes"]
    told = listen_to_all(monkeypatch)
    again = await started(hass, account)
    assert only(again).count == 1
    assert "core_dump" not in told
    known = again.devices[SENSOR.key]
    assert not again.crashes.crashed_since(known)
    await stored(known, crash(at=AT + 60))
    assert told.count("core_dump") == 1
    assert again.crashes.crashed_since(known)


async def test_groups_are_made_again_from_the_core_dumps_that_are_left(
    hass: HomeAssistant,
    account: MockConfigEntry,
    gateway: Gateway,
    device: DeviceCoordinator,
    hass_storage: dict[str, Any],
) -> None:
    await stored(device, crash())
    await stored(device, crash("4.25.0", at=AT + 60))
    before = gateway.crashes.groups.as_dict()
    assert await hass.config_entries.async_unload(account.entry_id)
    hass_storage[f"ulogger.{account.entry_id}"]["data"]["crashes"] = {"groups": "scribbled over"}
    again = await started(hass, account)
    assert again.crashes.groups.as_dict() == before


async def test_a_file_that_knows_nothing_of_crashes_is_not_written_before_they_are_read(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    store = gateway.account.store
    assert "crashes" in store._content()
    store.crashes_known = False
    assert "crashes" not in store._content()


# What an image tells


async def test_an_image_names_the_crashes_that_were_there_and_keeps_their_state(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    gone = await stored(device, crash())
    await stored(device, crash(at=AT + 60))
    await gateway.account.outbox.discard(gone)
    before = only(gateway)
    assert before.reason.endswith(" in 0x0000007A")
    await gateway.crashes.async_set_state(before.fingerprint, CrashState.IGNORED)
    await add_image(gateway)
    after = only(gateway)
    assert after.fingerprint != before.fingerprint
    assert after.reason.endswith(" in read_register (session.c:3)")
    assert (after.count, after.state, after.first_seen) == (2, CrashState.IGNORED, AT)
    assert len(told) == 2
    (subentry,) = gateway.entry.subentries
    gateway.hass.config_entries.async_remove_subentry(gateway.entry, subentry)
    await read_all(gateway)
    await stored(device, crash(at=AT + 120))
    assert (only(gateway).fingerprint, only(gateway).count) == (after.fingerprint, 3)
    assert told[-1]["fingerprint"] == after.fingerprint
    assert not told[-1]["is_new"]


async def test_an_image_of_other_firmware_changes_nothing(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash("4.25.0", "1234567"))
    before = gateway.crashes.groups.as_dict()
    await add_image(gateway)
    assert gateway.crashes.groups.as_dict() == before


async def test_the_image_is_that_of_what_crashed_not_of_what_runs_now(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    """The device was updated before it was collected; its core dump says what it is of."""
    newer = replace(SENSOR, git_version="4.25.0", git_hash="1234567")
    device.identified(newer)
    await stored(device, crash(identity=newer))
    await add_image(gateway)
    assert only(gateway).reason.endswith(" in read_register (session.c:3)")
    await stored(device, crash(at=AT + 60, identity=newer))
    assert told[-1]["function"] == "read_register"
    assert told[-1]["firmware_version"] == "4.24.2"


async def test_an_image_that_came_just_before_a_restart_names_them_after_it(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    gateway.crashes._begun = False
    gateway.readings._begun = False
    await gateway.images.async_add(lambda: IMAGE, ImageKey(), "pump.elf")
    assert only(gateway).reason.endswith(" in 0x0000007A")
    again = await restarted(hass, account)
    assert only(again).reason.endswith(" in read_register (session.c:3)")


# The report, as often as somebody asks


async def test_a_report_is_made_again_as_long_as_the_core_dump_is_here(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    await add_image(gateway)
    capture_id = await stored(device, crash())
    (occurrence,) = only(gateway).occurrences.values()
    report = await gateway.crashes.async_report(occurrence)
    assert report is not None
    assert report.function == "read_register"
    assert await gateway.crashes.async_report(replace(occurrence, at=AT + 1)) is None
    await gateway.account.outbox.discard(capture_id)
    assert await gateway.crashes.async_report(occurrence) is None


# What entities show


async def test_entities_show_the_last_crash_until_a_person_clears_it(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    entry_id = account.entry_id
    assert shown(hass, entry_id, "last_crash", SENSOR).state == STATE_UNKNOWN
    assert shown(hass, entry_id, "crashed_since", SENSOR).state == "off"
    assert shown(hass, entry_id, "open_crash_groups", None).state == "0"
    await stored(device, crash())
    await stored(device, crash(at=AT + 60))
    last = shown(hass, entry_id, "last_crash", SENSOR)
    assert last.state == IN_SHORT
    group = only(gateway)
    attributes = {
        name: last.attributes[name]
        for name in (
            "reason",
            "fault_kind",
            "place",
            "firmware_version",
            "git_hash",
            "fingerprint",
            "crash_state",
            "count",
        )
    }
    assert attributes == {
        "reason": f"{FAULT} in 0x0000007A",
        "fault_kind": "data_bus_error",
        "place": "0x0000007A",
        "firmware_version": "4.24.2",
        "git_hash": "bc53443",
        "fingerprint": group.fingerprint,
        "crash_state": "open",
        "count": 2,
    }
    assert last.attributes["time"].timestamp() == AT + 60
    assert shown(hass, entry_id, "crashed_since", SENSOR).state == "on"
    assert shown(hass, entry_id, "open_crash_groups", None).state == "1"
    button = shown(hass, entry_id, "clear_crash", SENSOR)
    await hass.services.async_call(
        "button", "press", {"entity_id": button.entity_id}, blocking=True
    )
    assert shown(hass, entry_id, "crashed_since", SENSOR).state == "off"
    assert shown(hass, entry_id, "last_crash", SENSOR).state == IN_SHORT
    again = await restarted(hass, account)
    assert shown(hass, entry_id, "crashed_since", SENSOR).state == "off"
    assert shown(hass, entry_id, "last_crash", SENSOR).state == IN_SHORT
    await stored(again.devices[SENSOR.key], crash(at=AT + 120))
    assert shown(hass, entry_id, "crashed_since", SENSOR).state == "on"


async def test_new_firmware_clears_the_crash_also_when_the_old_one_is_back(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    device.identified(replace(SENSOR, git_version="4.25.0", git_hash="1234567"))
    assert shown(hass, account.entry_id, "crashed_since", SENSOR).state == "off"
    device.identified(SENSOR)
    assert shown(hass, account.entry_id, "crashed_since", SENSOR).state == "off"


async def test_a_core_dump_of_the_firmware_before_is_no_crash_of_the_new_one(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    newer = replace(SENSOR, git_version="4.25.0", git_hash="1234567")
    device.identified(newer)
    await stored(device, crash(identity=newer))
    assert shown(hass, account.entry_id, "crashed_since", SENSOR).state == "off"
    assert shown(hass, account.entry_id, "last_crash", SENSOR).state == IN_SHORT
    await stored(device, crash("4.25.0", "1234567", at=AT + 60, identity=newer))
    assert shown(hass, account.entry_id, "crashed_since", SENSOR).state == "on"


async def test_open_groups_are_those_that_nobody_decided(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    await stored(device, Capture(CaptureKind.CORE_DUMP, SENSOR, b"\1\0\0\0", AT + 60))
    assert shown(hass, account.entry_id, "open_crash_groups", None).state == "2"
    for group, state in zip(gateway.crashes.groups, ("resolved", "ignored"), strict=True):
        await gateway.crashes.async_set_state(group.fingerprint, CrashState(state))
    assert shown(hass, account.entry_id, "open_crash_groups", None).state == "0"
    assert shown(hass, account.entry_id, "last_crash", SENSOR).attributes["crash_state"] == (
        "resolved"
    )


async def test_devices_of_one_serial_in_two_applications_are_two(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    crashes = device.account.entry.runtime_data.crashes
    namesake = replace(SENSOR, application_id=43)
    await device.account.outbox.add(crash(identity=namesake))
    device.account.entry.runtime_data.readings._read_soon(None)
    await read_all(device.account.entry.runtime_data)
    assert crashes.last_of(SENSOR.key) is None
    assert crashes.last_of(namesake.key) is not None


async def test_what_a_reason_is_longer_than_a_state_may_be_is_cut(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    (occurrence,) = only(gateway).occurrences.values()
    gateway.crashes.groups.add(
        replace(
            occurrence, capture_id="99", at=AT + 60, reason="long " * 100, fault_kind="", place=""
        )
    )
    gateway.crashes._changed()
    assert len(shown(hass, account.entry_id, "last_crash", SENSOR).state) == 255


async def test_accounts_keep_their_crashes_apart_and_they_go_with_them(
    hass: HomeAssistant,
    account: MockConfigEntry,
    gateway: Gateway,
    device: DeviceCoordinator,
    hass_storage: dict[str, Any],
) -> None:
    other = await load(hass, options={}, customer_id=43)
    await stored(device, crash())
    assert len(other.runtime_data.crashes.groups) == 0
    await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    assert f"ulogger.{account.entry_id}" not in hass_storage


async def test_a_stop_in_the_middle_loses_no_crash(
    hass: HomeAssistant, account: MockConfigEntry, gateway: Gateway, device: DeviceCoordinator
) -> None:
    """The account is unloaded while the first of two is read."""
    read = Outbox.read
    first = True

    async def reading(self: Outbox, capture_id: int) -> Capture:
        nonlocal first
        if first:
            first = False
            gateway.crashes._begun = False
        return await read(self, capture_id)

    ids = [
        (await gateway.account.outbox.add(crash(at=AT + number))).capture_id for number in range(2)
    ]
    with patch.object(Outbox, "read", reading):
        gateway.crashes._due = dict.fromkeys(ids)
        gateway.crashes._work()
        await read_all(gateway)
    assert only(gateway).count == 1
    again = await restarted(hass, account)
    assert only(again).count == 2


async def test_a_crash_that_comes_while_another_one_is_written_is_told_at_once(
    gateway: Gateway, device: DeviceCoordinator, told: list[dict[str, Any]]
) -> None:
    written = AccountStore.async_save
    later = [crash(at=AT + 60)]

    async def slowly(store: AccountStore) -> None:
        """Have the disk take so long that another core dump comes and is read meanwhile."""
        while later:
            await device.account.outbox.add(later.pop())
            device.captures_stored.notify()
            while (task := gateway.readings.task) is not None and not task.done():
                await asyncio.wait([task])
        await written(store)

    await read_all(gateway)
    with patch.object(AccountStore, "async_save", slowly):
        await stored(device, crash())
    assert len(told) == 2
    [group] = gateway.crashes.groups
    assert group.count == 2
