"""The process killed, and each part failing once, at every step between two durable writes."""

import asyncio
import json
import subprocess
import sys

import pytest

from demo.hass import REPOSITORY


@pytest.mark.timeout(300)
async def test_nothing_is_lost_wherever_the_road_is_cut(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos.every_step", str(tmp_path)),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    report = json.loads(output)
    assert report["failures"] == []
    assert report["killed"] == report["steps"] > 50
    assert len(report["kinds"]) == 11
