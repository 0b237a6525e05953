"""What an account costs while nothing happens, measured as ``script/bench idle`` does."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from demo.hass import REPOSITORY

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("home_assistant_process"),
]


async def measured(*arguments: str) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.idle", "--json"),
        *arguments,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in output.decode().splitlines()]


async def test_an_idle_account_costs_next_to_nothing() -> None:
    lines = await measured("--devices", "20", "--seconds", "4")
    set_ups = {each["devices"]: each["ms"] for each in lines if each["bench"] == "setup"}
    idle = {each["advertisements"]: each for each in lines if each["bench"] == "idle"}
    assert set_ups.keys() == {1, 20}
    assert set_ups[1] < 150
    assert idle.keys() == {"steady", "changing"}
    assert all(each["cpu_percent"] < 1.5 for each in idle.values())
