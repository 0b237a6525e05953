"""What was taken off a device before: the same capture again, or one that only goes on.

Equal bytes alone prove nothing: a device that boots again logs the same lines again. So a
header is asked when it was made, and in which boot of the device.
"""

import hashlib
import re
from dataclasses import replace
from typing import Final

from ..model.capture import Capture, CaptureKind
from .errors import CaptureError
from .frames import FRAME_OVERHEAD, iter_raw_frames
from .log_buffer import LogHeader, check_log, xor_checksum

TICKS: Final = 1 << 32
LENGTH_BYTES: Final = 2
ARRIVAL_ERROR: Final = 5.0
"""Seconds by which a buffer's arrival may be off the moment that its header was made."""
CLOCK_DRIFT: Final = 0.001
"""How much faster or slower than the gateway's a device's clock may run."""


def content_key(capture: Capture) -> bytes:
    """Return 32 bytes that two captures share exactly when they are the same content.

    Firmware agents since 1.2.4 offer again after a reset what was already taken. Then session
    token, wall clock and anchor tick of a log's header can differ although nothing was added:
    they are left out. Everything else counts: device, kind, version, tick rate, sequence
    number, frames and trailer. A log that fails its checks is known only by all of its bytes.
    """
    content = _timeless(capture.data) if capture.kind is CaptureKind.LOG else capture.data
    digest = hashlib.sha256()
    for part in (
        capture.kind.value.encode(),
        capture.device.application_id.to_bytes(8, "little", signed=True),
        capture.device.serial.encode(errors="surrogatepass"),
        content,
    ):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def continuation(previous: bytes, current: bytes) -> bytes | None:
    """Return a log buffer of only those frames of ``current`` that ``previous`` does not have.

    None when ``current`` does not begin with exactly the frames of ``previous`` and go on, or
    when the shorter buffer would not be exact; then all of ``current`` has to go up.

    **Ticks.** A frame's ticks count from the frame before it, the first one's from the device's
    boot or last anchor: a point B that the buffer does not carry, only its reader may know.
    In ``current`` the first new frame lies at B + (sum of all ticks before it) + its own. So
    its ticks become *that sum with its own*, and header fields stay as they are (token,
    anchor tick, tick rate, wall clock; a trailer too) but for ``used_bytes`` and ``checksum``.
    Whatever B a reader takes, every new frame lies where ``current`` would have put it, the
    last frame too: so a reader that counts back from the anchor also finds the same times.
    That is what exact means here: nothing about the new frames can be told from sending all.

    It is not exact, and None, when

    * version or tick rate differ: ticks of the two can't be compared;
    * the buffers are of version 1 or 2, whose header has no anchor to check against;
    * the device was reset between the old frames and the new ones, because its tick counter
      starts again at 0 there and a sum over the gap means nothing. It shows in anchors: either
      buffer has more ticks in it than its own anchor has, or there are more ticks after the
      first new frame than went by between the two anchors (also when the anchor went back).
      A reset that leaves no contradiction can't be seen by any reader of ``current`` either.

    No sum is too large for a frame's 32 bits: it is at most the anchor, which has as many.
    """
    try:
        before, now = check_log(previous), check_log(current)
        if not _goes_on(previous, before, current, now):
            return None
        cut = now.size + before.used_bytes
        old_ticks = sum(frame.ticks for frame in iter_raw_frames(previous))
        first, *later = (frame for frame in iter_raw_frames(current) if frame.offset >= cut)
    except CaptureError:
        return None
    ticks = old_ticks + first.ticks
    later_ticks = sum(frame.ticks for frame in later)
    if old_ticks > before.anchor_tick or ticks + later_ticks > now.anchor_tick:
        return None
    if later_ticks > now.anchor_tick - before.anchor_tick:
        return None
    moved = ticks.to_bytes(4, "little")
    frames = current[cut : cut + 2] + moved + current[cut + FRAME_OVERHEAD : now.total]
    header = replace(now, used_bytes=len(frames), checksum=xor_checksum(frames))
    return header.pack() + frames + current[now.total :]


def anchored(data: bytes) -> LogHeader | None:
    """Return the header of a whole log buffer that says at which tick it was made, if it does."""
    try:
        header = check_log(data)
    except CaptureError:
        return None
    known = header.has_anchor and header.anchor_tick and header.tick_rate_hz
    return header if known else None


