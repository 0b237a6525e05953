"""Takes a message that was made of several captures apart again, by what the device had written."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from custom_components.ulogger.capture.frames import RawFrame, iter_raw_frames
from custom_components.ulogger.capture.joining import LOGS_APART
from custom_components.ulogger.capture.log_buffer import LogHeader, check_log, xor_checksum

from .device import TICKS_PER_SECOND, TracedDevice


@dataclass(frozen=True, slots=True)
class _Part:
    """A buffer that the device offered at the tick ``mark``.

    ``gap`` is how many ticks more its first frame has in the message, ``ticks`` those of all.
    """

    mark: int
    frames: tuple[bytes, ...]
    ticks: int
    gap: int


def parts(device: TracedDevice, log: bytes, arrived: Collection[int]) -> list[bytes] | None:
    """Return the captures that a log was made of, as they were; None when there are none such.

    ``arrived`` are the marks of what has come of the device: what comes joined has come after a
    capture that came alone, and the first frame of its second part counts from there. Raises
    CaptureError for what is no whole log.
    """
    header = check_log(log)
    frames = list(iter_raw_frames(log))
    for row in _rows(device, frames, header.anchor_tick):
        if len(row) > 1 and _fits(row, arrived):
            return [_buffer(header, part) for part in row]
    return None


def _rows(device: TracedDevice, frames: list[RawFrame], mark: int) -> Iterator[list[_Part]]:
    """Go through all rows of buffers that hold exactly these frames, the last one of a mark."""
    part = _last(device, frames, mark)
    if part is None:
        return
    rest = frames[: len(frames) - len(part.frames)]
    if not rest:
        if not part.gap:
            yield [part]
        return
    for earlier in sorted(device.offers, reverse=True):
        if 0 < mark - earlier <= LOGS_APART * TICKS_PER_SECOND:
            for row in _rows(device, rest, earlier):
                yield [*row, part]


def _last(device: TracedDevice, frames: list[RawFrame], mark: int) -> _Part | None:
    """Return the buffer of a mark if the frames end with it."""
    written = tuple(device.written_frames[number] for number in device.offers.get(mark, ()))
    if not written or len(written) > len(frames):
        return None
    came = frames[-len(written) :]
    if any(frame.payload != each[6:] for frame, each in zip(came, written, strict=True)):
        return None
    ticks = [int.from_bytes(each[2:6], "little") for each in written]
    if [frame.ticks for frame in came[1:]] != ticks[1:] or came[0].ticks < ticks[0]:
        return None
    return _Part(mark, written, sum(ticks), came[0].ticks - ticks[0])


def _fits(row: list[_Part], arrived: Collection[int]) -> bool:
    """Whether every gap is the time from the last frame to the anchor before it."""
    base = row[0].mark - row[0].ticks - row[1].gap
    if base not in arrived:
        return False
    for part, following in pairwise(row):
        if following.gap != part.mark - base - part.ticks:
            return False
        base = part.mark
    return True


def _buffer(header: LogHeader, part: _Part) -> bytes:
    frames = b"".join(part.frames)
    checksum = xor_checksum(frames)
    return (
        replace(header, anchor_tick=part.mark, used_bytes=len(frames), checksum=checksum).pack()
        + frames
    )
