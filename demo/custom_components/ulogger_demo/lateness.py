"""How late the event loop comes, for a benchmark; an environment variable asks for it."""

import gc
import os
import time
from typing import Any

import probatio as vol
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import websocket_command
from homeassistant.core import HomeAssistant, callback

WANTED = "ULOGGER_DEMO_LATENESS"


@callback
def async_watch(hass: HomeAssistant) -> None:
    """Watch the loop, and tell the worst since somebody asked last."""
    if not os.environ.get(WANTED):
        return
    from bench.lateness import Lateness  # noqa: PLC0415 - there only where it is measured

    state: dict[str, Any] = {}

    def begin() -> None:
        if "task" in state:
            state["task"].cancel()
        # What was made before, as at the start, is not to be looked through while it is watched.
        gc.collect()
        state["late"] = Lateness()
        state["task"] = hass.async_create_background_task(state["late"].watch(), "Lateness")

    @websocket_command({vol.Required("type"): "ulogger_demo/lateness"})
    @callback
    def tell(_hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]) -> None:
        late = state["late"]
        answer = {
            "worst_ms": round(late.worst * 1000, 1),
            "ours_ms": None if late.ours is None else round(late.ours * 1000, 1),
            "processor_seconds": time.process_time(),
        }
        begin()
        connection.send_result(message["id"], answer)

    begin()
    async_register_command(hass, tell)
