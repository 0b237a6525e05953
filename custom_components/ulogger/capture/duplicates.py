"""What was taken off a device before: the same capture again, or one that only goes on."""

import hashlib
from dataclasses import replace

from .frames import FRAME_OVERHEAD, iter_raw_frames
from .log_buffer import LogHeader, check_log, xor_checksum
from .model import Capture, CaptureError, CaptureKind


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
