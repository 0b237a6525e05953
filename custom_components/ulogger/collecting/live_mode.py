"""Whether a person watches a device, and until when."""

from collections.abc import Callable
from datetime import datetime, timedelta

from homeassistant.core import CALLBACK_TYPE, HassJob, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later


class LiveMode:
    """On from when somebody wants it until they don't, or for so long; then ``over`` is called."""

    def __init__(self, hass: HomeAssistant, over: Callable[[], object]) -> None:
        self._hass = hass
        self._over = over
        self._timer: CALLBACK_TYPE | None = None
        self._ends_at = 0.0

    @property
    def left(self) -> timedelta:
        """How long the device is still to be followed."""
        return timedelta(seconds=max(0.0, self._ends_at - self._hass.loop.time()) * self.on)

    @property
    def on(self) -> bool:
        """Whether the device is to be followed."""
        return self._timer is not None

    @callback
    def begin(self, duration: timedelta) -> None:
        """Follow the device, from now on for so long."""
        self._cancel()
        self._ends_at = self._hass.loop.time() + duration.total_seconds()
        job = HassJob(self._time_is_up, "ulogger: live mode ends", cancel_on_shutdown=True)
        self._timer = async_call_later(self._hass, duration, job)

    @callback
    def end(self) -> None:
        """Follow the device no longer."""
        if self.on:
            self._cancel()
            self._over()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None

    @callback
    def _time_is_up(self, _now: datetime) -> None:
        self._timer = None
        self._over()
