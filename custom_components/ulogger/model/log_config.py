"""What a device shall log for a while, as every wire carries it."""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

from .level import LEVELS

MODULES: Final = 32
ALL_MODULES: Final = 0xFFFFFFFF
SHORTEST: Final = 1
LONGEST: Final = 49 * 24 * 3600
"""Seconds. The firmware counts them in 32-bit milliseconds: 49.7 days would overflow."""

_PACKET: Final = Struct("<BII")
PACKET_SIZE: Final = _PACKET.size


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``u8 level, u32 module_flags, u32 timeout_seconds``: the nine bytes of a log configuration.

    ``level`` is 0 (DEBUG) to 4 (CRITICAL), ``module_flags`` one bit a module, ``modules`` the
    names of the modules meant, as far as they are known. The device goes back to its own
    defaults after the timeout. Raises ValueError for what does not fit the bytes.
    """

    level: int
    module_flags: int
    timeout_seconds: int
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no wire can carry."""
        if not 0 <= self.level < len(LEVELS):
            raise ValueError(f"log level {self.level} is not one of 0 to {len(LEVELS) - 1}")
        if not 0 <= self.module_flags <= ALL_MODULES:
            raise ValueError("module flags do not fit 32 bits")
        if not 0 <= self.timeout_seconds <= 0xFFFFFFFF:
            raise ValueError("the timeout does not fit 32 bits")

    @property
    def level_name(self) -> str:
        """The level's name in lower case."""
        return LEVELS[self.level]

    @property
    def fits_device(self) -> bool:
        """Whether the firmware can count the timeout."""
        return SHORTEST <= self.timeout_seconds <= LONGEST

    def pack(self) -> bytes:
        """Return the nine bytes."""
        return _PACKET.pack(self.level, self.module_flags, self.timeout_seconds)

    @classmethod
    def unpack(cls, data: bytes | bytearray, modules: tuple[str, ...] = ()) -> LogConfig:
        """Read nine bytes; raises ValueError for another length or an unknown level."""
        if len(data) != PACKET_SIZE:
            raise ValueError(f"a log configuration has {PACKET_SIZE} bytes, not {len(data)}")
        level, module_flags, seconds = _PACKET.unpack(data)
        return cls(level, module_flags, seconds, modules)

    def named_bits(self) -> dict[str, int]:
        """Say which bit each name stands for: the flags' bits in rising order, as the names.

        Empty where there are not as many names as bits: then it is not known.
        """
        bits = [bit for bit in range(MODULES) if self.module_flags >> bit & 1]
        if len(bits) != len(self.modules):
            return {}
        return dict(zip(self.modules, bits, strict=True))


def one_name_a_bit(*modules: Mapping[str, int]) -> dict[str, int]:
    """Join modules' names and bits: of two names of a bit, or two bits of a name, the later."""
    pairs = [pair for each in modules for pair in each.items()]
    names = {bit: name for name, bit in pairs if 0 <= bit < MODULES}
    bits = dict(pairs)
    return {name: bit for bit, name in names.items() if bits[name] == bit}
