"""What a Cortex-M core says of its fault: CFSR, HFSR and the addresses beside them, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ..capture.core_dump import CoreDump

CAUSES: Final[Mapping[str, Mapping[int, str]]] = {
    "cfsr": {
        0: "instruction access violation",
        1: "data access violation",
        3: "memory fault on unstacking",
        4: "memory fault on stacking",
        5: "memory fault on saving floating point state",
        7: "MMFAR holds the address",
        8: "instruction bus error",
        9: "precise data bus error",
        10: "imprecise data bus error",
        11: "bus fault on unstacking",
        12: "bus fault on stacking",
        13: "bus fault on saving floating point state",
        15: "BFAR holds the address",
        16: "undefined instruction",
        17: "invalid state",
        18: "invalid return",
        19: "no coprocessor",
        20: "stack overflow",
        24: "unaligned access",
        25: "division by zero",
    },
    "hfsr": {1: "vector table read", 30: "escalated to hard fault", 31: "debug event"},
}
"""What each bit of a fault status register means."""

NAMES: Final[Mapping[str, Mapping[int, str]]] = {
    "cfsr": {
        0: "IACCVIOL",
        1: "DACCVIOL",
        3: "MUNSTKERR",
        4: "MSTKERR",
        5: "MLSPERR",
        7: "MMARVALID",
        8: "IBUSERR",
        9: "PRECISERR",
        10: "IMPRECISERR",
        11: "UNSTKERR",
        12: "STKERR",
        13: "LSPERR",
        15: "BFARVALID",
        16: "UNDEFINSTR",
        17: "INVSTATE",
        18: "INVPC",
        19: "NOCP",
        20: "STKOF",
        24: "UNALIGNED",
        25: "DIVBYZERO",
    },
    "hfsr": {1: "VECTTBL", 30: "FORCED", 31: "DEBUGEVT"},
}
"""What the architecture's manual calls each bit."""

_MMFAR_VALID: Final = 7
_BFAR_VALID: Final = 15


class FaultKind(StrEnum):
    """What went wrong; part of a fingerprint, so a name never changes."""

    STACK_OVERFLOW = "stack_overflow"
    UNDEFINED_INSTRUCTION = "undefined_instruction"
    INVALID_STATE = "invalid_state"
    INVALID_RETURN = "invalid_return"
    NO_COPROCESSOR = "no_coprocessor"
    DIVISION_BY_ZERO = "division_by_zero"
    UNALIGNED = "unaligned_access"
    INSTRUCTION_ACCESS = "instruction_access_violation"
    DATA_ACCESS = "data_access_violation"
    INSTRUCTION_BUS = "instruction_bus_error"
    DATA_BUS = "data_bus_error"
    IMPRECISE_DATA_BUS = "imprecise_data_bus_error"
    MEMORY_STACKING = "memory_fault_on_exception"
    BUS_STACKING = "bus_fault_on_exception"
    VECTOR_TABLE = "vector_table_read"
    DEBUG_EVENT = "debug_event"
    HARD_FAULT = "hard_fault"
    NO_FAULT = "no_fault"
    UNKNOWN = "unknown"


class _Cause(NamedTuple):
    """A bit of a register, what kind of fault it tells, and that in words."""

    register: str
    bit: int
    kind: FaultKind
    words: str


_BY_WEIGHT: Final = (
    _Cause("cfsr", 20, FaultKind.STACK_OVERFLOW, "the stack overflowed"),
    _Cause("cfsr", 16, FaultKind.UNDEFINED_INSTRUCTION, "an undefined instruction was executed"),
    _Cause("cfsr", 17, FaultKind.INVALID_STATE, "a jump left Thumb code (an even address)"),
    _Cause("cfsr", 18, FaultKind.INVALID_RETURN, "an exception returned to an invalid state"),
    _Cause("cfsr", 19, FaultKind.NO_COPROCESSOR, "a coprocessor was used that is absent or off"),
    _Cause("cfsr", 25, FaultKind.DIVISION_BY_ZERO, "a division by zero"),
    _Cause("cfsr", 24, FaultKind.UNALIGNED, "an unaligned access"),
    _Cause("cfsr", 0, FaultKind.INSTRUCTION_ACCESS, "code was fetched where none may be executed"),
    _Cause("cfsr", 1, FaultKind.DATA_ACCESS, "an access that memory protection forbids"),
    _Cause("cfsr", 8, FaultKind.INSTRUCTION_BUS, "code was fetched where there is no memory"),
    _Cause("cfsr", 9, FaultKind.DATA_BUS, "an access where nothing answers"),
    _Cause("cfsr", 10, FaultKind.IMPRECISE_DATA_BUS, "an earlier write where nothing answers"),
    _Cause("cfsr", 4, FaultKind.MEMORY_STACKING, "an exception had no memory for its stack frame"),
    _Cause("cfsr", 3, FaultKind.MEMORY_STACKING, "an exception's stack frame was not readable"),
    _Cause("cfsr", 5, FaultKind.MEMORY_STACKING, "floating point state could not be saved"),
    _Cause("cfsr", 12, FaultKind.BUS_STACKING, "an exception had no memory for its stack frame"),
    _Cause("cfsr", 11, FaultKind.BUS_STACKING, "an exception's stack frame was not readable"),
    _Cause("cfsr", 13, FaultKind.BUS_STACKING, "floating point state could not be saved"),
    _Cause("hfsr", 1, FaultKind.VECTOR_TABLE, "the vector table could not be read"),
    _Cause("hfsr", 31, FaultKind.DEBUG_EVENT, "a breakpoint without a debugger"),
    _Cause("hfsr", 30, FaultKind.HARD_FAULT, "a hard fault of unknown cause"),
)
"""The causes, the one that explains most first."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the processor stopped; ``address`` is what it accessed, where the core knows it."""

    kind: FaultKind
    text: str
    address: int | None = None


def fault_of(dump: CoreDump) -> Fault:
    """Return the fault in plain words, with its address when the core holds a valid one."""
    status = dump.fault_status
    if not status:
        return Fault(FaultKind.UNKNOWN, "the dump does not hold the fault's cause")
    for register, bit, kind, words in _BY_WEIGHT:
        if status[register] >> bit & 1:
            address = _address(status)
            where = "" if address is None else f" at 0x{address:08X}"
            causes = ", ".join(names) if (names := causes_of("cfsr", status["cfsr"])) else ""
            return Fault(kind, f"{words}{where}" + (f" ({causes})" if causes else ""), address)
    return Fault(FaultKind.NO_FAULT, "no fault: the program stopped itself")


class SetBit(NamedTuple):
    """A set bit of a fault status register, as the manual calls it, and in words."""

    register: str
    bit: int
    name: str
    words: str


def set_bits(status: Mapping[str, int]) -> list[SetBit]:
    """Return the set bits whose meaning is known, in the order of the registers."""
    return [
        SetBit(register, bit, NAMES[register][bit], words)
        for register, meanings in CAUSES.items()
        for bit, words in meanings.items()
        if status.get(register, 0) >> bit & 1
    ]


def causes_of(register: str, value: int) -> list[str]:
    """Return what the bits of a fault status register mean."""
    return [name for bit, name in CAUSES.get(register, {}).items() if value >> bit & 1]


def _address(status: Mapping[str, int]) -> int | None:
    """Return the address that was accessed."""
    if status["cfsr"] >> _BFAR_VALID & 1:
        return status["bfar"]
    if status["cfsr"] >> _MMFAR_VALID & 1:
        return status["mmfar"]
    return None
