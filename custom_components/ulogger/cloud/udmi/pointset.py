"""The points of a device: what they show goes up, what a site sets goes to them.

A site's config may name the points that count, bind names of its own to them by their reference,
and say how often they go up. A point that it names and nobody knows is reported, and the others
work on. Without a list of points all that are known count.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from .block import Changed, Clock, Now, PublishEvent
from .points import (
    NAME,
    Point,
    Value,
    WantedPoint,
    as_value,
    by_reference,
    moved,
    names,
    read_end,
)
from .sampling import LONGEST, RATE, Sampling
from .status import Severity, make_status
from .writeback import Check, ReadPoint, Request, Shows, Write, Writeback, as_near

INVALID: Final = "pointset.point.invalid"
FAILURE: Final = "pointset.point.failure"
MOST_POINTS: Final = 1000
ETAG_LENGTH: Final = 32


class Pointset:
    """The block ``pointset`` of one device.

    ``read`` returns what a point shows now, where that can be asked; what only comes by itself
    is handed to `report`. ``write`` is called for nothing but points that are writable. ``keep``
    is called when `memory` is another one.
    """

    name = "pointset"

    def __init__(
        self,
        points: Iterable[Point],
        *,
        changed: Changed,
        publish: PublishEvent,
        clock: Clock,
        now: Now,
        write: Write,
        read: ReadPoint = lambda _name: None,
        check: Check = lambda _name, value: value,
        shows: Shows = as_near,
        keep: Changed = lambda: None,
    ) -> None:
        self.points = names(points)
        self.sampling = Sampling(clock())
        self.writeback = Writeback(
            changed=changed,
            clock=clock,
            now=now,
            read=self.present,
            write=write,
            check=check,
            shows=shows,
            keep=keep,
        )
        self._changed = changed
        self._publish = publish
        self._clock = clock
        self._now = now
        self._read = read
        self._values: dict[str, Value] = {}
        self._config: Mapping[str, Any] = {}
        self._sent_at = datetime.min.replace(tzinfo=UTC)
        self._stale = ""
        self._configured = False
        self._active: dict[str, Point] = dict(self.points)
        self._wanted: dict[str, WantedPoint] = {}
        self._problems: dict[str, Mapping[str, Any]] = {}
        self._status: Mapping[str, Any] | None = None
        self._sent: dict[str, Value] = {}
        self._moved: set[str] = set()

    # Points and their values

    def learn(self, point: Point) -> None:
        """Know one more point from now on."""
        if point.name in self.points or len(self.points) >= MOST_POINTS:
            return
        self.points[point.name] = point
        self._apply()
        self._changed()

    def report(self, name: str, value: Any, *, units: str = "", published: bool = False) -> None:
        """Take what a point shows; None while that is not known.

        A point that is not known yet is one from now on. ``published`` says that the value has
        gone up already, with a time of its own.
        """
        if name not in self.points and NAME.fullmatch(name):
            self.learn(Point(name, units))
        if name not in self.points:
            return
        if (present := as_value(value)) is None:
            self._values.pop(name, None)
        else:
            self._values[name] = present
        self.writeback.seen(name, present)
        for each in self._names_of(name):
            if published and present is not None:
                self._sent[each] = present
            self._note_change(each, present)

    def _note_change(self, name: str, value: Value | None) -> None:
        wanted = self._wanted.get(name)
        increment = None if wanted is None else wanted.increment
        if value is None or increment is None:
            self._moved.discard(name)
        elif moved(self._sent.get(name), value, increment):
            self._moved.add(name)
        else:
            self._moved.discard(name)

    def present(self, name: str) -> Value | None:
        """Return what a point shows now."""
        value = as_value(self._read(name))
        return self._values.get(name) if value is None else value

    def poll(self) -> None:
        """Have all points go up as soon as the site's limit allows it."""
        self.sampling.ask(self._clock())

    def _names_of(self, point: str) -> list[str]:
        return [name for name, each in self._active.items() if each.name == point]

    # Config

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Take what a site wants; what can't be had is reported."""
        self._config, self._sent_at = config or {}, timestamp
        etag = self._config.get("state_etag")
        fits = etag is None or etag == self.etag
        self._stale = "" if fits else f"state_etag {str(etag)[:64]!r} is of another state"
        before, first = set(self._active), not self._configured
        self._configured = True
        self._apply()
        if first or before != set(self._active):
            self.poll()
        self._changed()

    def _apply(self) -> None:
        """Bring the config and the points that are known together."""
        wrong: list[str] = []
        self._set_sampling(wrong)
        self._problems = {}
        given = self._config.get("points")
        if given is not None and not isinstance(given, Mapping):
            wrong.append("points is no object")
            given = None
        if given is None:
            self._wanted, self._active = {}, dict(self.points)
        else:
            self._resolve(given, wrong)
        self._sent = {name: value for name, value in self._sent.items() if name in self._active}
        self._moved &= self._active.keys()
        for name, point in self._active.items():
            self._note_change(name, self._values.get(point.name))
        text = "; ".join(wrong)
        self._status = None
        if text:
            self._status = make_status(f"Pointset: {text}", INVALID, Severity.ERROR, self._now())
        self.writeback.request(self._requests(), self._sent_at, self._stale)

    def _set_sampling(self, wrong: list[str]) -> None:
        rate = _seconds(self._config, "sample_rate_sec", RATE, wrong)
        limit = _seconds(self._config, "sample_limit_sec", 0, wrong)
        # Nothing by itself is what UDMI has a rate below zero mean, and zero the usual one.
        self.sampling.set(None if rate < 0 else rate or RATE, max(0, limit), self._clock())

    def _resolve(self, given: Mapping[str, Any], wrong: list[str]) -> None:
        self._wanted, self._active = {}, {}
        references = by_reference(self.points)
        taken: set[str] = set()
        for name, config in list(given.items())[:MOST_POINTS]:
            if not NAME.fullmatch(name):
                wrong.append(f"{name[:64]!r} is no name of a point")
                continue
            wanted = self._wanted[name] = WantedPoint.read(config)
            point = self.points.get(name)
            if point is None and wanted.reference:
                point = references.get(wanted.reference)
            if point is None:
                self._problem(name, "there is no such point", INVALID)
            elif wanted.reference and wanted.reference != point.reference:
                self._problem(name, f"its ref is not {wanted.reference[:64]!r}", FAILURE)
            elif point.name in taken:
                self._problem(name, "another name stands for it already", INVALID)
            else:
                self._active[name] = point
                taken.add(point.name)
                if wanted.problem:
                    self._problem(name, wanted.problem, INVALID)
        if len(given) > MOST_POINTS:
            wrong.append(f"of {len(given)} points the first {MOST_POINTS} count")

    def _problem(self, name: str, text: str, category: str) -> None:
        text = f"Point {name}: {text}"
        self._problems[name] = make_status(text, category, Severity.ERROR, self._now())

    def _requests(self) -> dict[str, Request]:
        ends = read_end(self._config.get("set_value_expiry"))
        return {
            name: Request(point, wanted.set_value, wanted.sooner(ends))
            for name, point in self._active.items()
            if (wanted := self._wanted.get(name)) is not None and wanted.set_value is not None
        }

    # State

    def state(self) -> Mapping[str, Any]:
        """Return the points that count, how their set values stand, and what is wrong."""
        points = {name: self._point_state(name) for name in [*self._active, *self._problems]}
        state: dict[str, Any] = {"state_etag": self.etag, "points": points}
        if self._status is not None:
            state["status"] = self._status
        return state

    def _point_state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if units := self._units(name):
            found["units"] = units
        if value_state := self.writeback.value_state(name):
            found["value_state"] = value_state.value
        status = self.writeback.status(name) or self._problems.get(name)
        if status is not None:
            found["status"] = status
        return found

    def _units(self, name: str) -> str:
        """Return a point's units where they are not those that the site wants."""
        point, wanted = self._active.get(name), self._wanted.get(name)
        units = "" if point is None else point.units
        return "" if wanted is not None and wanted.units == units else units

    @property
    def etag(self) -> str:
        """What names the present state: units, set values, and how these stand."""
        facts = {
            name: (
                self._units(name),
                self.writeback.set_value(name),
                self.writeback.value_state(name).value,
            )
            for name in [*self._active, *self._problems]
        }
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:ETAG_LENGTH]

    @property
    def enumeration(self) -> dict[str, dict[str, Any]]:
        """Return all points that are known, as an event of the discovery lists them."""
        return {name: _described(each) for name, each in sorted(self.points.items())}

    # Time

    def wake_at(self) -> float | None:
        """Return when an event, or a set value, is due."""
        moments = (
            self.sampling.due(self._clock(), changes=bool(self._moved)),
            self.writeback.wake_at(),
        )
        return min((each for each in moments if each is not None), default=None)

    def wake(self) -> None:
        """Send what is due, and see to the set values."""
        self.writeback.wake()
        clock = self._clock()
        due = self.sampling.due(clock, changes=bool(self._moved))
        if due is None or due > clock:
            return
        full = self.sampling.is_full(clock)
        chosen = self._active if full else self._moved
        self._send([name for name in self._active if name in chosen], full=full)
        self.sampling.sent(clock, full=full)

    def _send(self, chosen: list[str], *, full: bool) -> None:
        values = {name: self.present(self._active[name].name) for name in chosen}
        shown = {name: value for name, value in values.items() if value is not None}
        self._moved -= values.keys()
        if not shown:
            return
        self.writeback.before_event(shown)
        self._sent |= shown
        event: dict[str, Any] = {
            "points": {name: {"present_value": value} for name, value in shown.items()}
        }
        if not full or len(shown) < len(self._active):
            event["partial_update"] = True
        self._publish(self.name, event)

    # What outlives a restart

    @property
    def memory(self) -> dict[str, Any]:
        """Return what must outlive a restart, as JSON knows it."""
        return self.writeback.memory

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Go on with what `memory` was before a restart."""
        self.writeback.restore(memory, self.points)

    def release(self) -> None:
        """Have all set values go back, as if no config had any."""
        self.configure({}, self._now())

    def close(self) -> None:
        """Stop writing."""
        self.writeback.close()


def _seconds(config: Mapping[str, Any], key: str, usual: int, wrong: list[str]) -> int:
    given = config.get(key)
    if given is None:
        return usual
    number = as_value(given)
    if number is None or isinstance(number, bool | str):
        wrong.append(f"{key} is no number")
        return usual
    return int(max(-1, min(number, LONGEST)))


def _described(point: Point) -> dict[str, Any]:
    found: dict[str, Any] = {"writable": point.writable}
    if point.units:
        found["units"] = point.units
    if point.reference:
        found["ref"] = point.reference
    return found
