"""When *Last upload* moves on.

Every change of it is a line in Home Assistant's activity, and a collection often brings a log and a
core dump that go up one after the other. So what went up is shown once nothing more is to follow,
and once a minute while more does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later

SHOWN_EVERY: Final = 60.0
"""Seconds between two uploads that are shown while more is to follow."""


@dataclass(slots=True)
class Shown:
    """What is shown: it stays over a reload, which is no reason for a line of its own."""

    moment: float | None = None
    known: bool = False


class ShownUpload:
    """The upload that *Last upload* shows; ``changed`` is called when it is another one."""

    def __init__(
        self, hass: HomeAssistant, changed: Callable[[], None], shown: Shown | None = None
    ) -> None:
        """Go on with what was *shown* before, if anything."""
        self._hass = hass
        self._changed = changed
        self._shown = Shown() if shown is None else shown
        self._last = self._shown.moment
        self._over = False
        self._timer: CALLBACK_TYPE | None = None

    @property
    def moment(self) -> float | None:
        """Unix seconds of the upload that is shown; None for none."""
        return self._shown.moment

    @callback
    def update(self, last: float | None, *, more: bool) -> None:
        """Take note of the *last* upload, and of whether *more* is to follow it soon."""
        self._last = last
        if not more or not self._shown.known:
            self._shown.known = True
            self._show()
        elif last != self._shown.moment and self._timer is None and not self._over:
            self._timer = async_call_later(self._hass, SHOWN_EVERY, self._long)

    @callback
    def stop(self) -> None:
        """Take no more notice of time: the account is unloaded."""
        self._over = True
        self._wait_no_longer()

    def _show(self) -> None:
        self._wait_no_longer()
        if self._shown.moment != self._last:
            self._shown.moment = self._last
            self._changed()

    def _wait_no_longer(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None

    @callback
    def _long(self, _now: datetime) -> None:
        self._timer = None
        self._show()
