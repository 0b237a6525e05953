"""The demo finds at a site what devices held, and what is missing, twice or other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.cloud.udmi.entries import messages
from custom_components.ulogger.insight.crash_report import crash_report
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from demo.device.virtual import VirtualDevice
from demo.fleet import EXAMPLE, Buffers, make_fleet
from demo.udmi.checking import Message, Schemas
from demo.udmi.comparing import compare_entries
from demo.udmi.door import Way
from demo.udmi.site import LocalSite

BUFFERS = Buffers.load()
AT = 1_795_225_292.0
STATE = {"system": {"serial_no": EXAMPLE.serial}}


@pytest.fixture
async def devices(socket_enabled: None) -> list[VirtualDevice]:
    """One device; it needs a loop."""
    return make_fleet(1, BUFFERS)


def events(least: int = 100) -> list[tuple[str, dict[str, Any]]]:
    """What the device's captures become, message by message."""
    log = Capture(CaptureKind.LOG, EXAMPLE, BUFFERS.log, AT)
    dump = Capture(CaptureKind.CORE_DUMP, EXAMPLE, BUFFERS.core_dump, AT)
    report = crash_report(CoreDump.parse(dump.data))
    found = [*messages(log, read(log), None, least), *messages(dump, read(dump), report, least)]
    return [(each.subfolder, dict(each.payload)) for each in found]


def site(tmp_path: Path, said: Iterable[tuple[str, dict[str, Any]]], least: int = 100) -> LocalSite:
    made = LocalSite(tmp_path, way=Way.NONE)
    device = made.add("BLE-1", {"system": {"min_loglevel": least}})
    device.states.append(STATE)
    for subfolder, payload in said:
        device.messages.append(Message("", "BLE-1", f"events/{subfolder}", b"", AT, payload))
    return made


@pytest.mark.parametrize("least", [100, 300, 500])
async def test_everything_that_a_device_held_is_identical(
    devices: list[VirtualDevice], tmp_path: Path, least: int
) -> None:
    result = compare_entries(devices, site(tmp_path, events(least), least), None)
    assert result.ok
    assert (result.identical, result.expected, result.duplicated) == (2, 2, 0)


async def test_a_missing_entry_a_missing_value_and_one_that_came_twice_are_found(
    devices: list[VirtualDevice], tmp_path: Path
) -> None:
    whole = events()
    pointset = next(n for n, (subfolder, _) in enumerate(whole) if subfolder == "pointset")
    assert compare_entries(devices, site(tmp_path, whole[1:]), None).missing
    without = [*whole[:pointset], *whole[pointset + 1 :]]
    assert compare_entries(devices, site(tmp_path, without), None).missing
    assert compare_entries(devices, site(tmp_path, [*whole, whole[0]]), None).duplicated
    assert compare_entries(devices, site(tmp_path, whole[:-1]), None).missing
    again = compare_entries(devices, site(tmp_path, [*whole, whole[pointset]]), None)
    assert again.ok  # a point shows its value as often as a site asks for it


async def test_a_device_that_never_said_who_it_is_has_brought_nothing(
    devices: list[VirtualDevice], tmp_path: Path
) -> None:
    made = site(tmp_path, events())
    made.devices["BLE-1"].states.clear()
    assert len(compare_entries(devices, made, None).missing) == 2


async def test_what_is_invalid_is_no_identical_arrival(
    devices: list[VirtualDevice], tmp_path: Path
) -> None:
    made = site(tmp_path, events())
    made.invalid.append("a null")
    assert not compare_entries(devices, made, None).ok


def test_a_folder_without_schemas_is_not_taken_for_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the folder"):
        Schemas(tmp_path)
