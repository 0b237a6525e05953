"""Scans of one family of addresses: when they begin, and what they have found.

The phases of a family, as they stand in the state:

    stopped   nothing is to come; the generation is that of the last scan, or of one that is past
    pending   a scan is to come at ``generation``
    active    a scan of ``generation`` is under way, or, without one, what is heard is told as it
              comes (passive)

Invariants: a generation is scanned once, and none from before the gateway began. Scans that
repeat begin at the generation of the config plus a multiple of the interval, whenever the one
before has ended. Of a scan every address is told once: the start is event 0, what is found has
numbers from 1, and the end is minus one more than the last of them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from .block import Changed, Clock, Now, PublishEvent
from .generations import read_generation
from .localnet import address, in_families
from .status import Severity, make_status, stamp

SCAN: Final = "discovery.family.scan"
DURATION: Final = 60
LONGEST_DURATION: Final = 3600
LEAST_INTERVAL: Final = 10
LONGEST_INTERVAL: Final = 366 * 86_400
LEAST_HOLDOFF: Final = 10
LOOK_EVERY: Final = 60.0
"""The wall clock may be set while a scan is to come."""
MOST_FOUND: Final = 1000
MOST_HELD: Final = 5000
MOST_REMEMBERED: Final = 100
DEPTHS: Final = frozenset({"buckets", "entries", "details", "parts", "system", "refs"})
WITH_REFS: Final = DEPTHS - {"buckets", "system"}


@dataclass(frozen=True, slots=True)
class Found:
    """What stands behind an address; ``system`` and ``refs`` are as messages have them."""

    address: str
    families: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    system: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[str, Any] = field(default_factory=dict)


class ScanFailed(Exception):
    """A family can't be scanned now; the text says why."""


type Listen = Callable[[Callable[[Found], None]], Callable[[], None]]
"""Tells what is there and what comes, until what it returned is called; raises ScanFailed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a config wants of a family."""

    generation: datetime | None = None
    text: str = ""
    """The generation as it is written back."""
    interval: int = 0
    duration: int = DURATION
    addresses: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    holdoff: int | None = None
    with_refs: bool = False
    problem: str = ""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Plan:
        """Read a config; what can't be used becomes a problem, and then nothing is scanned."""
        wrong: list[str] = []
        generation, text = None, config.get("generation")
        if text is not None:
            try:
                generation, text = read_generation(text)
            except ValueError as err:
                wrong.append(f"generation: {err}")
        interval = _seconds(config, "scan_interval_sec", wrong) or 0
        duration = _seconds(config, "scan_duration_sec", wrong) or DURATION
        holdoff = _seconds(config, "passive_sec", wrong)
        addresses = frozenset(map(address, _texts(config, "addrs", wrong)))
        networks = frozenset(_texts(config, "networks", wrong))
        depth = config.get("depth")
        if depth is not None and not (isinstance(depth, str) and depth in DEPTHS):
            wrong.append(f"depth is none of {', '.join(sorted(DEPTHS))}")
        if wrong:
            return cls(problem="; ".join(wrong))
        if interval > LONGEST_INTERVAL:
            interval = 0
        elif interval:
            interval *= math.ceil(LEAST_INTERVAL / interval)
        duration = min(duration, interval or LONGEST_DURATION, LONGEST_DURATION)
        return cls(
            generation,
            str(text or ""),
            interval,
            duration,
            addresses,
            networks,
            None if holdoff is None else max(holdoff, LEAST_HOLDOFF),
            depth in WITH_REFS or (depth is None and bool(addresses)),
        )

    def next_after(self, now: datetime) -> tuple[datetime, datetime | None]:
        """Return the last scan that should have begun by *now*, and the one after that."""
        assert self.generation is not None  # noqa: S101
        if not self.interval or now < self.generation:
            return self.generation, None
        passed = (now - self.generation).total_seconds() // self.interval
        last = self.generation + timedelta(seconds=passed * self.interval)
        try:
            return last, last + timedelta(seconds=self.interval)
        except OverflowError:
            return last, None


