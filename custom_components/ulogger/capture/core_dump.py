"""The core dump: its header, its checks, and the machine state that CrashCatcher left in it."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from ..model.identity import DeviceIdentity
from .errors import CaptureError, ChecksumMismatch, TruncatedCapture

HEADER_SIZE = 264
KNOWN_VERSION = 1

_HEADER = struct.Struct("<IIII44s68s68s68s")
_START = struct.Struct("<III")
_SIGNATURE = b"\x63\x43\x03\x00"
_FLAGS = struct.Struct("<4sI")
_FLAG_FLOATING_POINT = 1
_REGION = struct.Struct("<II")
_CORE_NAMES = (
    *(f"r{number}" for number in range(13)),
    *("sp", "lr", "pc", "psr", "msp", "psp", "exception_psr"),
)
_FLOAT_NAMES = (*(f"s{number}" for number in range(32)), "fpscr")
_FAULT_NAMES = ("cfsr", "hfsr", "dfsr", "mmfar", "bfar")
_FAULT_ADDRESS = 0xE000_ED28
_NO_REGISTERS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CoreDumpHeader:
    """The 264 bytes before the machine state, all integers little-endian.

    ``u32 length`` of the whole dump with this header, ``u32 checksum`` (the sum of all bytes
    after this header), ``u32 version`` = 1, ``u32 application_id``, then four strings padded
    with NUL: ``git_hash[44], device_type[68], device_serial[68], git_version[68]``.
    A dump names its device by itself. Of an unknown version only the first three are read.
    """

    length: int
    checksum: int
    version: int
    device: DeviceIdentity = field(default_factory=lambda: DeviceIdentity(0, ""))

    @property
    def known(self) -> bool:
        """Whether this version's layout is known; else the dump is opaque, not wrong."""
        return self.version == KNOWN_VERSION

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the header from the start of ``data``; TruncatedCapture when it is not all there.

        Raises CaptureError when a dump of the known version claims to be shorter than its header.
        """
        if len(data) < _START.size:
            raise TruncatedCapture(f"a core dump header of {len(data)} bytes")
        length, checksum, version = _START.unpack_from(data)
        if version != KNOWN_VERSION:
            return cls(length, checksum, version)
        if len(data) < HEADER_SIZE:
            raise TruncatedCapture(f"a core dump header of {len(data)} bytes")
        if length < HEADER_SIZE:
            raise CaptureError(f"a core dump of {length} bytes is shorter than its header")
        application_id, *strings = _HEADER.unpack_from(data)[3:]
        git_hash, device_type, serial, git_version = map(_text, strings)
        device = DeviceIdentity(application_id, serial, device_type, git_version, git_hash)
        return cls(length, checksum, version, device)


def declared_length(first_chunk: bytes) -> int:
    """Return the dump's true length from the first bytes of its first chunk.

    Chunks carry a total of 16 bits, which wraps for a dump over 65,535 bytes; the dump's own
    first u32 does not. Raises TruncatedCapture for fewer than 4 bytes.
    """
    if len(first_chunk) < 4:
        raise TruncatedCapture(f"no core dump length in {len(first_chunk)} bytes")
    return int.from_bytes(first_chunk[:4], "little")


def check_core_dump(data: bytes) -> CoreDumpHeader:
    """Return the header of a core dump that is all there and unharmed.

    A dump of an unknown version is opaque: its length is checked, its checksum can't be.
    Raises TruncatedCapture or ChecksumMismatch (both CaptureError) otherwise.
    """
    header = CoreDumpHeader.parse(data)
    if len(data) < header.length:
        raise TruncatedCapture(f"core dump of {header.length} bytes, got {len(data)}")
    if header.known:
        found = sum(memoryview(data)[HEADER_SIZE : header.length]) & 0xFFFF_FFFF
        if found != header.checksum:
            raise ChecksumMismatch(f"core dump sum is {found}, header says {header.checksum}")
    return header


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """A piece of the device's memory: bytes from address ``start`` up to ``end``."""

    start: int
    end: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CoreDump:
    """The state of the machine when it crashed.

    After the header, CrashCatcher's format: ``63 43 03 00``, ``u32 flags`` (bit 0: floating
    point registers follow), 20 registers of u32, with the flag 33 more, then memory regions
    until the end: ``u32 start, u32 end, bytes``. Of a dump in another format only the header
    is known: no registers, no regions.
    """

    header: CoreDumpHeader
    flags: int = 0
    registers: Mapping[str, int] = _NO_REGISTERS
    float_registers: Mapping[str, int] = _NO_REGISTERS
    regions: tuple[MemoryRegion, ...] = ()

    @property
    def opaque(self) -> bool:
        """Whether the format after the header is unknown to us."""
        return not self.registers

    @property
    def fault_status(self) -> Mapping[str, int]:
        """CFSR, HFSR, DFSR, MMFAR and BFAR of the Cortex-M core; empty when not in the dump."""
        for region in reversed(self.regions):
            if region.start == _FAULT_ADDRESS and len(region.data) >= 4 * len(_FAULT_NAMES):
                return _registers(_FAULT_NAMES, region.data, 0)
        return _NO_REGISTERS

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a dump that is all there (its checksum is not looked at).

        Raises TruncatedCapture when registers or a region run over the end, and CaptureError
        when a region ends before it starts.
        """
        header = CoreDumpHeader.parse(data)
        if len(data) < header.length:
            raise TruncatedCapture(f"core dump of {header.length} bytes, got {len(data)}")
        data = data[: header.length]
        offset = HEADER_SIZE + _FLAGS.size
        if not header.known or data[HEADER_SIZE : HEADER_SIZE + 4] != _SIGNATURE:
            return cls(header)
        if len(data) < offset:
            raise TruncatedCapture("the core dump ends before its flags")
        flags: int = _FLAGS.unpack_from(data, HEADER_SIZE)[1]
        registers = _registers(_CORE_NAMES, data, offset)
        offset += 4 * len(_CORE_NAMES)
        float_registers = _NO_REGISTERS
        if flags & _FLAG_FLOATING_POINT:
            float_registers = _registers(_FLOAT_NAMES, data, offset)
            offset += 4 * len(_FLOAT_NAMES)
        return cls(header, flags, registers, float_registers, _regions(data, offset))


def _registers(names: tuple[str, ...], data: bytes, offset: int) -> Mapping[str, int]:
    """Read one u32 for each name."""
    if len(data) < offset + 4 * len(names):
        raise TruncatedCapture("the core dump ends within its registers")
    values = struct.unpack_from(f"<{len(names)}I", data, offset)
    return MappingProxyType(dict(zip(names, values, strict=True)))


def _regions(data: bytes, offset: int) -> tuple[MemoryRegion, ...]:
    """Read memory regions until the end of the data."""
    regions = []
    while offset < len(data):
        if len(data) < offset + _REGION.size:
            raise TruncatedCapture("the core dump ends within a region's addresses")
        start, end = _REGION.unpack_from(data, offset)
        offset += _REGION.size
        if end < start:
            raise CaptureError(f"memory region ends at {end:#x} before its start {start:#x}")
        if len(data) < offset + end - start:
            raise TruncatedCapture(f"the core dump ends within the region at {start:#x}")
        regions.append(MemoryRegion(start, end, data[offset : offset + end - start]))
        offset += end - start
    return tuple(regions)


def _text(padded: bytes) -> str:
    """Decode a NUL-padded string; a device can write anything there, so only what prints stays."""
    text = padded.partition(b"\0")[0].decode(errors="replace")
    return "".join(character for character in text if character.isprintable())
