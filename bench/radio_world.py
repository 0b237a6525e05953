"""Devices that want sessions over a few scanners, on virtual time; whoever schedules is handed in.

Nothing is transferred: a session takes so many seconds and succeeds or not, as its device says.
What is measured is who waits for how long, and how busy the slots are meanwhile.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from custom_components.ulogger.model.backoff import Backoff, never
from custom_components.ulogger.radio.scheduler import Candidate
from custom_components.ulogger.radio.slots import Path, Scanner
from custom_components.ulogger.radio.urgency import Urgency

FIRST_RETRY = 15.0
SPREAD = 0.1


class Schedules(Protocol):
    """What decides who begins: ours, or each device for itself."""

    reserve: int

    def plan(
        self,
        candidate: Candidate,
        urgency: Urgency,
        *,
        not_before: float,
        since: float | None = None,
    ) -> None:
        """Have a session from some moment on."""

    def ended(self, candidate: Candidate) -> None:
        """Take note that a session is over."""

    def begin_what_may(self, now: float, scanners: Iterable[Scanner]) -> int:
        """Begin every session that may begin."""

    def wake_at(self, now: float) -> float | None:
        """Return when something may become due by itself."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a device behaves: how long its sessions take (seconds), and whether they succeed.

    ``asked_every`` is for one that a person, or a program, asks for again and again. One that is
    ``live`` holds its slot until it is asked for it, takes its leave for as long as a session
    takes, and lines up again at once.
    """

    session: Callable[[Random], tuple[float, bool]]
    interval: float = 900.0
    first_due: float = 0.0
    urgency: Urgency = Urgency.USUAL
    asked_every: float | None = None
    live: bool = False


@dataclass(slots=True, eq=False)
class SimulatedDevice:
    """One device, and what became of it."""

    number: int
    hears: Mapping[str, float]
    habit: Habit
    due: float = 0.0
    failures: int = 0
    begun: int = 0
    collected: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds from due until a session began that collected the device."""
    begin_waits: list[float] = field(default_factory=list)
    """Seconds from due, or from a retry's moment, until a session began."""

    @property
    def address(self) -> str:
        """Its Bluetooth address."""
        return f"{self.number:012X}"


class RadioWorld:
    """Virtual time, scanners with slots, and devices."""

    def __init__(
        self,
        schedules: Schedules,
        slots: Mapping[str, int],
        devices: Sequence[SimulatedDevice],
        *,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.devices = devices
        self.most_at_once: dict[str, int] = dict.fromkeys(slots, 0)
        self._schedules = schedules
        self._slots = slots
        self._taken: dict[str, set[str]] = {source: set() for source in slots}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._seed = seed
        self._waiting: set[SimulatedDevice] = set()
        self._contended = self._busy_then = 0.0
        self._live: dict[SimulatedDevice, Callable[[], None]] = {}
        self._candidates = {device: self._candidate(device) for device in devices}
        for device in devices:
            self._plan(device, device.habit.first_due, device.habit.urgency)
            if device.habit.asked_every is not None:
                self._at(device.habit.first_due, partial(self._ask, device))

    @property
    def slot_use(self) -> float:
        """The share of slots that were busy, of those that somebody waited for at the time."""
        return self._busy_then / self._contended if self._contended else 1.0

    def run(self, until: float) -> None:
        """Let time go by."""
        while True:
            self._begin()
            moments = [self._events[0][0]] if self._events else []
            if (wake := self._schedules.wake_at(self.now)) is not None:
                moments.append(wake)
            moment = max(self.now, min(moments, default=until))
            self._pass(min(moment, until))
            if moment >= until:
                return
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def _pass(self, moment: float) -> None:
        """Let nothing happen until *moment*; who waits and how busy it is stays as it is."""
        seconds = moment - self.now
        wanted = {
            source for device in self._waiting if device.due <= self.now for source in device.hears
        }
        self._contended += seconds * sum(self._slots[source] for source in wanted)
        self._busy_then += seconds * sum(len(self._taken[source]) for source in wanted)
        self.now = moment

    def _begin(self) -> None:
        self._schedules.begin_what_may(
            self.now,
            [
                Scanner(source, slots, frozenset(self._taken[source]))
                for source, slots in self._slots.items()
            ],
        )

    def _candidate(self, device: SimulatedDevice) -> Candidate:
        paths = [Path(source, signal) for source, signal in device.hears.items()]
        return Candidate(
            address=lambda: device.address,
            paths=lambda: paths,
            begin=lambda path: self._session(device, path),
            yield_slot=lambda: self._yield(device),
            live=device.habit.live,
        )

    def _yield(self, device: SimulatedDevice) -> None:
        """Have a live session end; asked again, it is under way already."""
        if (leave := self._live.pop(device, None)) is not None:
            leave()

    def _plan(self, device: SimulatedDevice, moment: float, urgency: Urgency) -> None:
        device.due = moment
        self._waiting.add(device)
        self._schedules.plan(self._candidates[device], urgency, not_before=moment)

    def _session(self, device: SimulatedDevice, path: Path) -> None:
        taken = self._taken[path.source]
        taken.add(device.address)
        if len(taken) > self._slots[path.source]:
            raise RuntimeError(f"{path.source} has no slot left for {device.address}")
        self.most_at_once[path.source] = max(self.most_at_once[path.source], len(taken))
        self._waiting.discard(device)
        device.begun += 1
        device.begin_waits.append(max(0.0, self.now - device.due))
        if not device.failures:
            device.waits.append(0.0)
        device.waits[-1] += device.begin_waits[-1]
        # The same for every scheduler, whatever the order in which sessions begin.
        chance = Random(f"{self._seed} {device.number} {device.begun}")  # noqa: S311
        seconds, good = device.habit.session(chance)

        def end() -> None:
            taken.discard(device.address)
            self._schedules.ended(self._candidates[device])
            if good:
                device.failures = 0
                device.collected += 1
                pause = 0.0 if device.habit.live else device.habit.interval
                self._plan(device, self.now + pause, device.habit.urgency)
                return
            device.failures += 1
            retry = Backoff(FIRST_RETRY, device.habit.interval, never).delay(device.failures)
            retry *= chance.uniform(1 - SPREAD, 1 + SPREAD)
            device.waits[-1] += seconds + retry
            self._plan(device, self.now + retry, device.habit.urgency)

        if device.habit.live and good:
            self._live[device] = lambda: self._at(self.now + seconds, end)
        else:
            self._at(self.now + seconds, end)

    def _ask(self, device: SimulatedDevice) -> None:
        """Have somebody ask for a device, as often as they like."""
        if device in self._waiting and device.due > self.now:
            self._plan(device, self.now, Urgency.ASKED)
        self._at(self.now + (device.habit.asked_every or 1.0), partial(self._ask, device))

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), event))
