"""When a device is collected next."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later
from homeassistant.util import dt as dt_util

from ..model.backoff import Backoff, never

FIRST_RETRY = 15.0
SLOT_RETRY = 5.0
PATIENT_SLOT_RETRIES = 12
"""Retries for want of a connection slot that are ordinary waiting and no error yet."""
PRESENCE_CHECK = timedelta(seconds=30)


class Schedule:
    """One device's timer.

    ``begin`` is called when the time has come (``due``) and the device is ``reachable``; while
    it is not, it is looked for again and again, since Home Assistant tells identical
    advertisements only once.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        *,
        begin: Callable[[], object],
        reachable: Callable[[], bool],
    ) -> None:
        self.hass = hass
        self.when: datetime | None = None
        self.due = False
        self.failures = 0
        self.slot_waits = 0
        self._begin = begin
        self._reachable = reachable
        self._timer: CALLBACK_TYPE | None = None

    @callback
    def at(self, when: datetime) -> None:
        """Collect at *when*, or as soon after as the device can be reached."""
        self.stop()
        self.when = when
        # Counted on the monotonic clock: a wall clock that is set back keeps nobody waiting.
        delay = max(0.0, (when - dt_util.utcnow()).total_seconds())
        self._timer = async_call_later(self.hass, delay, self._fired)

    @callback
    def now(self) -> None:
        """Collect as soon as the device can be reached."""
        self.at(dt_util.utcnow())

    @callback
    def after_success(self, interval: timedelta) -> None:
        """Collect again after an interval."""
        self.failures = self.slot_waits = 0
        self.at(dt_util.utcnow() + interval)

    @callback
    def after_restart(self, last: float, interval: timedelta) -> None:
        """Keep the interval since *last* (Unix seconds), whatever the clock has done since."""
        now = dt_util.utcnow()
        self.at(min(max(dt_util.utc_from_timestamp(last) + interval, now), now + interval))

    @callback
    def after_failure(self, interval: timedelta) -> None:
        """Try again soon, then ever less often, but not less often than the interval."""
        self.failures += 1
        backoff = Backoff(FIRST_RETRY, interval.total_seconds(), never)
        self._in_about(backoff.delay(self.failures))

    @callback
    def when_slot_is_free(self) -> None:
        """Try again in a moment: others use all the connections."""
        self.slot_waits += 1
        self._in_about(SLOT_RETRY)

    @callback
    def stop(self) -> None:
        """Collect no more by itself."""
        self.when, self.due = None, False
        if self._timer is not None:
            self._timer()
            self._timer = None

    def _in_about(self, delay: float) -> None:
        """Spread devices that failed together."""
        delay *= random.uniform(0.9, 1.1)  # noqa: S311 - keeps no secret
        self.at(dt_util.utcnow() + timedelta(seconds=delay))

    @callback
    def _fired(self, _now: datetime) -> None:
        self.due = True
        if self._reachable():
            self._timer = None
            self._begin()
        else:
            self._timer = async_call_later(self.hass, PRESENCE_CHECK, self._fired)
