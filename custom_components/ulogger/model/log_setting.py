"""What level a device shall log at, for which modules and until when."""

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

LEVELS = ("debug", "info", "warning", "error", "critical")
MODULES = 32
ALL_MODULES = 0xFFFFFFFF
SHORTEST = 1
LONGEST = 49 * 24 * 3600
"""The firmware counts the timeout in 32-bit milliseconds: 49 days at most."""

_PACKET = struct.Struct("<BII")


@dataclass(frozen=True, slots=True)
class LogSetting:
    """One log configuration, as the cloud or a user gave it.

    ``level`` is 0 (DEBUG) to 4 (CRITICAL), ``module_flags`` a bit a module, ``expires_at``
    Unix seconds: the device falls back to its own defaults then. ``written_at`` is when the
    device took it, None while it still has to be written. A ``revoked`` setting is one that
    the device has been told and shall not have any longer. Whatever it was told before this
    lasts until ``told_until``.
    """

    level: int
    module_flags: int
    expires_at: float
    modules: list[str] = field(default_factory=list)
    written_at: float | None = None
    revoked: bool = False
    told_until: float = 0.0

    @property
    def level_name(self) -> str:
        """The level's name in lower case."""
        return LEVELS[self.level]

    def remaining(self, now: float | None = None) -> int:
        """Whole seconds until the setting ends, 0 when it has ended."""
        return max(0, round(self.expires_at - (time.time() if now is None else now)))

    @property
    def lasts(self) -> bool:
        """Whether the device shall log so, now or as soon as it is told."""
        return not self.revoked and self.remaining() > 0

    @property
    def device_until(self) -> float:
        """When the device is back at its defaults if nobody tells it anything."""
        return self.told_until if self.written_at is None else self.expires_at

    def after(self, before: LogSetting | None) -> LogSetting:
        """Return this setting as the one that replaces *before*."""
        return self if before is None else replace(self, told_until=before.device_until)

    def taken_back(self) -> LogSetting | None:
        """Return what brings the device back to its defaults; None where it has them."""
        until = self.device_until
        if until <= time.time():
            return None
        return replace(self, expires_at=until, told_until=until, written_at=None, revoked=True)

    def packet(self, now: float | None = None) -> bytes:
        """Give the 9 bytes that the device is told, with the time that is left.

        One that is revoked ends a second later. Raises ValueError when no time is left.
        """
        if not (seconds := min(self.remaining(now), LONGEST)) >= SHORTEST:
            raise ValueError("the log configuration has expired")
        if self.revoked:
            seconds = SHORTEST
        return _PACKET.pack(self.level, self.module_flags, seconds)


def one_name_a_bit(*modules: Mapping[str, int]) -> dict[str, int]:
    """Join modules' names and bits: of two names of a bit, or two bits of a name, the later."""
    pairs = [pair for each in modules for pair in each.items()]
    names = {bit: name for name, bit in pairs if 0 <= bit < MODULES}
    bits = dict(pairs)
    return {name: bit for bit, name in names.items() if bits[name] == bit}


def setting_for(level: int, module_flags: int, modules: list[str], seconds: int) -> LogSetting:
    """Make a setting that lasts *seconds* from now."""
    return LogSetting(level, module_flags, time.time() + seconds, modules)
