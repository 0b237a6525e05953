"""What is kept of a device between two sessions: an unfinished transfer and its failures."""

from dataclasses import dataclass, field, replace
from typing import Final

from ..capture.errors import CaptureError
from ..capture.log_buffer import LogHeader
from ..model.capture import CaptureKind
from ..model.identity import DeviceKey

PROOF: Final = 64
"""Bytes fetched anew before a kept prefix is believed: any header and the first frames."""
END_PROOF: Final = 32
"""Bytes fetched anew at the prefix's end as well."""
CLOCK_TOLERANCE: Final = 0.1
CLOCK_SLACK: Final = 5.0


@dataclass(frozen=True, slots=True)
class Partial:
    """The first bytes of a buffer of ``total`` bytes; its chunk 0 came at ``at`` (loop seconds).

    ``committed`` says that all of it is on disk, and on the device only because the core dump
    behind it is not done.
    """

    total: int
    prefix: bytes
    at: float
    committed: bool = False

    def usable(self, kind: CaptureKind, total: int) -> int:
        """Return how much of the prefix may stand in a buffer of ``total`` bytes as well.

        A log grows between two transfers: then what stood after its frames is no prefix.
        """
        if total == self.total:
            return len(self.prefix)
        if kind is CaptureKind.CORE_DUMP or total < self.total:
            return 0
        try:
            return min(len(self.prefix), LogHeader.parse(self.prefix).total)
        except CaptureError:
            return 0

    def continues_as(self, kind: CaptureKind, fresh: bytes, now: float) -> bool:
        """Return whether a transfer that begins with ``fresh``, come at ``now``, has the same data.

        A dump begins with its own length and sum, so equal first bytes are enough. A log's
        header is made anew when its chunk 0 is read: its tick may have moved on, but only as
        far as the time between the two, since a smaller or unrelated one is that of another
        boot. Of that boot, a log that has grown begins with what it was before.
        """
        if kind is CaptureKind.CORE_DUMP:
            return self.prefix.startswith(fresh)
        try:
            old, new = LogHeader.parse(self.prefix), LogHeader.parse(fresh)
        except CaptureError:
            return False
        if not self.prefix.startswith(fresh[new.size :], new.size):
            return False
        fixed_old = (old.version, old.sequence_number, old.tick_rate_hz)
        fixed_new = (new.version, new.sequence_number, new.tick_rate_hz)
        if fixed_old != fixed_new or new.used_bytes < old.used_bytes:
            return False
        ticks = new.anchor_tick - old.anchor_tick
        if new.used_bytes == old.used_bytes:
            if old.checksum != new.checksum:
                return False
            if not ticks:
                return True
        if ticks <= 0 or not new.tick_rate_hz:
            return False
        elapsed = now - self.at
        tolerance = CLOCK_SLACK + CLOCK_TOLERANCE * elapsed
        return abs(ticks / new.tick_rate_hz - elapsed) <= tolerance


@dataclass(slots=True)
class TransferMemory:
    """One device's memory, kept by the caller and handed to every session.

    ``checksum_failures`` counts sessions in a row that ended with ChecksumFailed. ``too_long``
    is the beginning of a dump that was taken although the device can't be told so.
    ``header_ends_at`` is the offset of the chunk in which the log's header ends, noted when the
    log was seen to grow between that one and the first; 0 otherwise.
    """

    device: DeviceKey | None = None
    partials: dict[CaptureKind, Partial] = field(default_factory=dict)
    checksum_failures: int = 0
    too_long: bytes = b""
    header_ends_at: int = 0

    def outbox_opened(self) -> None:
        """Have a committed log offered again: it may not lie in the outbox that is open now."""
        for kind, partial in self.partials.items():
            self.partials[kind] = replace(partial, committed=False)

    def belongs_to(self, device: DeviceKey) -> None:
        """Forget everything when another device answers at this address."""
        if self.device not in {None, device}:
            self.partials.clear()
            self.checksum_failures = 0
            self.too_long = b""
            self.header_ends_at = 0
        self.device = device
