"""How much a device may send in a day."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..model.identity import DeviceKey

DAY = 86_400


@dataclass(slots=True)
class DailyQuota:
    """What each device has sent on a UTC day, against ``limit`` bytes (0 is no limit).

    ``clock`` gives Unix seconds.
    ``sent`` counts bytes. Invariant: a count never falls within a day, so that bytes which were
    counted at once are not lost to counters that were read from disk a moment earlier.
    """

    limit: int
    clock: Callable[[], float] = time.time
    day: int = -1
    sent: dict[DeviceKey, int] = field(default_factory=dict)

    def counted(self, key: DeviceKey, size: int) -> None:
        """Count bytes that were sent now; a quota can't wait for the counters to be read."""
        self._begin_day()
        self.sent[key] = self.sent.get(key, 0) + size

    def read(self, bytes_today: Mapping[DeviceKey, int]) -> None:
        """Take over what the disk says of today, where that is more."""
        self._begin_day()
        for key, size in bytes_today.items():
            self.sent[key] = max(self.sent.get(key, 0), size)

    def exhausted(self) -> frozenset[DeviceKey]:
        """Return the devices that have sent today what they may in a day."""
        self._begin_day()
        if not self.limit:
            return frozenset()
        return frozenset(key for key, size in self.sent.items() if size >= self.limit)

    def _begin_day(self) -> None:
        if (today := int(self.clock() // DAY)) != self.day:
            self.day, self.sent = today, {}


@dataclass(frozen=True, slots=True)
class DaysInARow:
    """On how many UTC days in a row, up to ``day`` (since 1970), the quota was reached."""

    day: int = 0
    days: int = 0

    def reached(self, now: float) -> DaysInARow:
        """Return this with today as one more day, if it is not counted yet."""
        if (today := int(now // DAY)) == self.day:
            return self
        return DaysInARow(today, self.days + 1 if self.day == today - 1 else 1)

    def lasting(self, now: float) -> int:
        """Return the days in a row up to today or yesterday."""
        return self.days if self.day >= int(now // DAY) - 1 else 0
