"""Values that a site sets: written, read back, and taken back when their time is over.

The states of a set value, as they stand in the device's state:

    (none)      it was written a moment ago, or there is none
    updating    it is not there yet; the write is tried again and again
    applied     the point shows it
    overridden  the point has shown it, and now shows what somebody else has set
    failure     it could not be written, or is not there after a minute; tried again none the less
    invalid     it was refused, and never written; what was set before stays until its own end

Invariants: a point is written only if a person marked it writable, and never for a request that
is stale, that has no end, or whose end has passed. Of a point one write is under way at a time.
When a set value ends, the point goes back to what it showed before the first one, unless somebody
else has set it meanwhile. All of this holds over restarts by what `memory` returns.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from ...model.backoff import Backoff, never
from .block import Changed, Clock, Now
from .outcome import outcome
from .points import InvalidValue, Point, Value, as_value, same
from .status import Severity, make_status, read_stamp

UPDATING_AFTER: Final = 2.0
"""UDMI wants it said within 5 s, its own tests within 4; a state can wait 2 s for others."""
FAILED_AFTER: Final = 60.0
SETTLES_WITHIN: Final = 3.0
"""Seconds in which a point may show something else for a moment before somebody has set it."""
WRITE_LIMIT: Final = 30.0
LOOK_EVERY: Final = 60.0
"""The wall clock may be set while a value waits for its end."""
MOST_REVERTS: Final = 5
"""Somebody who sets a point just then must not be fought for ever."""
RETRY: Final = Backoff(10.0, 60.0, never)

type Write = Callable[[str, Value], Awaitable[None]]
"""Sets a point; raises InvalidValue, or anything else that may be over when it is tried again."""
type Check = Callable[[str, Value], Value]
"""Returns a value as the point will show it; raises InvalidValue. Does not block."""
type Shows = Callable[[Point, Value, Value | None], bool]
"""Says whether a point shows what it was set to, given that and what it shows."""
type ReadPoint = Callable[[str], Value | None]
"""Returns what a point shows now, None if that is not known. Does not block."""


class ValueState(StrEnum):
    """How a set value stands; `PENDING` is left out of messages."""

    PENDING = ""
    UPDATING = "updating"
    APPLIED = "applied"
    OVERRIDDEN = "overridden"
    FAILURE = "failure"
    INVALID = "invalid"


_ANEW: Final = (ValueState.OVERRIDDEN, ValueState.FAILURE)
"""Where a site that wants the same once more has it written once more."""


@dataclass(frozen=True, slots=True)
class Request:
    """A set value of a config, and until when it is to hold; ``ends`` is None if it is unknown."""

    point: Point
    value: Value
    ends: datetime | None


@dataclass(slots=True)
class _Held:
    """A point that is set, or on its way back."""

    point: Point
    target: Value
    asked: Value
    ends: datetime
    baseline: Value | None
    since: float
    state: ValueState = ValueState.PENDING
    status: Mapping[str, Any] | None = None
    reverting: bool = False
    turn: int = 0
    calls: int = 0
    failures: int = 0
    try_at: float | None = None
    differs_since: float | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


def as_near(point: Point, wanted: Value, seen: Value | None) -> bool:
    """Return whether a point shows what it was set to, as near as its step allows."""
    return same(wanted, seen, point.step)


class Writeback:
    """The set values of one device's points."""

    def __init__(
        self,
        *,
        changed: Changed,
        clock: Clock,
        now: Now,
        read: ReadPoint,
        write: Write,
        check: Check = lambda _name, value: value,
        shows: Shows = as_near,
        keep: Changed = lambda: None,
    ) -> None:
        self._changed = changed
        self._clock = clock
        self._now = now
        self._read = read
        self._write = write
        self._check = check
        self._shows = shows
        self._keep = keep
        self._held: dict[str, _Held] = {}
        self._refused: dict[str, Mapping[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # What a site wants

    def request(self, requests: Mapping[str, Request], sent_at: datetime, stale: str = "") -> None:
        """Take all set values of a config; those that are in it no longer end.

        ``sent_at`` is the config's time; ``stale`` says why it does not fit the present state.
        """
        before = self.memory
        for name in [name for name in self._refused if name not in requests]:
            del self._refused[name]
        for name in [name for name in self._held if name not in requests]:
            self._end(name, self._held[name])
        for name, request in requests.items():
            self._take(name, request, sent_at, stale)
        if self.memory != before:
            self._keep()

    def _take(self, name: str, request: Request, sent_at: datetime, stale: str) -> None:
        held = self._held.get(name)
        asks = held is not None and not held.reverting and _is(held.asked, request.value)
        if held is not None and asks and held.ends == request.ends and name not in self._refused:
            held.point = request.point
            return
        self._refused.pop(name, None)
        problem = self._problem(request, sent_at, stale)
        if problem:
            self._refuse(name, problem)
            return
        assert request.ends is not None  # noqa: S101
        if request.ends <= self._now():
            if held is not None:
                self._end(name, held)
            return
        try:
            target = self._check(request.point.name, request.value)
        except InvalidValue as err:
            self._refuse(name, str(err))
            return
        if held is not None and asks and held.state not in _ANEW:
            held.ends, held.point = request.ends, request.point
            return
        self._set(name, request, target, held)

    def _problem(self, request: Request, sent_at: datetime, stale: str) -> str:
        if not request.point.writable:
            return "nobody has marked it writable"
        if request.ends is None:
            return "its set_value_expiry is missing, or that or its stop_time is no date and time"
        if request.ends <= sent_at:
            return "its set_value_expiry or stop_time is not later than the config's timestamp"
        return stale

    def _set(self, name: str, request: Request, target: Value, held: _Held | None) -> None:
        assert request.ends is not None  # noqa: S101
        kept = held is not None and held.state is not ValueState.OVERRIDDEN
        baseline = held.baseline if held and kept else self._read(request.point.name)
        made = _Held(request.point, target, request.value, request.ends, baseline, self._clock())
        if held is not None:
            # The write that is under way ends first: a point is not written twice at a time.
            made.task = held.task
            made.turn = held.turn
        self._held[name] = made
        self._begin(name, made)

    def _refuse(self, name: str, problem: str) -> None:
        self._refused[name] = self._entry(name, ValueState.INVALID, problem, Severity.ERROR)
        self._changed()

    def _end(self, name: str, held: _Held) -> None:
        """Have a point go back to what it showed, unless somebody has set it meanwhile."""
        if held.reverting:
            if held.task is None and held.try_at is None:
                # It was given up; that a site lets go of it again is a reason to try once more.
                held.calls = held.failures = 0
                self._begin(name, held)
            return
        overridden = held.state is ValueState.OVERRIDDEN
        held.state, held.status = ValueState.PENDING, None
        shown = self._read(held.point.name)
        baseline = held.baseline
        if (
            baseline is None
            or overridden
            or (held.task is None and self._shows(held.point, baseline, shown))
        ):
            self._drop(name)
            return
        held.reverting, held.target = True, baseline
        held.since, held.calls, held.failures = self._clock(), 0, 0
        held.try_at = held.differs_since = None
        self._changed()
        self._begin(name, held)

    def _drop(self, name: str) -> None:
        del self._held[name]
        self._keep()
        self._changed()

    # How it goes

    def _begin(self, name: str, held: _Held) -> None:
        held.calls += 1
        held.turn += 1
        held.try_at = None
        # What it showed before is kept before it shows something else.
        self._keep()
        held.task = asyncio.ensure_future(self._run(name, held, held.turn, held.task))
        self._tasks.add(held.task)
        held.task.add_done_callback(self._tasks.discard)

    async def _run(
        self, name: str, held: _Held, turn: int, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self._held.get(name) is not held or held.turn != turn:
            return
        target = held.target
        if held.baseline is None:
            # It was away when it was asked for; what it shows first is what it goes back to.
            held.baseline = self._read(held.point.name)
            self._keep()
        problem, refused = "", False
        try:
            async with asyncio.timeout(WRITE_LIMIT):
                error = await outcome(self._write(held.point.name, target))
        except TimeoutError:
            problem = f"it took longer than {WRITE_LIMIT:.0f} s"
        else:
            refused = isinstance(error, InvalidValue)
            problem = "" if error is None else str(error) or type(error).__name__
        if self._held.get(name) is not held or held.turn != turn:
            return
        held.task = None
        if refused and not held.reverting:
            self._refuse(name, problem)
            self._end(name, held)
            return
        if problem:
            held.failures += 1
            self._set_state(name, held, ValueState.FAILURE, problem)
        self._seen(name, held, self._read(held.point.name))
        if self._held.get(name) is not held or held.state is ValueState.APPLIED:
            return
        if held.reverting and held.calls - held.failures >= MOST_REVERTS:
            self._set_state(name, held, ValueState.FAILURE, "it does not go back")
            held.try_at = None
            return
        held.try_at = self._clock() + RETRY.delay(held.calls)

    def seen(self, point: str, value: Value | None) -> None:
        """Note what a point shows; None while that is not known."""
        for name, held in list(self._held.items()):
            if held.point.name == point:
                self._seen(name, held, value)

    def _seen(self, name: str, held: _Held, value: Value | None) -> None:
        if held.task is not None or value is None:
            return
        if self._shows(held.point, held.target, value):
            held.try_at = held.differs_since = None
            if held.reverting:
                self._drop(name)
            else:
                self._set_state(name, held, ValueState.APPLIED)
        elif held.state is ValueState.APPLIED and held.differs_since is None:
            held.differs_since = self._clock()

    def before_event(self, names: Collection[str]) -> None:
        """Note that values go up now: what is not set by then is being updated."""
        for name, held in self._held.items():
            if name in names and held.state is ValueState.PENDING and not held.reverting:
                self._set_state(name, held, ValueState.UPDATING)

    def _set_state(self, name: str, held: _Held, state: ValueState, problem: str = "") -> None:
        status = None
        if state is ValueState.FAILURE:
            status = self._entry(name, state, problem, Severity.ERROR)
        elif state is ValueState.OVERRIDDEN:
            shown = self._read(held.point.name)
            text = f"somebody has set it to {shown!r}"
            status = self._entry(name, state, text, Severity.WARNING)
        told = held.status and held.status["message"]
        if (state, status and status["message"]) == (held.state, told):
            return
        held.state, held.status = state, status
        self._keep()
        self._changed()

    def _entry(self, name: str, state: ValueState, text: str, level: int) -> Mapping[str, Any]:
        category = f"pointset.point.{state}"
        return make_status(f"Point {name}: {text}", category, level, self._now())

    # Time

    def wake_at(self) -> float | None:
        """Return when `wake` has to be called, None for never."""
        return min((self._due(each) for each in self._held.values()), default=None)

    def _due(self, held: _Held) -> float:
        clock = self._clock()
        moments = [clock + LOOK_EVERY]
        if not held.reverting:
            left = max(0.0, (held.ends - self._now()).total_seconds())
            moments.append(clock + left)
            if held.state is ValueState.PENDING:
                moments.append(held.since + UPDATING_AFTER)
            if held.state in (ValueState.PENDING, ValueState.UPDATING):
                moments.append(held.since + FAILED_AFTER)
        if held.try_at is not None:
            moments.append(held.try_at)
        if held.differs_since is not None:
            moments.append(held.differs_since + SETTLES_WITHIN)
        return min(moments)

    def wake(self) -> None:
        """Do what is due: say how it goes, try again, end what is over."""
        now, clock = self._now(), self._clock()
        for name, held in list(self._held.items()):
            if not held.reverting and held.ends <= now:
                self._end(name, held)
                continue
            self._look(name, held, clock)
            if held.try_at is not None and held.try_at <= clock and held.task is None:
                self._begin(name, held)

    def _look(self, name: str, held: _Held, clock: float) -> None:
        waits = held.state in (ValueState.PENDING, ValueState.UPDATING) and not held.reverting
        if held.differs_since is not None and held.differs_since + SETTLES_WITHIN <= clock:
            held.differs_since = None
            if not self._shows(held.point, held.target, self._read(held.point.name)):
                self._set_state(name, held, ValueState.OVERRIDDEN)
        elif waits and held.since + FAILED_AFTER <= clock:
            shown = self._read(held.point.name)
            text = "its value is not known" if shown is None else f"it still shows {shown!r}"
            self._set_state(name, held, ValueState.FAILURE, text)
        elif waits and held.since + UPDATING_AFTER <= clock:
            self._set_state(name, held, ValueState.UPDATING)

    # What is told

    def value_state(self, name: str) -> ValueState:
        """Return how a point's set value stands."""
        if name in self._refused:
            return ValueState.INVALID
        held = self._held.get(name)
        return ValueState.PENDING if held is None or held.reverting else held.state

    def status(self, name: str) -> Mapping[str, Any] | None:
        """Return what is wrong with a point's set value."""
        held = self._held.get(name)
        return self._refused.get(name) or (None if held is None else held.status)

    def set_value(self, name: str) -> Value | None:
        """Return what a point is set to, None if it is not."""
        held = self._held.get(name)
        return None if held is None or held.reverting else held.asked

    @property
    def memory(self) -> dict[str, Any]:
        """Return what must outlive a restart, as JSON knows it."""
        return {
            name: {
                "point": held.point.name,
                "asked": held.asked,
                "target": held.target,
                "ends": held.ends.isoformat(),
                "baseline": held.baseline,
                "state": held.state.value,
                "reverting": held.reverting,
            }
            for name, held in self._held.items()
        }

    def restore(self, memory: Mapping[str, Any], points: Mapping[str, Point]) -> None:
        """Go on with what `memory` was before a restart; what can't be read is left out."""
        for name, each in memory.items():
            with contextlib.suppress(KeyError, TypeError, ValueError):
                point = points[each["point"]]
                asked, target = as_value(each["asked"]), as_value(each["target"])
                state, ends = ValueState(each["state"]), read_stamp(each["ends"])
                if asked is None or target is None or not point.writable:
                    continue
                baseline = as_value(each["baseline"])
                held = _Held(point, target, asked, ends, baseline, self._clock(), state)
                held.reverting = each["reverting"] is True
                if state is ValueState.FAILURE:
                    held.state = ValueState.PENDING
                if held.reverting or held.state in (ValueState.PENDING, ValueState.UPDATING):
                    held.try_at = self._clock() + RETRY.delay(1)
                self._held[name] = held
                self._seen(name, held, self._read(point.name))

    async def async_wait(self) -> None:
        """Wait until nothing is being written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        """Stop writing; what is set stays in `memory`."""
        for task in self._tasks:
            task.cancel()


def _is(before: Value, now: Value) -> bool:
    return type(before) is type(now) and before == now
