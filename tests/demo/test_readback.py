"""What the demo reads back through Home Assistant is what was decoded independently."""

import json
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.firmware.matching import ImageKey
from demo.readback import image_keys
from tests.support import made_captures as made
from tests.support.fixtures import AGENT

from .test_check import make_devices
from .test_road import demo_check

V3 = AGENT / "v3-crash"
EXPECTED = json.loads((V3 / "expected.json").read_text())


def metrics_of(frames: list[dict[str, Any]]) -> dict[str, float]:
    """The newest value of each metric."""
    said = [[value for _, value in frame["args"]] for frame in frames if frame["level"] == "METRIC"]
    return dict(each for each in said if len(each) == 2)


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("home_assistant_demo")
async def test_lines_metrics_and_crash_are_read_back_with_the_image() -> None:
    code, report, told = await demo_check(
        *("--symbols", V3 / "firmware.elf"),
        *("--log", V3 / "log_after_crash.bin"),
        *("--core-dump", V3 / "core_dump.bin"),
    )
    assert code == 0, told
    assert report["log_problems"] == []
    frames = EXPECTED["log_after_crash.bin"]["frames"]
    assert len(report["log_lines"]) == len(frames)
    for line, frame in zip(report["log_lines"], frames, strict=True):
        assert f" {frame['level']} " in line
        if frame["level"] != "METRIC" and frame["text"]:
            assert line.endswith(frame["text"].rstrip())
    assert report["metrics"] == pytest.approx(metrics_of(frames))
    crash, place = report["crash"], EXPECTED["core_dump.bin"]["pc_symbol"]
    assert (crash["function"], crash["location"]) == (place["function"], place["location"])
    assert "bus" in crash["fault"]
    assert len(crash["fingerprint"]) == 16
    assert crash["backtrace"][0]["function"] == place["function"]


async def test_an_image_that_is_none_is_refused_with_the_reason(tmp_path: Path) -> None:
    bad = tmp_path / "firmware.elf"
    bad.write_bytes(b"no image")
    code, report, told = await demo_check("--symbols", bad)
    assert (code, report) == (1, {})
    assert "firmware.elf" in told
    code, report, told = await demo_check("--symbols", tmp_path / "gone.elf")
    assert (code, report) == (1, {})
    assert "gone.elf" in told


def test_an_image_is_for_what_the_device_runs_and_what_its_core_dump_is_of() -> None:
    [device] = make_devices()
    assert image_keys(device) == [ImageKey("4.24.2", "bc53443", 42)]
    device.core_dump = made.core_dump(b"", serial=b"S1")
    assert image_keys(device)[0] == ImageKey("4.24.2", "bc53443", 42)
    device.core_dump = None
    assert len(image_keys(device)) == 1
