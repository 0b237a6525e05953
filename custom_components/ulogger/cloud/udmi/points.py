"""What the points of a device are, and how their values are told and compared."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from .status import read_stamp

type Value = str | bool | int | float
"""What a point shows: text, a truth value, or a finite number."""

NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
REFERENCE: Final = re.compile(r"[-_.:/a-zA-Z0-9]+")
_BETWEEN: Final = re.compile(r"[^a-z0-9]+")
_LARGEST: Final = 2**63
_NEARLY: Final = 1e-6
"""The part of a number that is lost where it is kept with fewer digits."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point, as its gateway knows it.

    ``reference`` is what it is called there, such as an entity's ID; ``step`` is how far apart
    the numbers are that it can be set to, where it is a number.
    """

    name: str
    units: str = ""
    writable: bool = False
    reference: str = ""
    step: float = 0.0


class InvalidValue(Exception):
    """A point can't be set to this value, however often it is tried; the text says why."""


def same(wanted: Value, seen: Value | None, step: float = 0.0) -> bool:
    """Return whether a point shows what it was set to, as near as it can be set."""
    if isinstance(wanted, bool) or isinstance(seen, bool):
        return wanted is seen
    if isinstance(wanted, str) or isinstance(seen, str) or seen is None:
        return wanted == seen
    return abs(wanted - seen) <= max(step / 2, abs(wanted) * _NEARLY) + _NEARLY * step


def as_value(value: Any) -> Value | None:
    """Return what can stand in a message; None for what can't, such as infinity."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST else None
    if isinstance(value, float) and math.isfinite(value):
        return value
    return None


def moved(before: Value | None, now: Value, increment: float) -> bool:
    """Return whether a value has changed by ``increment`` or more; text by anything at all."""
    if before is None or type(before) is bool or type(now) is bool:
        return before is not now
    if isinstance(before, str) or isinstance(now, str):
        return before != now
    return before != now and abs(now - before) >= increment


def point_name(text: str) -> str:
    """Make a point's name of any text: ``RSSI (dBm)`` is ``rssi_dbm``; empty if nothing is left."""
    name = _BETWEEN.sub("_", text.lower()).strip("_")
    return f"p_{name}" if name and not name[0].isalpha() else name


def by_reference(points: Mapping[str, Point]) -> dict[str, Point]:
    """Return the points that have a reference, by it."""
    return {each.reference: each for each in points.values() if each.reference}


@dataclass(frozen=True, slots=True)
class WantedPoint:
    """What a config says of one point; None where it says nothing.

    ``stop`` is when its set value ends, as it stands there.
    """

    reference: str | None = None
    units: str | None = None
    set_value: Value | None = None
    increment: float | None = None
    stop: Any = None
    problem: str = ""
    """What of it is not as the schema has it."""

    @classmethod
    def read(cls, config: Any) -> WantedPoint:
        """Read what a config says; what it should not say becomes a problem."""
        if not isinstance(config, Mapping):
            return cls(problem="its config is no object")
        found = {
            key: None if (given := config.get(key)) is None else made(given)
            for key, made, _what in _FIELDS
        }
        wrong = [
            f"{key} is no {what}"
            for key, _made, what in _FIELDS
            if config.get(key) is not None and found[key] is None
        ]
        return cls(
            found["ref"],
            found["units"],
            found["set_value"],
            found["cov_increment"],
            config.get("stop_time"),
            ", ".join(wrong),
        )

    def sooner(self, ends: datetime | None) -> datetime | None:
        """Return when the set value ends, if all set values end then; None if one is unknown."""
        if ends is None or self.stop is None:
            return ends
        stop = read_end(self.stop)
        return None if stop is None else min(ends, stop)


def read_end(text: Any) -> datetime | None:
    """Return when set values end as a config says it, None where it is no date and time."""
    try:
        return read_stamp(text)
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LARGEST else None


_FIELDS: Final[tuple[tuple[str, Callable[[Any], Any], str], ...]] = (
    ("ref", _text, "text"),
    ("units", _text, "text"),
    ("set_value", as_value, "text, number or truth value"),
    ("cov_increment", _positive, "number from 0"),
    ("stop_time", read_end, "date and time"),
)


def names(points: Iterable[Point]) -> dict[str, Point]:
    """Return points by their names; the first one of a name counts."""
    found: dict[str, Point] = {}
    for each in points:
        found.setdefault(each.name, each)
    return found
