"""What of a device's phases *State* shows.

A routine collection is over in seconds, and every change of *State* is a line in Home Assistant's
activity. So what only passes is shown where a person waits for it, or once it takes long; until
then *State* stays at what lasted before.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later

from .device_state import LASTING, Phase

SHOWN_AFTER: Final = 30.0
"""Seconds after which it is shown that a device is busy, whoever wanted that.

Ten devices that are due at once wait for a slot of three, one after the other, and that is nothing
to tell of.
"""


class ShownPhase:
    """The phase that *State* shows; ``changed`` is called when time alone has changed it."""

    def __init__(self, hass: HomeAssistant, changed: Callable[[], None]) -> None:
        self._awaited = self._in_session = False
        self._hass = hass
        self._changed = changed
        self._phase = self._lasting = Phase.IDLE
        self._takes_long = self._over = False
        self._timer: CALLBACK_TYPE | None = None

    @property
    def phase(self) -> Phase:
        """What is shown now."""
        shown = self._awaited or self._takes_long
        return self._phase if shown else self._lasting

    @callback
    def awaited(self) -> None:
        """Show all that passes, until the session that somebody waits for is over, and its end."""
        self._awaited = self._in_session = True

    @callback
    def session_ended(self) -> None:
        """Show what still passes of it, and then no more."""
        self._in_session = False
        self._awaited = self._awaited and self._phase not in LASTING

    @callback
    def update(self, phase: Phase) -> None:
        """Take note of what the device's road is busy with."""
        self._phase = phase
        if phase in LASTING:
            self._lasting = phase
            self._awaited = self._awaited and self._in_session
            self._wait_no_longer()
        elif self._timer is None and not self._takes_long and not self._over:
            self._timer = async_call_later(self._hass, SHOWN_AFTER, self._long)

    @callback
    def stop(self) -> None:
        """Take no more notice of time: the account is unloaded."""
        self._over = True
        self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        self._takes_long = False
        if self._timer is not None:
            self._timer()
            self._timer = None

    @callback
    def _long(self, _now: datetime) -> None:
        self._timer = None
        self._takes_long = True
        self._changed()
