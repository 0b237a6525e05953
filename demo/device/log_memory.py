"""The log region of a simulated device: what is offered, sealed, consumed and offered again."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.frames import FRAME_OVERHEAD
from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum

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

    A transfer's length is sealed with it; the header is read live (``rereads_header``) or sealed
    too. ``pretrigger`` are frames that go into the log with the next seal. ``clock`` tells the
    moment that a header made by the device carries: that of chunk 0. Older agents erase all
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
        self.pretrigger = b""
        self._raw = log
        self._header = LogHeader.parse(log) if log else DEFAULT_HEADER
        self._frames = self.frames_of(log)
        self._taken = b""
        self._region = max(region, len(self._frames))
        self._newer = newer
        self._rereads_header = rereads_header
        self._clock = clock
        self._moment: Moment | None = None
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

    @property
    def anchor_tick(self) -> int:
        """The tick in the header of the last transfer, from which the next frame counts."""
        return self._moment.tick if self._moment is not None else 0

    def buffer(self) -> bytes:
        """Return what would be offered now: the buffer as given, until something changes it."""
        if self._raw or not self._frames:
            return self._raw
        return self._header_at(self._now()).pack() + self._frames + self._trailer

    def append(self, frames: bytes) -> bool:
        """Log something; False when there is no room."""
        if len(self._frames) + len(frames) > self._region:
            return False
        self._change(self._frames + frames)
        return True

    def seal(self) -> bool:
        """Take what a transfer will offer; False when there is nothing."""
        if self.pretrigger:
            self.append(self.pretrigger)
            self.pretrigger = b""
        self.sealed = self.buffer()
        self._moment = self._now()
        return bool(self.sealed)

    def release(self) -> None:
        """Forget the seal and keep everything."""
        self.sealed = b""

    def read(self, offset: int, length: int) -> bytes:
        """Read from the sealed buffer, its header possibly from the live one."""
        source = self.sealed
        size = self._header.size
        if self._rereads_header and offset < size and not self._raw:
            if not offset or self._moment is None:
                self._moment = self._now()
            source = self._header_at(self._moment).pack() + source[size:]
        return source[offset : offset + length]

    def _now(self) -> Moment:
        """Ask the clock; without one, time stands still."""
        if self._clock is not None:
            return self._clock()
        return Moment(self._header.anchor_tick, self._header.epoch_us)

    def _header_at(self, moment: Moment) -> LogHeader:
        """Make the header of all frames that are there now."""
        return replace(
            self._header,
            sequence_number=moment.tick or self._header.sequence_number,
            anchor_tick=moment.tick,
            epoch_us=moment.epoch_us,
            used_bytes=len(self._frames),
            checksum=xor_checksum(self._frames),
        )

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