@dataclass(slots=True)
class _Scan:
    generation: datetime
    until: float
    stop: Callable[[], None] = lambda: None
    seen: set[str] = field(default_factory=set)


class FamilyScan:
    """One family of the block ``discovery``."""

    def __init__(
        self,
        family: str,
        listen: Listen | None,
        *,
        changed: Changed,
        publish: PublishEvent,
        clock: Clock,
        now: Now,
        began: datetime,
    ) -> None:
        self._family = family
        self._listen = listen
        self._changed = changed
        self._publish = publish
        self._clock = clock
        self._now = now
        self._began = began
        self._plan = Plan()
        self._scan: _Scan | None = None
        self._next: datetime | None = None
        self._ran: dict[datetime, None] = {}
        self._count: int | None = None
        self._shown: datetime | None = None
        self._stop_passive: Callable[[], None] | None = None
        self._passive_number = 0
        self._held: dict[str, float] = {}
        self._status: Mapping[str, Any] | None = None

    # What a site wants

    def configure(self, config: Any) -> None:
        """Take a config of the family; what was planned before is no more."""
        if self._listen is None:
            self._fail(f"The family {self._family} can't be scanned here")
            return
        plan = Plan.read(config if isinstance(config, Mapping) else {})
        if not isinstance(config, Mapping):
            plan = Plan(problem="its config is no object")
        before = self._plan
        another = (before.generation, before.interval) != (plan.generation, plan.interval)
        if another:
            self._end_scan()
        self._plan, self._status = plan, None
        if plan.problem:
            self._fail(f"The family {self._family}: {plan.problem}")
        if another:
            self._count = None
            self._look_ahead()
        self._set_passive(wanted=plan.holdoff is not None)
        self.wake()

    def _look_ahead(self) -> None:
        """Find out which scan comes next."""
        plan, now = self._plan, self._now()
        self._next = self._shown = None
        if plan.generation is None:
            return
        last, following = plan.next_after(now)
        late = (now - last).total_seconds()
        in_time = last == plan.generation or late < plan.duration
        if last > now or (last >= self._began and last not in self._ran and in_time):
            self._next = last
        else:
            self._next = following
        self._shown = self._next or last

    def _set_passive(self, *, wanted: bool) -> None:
        if wanted == (self._stop_passive is not None):
            return
        if self._stop_passive is not None:
            self._stop_passive()
            self._stop_passive = None
            self._held.clear()
            return
        self._stop_passive = self._begin_to_listen(self._heard)

    def _begin_to_listen(self, found: Callable[[Found], None]) -> Callable[[], None] | None:
        if self._listen is None:
            return None
        try:
            return self._listen(found)
        except ScanFailed as err:
            self._fail(f"The family {self._family}: {err}")
            return None

    def _fail(self, text: str, level: int = Severity.ERROR) -> None:
        self._status = make_status(text, SCAN, level, self._now())
        self._changed()

    # A scan

    def _begin_scan(self, generation: datetime) -> None:
        self._ran[generation] = None
        while len(self._ran) > MOST_REMEMBERED:
            del self._ran[next(iter(self._ran))]
        scan = _Scan(generation, self._clock() + self._plan.duration)
        self._scan, self._count, self._shown, self._next = scan, 0, generation, None
        self._tell({"event_no": 0})
        stop = self._begin_to_listen(lambda found: self._found(scan, found))
        if stop is None:
            self._end_scan()
        else:
            scan.stop = stop
        self._changed()

    def _found(self, scan: _Scan, found: Found) -> None:
        plan, place = self._plan, address(found.address)
        if scan is not self._scan or not place or place in scan.seen:
            return
        if plan.addresses and place not in plan.addresses:
            return
        if plan.networks and found.network not in plan.networks:
            return
        if len(scan.seen) >= MOST_FOUND:
            if self._status is None:
                text = f"The family {self._family}: more than {MOST_FOUND} addresses were found"
                self._fail(text, Severity.WARNING)
            return
        scan.seen.add(place)
        self._count = len(scan.seen)
        self._tell({**self._event(found), "event_no": self._count})

    def _end_scan(self) -> None:
        scan, self._scan = self._scan, None
        if scan is None:
            return
        scan.stop()
        self._tell({"event_no": -(len(scan.seen) + 1)}, scan.generation)
        self._changed()

    def _tell(self, event: Mapping[str, Any], generation: datetime | None = None) -> None:
        scan = self._scan
        generation = generation or (scan.generation if scan else None)
        text = {} if generation is None else {"generation": self._text(generation)}
        self._publish("discovery", {**text, "family": self._family, **event})

    def _event(self, found: Found) -> dict[str, Any]:
        event: dict[str, Any] = {"addr": address(found.address)}
        if found.network:
            event["network"] = found.network
        if families := in_families({**found.families, self._family: found.address}):
            event["families"] = families
        if found.system:
            event["system"] = dict(found.system)
        if self._plan.with_refs:
            event["refs"] = dict(found.refs)
        return event

    # What is told without a scan

    def _heard(self, found: Found) -> None:
        place, clock = address(found.address), self._clock()
        if self._scan is not None or not place or self._held.get(place, -math.inf) > clock:
            return
        plan = self._plan
        if plan.addresses and place not in plan.addresses:
            return
        self._let_go(clock)
        if len(self._held) >= MOST_HELD:
            return
        self._held[place] = clock + (plan.holdoff or LEAST_HOLDOFF)
        self._passive_number += 1
        self._tell({**self._event(found), "event_no": self._passive_number})

    def _let_go(self, clock: float) -> None:
        # They are in the order in which they are let go of, unless the config has changed.
        for place in list(self._held):
            if self._held[place] > clock:
                break
            del self._held[place]

    # State and time

    def state(self) -> dict[str, Any]:
        """Return how the family stands."""
        state: dict[str, Any] = {"phase": "stopped"}
        passive = self._stop_passive is not None
        if self._scan is not None or passive:
            state["phase"] = "active"
        elif self._next is not None:
            state["phase"] = "pending"
        if self._shown is not None and (self._scan is not None or not passive):
            state["generation"] = self._text(self._shown)
        if self._count is not None:
            state["active_count"] = self._count
        if passive:
            self._let_go(self._clock())
            state["passive_count"] = len(self._held)
        if self._status is not None:
            state["status"] = self._status
        return state

    def _text(self, generation: datetime) -> str:
        return self._plan.text if generation == self._plan.generation else stamp(generation)

    def wake_at(self) -> float | None:
        """Return when a scan begins or ends."""
        moments: list[float] = []
        clock = self._clock()
        if self._scan is not None:
            moments.append(self._scan.until)
        if self._next is not None:
            left = max(0.0, (self._next - self._now()).total_seconds())
            moments += [clock + left, clock + LOOK_EVERY]
        return min(moments, default=None)

    def wake(self) -> None:
        """End the scan whose time is over, and begin the one whose time has come."""
        if self._scan is not None and self._scan.until <= self._clock():
            self._end_scan()
            self._look_ahead()
        if self._scan is None and self._next is not None and self._next <= self._now():
            self._begin_scan(self._next)

    def close(self) -> None:
        """Listen no longer."""
        self._set_passive(wanted=False)
        if self._scan is not None:
            self._scan.stop()


def _seconds(config: Mapping[str, Any], key: str, wrong: list[str]) -> int | None:
    given = config.get(key)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        wrong.append(f"{key} is no number of seconds")
        return None
    return given


def _texts(config: Mapping[str, Any], key: str, wrong: list[str]) -> list[str]:
    given = config.get(key)
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        wrong.append(f"{key} is no list of texts")
        return []
    return given
