"""Who a device is."""

from dataclasses import dataclass
from typing import Final

ULOGGER: Final = "ulogger"
"""uLogger among an account's destinations, and among those that wish for log levels."""

type DeviceKey = tuple[int, str]
"""Application ID and serial: what makes a device one device, whatever its address."""


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
