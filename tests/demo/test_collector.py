"""With the image, a collector gets every frame of every device once, with its text."""

import pytest

from tests.support.fixtures import AGENT

from .test_road import demo_check

V3 = AGENT / "v3-crash"


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("home_assistant_demo")
async def test_every_decoded_frame_arrives_once_with_its_text() -> None:
    code, report, told = await demo_check(
        *("--devices", "3", "--destination", "otlp"),
        *("--symbols", V3 / "firmware.elf"),
        *("--log", V3 / "log_after_crash.bin"),
        *("--core-dump", V3 / "core_dump.bin"),
    )
    assert code == 0, told
    assert report["destinations"]["otlp"] == {"captures": 6, "identical": True}
    assert report["log_problems"] == []
