"""Who gets the next free connection slot.

Whoever wants sessions is a candidate. There is one scheduler for all accounts, since there is
one radio. Time is handed in, in seconds of any monotonic clock.

| state | event | way on |
|---|---|---|
| idle | planned | later, with a moment before which nothing happens |
| later | the moment has come | ready |
| ready | a slot is free on one of its paths, and nobody ranks before it there | running |
| ready | nobody hears it | away: looked for again every 30 s, and whenever it is heard |
| ready | every scanner that hears it is full | ready |
| running | ended | idle; the session's owner plans the next one |
| running live | somebody on its scanner has waited for a minute | asked to yield |
| any | dropped | idle |

Rank: the moment since when a candidate has waited, less a head start for urgency and signal
(`urgency`). The smallest comes first, and head starts are bounded. Invariants:

- at most one session to an address, whoever wants it;
- no more sessions over a scanner than it has slots, less the reserve and less what others hold;
- while a candidate that is heard waits, no slot on its paths that we may use is free;
- **fair**: whoever waits begins within `longest_wait`, whatever the others do. For once it has
  waited for the largest head start, nobody who comes later ranks before it, and of those before
  it each has one session: whoever has had it and wants another comes later.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from .slots import Path, Scanner
from .urgency import LARGEST_HEAD_START, SIGNAL_HEAD_START, Urgency, signal_head_start

LOOK_AGAIN = 30.0
"""Seconds until a device that nobody hears is looked for again."""
YIELD_AFTER = 60.0
"""Seconds that somebody waits before a live session gives up its slot."""
FEW_ENTRIES = 64
SAME_MOMENT = 1.0
"""Seconds within which what becomes due is taken together: one timer for many devices."""


def longest_wait(candidates: int, slots: int, session: float) -> float:
    """Return the seconds within which whoever waits and is heard begins.

    Of so many *candidates* in all, over a scanner of which *slots* are ours throughout, with
    sessions of at most *session* seconds (at least `YIELD_AFTER`, where some are live).
    """
    rounds = -(-candidates // slots)
    return LARGEST_HEAD_START + SIGNAL_HEAD_START + rounds * session


class State(Enum):
    """Where a candidate is."""

    IDLE = auto()
    LATER = auto()
    READY = auto()
    AWAY = auto()
    RUNNING = auto()


@dataclass(slots=True, eq=False)
class Candidate:
    """Somebody who wants sessions with the device at an address.

    ``paths`` tells who hears the device; it is asked only when a slot is free. ``begin`` is
    called with the path of a session that begins, ``away`` when one could begin and nobody hears
    the device, ``waits`` once when there is no slot for it. ``yield_slot`` asks the session of a
    ``live`` one to end.
    """

    address: Callable[[], str]
    paths: Callable[[], Sequence[Path]]
    begin: Callable[[Path], object]
    away: Callable[[], object] | None = None
    waits: Callable[[], object] | None = None
    yield_slot: Callable[[], object] | None = None
    live: bool = False
    urgency: Urgency = Urgency.USUAL
    state: State = State.IDLE
    since: float = 0.0
    not_before: float = 0.0
    signal: float = field(default=-100.0)
    _entry: int = field(default=0, repr=False)

    @property
    def rank(self) -> float:
        """What the order goes by: the smallest comes first."""
        return self.since - self.urgency.value - signal_head_start(self.signal)


@dataclass(frozen=True, slots=True)
class Running:
    """A session under way, over which scanner and since when."""

    candidate: Candidate
    source: str
    began: float


class Scheduler:
    """Gives free slots to those who want one; see the module's table."""

    def __init__(self) -> None:
        self.reserve = 0
        self.running: dict[str, Running] = {}
        # In the order of their coming, which decides between those of equal rank.
        self._ready: dict[Candidate, None] = {}
        self._untold: dict[Candidate, None] = {}
        self._later: list[tuple[float, int, Candidate]] = []
        self._entries = itertools.count(1)
        self._most_entries = FEW_ENTRIES

    # What candidates want

    def plan(
        self,
        candidate: Candidate,
        urgency: Urgency,
        *,
        not_before: float,
        since: float | None = None,
    ) -> None:
        """Have a session at *not_before* or as soon after as there is a slot.

        It ranks as if it had waited *since*, by default that very moment.
        """
        if candidate.state is State.RUNNING:
            raise ValueError("a session is under way")
        self.drop(candidate)
        candidate.urgency = urgency
        candidate.not_before = not_before
        candidate.since = not_before if since is None else since
        self._put_later(candidate, not_before, State.LATER)

    def drop(self, candidate: Candidate) -> None:
        """Want no session any more; one under way goes on until it is `ended`."""
        if candidate.state is State.RUNNING:
            return
        self._ready.pop(candidate, None)
        self._untold.pop(candidate, None)
        candidate.state, candidate._entry = State.IDLE, 0  # noqa: SLF001 - its bookkeeping is ours

    def heard(self, candidate: Candidate, signal: float | None = None) -> bool:
        """Take note that a device is heard, in dBm; returns whether that may make it begin."""
        if signal is not None:
            candidate.signal = signal
        if candidate.state is State.AWAY:
            self._make_ready(candidate)
        return candidate.state is State.READY

    def occupied(self, candidate: Candidate, now: float, source: str) -> None:
        """Take note of a session that was begun without asking, over *source* if that is known."""
        self.drop(candidate)
        candidate.state = State.RUNNING
        self.running[candidate.address()] = Running(candidate, source, now)

    def ended(self, candidate: Candidate) -> None:
        """Take note that the session is over and its slot free."""
        for address, each in list(self.running.items()):
            if each.candidate is candidate:
                del self.running[address]
        if candidate.state is State.RUNNING:
            candidate.state = State.IDLE

    # What it decides

    def due(self, now: float) -> bool:
        """Whether anybody waits, or would as soon as it is looked."""
        self._forget_stale()
        return bool(self._ready or (self._later and self._later[0][0] <= now + SAME_MOMENT))

    def begin_what_may(self, now: float, scanners: Iterable[Scanner]) -> int:
        """Begin every session that may begin; returns how many those are."""
        self._advance(now)
        if not self._ready:
            return 0
        room = self._room(scanners)
        begun = 0
        for candidate in sorted(self._ready, key=_rank):
            if not any(room.values()):
                break
            if candidate not in self._ready or (address := candidate.address()) in self.running:
                continue
            paths = candidate.paths()
            if not paths:
                self._ready.pop(candidate, None)
                self._put_later(candidate, now + LOOK_AGAIN, State.AWAY)
                if candidate.away is not None:
                    candidate.away()
                continue
            candidate.signal = max(path.signal for path in paths)
            free = [path for path in paths if room.get(path.source, 0) > 0]
            if not free:
                continue
            path = max(free, key=_signal)
            room[path.source] -= 1
            self._ready.pop(candidate, None)
            candidate.state = State.RUNNING
            self.running[address] = Running(candidate, path.source, now)
            candidate.begin(path)
            begun += 1
        self._tell_who_waits()
        self._ask_to_yield(now)
        return begun

    def wake_at(self, now: float) -> float | None:
        """Return when something may become due by itself; None for never."""
        self._forget_stale()
        moments = [self._later[0][0]] if self._later else []
        if self._ready and any(self._live()):
            # Whoever has waited for longer was heard of when it began to.
            impatient = (each.since + YIELD_AFTER for each in self._ready)
            moments += [moment for moment in impatient if moment > now]
        return min(moments, default=None)

    @property
    def waiting(self) -> int:
        """How many are ready and wait for a slot."""
        return len(self._ready)

    # How it does that

    def _advance(self, now: float) -> None:
        """Make ready whose moment has come."""
        while True:
            self._forget_stale()
            if not self._later or self._later[0][0] > now + SAME_MOMENT:
                return
            self._make_ready(heapq.heappop(self._later)[2])

    def _make_ready(self, candidate: Candidate) -> None:
        candidate.state, candidate._entry = State.READY, 0  # noqa: SLF001
        self._ready[candidate] = None
        self._untold[candidate] = None

    def _put_later(self, candidate: Candidate, moment: float, state: State) -> None:
        candidate.state, candidate._entry = state, next(self._entries)  # noqa: SLF001
        heapq.heappush(self._later, (moment, candidate._entry, candidate))  # noqa: SLF001
        if len(self._later) > self._most_entries:
            self._later = [each for each in self._later if each[1] == each[2]._entry]  # noqa: SLF001
            heapq.heapify(self._later)
            self._most_entries = 2 * len(self._later) + FEW_ENTRIES

    def _forget_stale(self) -> None:
        """Drop what was planned otherwise since."""
        while self._later and self._later[0][1] != self._later[0][2]._entry:  # noqa: SLF001
            heapq.heappop(self._later)

    def _room(self, scanners: Iterable[Scanner]) -> dict[str, int]:
        """Return how many sessions fit over each scanner, by what is known of them now."""
        known = list(scanners)
        for scanner in known:
            for address in self.running.keys() & scanner.taken:
                # The Bluetooth stack may have taken another path than the one we chose.
                running = self.running[address]
                if running.source != scanner.source:
                    self.running[address] = Running(
                        running.candidate, scanner.source, running.began
                    )
        ours: dict[str, set[str]] = {}
        for address, running in self.running.items():
            ours.setdefault(running.source, set()).add(address)
        nobody: set[str] = set()
        return {
            scanner.source: scanner.room(ours.get(scanner.source, nobody), self.reserve)
            for scanner in known
        }

    def _tell_who_waits(self) -> None:
        untold, self._untold = self._untold, {}
        for candidate in untold:
            if candidate in self._ready and candidate.waits is not None:
                candidate.waits()

    def _live(self) -> Iterable[Running]:
        return (r for r in self.running.values() if r.candidate.live)

    def _ask_to_yield(self, now: float) -> None:
        """Ask for the slots of live sessions that somebody has waited for too long, one each."""
        live = sorted(self._live(), key=_began)
        if not live:
            return
        for candidate in sorted(self._ready, key=_rank):
            if not live:
                return
            # A stranger may rank before a device that is known, and ends nobody's session.
            if candidate.urgency is Urgency.IDENTIFY or candidate.since + YIELD_AFTER > now:
                continue
            if candidate.address() in self.running:
                continue
            sources = {path.source for path in candidate.paths()}
            if (first := next((r for r in live if r.source in sources), None)) is not None:
                live.remove(first)
                if first.candidate.yield_slot is not None:
                    first.candidate.yield_slot()


def _rank(candidate: Candidate) -> float:
    return candidate.rank


def _signal(path: Path) -> float:
    return path.signal


def _began(running: Running) -> float:
    return running.began
