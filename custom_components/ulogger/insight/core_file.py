"""A core dump as an ELF core file, so that a debugger shows it: ``gdb firmware.elf -c FILE.core``.

Notes of a thread with its registers (``NT_PRSTATUS``, and ``NT_ARM_VFP`` when the dump has those
of floating point) in the layout of Linux on ARM, which debuggers take for bare metal, too; then
the memory that was dumped, one segment for each region.
"""

import struct
from typing import Final

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from .faults import FaultKind, fault_of

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<8I")
_NOTE = struct.Struct("<III")
_CORE: Final = 4
_ARM: Final = 40
_LOAD: Final = 1
_NOTES: Final = 4
_READ_WRITE: Final = 6
_STATUS: Final = 1
_ARM_VFP: Final = 0x400
_STATUS_SIZE: Final = 148
_SIGNAL_AT: Final = 12
_PROCESS_AT: Final = 24
_REGISTERS_AT: Final = 72
_MOST_SEGMENTS: Final = 0xFFF0
_THUMB: Final = 1 << 24
_ABORTED: Final = 6
_SIGNALS = {
    FaultKind.UNDEFINED_INSTRUCTION: 4,
    FaultKind.INVALID_STATE: 4,
    FaultKind.NO_COPROCESSOR: 4,
    FaultKind.UNALIGNED: 7,
    FaultKind.DATA_BUS: 7,
    FaultKind.IMPRECISE_DATA_BUS: 7,
    FaultKind.DIVISION_BY_ZERO: 8,
    FaultKind.NO_FAULT: _ABORTED,
}
_SEGMENTATION: Final = 11


class NoMachineState(CaptureError):
    """A dump of an unknown format: there are no registers to show."""

    retryable = False
    reason = "no_machine_state"


def core_file(dump: CoreDump) -> bytes:
    """Return the dump as an ELF core file; NoMachineState when it holds no registers."""
    if dump.opaque:
        raise NoMachineState("the dump is of an unknown format and has no registers")
    notes = _note(b"CORE", _STATUS, _status(dump))
    if dump.float_registers:
        notes += _note(b"LINUX", _ARM_VFP, _floats(dump))
    regions = [region for region in dump.regions if region.data][:_MOST_SEGMENTS]
    count = 1 + len(regions)
    offset = _HEADER.size + count * _SEGMENT.size
    segments = [_SEGMENT.pack(_NOTES, offset, 0, 0, len(notes), 0, 0, 4)]
    offset += len(notes)
    for region in regions:
        size = len(region.data)
        segments.append(_SEGMENT.pack(_LOAD, offset, region.start, 0, size, size, _READ_WRITE, 1))
        offset += size
    header = _HEADER.pack(
        b"\x7fELF\x01\x01\x01",
        *(_CORE, _ARM, 1, 0, _HEADER.size, 0, 0x0500_0000, _HEADER.size, _SEGMENT.size),
        *(count, 0, 0, 0),
    )
    return b"".join((header, *segments, notes, *(region.data for region in regions)))


def _status(dump: CoreDump) -> bytes:
    """Return the structure that holds the general registers."""
    status = bytearray(_STATUS_SIZE)
    signal = _SIGNALS.get(fault_of(dump).kind, _SEGMENTATION)
    struct.pack_into("<H", status, _SIGNAL_AT, signal)
    struct.pack_into("<I", status, _PROCESS_AT, 1)
    names = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc")
    values = [dump.registers[name] for name in names]
    struct.pack_into(
        "<18I", status, _REGISTERS_AT, *values, dump.registers["psr"] | _THUMB, values[0]
    )
    return bytes(status)


def _floats(dump: CoreDump) -> bytes:
    """Return s0 to s31 as the lower half of 32 double registers, and the status register."""
    values = [dump.float_registers[f"s{number}"] for number in range(32)]
    return struct.pack("<64II", *values, *(0,) * 32, dump.float_registers["fpscr"])


def _note(owner: bytes, kind: int, contents: bytes) -> bytes:
    name = owner + b"\0"
    head = _NOTE.pack(len(name), len(contents), kind)
    return head + name + bytes(-len(name) % 4) + contents + bytes(-len(contents) % 4)
