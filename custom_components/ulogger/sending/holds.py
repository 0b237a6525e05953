"""Who waits before it is tried again, and for how long: devices, or one kind of their captures."""

import math
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ..model.capture import CaptureKind
from ..model.identity import DeviceKey

FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 600.0

type Which = tuple[DeviceKey, CaptureKind | None]
"""A device, or one kind of its captures."""


@dataclass(slots=True)
class _Hold:
    failures: int
    until: float
    lost: bool = False
    """Whether it waits for nothing but a connection."""


class Holds:
    """Waiting times of one destination's devices, by the clock that is handed in (seconds)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._holds: dict[Which, _Hold] = {}

    def hold_back(self, which: Which, *, lost: bool = False) -> None:
        """Leave it alone for a while, each time in a row for longer."""
        failures = self._failures(which) + 1
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 16))
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads devices, keeps no secret
        self._holds[which] = _Hold(failures, self._clock() + delay, lost)

    def hold_for(self, which: Which, seconds: float) -> None:
        """Leave it alone for just so long: nothing was sent that could count as a failure."""
        self._holds[which] = _Hold(self._failures(which), self._clock() + seconds)

    def release(self, key: DeviceKey, kind: CaptureKind | None = None) -> None:
        """Let a device go again, and one kind of its captures."""
        self._holds.pop((key, None), None)
        self._holds.pop((key, kind), None)

    def release_only(self, which: Which) -> None:
        """Let just this go again."""
        self._holds.pop(which, None)

    def resume(self) -> None:
        """Let go what waited for nothing but a connection."""
        self._holds = {which: hold for which, hold in self._holds.items() if not hold.lost}

    def lift(self) -> None:
        """Let go kinds of captures that were denied."""
        self._holds = {which: hold for which, hold in self._holds.items() if which[1] is None}

    def clear(self) -> None:
        """Let go everything."""
        self._holds.clear()

    def waiting(self) -> dict[CaptureKind | None, set[DeviceKey]]:
        """Return who waits now: with everything (None), with its logs, with its core dumps."""
        now = self._clock()
        waiting: dict[CaptureKind | None, set[DeviceKey]] = defaultdict(set)
        for (key, kind), hold in self._holds.items():
            if hold.until > now:
                waiting[kind].add(key)
        return waiting

    def next_end(self) -> float:
        """Return the seconds until the next waiting time ends; infinite without one."""
        now = self._clock()
        waits = (hold.until - now for hold in self._holds.values() if hold.until > now)
        return min(waits, default=math.inf)

    def _failures(self, which: Which) -> int:
        return self._holds[which].failures if which in self._holds else 0
