"""When a frame was logged: from ticks to Unix time, and how far off that may be.

A log says at which tick it was closed (its anchor) and, where the device has a clock, at which
time of day; else the gateway's clock stands in, which saw the buffer arrive. Frames count ticks
from each other, the first one from a tick that the buffer does not carry: 0 after the device's
boot, else the anchor of the log that was taken off it before. So that capture decides; without it
the device is assumed to have booted, and the uncertainty says how wrong that may be.
"""

from typing import Final, NamedTuple

from ..capture.duplicates import ARRIVAL_ERROR, CLOCK_DRIFT, TICKS
from ..capture.log_buffer import LogHeader

CLOCK_BELIEVED: Final = 86_400.0
"""A device's clock that is further off the buffer's arrival, in seconds, was never set."""
NEWEST: Final = 253_402_300_800.0
"""The year 10,000, which no calendar of ours has."""

_MOST_OF_A_ROUND: Final = 1 / 16
"""How much of a round of the tick counter may be put down to clocks that do not agree."""


class Anchor(NamedTuple):
    """When a log buffer was closed: what its frames are dated by, and those of the next one.

    ``at`` is Unix time and right within ``error`` seconds. ``base`` is the tick that the first
    frame counts from, None where that is not known.
    """

    tick: int
    rate_hz: int
    at: float
    error: float
    base: int | None = None


class Timeline(NamedTuple):
    """Where frames lie in time.

    ``gap`` is the ticks from the last of ``total`` to the anchor, ``slack`` the seconds that all
    frames may lie later because nobody knows what the first one counts from.
    """

    anchor: Anchor
    total: int
    gap: int
    slack: float

    def at(self, ticks: int) -> tuple[float, float]:
        """Return Unix time and uncertainty in seconds of a frame so many ticks after the base."""
        before_anchor = (self.gap + self.total - ticks) / self.anchor.rate_hz
        uncertainty = self.anchor.error + self.slack + CLOCK_DRIFT * before_anchor
        return self.anchor.at - before_anchor, uncertainty


def timeline(
    header: LogHeader,
    total: int,
    arrived: float,
    before: Anchor | None = None,
    *,
    continues: bool = False,
) -> Timeline | None:
    """Return where the frames of a log lie in time, None where nothing tells.

    ``total`` is the sum of their ticks, ``arrived`` Unix time (0 when unknown), ``before`` the
    anchor of the log that was taken off the device last. With ``continues`` that log was not
    erased in between, and this one goes on from the same base.
    """
    anchor = _anchor(header, arrived)
    if anchor is None:
        return None
    base, gap = _base(anchor, total, before, continues=continues)
    if gap is None:
        return None
    slack = gap / anchor.rate_hz if base is None else 0.0
    found = Timeline(anchor._replace(base=base), total, gap, slack)
    return found if found.at(0)[0] >= 0 else None


def _anchor(header: LogHeader, arrived: float) -> Anchor | None:
    """Return when the buffer was closed, by the device's clock or else by the gateway's."""
    tick, rate = header.anchor_tick, header.tick_rate_hz
    if not tick or not rate:
        return None
    clock = header.epoch_us / 1e6
    if clock and arrived > 0 and abs(clock - arrived) <= CLOCK_BELIEVED:
        return Anchor(tick, rate, clock, max(1 / rate, abs(clock - arrived) - ARRIVAL_ERROR))
    if 0 < arrived < NEWEST:
        return Anchor(tick, rate, arrived, ARRIVAL_ERROR)
    if 0 < clock < NEWEST:
        return Anchor(tick, rate, clock, 1 / rate)
    return None


def _base(
    anchor: Anchor, total: int, before: Anchor | None, *, continues: bool
) -> tuple[int | None, int | None]:
    """Return the tick that frames count from, and the ticks from the last one to the anchor.

    The first is None where it is only assumed to be 0, the second where ticks contradict it.
    """
    since_boot = anchor.tick - total
    if before is not None and before.rate_hz == anchor.rate_hz and not continues:
        elapsed = max(0.0, anchor.at - before.at)
        forgiven = ARRIVAL_ERROR + CLOCK_DRIFT * elapsed + before.error + anchor.error
        between = _ticks_between(before, anchor, elapsed, forgiven)
        if between is not None and between >= total:
            return before.tick, between - total
        booted_since = anchor.tick / anchor.rate_hz <= elapsed + forgiven
        if between is None and booted_since and since_boot >= 0:
            return 0, since_boot
    if before is not None and continues and before.base is not None:
        gap = (anchor.tick - before.base) % TICKS - total
        if gap >= 0:
            return before.base, gap
    if total >= TICKS:
        return None, since_boot % TICKS
    return None, since_boot if since_boot >= 0 else None


def _ticks_between(before: Anchor, now: Anchor, elapsed: float, forgiven: float) -> int | None:
    """Return the ticks that went by if the device ran through, None if it was reset.

    The counter has 32 bits; how often it went round is told by the time that went by. After a
    reset the ticks are too few, by the earlier anchor at least.
    """
    rate = now.rate_hz
    ticks = (now.tick - before.tick) % TICKS
    ticks += max(0, round((elapsed * rate - ticks) / TICKS)) * TICKS
    most = min(forgiven, before.tick / rate / 2, TICKS / rate * _MOST_OF_A_ROUND)
    return ticks if abs(ticks / rate - elapsed) <= most else None
