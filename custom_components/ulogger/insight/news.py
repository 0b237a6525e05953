"""What a capture says that no capture before it has said: lines worth an event, and metrics.

Firmware agents offer again after a reset what was taken already. So lines are told apart as
metrics are: the same line at the same time is the same line, one without a time is new.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from ..capture.errors import ChecksumMismatch
from ..model.identity import DeviceKey
from ..model.level import Level
from .picking import Picked, pick_events
from .reading import LogFrame, MetricReading, Reading
from .repeated_metrics import RepeatedMetrics
from .summary import LONGEST_NAME

DEFAULT_NAMES: Final = 50
NOTHING: Final = Picked((), {})
_NOT_A_NAME: Final = "\0"
"""What no metric's name begins with."""


@dataclass(frozen=True, slots=True)
class News:
    """What is new in a capture.

    ``events`` are the lines that are worth one, ``errors`` and ``warnings`` count all lines of
    these levels. ``metrics`` are those of which there may be a sensor, ``left_out`` the names of
    the others. ``dated`` is what has to be remembered, so that it is not new again.
    """

    events: Picked = NOTHING
    errors: int = 0
    warnings: int = 0
    metrics: tuple[MetricReading, ...] = ()
    left_out: tuple[str, ...] = ()
    dated: tuple[MetricReading, ...] = ()


def news_of(
    reading: Reading,
    device: DeviceKey,
    repeated: RepeatedMetrics,
    level: Level | None,
    *,
    names: Iterable[str] = (),
    most_names: int = DEFAULT_NAMES,
) -> News:
    """Return what is new in a reading, and have ``repeated`` remember it.

    Lines from ``level`` on are worth an event, none without it. Metrics of ``names`` are taken,
    and of other names until there are ``most_names``. Bytes that are not what the
    device sent say nothing.
    """
    if reading.damage is not None and reading.damage.reason == ChecksumMismatch.reason:
        return News()
    taken, left_out = _named(reading.metrics, names, most_names)
    metrics = repeated.new(device, taken)
    lowest = Level.WARNING if level is None else min(level, Level.WARNING)
    marked = [
        (frame, _mark(frame)) for frame in reading.frames if lowest <= frame.level <= Level.CRITICAL
    ]
    marks = repeated.new(device, (mark for _, mark in marked))
    new = {id(mark) for mark in marks}
    frames = [frame for frame, mark in marked if id(mark) in new]
    new_ones = replace(reading, frames=tuple(frames))
    return News(
        NOTHING if level is None else pick_events(new_ones, level),
        sum(frame.level >= Level.ERROR for frame in frames),
        sum(frame.level == Level.WARNING for frame in frames),
        tuple(metrics),
        left_out,
        tuple(each for each in (*metrics, *marks) if each.at is not None),
    )


def _named(
    metrics: Iterable[MetricReading], names: Iterable[str], most: int
) -> tuple[list[MetricReading], tuple[str, ...]]:
    """Return the metrics of which there may be a sensor, and the names of all others."""
    known = set(names)
    taken: list[MetricReading] = []
    left_out: dict[str, None] = {}
    for metric in metrics:
        name = metric.name[:LONGEST_NAME]
        if name not in known and len(known) >= most:
            left_out[name] = None
            continue
        known.add(name)
        taken.append(metric._replace(name=name))
    return taken, tuple(left_out)


def _mark(frame: LogFrame) -> MetricReading:
    """Return what a line is recognized by, as a metric that no device can name."""
    said = f"{frame.module} {frame.address} {frame.frame.malformed} {frame.arguments!r}"
    name = blake2b(said.encode(errors="surrogatepass"), digest_size=12).hexdigest()
    return MetricReading(_NOT_A_NAME + name, int(frame.level), frame.at, frame.uncertainty)
