"""Forwards this Home Assistant's own log records to the cloud, as text logs of the gateway.

Off unless chosen. Records of this integration and of what it is built on are never forwarded:
forwarding would make new ones.
"""

import logging
import time
from collections import deque
from datetime import datetime
from functools import partial
from typing import Any, override

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later

from .cloud.interface import CloudError
from .cloud.ulogger.text_logs import TextLine
from .const import CONF_FORWARD_LOGS, CONF_INTEGRATIONS, CONF_LEVEL, LEVEL_OFF
from .coordinator import UloggerConfigEntry
from .log_level import LEVELS

_LOGGER = logging.getLogger(__name__)

SEND_AFTER = 10.0
MOST_WAITING = 1000
MOST_PER_MINUTE = 600
LONGEST_MESSAGE = 2000
NEVER = ("custom_components.ulogger", "aiomqtt", "paho", "homeassistant.components.mqtt")
PREFIXES = ("homeassistant.components.", "custom_components.")


class LogForwarding:
    """One account's forwarding, from the chosen integrations at or above the chosen level."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self.hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._lines: deque[TextLine] = deque()
        self._timer: CALLBACK_TYPE | None = None
        self._minute = 0
        self._this_minute = 0
        self._dropped = 0

    @callback
    def start(self) -> None:
        """Forward until the entry is unloaded, if it is chosen."""
        options = self._entry.options.get(CONF_FORWARD_LOGS, {})
        level = options.get(CONF_LEVEL, LEVEL_OFF)
        if level == LEVEL_OFF:
            return
        handler = _Forwarder(self.hass, self._take)
        handler.setLevel((LEVELS.index(level) + 1) * 10)
        for integration in options.get(CONF_INTEGRATIONS, []):
            for prefix in PREFIXES:
                logger = logging.getLogger(f"{prefix}{integration}")
                logger.addHandler(handler)
                self._entry.async_on_unload(partial(logger.removeHandler, handler))
        self._entry.async_on_unload(self._stop)

    @callback
    def _stop(self) -> None:
        if self._timer is not None:
            self._timer()

    @callback
    def _take(self, line: TextLine) -> None:
        """Queue a line, unless there are too many; those are counted and told."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._this_minute = minute, 0
        self._this_minute += 1
        if self._this_minute > MOST_PER_MINUTE or len(self._lines) >= MOST_WAITING:
            self._dropped += 1
            self._gateway.count("log_lines_dropped")
        else:
            self._lines.append(line)
        if self._timer is None:
            self._timer = async_call_later(self.hass, SEND_AFTER, self._send)

    async def _send(self, _now: datetime) -> None:
        self._timer = None
        lines = list(self._lines)
        self._lines.clear()
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(TextLine(time.time(), 2, f"{dropped} lines were dropped: too many"))
        try:
            await self._gateway.cloud.publish_text_log(self._gateway.identity, lines)
        except CloudError as err:
            _LOGGER.debug("Log lines wait for the cloud: %s", err)
            self._dropped += dropped
            self._lines.extendleft(reversed(lines[: len(lines) - bool(dropped)]))
            self._timer = async_call_later(self.hass, SEND_AFTER * 6, self._send)


class _Forwarder(logging.Handler):
    """Takes records in whatever thread they are made, and brings them to the loop."""

    def __init__(self, hass: HomeAssistant, take: Any) -> None:
        super().__init__()
        self._hass = hass
        self._take = take

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(NEVER):
            return
        level = min(max(record.levelno // 10 - 1, 0), len(LEVELS) - 1)
        message = f"{record.name}: {record.getMessage()}"[:LONGEST_MESSAGE]
        self._hass.loop.call_soon_threadsafe(self._take, TextLine(record.created, level, message))
