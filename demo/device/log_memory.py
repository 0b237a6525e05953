"""The log region of a simulated device: what is offered, sealed, consumed and offered again."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from custom_components.ulogger.capture.frames import FRAME_OVERHEAD
from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.capture.model import CaptureError

DEFAULT_HEADER = LogHeader(
    version=4,
    session_token=0,
    sequence_number=0,
    anchor_tick=0,
    tick_rate_hz=1000,
    epoch_us=0,
    used_bytes=0,
    checksum=0,
)
"""What a device without a clock writes before its frames."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a device's clocks say: ticks since boot, and Unix microseconds (0 without a clock)."""

    tick: int
    epoch_us: int = 0


class LogMemory:
    """Frames behind a header, with the erase rules of older and newer agents.

    ``clock`` tells the moment that a header made by the device carries. Older agents erase all
    of it, with what was logged since the transfer began (``lost`` counts that). Newer ones
    consume what they had sealed, and after a restart have it back as far as it still fits.
    """

    def __init__(
        self,
        log: bytes,
        *,
        region: int,
        newer: bool,
        rereads_header: bool,
        clock: Callable[[], Moment] | None = None,
    ) -> None:
        self.lost = 0
        self.sealed = b""
        self._raw = log
        self._header = LogHeader.parse(log) if log else DEFAULT_HEADER
        self._frames = self.frames_of(log)
        self._taken = b""
        self._region = max(region, len(self._frames))
        self._newer = newer
        self._rereads_header = rereads_header
        self._clock = clock
        self._trailer = b""

    def write_as(self, header: LogHeader, trailer: bytes) -> None:
        """Make buffers as another agent does: its header before the frames, its trailer behind."""
        self._header, self._trailer = header, trailer

    @staticmethod
    def frames_of(data: bytes) -> bytes:
        """Return the frames of a buffer; all of it when it has no header."""
        try:
            header = LogHeader.parse(data)
        except CaptureError:
            return data
        return data[header.size : header.total]

    @property
    def sealed_length(self) -> int:
        """Length of the buffer that the current transfer offers."""
        return len(self.sealed)

    def buffer(self) -> bytes:
        """Return what would be offered now: the buffer as given, until something changes it."""
        if self._raw or not self._frames:
            return self._raw
        before = self._header
        now = self._clock() if self._clock else Moment(before.anchor_tick, before.epoch_us)
        header = replace(
            before,
            sequence_number=now.tick or before.sequence_number,
            anchor_tick=now.tick,
            epoch_us=now.epoch_us,
            used_bytes=len(self._frames),
            checksum=xor_checksum(self._frames),
        )
        return header.pack() + self._frames + self._trailer

    def append(self, frames: bytes) -> bool:
        """Log something; False when there is no room."""
        if len(self._frames) + len(frames) > self._region:
            return False
        self._change(self._frames + frames)
        return True

    def seal(self) -> bool:
        """Take what a transfer will offer; False when there is nothing."""
        self.sealed = self.buffer()
        return bool(self.sealed)

    def release(self) -> None:
        """Forget the seal and keep everything."""
        self.sealed = b""

    def read(self, offset: int, length: int) -> bytes:
        """Read from the sealed buffer, its header possibly from the live one."""
        source = self.sealed
        if self._rereads_header:
            size = self._header.size
            source = self.buffer()[:size] + source[size:]
        return source[offset : offset + length]

    def checksum_at(self, offset: int, length: int) -> int | None:
        """Where in a chunk the header's checksum stands, if it does."""
        index = self._header.size - 2 - offset
        return index if 0 <= index < length else None

    def erase(self) -> None:
        """Carry out the erase command."""
        consumed = self.frames_of(self.sealed)
        appended = self._frames[len(consumed) :]
        if self._newer:
            self._taken += consumed
            self._change(appended)
        else:
            self.lost += len(appended)
            self._change(b"")
        self.sealed = b""

    def reset(self) -> None:
        """Restart: a newer agent no longer knows what it had consumed and not yet written over."""
        taken, self._taken = self._taken, b""
        while len(taken) + len(self._frames) > self._region:
            taken = taken[FRAME_OVERHEAD + int.from_bytes(taken[:2], "little") :]
        if taken:
            self._change(taken + self._frames)

    def _change(self, frames: bytes) -> None:
        self._raw = b""
        self._frames = frames
