"""What every room may know: a device's identity and a capture taken off it."""

from dataclasses import dataclass
from enum import StrEnum

type DeviceKey = tuple[int, str]
"""Application ID and serial: what makes a device one device, whatever its address."""


class CaptureKind(StrEnum):
    """What came off the device."""

    LOG = "log"
    CORE_DUMP = "core_dump"


class CaptureFault(StrEnum):
    """Why a capture can't be delivered as it is, and is kept in quarantine instead."""

    CHECKSUM = "checksum"
    TOO_LONG = "too_long"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who a device says it is (the *config* characteristic, or a core dump's header).

    ``application_id`` is an unsigned 32-bit number. The firmware drops, without a sign,
    strings that do not fit its 128 bytes, so any of the later ones can be empty.
    """

    application_id: int
    serial: str
    device_type: str = ""
    git_version: str = ""
    git_hash: str = ""

    @property
    def key(self) -> DeviceKey:
        """What identifies the device among all others."""
        return (self.application_id, self.serial)


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


class CaptureError(Exception):
    """The bytes are not what they should be; fetching them again may help."""

    retryable = True
    reason = "malformed_capture"
