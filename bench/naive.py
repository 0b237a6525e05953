"""The way without a scheduler: each device has a timer, and asks again every five seconds."""

import heapq
import itertools
from collections.abc import Iterable
from random import Random

from custom_components.ulogger.radio.scheduler import Candidate, Running, Scheduler, State
from custom_components.ulogger.radio.slots import Scanner
from custom_components.ulogger.radio.urgency import Urgency

RETRY = 5.0
SPREAD = 0.1


class NaiveScheduler(Scheduler):
    """Whoever is due tries, in no order but that of their timers.

    On virtual time a try costs nothing (``looks``). In a Home Assistant it is what it was: a
    connection attempt, which fails when no slot is free.
    """

    def __init__(self, *, looks: bool = True) -> None:
        super().__init__()
        self._looks = looks
        self._timers: list[tuple[float, int, Candidate]] = []
        self._order = itertools.count()
        self._random = Random(1)  # noqa: S311 - keeps no secret
        self._planned: dict[Candidate, int] = {}

    def plan(
        self,
        candidate: Candidate,
        urgency: Urgency,
        *,
        not_before: float,
        since: float | None = None,
    ) -> None:
        """Set the device's timer."""
        candidate.urgency, candidate.state = urgency, State.LATER
        candidate.since = not_before if since is None else since
        self._set(candidate, not_before)

    def drop(self, candidate: Candidate) -> None:
        """Take the device's timer away."""
        self._planned.pop(candidate, None)

    def heard(self, candidate: Candidate, signal: float | None = None) -> bool:
        """Do nothing: the timer decides."""
        return False

    def due(self, now: float) -> bool:
        """Whether a timer has run out."""
        return bool(self._timers and self._timers[0][0] <= now)

    def wake_at(self, now: float) -> float | None:
        """Return when the next timer runs out."""
        return self._timers[0][0] if self._timers else None

    def begin_what_may(self, now: float, scanners: Iterable[Scanner]) -> int:
        """Let those try whose timers have run out."""
        room: dict[str, int] | None = None
        begun = 0
        while self._timers and self._timers[0][0] <= now:
            _, number, candidate = heapq.heappop(self._timers)
            if self._planned.get(candidate) != number:
                continue
            if room is None:
                room = self._room(scanners) if self._looks else {}
            paths = [p for p in candidate.paths() if not self._looks or room[p.source] > 0]
            if not paths or candidate.address() in self.running:
                self._set(candidate, now + RETRY * self._random.uniform(1 - SPREAD, 1 + SPREAD))
                continue
            path = max(paths, key=lambda each: each.signal)
            if self._looks:
                room[path.source] -= 1
            del self._planned[candidate]
            candidate.state = State.RUNNING
            self.running[candidate.address()] = Running(candidate, path.source, now)
            candidate.begin(path)
            begun += 1
        return begun

    def _set(self, candidate: Candidate, moment: float) -> None:
        number = self._planned[candidate] = next(self._order)
        heapq.heappush(self._timers, (moment, number, candidate))
