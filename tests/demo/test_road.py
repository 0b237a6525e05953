"""The whole road, with Home Assistant as a process: nothing in it knows that it is a test."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.check import wait_until_delivered
from demo.fleet import Buffers, make_fleet
from demo.harness import Harness
from demo.hass import REPOSITORY

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("home_assistant_demo"),
]


async def demo_check(*arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Run the command; returns its exit code, its report and what it told besides."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "demo", "--check"),
        *map(str, arguments),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, told = await process.communicate()
    code = process.returncode
    assert code is not None
    last = output.decode().strip().rpartition("\n")[2]
    return code, json.loads(last) if last else {}, told.decode()


async def test_check_finds_every_capture_in_the_cloud_as_the_devices_held_it() -> None:
    code, report, told = await demo_check("--devices", "2")
    assert code == 0, told
    assert report["identical"]
    assert (report["devices"], report["captures"]) == (2, 4)
    assert report["erased"]
    assert report["duplicated"] == 0
    assert report["log_problems"] == []


async def test_check_says_no_when_nothing_can_arrive_in_time() -> None:
    code, report, told = await demo_check("--timeout", "0.01")
    assert code == 1
    assert not report["identical"]
    assert report["missing"]
    assert "Home Assistant's last words" in told


async def test_check_refuses_a_log_that_is_none(tmp_path: Path) -> None:
    bad = tmp_path / "log.bin"
    bad.write_text("this is no log buffer at all, but it is long enough to be one")
    code, report, told = await demo_check("--log", bad)
    assert (code, report) == (1, {})
    assert "log.bin: " in told


@pytest.mark.usefixtures("socket_enabled")
async def test_what_was_taken_while_the_broker_was_away_survives_a_kill_and_is_delivered(
    tmp_path: Path,
) -> None:
    devices = make_fleet(2, Buffers.load())
    for device in devices:
        device.in_reach = False
    devices[0].in_reach = True
    async with Harness(tmp_path, devices) as demo:
        await demo.set_up_account()
        await wait_until_delivered(devices[:1], demo.cloud, 60)
        await demo.cloud.stop()
        await demo.broker.astop()
        devices[1].in_reach = True
        async with asyncio.timeout(60):
            await devices[1].emptied.wait()
        await demo.hass.kill()
        await demo.broker.astart()
        await demo.cloud.start()
        await demo.restart_hass()
        comparison = await wait_until_delivered(devices, demo.cloud, 60)
        assert comparison.ok, demo.hass.tail()
        assert [log.token for log in demo.cloud.of("binlog")] == sorted(demo.cloud.registrations)
