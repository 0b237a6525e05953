"""Log records of this integration, as entries of a UDMI gateway.

Records of what carries them are left out: sending one would make the next.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, override

from homeassistant.core import HomeAssistant, callback

from ..cloud.udmi.entries import record_entry
from ..cloud.udmi.speaker import Speaker
from ..const import DOMAIN

OWN: Final = f"custom_components.{DOMAIN}"
CARRIERS: Final = tuple(f"{OWN}.{room}" for room in ("cloud.mqtt", "cloud.udmi", "gateway.udmi"))
MOST_WAITING: Final = 256


class Records(logging.Handler):
    """Takes records in whatever thread they are made, and tells them on the loop."""

    def __init__(self, hass: HomeAssistant, gateway: Speaker) -> None:
        super().__init__()
        self._hass = hass
        self._gateway = gateway
        self._waiting: deque[logging.LogRecord] = deque(maxlen=MOST_WAITING)
        self._woken = threading.Event()

    @callback
    def start(self) -> Callable[[], None]:
        """Begin to listen; returns what ends that."""
        logger = logging.getLogger(OWN)
        logger.addHandler(self)

        def stop() -> None:
            logger.removeHandler(self)

        return stop

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(CARRIERS):
            return
        self._waiting.append(record)
        if not self._woken.is_set():
            self._woken.set()
            # Records come until the very end, when there is no loop any more to be woken.
            if not self._hass.loop.is_closed():
                self._hass.loop.call_soon_threadsafe(self._tell)

    @callback
    def _tell(self) -> None:
        self._woken.clear()
        while self._waiting:
            record = self._waiting.popleft()
            try:
                text = record.getMessage()
            except AttributeError, LookupError, TypeError, ValueError:
                text = f"A record of {record.module} that does not fit its values"
            if record.exc_info and record.exc_info[0] is not None:
                text += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
            self._gateway.tell(record_entry(record, text))
