"""What is kept of a device between two sessions: an unfinished transfer and its failures."""

from dataclasses import dataclass, field
from typing import Final

from ..capture.log_buffer import LogHeader
from ..capture.model import CaptureError, CaptureKind, DeviceKey

PROOF: Final = 64
"""Bytes fetched anew before a kept prefix is believed: any header and the first frames."""
CLOCK_TOLERANCE: Final = 0.1
CLOCK_SLACK: Final = 5.0


@dataclass(frozen=True, slots=True)
class Partial:
    """The first bytes of a buffer of ``total`` bytes, fetched at ``at`` (loop seconds)."""

    total: int
    prefix: bytes
    at: float

    def continues_as(self, kind: CaptureKind, fresh: bytes, now: float) -> bool:
        """Tell whether a transfer that begins with ``fresh`` sends the same data again.

        A dump begins with its own length and sum, so equal first bytes are enough. A log's
        header is made anew for every transfer: its tick may have moved on, but only as far
        as the time between the two, since a smaller or unrelated one is that of another
        boot.
        """
        if kind is CaptureKind.CORE_DUMP:
            return self.prefix.startswith(fresh)
        try:
            old, new = LogHeader.parse(self.prefix), LogHeader.parse(fresh)
        except CaptureError:
            return False
        if not self.prefix.startswith(fresh[new.size :], new.size):
            return False
        fixed_old = (old.version, old.sequence_number, old.tick_rate_hz, old.used_bytes)
        fixed_new = (new.version, new.sequence_number, new.tick_rate_hz, new.used_bytes)
        if fixed_old != fixed_new or old.checksum != new.checksum:
            return False
        ticks = new.anchor_tick - old.anchor_tick
        if not ticks:
            return True
        if ticks < 0 or not new.tick_rate_hz:
            return False
        elapsed = now - self.at
        tolerance = CLOCK_SLACK + CLOCK_TOLERANCE * elapsed
        return abs(ticks / new.tick_rate_hz - elapsed) <= tolerance


@dataclass(slots=True)
class TransferMemory:
    """One device's memory, kept by the caller and handed to every session.

    ``checksum_failures`` counts sessions in a row that ended with ChecksumFailed. ``too_long``
    is the beginning of a dump that was taken although the device can't be told so.
    """

    device: DeviceKey | None = None
    partials: dict[CaptureKind, Partial] = field(default_factory=dict)
    checksum_failures: int = 0
    too_long: bytes = b""

    def belongs_to(self, device: DeviceKey) -> None:
        """Forget everything when another device answers at this address."""
        if self.device not in {None, device}:
            self.partials.clear()
            self.checksum_failures = 0
            self.too_long = b""
        self.device = device
