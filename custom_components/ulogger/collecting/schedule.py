"""When a device is collected next, and how urgently; the radio gives it a slot then."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from homeassistant.core import callback
from homeassistant.util import dt as dt_util

from ..model.backoff import Backoff, never
from ..radio.scheduler import State
from ..radio.slots import Path
from ..radio.urgency import Urgency
from .shared_radio import SharedRadio

FIRST_RETRY = 15.0
START_SPREAD = 2.0
"""Seconds by which sessions begin sooner by chance, so that two gateways don't meet each time."""
REFUSED = Backoff(5.0, 60.0, never)
"""A scanner that said it had a free slot, and had none, is asked again ever less often."""
RECONNECT = Backoff(1.0, 30.0, never)
"""A device that is followed is connected to again soon."""
PATIENT_REFUSALS = 4
"""Refusals in a row that are ordinary waiting and no error yet."""


class Schedule:
    """One device's plan.

    ``begin`` is called with the path to take when the time has come (``due``), the device is heard
    and a slot is free. ``urgency`` tells how urgent the session is that is being planned.
    """

    def __init__(
        self,
        radio: SharedRadio,
        *,
        address: Callable[[], str],
        begin: Callable[[Path], object],
        waits: Callable[[], object] | None = None,
        yield_slot: Callable[[], object] | None = None,
        urgency: Callable[[], Urgency] = lambda: Urgency.USUAL,
    ) -> None:
        self.when: datetime | None = None
        self.failures = 0
        self.refusals = 0
        self._radio = radio
        self._urgency = urgency
        self._candidate = radio.candidate(address, begin, waits=waits, yield_slot=yield_slot)

    @property
    def due(self) -> bool:
        """Whether the time has come, and the device waits for a slot or to be heard."""
        return self._candidate.state in {State.READY, State.AWAY}

    @property
    def waits_for_slot(self) -> bool:
        """Whether the time has come and the device was heard: only a slot is missing."""
        return self._candidate.state is State.READY

    # Plans

    @callback
    def at(self, when: datetime) -> None:
        """Collect at *when*, or as soon after as the device is heard and there is a slot."""
        # Counted on the monotonic clock: a wall clock that is set back keeps nobody waiting.
        delay = max(0.0, (when - dt_util.utcnow()).total_seconds())
        self.when = when
        self._radio.plan(self._candidate, self._urgency(), not_before=self._radio.now + delay)

    @callback
    def now(self) -> None:
        """Collect as soon as the device is heard and there is a slot."""
        self.at(dt_util.utcnow())

    @callback
    def asked(self) -> None:
        """Collect now, for a person waits; who waits already keeps its place in the line."""
        self.when = dt_util.utcnow()
        since = self._candidate.since if self.due else None
        self._radio.plan(self._candidate, Urgency.ASKED, since=since)

    @callback
    def after_success(self, interval: timedelta) -> None:
        """Collect again after an interval."""
        self.failures = self.refusals = 0
        sooner = min(START_SPREAD, interval.total_seconds() / 100) * random.random()  # noqa: S311
        self.at(dt_util.utcnow() + interval - timedelta(seconds=sooner))

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
        self.at(dt_util.utcnow() + timedelta(seconds=_about(backoff.delay(self.failures))))

    @callback
    def while_live(self, *, failed: bool) -> None:
        """Follow the device again at once, or soon; whoever waited for its slot comes first."""
        self.failures = self.failures + 1 if failed else 0
        delay = _about(RECONNECT.delay(self.failures)) if failed else 0.0
        self.at(dt_util.utcnow() + timedelta(seconds=delay))

    @callback
    def after_refusal(self) -> None:
        """Try again in a moment, at the same place in the line: the slot was not free after all."""
        self.refusals += 1
        delay = _about(REFUSED.delay(self.refusals))
        self.when = dt_util.utcnow() + timedelta(seconds=delay)
        self._radio.plan(
            self._candidate,
            self._candidate.urgency,
            not_before=self._radio.now + delay,
            since=self._candidate.since,
        )

    @callback
    def at_latest_in(self, interval: timedelta) -> None:
        """Collect within an interval, if nothing is planned that comes sooner."""
        when = dt_util.utcnow() + interval
        if self.when is not None and not self.due and when < self.when:
            self.at(when)
        else:
            self.reconsider_urgency()

    @callback
    def reconsider_urgency(self) -> None:
        """Take note that what is planned has become more or less urgent."""
        if self._candidate.urgency is not Urgency.ASKED:
            self._candidate.urgency = self._urgency()

    @callback
    def stop(self) -> None:
        """Collect no more by itself."""
        self.when = None
        self._radio.drop(self._candidate)

    # What happens

    @callback
    def heard(self, signal: int | None = None) -> None:
        """Take note that the device is heard."""
        self._radio.heard(self._candidate, signal)

    @callback
    def begun(self, source: str | None, *, live: bool = False) -> None:
        """Take note that a session begins, also without a plan."""
        self.when = None
        self._candidate.live = live
        if self._candidate.state is not State.RUNNING:
            self._radio.occupied(self._candidate, source or "")

    @callback
    def ended(self) -> None:
        """Take note that the session is over and its slot free."""
        self._radio.ended(self._candidate)


def _about(delay: float) -> float:
    """Spread devices, and gateways, that failed together."""
    return delay * random.uniform(0.9, 1.1)  # noqa: S311 - keeps no secret
