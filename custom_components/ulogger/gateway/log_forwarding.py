"""Forwards this Home Assistant's own log records to the cloud, as text logs of the gateway.

Off unless chosen. Records of this integration and of what it is built on are never forwarded:
forwarding would make new ones.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import override

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later

from ..cloud.destination import TakesTextLogs
from ..cloud.errors import CloudError
from ..const import (
    CONF_CONNECTION,
    CONF_FORWARD_LOGS,
    CONF_INTEGRATIONS,
    CONF_LEVEL,
    CONNECTION_HOME_ASSISTANT,
    DOMAIN,
    LEVEL_OFF,
)
from ..model.level import LEVELS, Level
from ..model.telemetry import TextLine
from .gateway import UloggerConfigEntry

_LOGGER = logging.getLogger(__name__)

SEND_AFTER = 10.0
RETRY_AFTER = 60.0
MOST_WAITING = 1000
MOST_PER_MINUTE = 600
LONGEST_MESSAGE = 2000
PREFIXES = ("homeassistant.components.", "custom_components.")
OWN = f"custom_components.{DOMAIN}"
CARRIER = "homeassistant.components.mqtt"
"""What sends our messages in bridge mode; its records about them would be sent by it again."""


class LogForwarding:
    """One account's forwarding, from the chosen integrations at or above the chosen level."""

    def __init__(
        self, hass: HomeAssistant, entry: UloggerConfigEntry, destination: TakesTextLogs
    ) -> None:
        self.hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._destination = destination
        self._lines: deque[TextLine] = deque()
        self._dropped = 0
        self._timer: CALLBACK_TYPE | None = None

    @callback
    def start(self) -> None:
        """Forward until the entry is unloaded, if it is chosen."""
        options = self._entry.options.get(CONF_FORWARD_LOGS, {})
        level = options.get(CONF_LEVEL, LEVEL_OFF)
        if level == LEVEL_OFF:
            return
        bridged = self._entry.data[CONF_CONNECTION] == CONNECTION_HOME_ASSISTANT
        forwarder = _Forwarder(
            never=(OWN, CARRIER) if bridged else (OWN,),
            wake=lambda: self.hass.loop.call_soon_threadsafe(self._woken, forwarder),
        )
        forwarder.setLevel((LEVELS.index(level) + 1) * 10)
        for integration in options.get(CONF_INTEGRATIONS, []):
            for prefix in PREFIXES:
                logger = logging.getLogger(f"{prefix}{integration}")
                logger.addHandler(forwarder)
                self._entry.async_on_unload(partial(logger.removeHandler, forwarder))
        self._entry.async_on_unload(self._stop)

    @callback
    def _stop(self) -> None:
        if self._timer is not None:
            self._timer()

    @callback
    def _woken(self, forwarder: _Forwarder) -> None:
        """Send what has come in a while, with what comes until then."""
        if self._timer is None:
            self._send_after(SEND_AFTER, forwarder)

    def _send_after(self, seconds: float, forwarder: _Forwarder) -> None:
        self._timer = async_call_later(self.hass, seconds, partial(self._send, forwarder))

    async def _send(self, forwarder: _Forwarder, _now: datetime) -> None:
        self._timer = None
        self._take(forwarder)
        lines = list(self._lines)
        if dropped := self._dropped:
            text = f"{dropped} lines were dropped: there were too many"
            lines.append(TextLine(time.time(), Level.WARNING, text))
        try:
            await self._destination.publish_text_log(self._gateway.identity, lines)
        except CloudError as err:
            _LOGGER.debug("Log lines wait for the cloud: %s", err)
            self._send_after(RETRY_AFTER, forwarder)
            return
        for _ in range(len(lines) - bool(dropped)):
            self._lines.popleft()
        self._dropped -= dropped

    def _take(self, forwarder: _Forwarder) -> None:
        """Take over what has come; the oldest lines wait, the newest are dropped."""
        lines, dropped = forwarder.take()
        room = max(MOST_WAITING - len(self._lines), 0)
        self._lines.extend(lines[:room])
        if dropped := dropped + len(lines[room:]):
            self._dropped += dropped
            self._gateway.account.rejections["log_lines_dropped"] += dropped


class _Forwarder(logging.Handler):
    """Takes records in whatever thread they are made; logging locks around `emit`.

    ``wake`` is called in that thread when the first record has come since `take`.
    """

    def __init__(self, *, never: tuple[str, ...], wake: Callable[[], object]) -> None:
        super().__init__()
        self._never = never
        self._wake = wake
        self._lines: list[TextLine] = []
        self._dropped = 0
        self._minute = 0
        self._this_minute = 0

    def take(self) -> tuple[list[TextLine], int]:
        """Return the lines that have come, and how many were dropped."""
        self.acquire()
        try:
            taken = (self._lines, self._dropped)
            self._lines, self._dropped = [], 0
        finally:
            self.release()
        return taken

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if any(record.name == name or record.name.startswith(f"{name}.") for name in self._never):
            return
        first = not self._lines and not self._dropped
        if self._over_rate() or len(self._lines) >= MOST_WAITING:
            self._dropped += 1
        else:
            level = min(max(record.levelno // 10 - 1, 0), len(LEVELS) - 1)
            text = f"{record.name}: {_message(record)}"[:LONGEST_MESSAGE]
            self._lines.append(TextLine(record.created, level, text))
        if first:
            # Records come until the very end, when there is no loop any more to be woken.
            with suppress(RuntimeError):
                self._wake()

    def _over_rate(self) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._this_minute = minute, 0
        self._this_minute += 1
        return self._this_minute > MOST_PER_MINUTE


def _message(record: logging.LogRecord) -> str:
    """Give the record's text; one whose arguments don't fit must not trouble who logs it."""
    try:
        text = record.getMessage()
    except (AttributeError, LookupError, TypeError, ValueError) as err:
        text = f"{type(err).__name__} in a log record of {record.module}, line {record.lineno}"
    if record.exc_info and record.exc_info[0] is not None:
        text += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
    return text
