"""A short storm over the whole road, with Home Assistant as a process."""

import asyncio
import json
import subprocess
import sys

import pytest

from demo.hass import REPOSITORY

pytestmark = [
    pytest.mark.timeout(700),
    pytest.mark.xdist_group("home_assistant_process"),
]


async def test_nothing_is_lost_and_nothing_comes_twice_without_a_cause() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "chaos", "--seconds", "120", "--seed", "20", "--devices", "4"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, told = await process.communicate()
    last = output.decode().strip().rpartition("\n")[2]
    assert process.returncode == 0, f"{last}\n{told.decode()}"
    report = json.loads(last)
    assert (report["lost"], report["duplicated_unexplained"]) == (0, 0)
    assert report["faults"]["home_assistant_kill"] > 0
    assert report["captures"] > 0
    assert report["destinations"].keys() == {
        *("ulogger", "folder", "otlp", "pepeunit", "clesyde", "udmi"),
    }
    for name, there in report["destinations"].items():
        assert there["captures"] == report["captures"], name
        assert (there["lost"], there["duplicated_unexplained"], there["undelivered"]) == (0, 0, 0)
        # Each was dead for a while, and logs went to the other one meanwhile as they always do.
        assert there["dead"] > 0
        assert there["timed_while_other_dead"] > 0
        assert there["delayed"] == 0