def same_moment(before: LogHeader, now: LogHeader) -> bool:
    """Whether two headers were made at the same instant of the same boot.

    The tick alone does not tell: a device that boots again may well send at the same tick again.
    Only a device with a clock can be believed.
    """
    return now.epoch_us != 0 and (before.epoch_us, before.anchor_tick, before.tick_rate_hz) == (
        now.epoch_us,
        now.anchor_tick,
        now.tick_rate_hz,
    )


def same_boot(before: LogHeader, now: LogHeader, elapsed: float) -> bool:
    """Whether a device ran without a reset for the ``elapsed`` seconds between two headers.

    Then the ticks between them are that time, as far as clocks and radio are exact. After a
    reset the later anchor is younger than the time between, so the two are off by at least the
    earlier anchor: half of that is the most that may be forgiven. A buffer may arrive late, through
    a proxy that is busy, so nothing is proven of a device that had just booted then; neither is it
    when half a round or more of the ticks' 32 bits lies between.
    """
    rate = now.tick_rate_hz
    if before.tick_rate_hz != rate or not rate or not 0 <= elapsed * rate < TICKS // 2:
        return False
    if before.anchor_tick < 2 * ARRIVAL_ERROR * rate:
        return False
    off = (now.anchor_tick - before.anchor_tick - round(elapsed * rate)) % TICKS
    forgiven = min(ARRIVAL_ERROR + CLOCK_DRIFT * elapsed, before.anchor_tick / rate / 2)
    return min(off, TICKS - off) / rate <= forgiven


def may_offer_again(data: bytes) -> bool:
    """Whether a log comes from an agent that offers again after a reset what was taken.

    Agents since 1.2.4 do, and they are the ones that write a trailer.
    """
    try:
        header = LogHeader.parse(data)
    except CaptureError:
        return False
    return header.has_clock_field and len(data) > header.total


def begins_with(previous: bytes, current: bytes) -> bool:
    """Whether one buffer's frames, of which there are some, begin another's."""
    before, now = _frames(previous), _frames(current)
    return bool(before) and now.startswith(before)


def holds(previous: bytes, current: bytes) -> bool:
    """Whether a buffer has in it the frames of another, or begins with the last ones of it.

    That is what comes when an agent offers again all that its memory still has: what was taken
    in several pieces, the oldest frames written over.
    """
    before, now = _frames(previous), _frames(current)
    if not before:
        return False
    if before in now:
        return True
    try:
        size = LogHeader.parse(previous).size
        starts = [frame.offset - size for frame in iter_raw_frames(previous)]
    except CaptureError:
        return False
    return any(
        now.startswith(before[start : start + FRAME_OVERHEAD]) and now.startswith(before[start:])
        for start in starts
    )


def holds_continuation(previous: bytes, current: bytes) -> bool:
    """Whether a buffer has in it the frames of a `continuation`, whose first ticks were moved."""
    before, now = _frames(previous), _frames(current)
    length, rest = before[:LENGTH_BYTES], before[FRAME_OVERHEAD:]
    ticks = b".{%d}" % (FRAME_OVERHEAD - LENGTH_BYTES)
    return bool(rest and re.search(re.escape(length) + ticks + re.escape(rest), now, re.DOTALL))


def _frames(data: bytes) -> bytes:
    """Return a buffer's frames; nothing of one that has no header."""
    try:
        header = LogHeader.parse(data)
    except CaptureError:
        return b""
    return data[header.size : header.total]


def _goes_on(previous: bytes, before: LogHeader, current: bytes, now: LogHeader) -> bool:
    """Whether one buffer's frames are the other's and more, of the same kind of log."""
    if not now.has_anchor or not 0 < before.used_bytes < now.used_bytes:
        return False
    if (before.version, before.tick_rate_hz) != (now.version, now.tick_rate_hz):
        return False
    return current.startswith(previous[before.size : before.total], now.size)


def _timeless(data: bytes) -> bytes:
    """Return a log buffer without what differs when the same frames are offered again."""
    try:
        header = check_log(data)
    except CaptureError:
        return data
    plain = replace(header, session_token=0, anchor_tick=0, epoch_us=0)
    return plain.pack() + data[header.size :]
