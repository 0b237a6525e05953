"""Several logs of a device as one log, in which a reader finds what it would find in them.

A frame counts its ticks from the frame before it, the first one of a log from the anchor of the
log that the device gave before (see `Frame.ticks`). So frames of a later log move behind those of
an earlier one when the first of them is given the ticks from the earlier one's last frame:

    gap = anchor of the earlier log - anchor of the log before it - all ticks of the earlier log
    ticks of the first frame moved = gap + its own

That needs the anchor of the log *before* the first one, which the buffer does not carry. It is
taken from that log, so the first of a row is never joined: it tells where the second one begins.
Header and trailer are those of the last log, whose anchor and wall clock hold for all.

Nothing is joined unless the logs themselves show that it is exact:

* all are whole, of version 4 (older ones have no wall clock to compare), of one device, firmware,
  token and tick rate, with the same trailer: what it means is not known, so none is dropped;
* each has frames, and no more ticks than went by since the anchor before;
* from one to the next, ticks and wall clocks went on by the same time, but for `CLOCKS_APART`, and
  so they do from the first to the last: there was no reset, and no line is dated otherwise by more;
* each is at most `LOGS_APART` after the one before. A log that another gateway took in between is
  not seen here; it could make times in the joined one wrong by no more than that, which is as exact
  as the time of any log is that is dated by its arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from .duplicates import ARRIVAL_ERROR
from .errors import CaptureError
from .frames import iter_raw_frames
from .log_buffer import NEWEST_VERSION, LogHeader, check_log, xor_checksum
from .timestamps import dated

LOGS_APART: Final = ARRIVAL_ERROR
"""Seconds that may lie between two logs."""
CLOCKS_APART: Final = 0.1
"""Seconds by which wall clock and ticks may disagree; arrivals over a radio are not exact."""

_TICKS: Final = slice(2, 6)
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Joined:
    """One capture in place of the first ``count`` of some."""

    capture: Capture
    count: int


class _Log(NamedTuple):
    device: DeviceIdentity
    header: LogHeader
    frames: bytes
    trailer: bytes
    ticks: int

    def moment(self) -> float:
        """Return the wall clock at tick 0, in seconds."""
        return self.header.epoch_us / _MICROSECONDS - self.header.anchor_tick / self._rate

    def follows(self, earlier: _Log) -> bool:
        """Whether the device gave this one right after the earlier one, as far as both tell."""
        mine, others = self.header, earlier.header
        if self.device != earlier.device or mine.session_token != others.session_token:
            return False
        if mine.tick_rate_hz != others.tick_rate_hz:
            return False
        between = mine.anchor_tick - others.anchor_tick
        if not self.ticks <= between <= LOGS_APART * self._rate:
            return False
        # After a reset the later anchor lacks the earlier one.
        return abs(self.moment() - earlier.moment()) <= min(
            CLOCKS_APART, others.anchor_tick / self._rate / 2
        )

    @property
    def _rate(self) -> int:
        return self.header.tick_rate_hz


def join(before: Capture, captures: Sequence[Capture], largest: int) -> Joined | None:
    """Return as many of the first captures as go into one of at most ``largest`` bytes.

    ``before`` is what the device gave before them. None when not even two of them do.
    """
    earlier, first = _log(before), _log(captures[0]) if captures else None
    if earlier is None or first is None or not first.follows(earlier):
        return None
    frames = [first.frames]
    base, last, count = earlier.header.anchor_tick, first, 1
    size = first.header.size + len(first.frames) + len(first.trailer)
    for capture in captures[1:]:
        log = _log(capture)
        if log is None or not log.follows(last) or log.trailer != first.trailer:
            break
        size += len(log.frames)
        if size > largest or abs(log.moment() - first.moment()) > CLOCKS_APART:
            break
        gap = last.header.anchor_tick - base - last.ticks
        frames.append(_moved(log.frames, gap))
        base, last, count = last.header.anchor_tick, log, count + 1
    if count == 1:
        return None
    data = b"".join(frames)
    header = replace(last.header, used_bytes=len(data), checksum=xor_checksum(data))
    whole = header.pack() + data + last.trailer
    return Joined(replace(captures[count - 1], data=whole), count)


def _log(capture: Capture) -> _Log | None:
    """Return a capture as what can be joined, None when it can't."""
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return None
    data = dated(capture)
    try:
        header = check_log(data)
        ticks = sum(frame.ticks for frame in iter_raw_frames(data))
    except CaptureError:
        return None
    if header.version != NEWEST_VERSION or not header.used_bytes or not header.epoch_us:
        return None
    if not header.anchor_tick or not header.tick_rate_hz:
        return None
    frames = data[header.size : header.total]
    return _Log(capture.device, header, frames, data[header.total :], ticks)


def _moved(frames: bytes, gap: int) -> bytes:
    """Return frames with so many ticks more before the first one."""
    ticks = int.from_bytes(frames[_TICKS], "little") + gap
    return frames[: _TICKS.start] + ticks.to_bytes(4, "little") + frames[_TICKS.stop :]
