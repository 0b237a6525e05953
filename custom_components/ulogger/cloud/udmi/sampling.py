"""When the values of a device go up: all of them from time to time, some as soon as they change.

Invariants, for whoever calls in time: two events are at least the limit apart; two full ones at
most the rate, or the limit where that is longer. A change that would hold up the next full event
beyond its time is itself sent as a full one.
"""

from typing import Final

RATE: Final = 300
LONGEST: Final = 86_400


class Sampling:
    """The schedule of one device's events, in seconds of a clock that only goes forward."""

    def __init__(self, now: float) -> None:
        self.rate: int | None = RATE
        self.limit = 0
        self._full_at: float | None = now + RATE
        self._last: float | None = None

    def set(self, rate: int | None, limit: int, now: float) -> None:
        """Have another rate (None for nothing by itself) and limit from now on."""
        if (rate, limit) == (self.rate, self.limit):
            return
        self.rate, self.limit = rate, limit
        self._full_at = None if rate is None else now

    def ask(self, now: float) -> None:
        """Have everything sent as soon as the limit allows it."""
        if self.rate is not None:
            self._full_at = now if self._full_at is None else min(now, self._full_at)

    def due(self, now: float, *, changes: bool) -> float | None:
        """Return when the next event is due, given whether some values have changed."""
        earliest = now if self._last is None else self._last + self.limit
        moments = [] if self._full_at is None else [self._full_at]
        if changes and self.rate is not None:
            moments.append(earliest)
        return max(min(moments), earliest) if moments else None

    def is_full(self, now: float) -> bool:
        """Return whether an event that goes now is to be a full one."""
        if self._full_at is None:
            return False
        return now >= self._full_at or now + self.limit > self._full_at

    def sent(self, now: float, *, full: bool) -> None:
        """Note that an event has gone."""
        self._last = now
        if full and self.rate is not None:
            self._full_at = now + self.rate
