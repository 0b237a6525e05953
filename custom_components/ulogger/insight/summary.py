"""One row a capture: what lists and searches need to know of it without decoding it again."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from ..model.level import Level
from .dating import Anchor
from .reading import Reading

LAYOUT: Final = 1
"""Counts up when the row's layout changes; rows of another one are derived again."""
MOST_METRICS: Final = 64
LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Summary:
    """What a capture holds.

    ``since`` and ``until`` are Unix time, each frame that is dated lies between them; None where
    none is. ``levels`` counts frames by level, ``modules`` has a bit for each module that logged.
    ``metrics`` are the first names in alphabetical order. ``crash`` is the fingerprint of the
    crash that a core dump shows, ``damage`` the reason why the capture can't all be read.
    ``anchor`` dates the device's next log.
    """

    frames: int = 0
    since: float | None = None
    until: float | None = None
    levels: tuple[int, ...] = (0,) * len(Level)
    modules: int = 0
    metrics: tuple[str, ...] = ()
    crash: str | None = None
    damage: str | None = None
    anchor: Anchor | None = None

    @property
    def errors(self) -> int:
        """Frames of level ERROR and CRITICAL."""
        return self.levels[Level.ERROR] + self.levels[Level.CRITICAL]

    @property
    def warnings(self) -> int:
        """Frames of level WARNING."""
        return self.levels[Level.WARNING]

    def to_row(self) -> str:
        """Return the row as one line of JSON."""
        fields = {"layout": LAYOUT} | asdict(self) | {"anchor": self.anchor and list(self.anchor)}
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_row(cls, row: str) -> Self | None:
        """Return the summary of a row; None where it has to be derived again."""
        try:
            fields = json.loads(row)
            return cls._of(fields) if fields["layout"] == LAYOUT else None
        except ValueError, TypeError, KeyError:
            return None

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Self:
        """Check every field; ValueError, TypeError or KeyError where one is not what it was."""
        levels = tuple(int(count) for count in fields["levels"])
        if len(levels) != len(Level):
            raise ValueError("there is a count for each level")
        return cls(
            int(fields["frames"]),
            _optional(float, fields["since"]),
            _optional(float, fields["until"]),
            levels,
            int(fields["modules"]),
            tuple(str(name) for name in fields["metrics"]),
            _optional(str, fields["crash"]),
            _optional(str, fields["damage"]),
            _optional(_anchor, fields["anchor"]),
        )


def summarize(reading: Reading, crash: str | None = None) -> Summary:
    """Return the summary of a reading; ``crash`` is the fingerprint of a core dump's crash."""
    times = [frame.at for frame in reading.frames if frame.at is not None]
    modules = 0
    for number in {frame.module for frame in reading.frames}:
        modules |= 1 << number
    levels = reading.levels
    names = sorted({metric.name[:LONGEST_NAME] for metric in reading.metrics})
    return Summary(
        len(reading.frames),
        min(times, default=None),
        max(times, default=None),
        tuple(levels.get(level, 0) for level in Level),
        modules,
        tuple(names[:MOST_METRICS]),
        crash,
        reading.damage and reading.damage.reason,
        reading.anchor,
    )


def _optional[T](kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)


def _anchor(fields: Any) -> Anchor:
    tick, rate_hz, at, error, base = fields
    return Anchor(int(tick), int(rate_hz), float(at), float(error), _optional(int, base))
