"""The demo's Home Assistant as a person uses it: what is saved in it, and its restart."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from demo.api import ApiError
from demo.fleet import Buffers, make_fleet
from demo.harness import Harness

pytestmark = [
    pytest.mark.usefixtures("socket_enabled"),
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("home_assistant_demo"),
]

AUTOMATION = {
    "alias": "Crash",
    "triggers": [{"trigger": "event", "event_type": "nothing"}],
    "actions": [],
}


async def test_an_automation_is_saved_in_the_interface_and_there_after_a_restart(
    tmp_path: Path,
) -> None:
    async with Harness(tmp_path, make_fleet(1, Buffers.load())) as demo:
        await demo.api.request("POST", "/api/config/automation/config/saved", AUTOMATION)
        async with asyncio.timeout(60):
            while "automation.crash" not in await demo.api.states():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while (await demo.api.request("GET", "/api/config"))["state"] != "RUNNING":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            # A restart in the middle of an import would leave its trace in the log.
            while not await demo.api.discovered("ulogger"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        before = demo.hass.pid
        # It may be gone before it has answered.
        with suppress(ApiError):
            await demo.api.call("homeassistant", "restart")
        async with asyncio.timeout(90):
            while demo.hass.pid in {before, None} or not await demo.api.answers():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            # Whoever was signed in still is.
            while "automation.crash" not in await demo.api.states():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        after = demo.hass.pid
        assert after is not None
        assert demo.hass.problems() == []
    assert demo.hass.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(after, 0)
