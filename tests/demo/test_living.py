"""The devices of script/demo have a past and a life."""

import asyncio
from random import Random

from custom_components.ulogger.capture.core_dump import check_core_dump
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.level import Level
from demo.fleet import FIXTURES
from demo.living import PAST_SECONDS, LivingDevice, Mood, line_frame, make_living_fleet

IMAGE = FirmwareImage.load((FIXTURES / "firmware.elf").read_bytes())
AT = 1_790_000_000.0


def reading(living: LivingDevice) -> Reading:
    device = living.device
    header_at = AT
    return read(Capture(CaptureKind.LOG, device.identity, device.firmware.log, header_at), IMAGE)


async def test_a_fleet_has_applications_versions_levels_and_crashes() -> None:
    fleet = make_living_fleet()
    identities = [each.device.identity for each in fleet]
    assert {each.application_id for each in identities} == {42, 77}
    assert len({each.git_version for each in identities}) >= 3
    assert len({each.serial for each in identities}) == len(fleet)
    dumps = [each.device.core_dump for each in fleet if each.device.core_dump]
    assert [check_core_dump(dump).device.git_version for dump in dumps] == [
        *("4.24.2",) * 3,
        "4.25.0",
    ]
    read_ = [reading(each) for each in fleet]
    assert not any(each.damage for each in read_)
    levels = {level for each in read_ for level in each.levels}
    assert {Level.DEBUG, Level.INFO, Level.WARNING, Level.ERROR, Level.METRIC} <= levels
    names = {metric.name for each in read_ for metric in each.metrics}
    assert names == {"temperature_c", "battery_mv", "rssi"}


async def test_the_past_is_dated_over_hours() -> None:
    [living] = make_living_fleet(1)
    frames = reading(living).frames
    times = [frame.at for frame in frames if frame.at is not None]
    assert len(times) == len(frames)
    assert times[-1] - times[0] > PAST_SECONDS * 0.9
    assert frames[0].message == "System initialized, reset cause 1"


async def test_a_device_goes_on_crashes_and_is_updated() -> None:
    [living] = make_living_fleet(1)
    firmware = living.device.firmware
    before = len(firmware.log)
    living.log()
    assert len(firmware.log) > before
    living.crash()
    assert firmware.core_dump is not None
    living.update("9.0.0")
    assert firmware.identity.git_version == "9.0.0"
    assert reading(living).frames[-1].message == "config net.cfg missing, using defaults (60)"
    task = asyncio.create_task(living.live())
    await asyncio.sleep(0)
    task.cancel()


def test_a_line_is_written_as_the_agent_writes_it() -> None:
    frames = b"".join(
        frame for _ in range(3) for frame in Mood(Random(0)).frames(1000)
    ) + line_frame(Level.ERROR, 2, 0x484, "down", 255, ticks=7)
    assert frames.endswith(b"\x04\x00down")
