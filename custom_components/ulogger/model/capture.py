"""A capture: what came off a device in one piece."""

from dataclasses import dataclass
from enum import StrEnum

from .identity import DeviceIdentity


class CaptureKind(StrEnum):
    """What came off the device."""

    LOG = "log"
    CORE_DUMP = "core_dump"


class CaptureFault(StrEnum):
    """Why a capture can't be delivered as it is, and is kept in quarantine instead."""

    CHECKSUM = "checksum"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class Capture:
    """What came off a device in one piece, with who it is from and when it came.

    ``captured_at`` is the gateway's wall clock in Unix seconds when the first chunk arrived.
    """

    kind: CaptureKind
    device: DeviceIdentity
    data: bytes
    captured_at: float
    fault: CaptureFault | None = None
