"""What an assistant finds out about crashes, through Home Assistant's MCP server."""

from collections.abc import Awaitable, Callable
from unittest.mock import patch

import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.insight.crash_groups import CrashState
from custom_components.ulogger.model.capture import Capture
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import NoSuchCapture
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import SENSOR, core_dump, log, meet
from tests.support.bluetooth import OTHER_ADDRESS
from tests.support.fixtures import real_log

from .conftest import Assistant

OTHER = DeviceIdentity(42, "OTHER", "DoorSenseV2", "4.25.0", "1234567")

type Keep = Callable[..., Awaitable[None]]


@pytest.fixture
async def keep(offered: MockConfigEntry, sensor: DeviceCoordinator) -> Keep:
    """Return what puts captures on disk and has them read, with an image of the firmware."""
    gateway = offered.runtime_data
    key = ImageKey(SENSOR.git_version, SENSOR.git_hash, SENSOR.application_id)
    await gateway.images.async_add(lambda: real_log("v4-crash").image, key)

    async def put(*captures: Capture) -> None:
        for capture in captures:
            await gateway.account.outbox.add(capture)
            gateway.readings.captures_stored(gateway.devices[capture.device.key])
            for room in (gateway.readings, gateway.crashes):
                if room.task is not None:
                    await room.task

    return put


async def test_crash_groups_are_listed_with_devices_and_versions(
    assistant: Assistant, offered: MockConfigEntry, keep: Keep
) -> None:
    assert await assistant.call("list_crash_groups") == {"crash_groups": [], "more": False}
    await keep(core_dump())
    (group,) = (await assistant.call("list_crash_groups"))["crash_groups"]
    assert (
        group.items()
        >= {
            "state": "open",
            "count": 1,
            "devices": [SENSOR.serial],
            "versions": ["4.24.2"],
        }.items()
    )
    assert "read_register (session.c:3)" in group["reason"]
    assert (await assistant.call("list_crash_groups", state="resolved"))["crash_groups"] == []
    await offered.runtime_data.crashes.async_set_state(group["crash"], CrashState.RESOLVED)
    (group,) = (await assistant.call("list_crash_groups", state="resolved"))["crash_groups"]
    assert group["state"] == "resolved"


async def test_a_crash_is_explained_with_report_backtrace_and_what_was_logged_before(
    assistant: Assistant, keep: Keep
) -> None:
    await keep(log(), core_dump())
    (group,) = (await assistant.call("list_crash_groups"))["crash_groups"]
    answer = await assistant.call("explain_crash", crash=group["crash"], lines=10)
    assert answer["crash_group"] == group
    report = answer["report"]
    assert (report["function"], report["location"]) == ("read_register", "session.c:3")
    assert report["registers"]["pc"] == 0x7A
    assert "bus" in report["fault"]
    assert report["backtrace"][0]["function"] == "read_register"
    assert report["fingerprint"] == group["crash"]
    logged = [frame["text"] for frame in real_log("v4-crash").expected["frames"]][-10:]
    assert len(answer["log_before"]) == 10
    for line, text in zip(answer["log_before"], logged, strict=True):
        if line["level"] != "metric":
            assert line["message"] == text.rstrip()


async def test_lines_are_left_out_where_none_are_wanted(assistant: Assistant, keep: Keep) -> None:
    await keep(log(), core_dump())
    (group,) = (await assistant.call("list_crash_groups"))["crash_groups"]
    answer = await assistant.call("explain_crash", crash=group["crash"], lines=0)
    assert answer["log_before"] == []


async def test_of_one_device_its_own_crash_is_explained(
    assistant: Assistant, offered: MockConfigEntry, keep: Keep
) -> None:
    meet(offered, OTHER, OTHER_ADDRESS)
    await keep(core_dump())
    (group,) = (await assistant.call("list_crash_groups"))["crash_groups"]
    answer = await assistant.call("explain_crash", crash=group["crash"], device=SENSOR.serial)
    assert answer["report"] is not None
    answer = await assistant.call("explain_crash", crash=group["crash"], device="OTHER")
    assert answer["report"] is None
    assert "did not crash so" in answer["why"]


async def test_a_crash_whose_dump_is_gone_keeps_its_group(assistant: Assistant, keep: Keep) -> None:
    await keep(core_dump())
    (group,) = (await assistant.call("list_crash_groups"))["crash_groups"]
    with patch.object(Outbox, "read", side_effect=NoSuchCapture("gone")):
        answer = await assistant.call("explain_crash", crash=group["crash"])
    assert answer["crash_group"] == group
    assert answer["report"] is None
    assert "not kept" in answer["why"]


async def test_a_crash_that_nobody_knows_is_a_mistake(assistant: Assistant, keep: Keep) -> None:
    said = await assistant.mistake("explain_crash", crash="0123456789abcdef")
    assert "no crash group 0123456789abcdef" in said


async def test_versions_are_told_apart_by_their_crashes(
    assistant: Assistant, offered: MockConfigEntry, keep: Keep
) -> None:
    meet(offered, OTHER, OTHER_ADDRESS)
    await keep(core_dump(), log(OTHER))
    (group,) = (await assistant.call("list_crash_groups"))["crash_groups"]
    answer = await assistant.call("compare_versions", version="4.25.0", other="4.24.2")
    assert [each["crash"] for each in answer["crashes_only_in"]["4.24.2"]] == [group["crash"]]
    assert answer["crashes_only_in"]["4.25.0"] == answer["crashes_in_both"] == []
