"""From one stack frame to the next: exactly by the image's rules, else by what looks like a call.

A frame is *exact* when the compiler's own tables led to it and its return address stands behind
an instruction that calls. Where that ends (code without tables, a stack that was not dumped or
is overwritten), the rest of the stack is searched for words that can be return addresses:
odd, in the program's code, behind a call. These are *candidates*: callers that are running are
among them, and so may be some that returned long ago. So are all callers of a program counter
outside of the code: whether a call or a damaged return led there, nobody knows.
"""

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..capture.core_dump import CoreDump, MemoryRegion
from .compact_image import CompactImage
from .unwind_rules import LR, PC, SP, Rule, Saved

MOST_FRAMES: Final = 64
MOST_CANDIDATES: Final = 32
MOST_WORDS: Final = 16 * 1024
"""How much of a stack is searched, in words."""
_LARGEST = 0xFFFF_FFFF
_EXCEPTION_RETURN = 0xFFFF_FF00
_STANDARD_FRAME = 0x20
_EXTENDED_FRAME = 0x68
_NAMES = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc")


class Certainty(StrEnum):
    """How a frame was found."""

    EXACT = "exact"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class StackFrame:
    """One function on the stack: ``address`` is its program counter, or where a call returns to."""

    address: int
    certainty: Certainty
    returning: bool
    """Whether the address is a return address, which stands behind the call."""


type _Registers = Mapping[int, int]


def unwind(image: CompactImage, dump: CoreDump) -> list[StackFrame]:
    """Return the frames of a crash, the innermost first."""
    if dump.opaque:
        return []
    registers = {number: dump.registers[name] for number, name in enumerate(_NAMES)}
    memory = _Stack(dump.regions)
    frames = [StackFrame(registers[PC] & ~1, Certainty.EXACT, returning=False)]
    certainty = Certainty.EXACT if image.is_code(registers[PC]) else Certainty.CANDIDATE
    while len(frames) < MOST_FRAMES:
        try:
            caller, returning = _step(image, registers, memory, frames)
        except _Outermost:
            return frames
        except _Lost:
            break
        registers = caller
        frames.append(StackFrame(registers[PC] & ~1, certainty, returning))
    words = memory.from_address(registers[SP])
    if len(frames) == 1:
        words = [registers[LR], *words]
    return frames + _candidates(image, words, {frame.address for frame in frames})


class _Outermost(Exception):
    """There is no caller."""


class _Lost(Exception):
    """There may be a caller, but neither image nor stack tells who."""


def _step(
    image: CompactImage, registers: _Registers, memory: _Stack, frames: Sequence[StackFrame]
) -> tuple[dict[int, int], bool]:
    """Return the caller's registers, and whether its program counter is a return address."""
    if not image.is_code(registers[PC]):
        if len(frames) > 1 or not _is_return(image, registers[LR]):
            raise _Lost
        return {**registers, PC: registers[LR]}, True
    rule = _rule(image, registers[PC], returning=frames[-1].returning)
    if rule is None:
        raise _Lost
    caller = _caller(rule, registers, memory)
    back = caller[PC]
    if caller[SP] < registers[SP] or (caller[SP] == registers[SP] and len(frames) > 1):
        raise _Lost
    if not back or back == _LARGEST:
        raise _Outermost
    if back >= _EXCEPTION_RETURN:
        return _interrupted(caller, memory), False
    if not _is_return(image, back):
        raise _Lost
    return caller, True


def _rule(image: CompactImage, address: int, *, returning: bool) -> Rule | None:
    """Return the rule at an instruction, at the call before a return address."""
    place = (address & ~1) - (2 if returning else 0)
    return image.rule(place) or image.rule_at_call(place)


def _caller(rule: Rule, registers: _Registers, memory: _Stack) -> dict[int, int]:
    """Return the caller's registers."""
    frame = registers[rule.register] + rule.offset & _LARGEST
    found = {**registers, SP: frame, PC: registers[LR]}
    for number, saved, value in rule.registers:
        if saved is Saved.AT:
            found[number] = memory.word(frame + value)
        elif saved is Saved.IN:
            found[number] = registers[value]
        elif saved is Saved.IS:
            found[number] = frame + value & _LARGEST
        elif number == LR:
            raise _Outermost
    found[PC] = found[LR]
    return found


def _interrupted(registers: _Registers, memory: _Stack) -> dict[int, int]:
    """Return the registers before an exception, which the processor put on the stack."""
    at = registers[SP]
    r0, r1, r2, r3, r12, lr, pc, psr = (memory.word(at + 4 * number) for number in range(8))
    size = _STANDARD_FRAME if registers[PC] & 0x10 else _EXTENDED_FRAME
    sp = at + size + (4 if psr & 0x200 else 0)
    return {**registers, 0: r0, 1: r1, 2: r2, 3: r3, 12: r12, LR: lr, PC: pc, SP: sp & _LARGEST}


def _is_return(image: CompactImage, address: int) -> bool:
    """Whether a word can be a return address: odd, in code, behind BL, BLX or BLX register."""
    if not address & 1 or not image.is_code(address - 3):
        return False
    before = image.read(address - 5, 4)
    if before is None:
        before = bytes(2) + (image.read(address - 3, 2) or bytes(2))
    first = int.from_bytes(before[:2], "little")
    second = int.from_bytes(before[2:], "little")
    return second & 0xFF87 == 0x4780 or (first & 0xF800 == 0xF000 and second & 0xC000 == 0xC000)


def _candidates(image: CompactImage, words: Sequence[int], known: set[int]) -> list[StackFrame]:
    """Return what looks like return addresses, those of exact frames left out."""
    frames: list[StackFrame] = []
    for word in words:
        if word & 1 and _is_return(image, word):
            address = word & ~1
            if address in known:
                continue
            known.add(address)
            frames.append(StackFrame(address, Certainty.CANDIDATE, returning=True))
            if len(frames) >= MOST_CANDIDATES:
                break
    return frames


class _Stack:
    """The memory of a dump."""

    def __init__(self, regions: Sequence[MemoryRegion]) -> None:
        self._regions = sorted(regions, key=lambda region: region.start)
        self._starts = [region.start for region in self._regions]

    def word(self, address: int) -> int:
        """Return a word of the device's memory; _Lost where it was not dumped."""
        region = self._region(address)
        if region is None or address % 4 or address + 4 > region.end:
            raise _Lost
        at = address - region.start
        return int.from_bytes(region.data[at : at + 4], "little")

    def from_address(self, address: int) -> Sequence[int]:
        """Return the words from an address on, as far as they were dumped in one piece."""
        region = self._region(address)
        if region is None or address % 4:
            return ()
        data = region.data[address - region.start :][: 4 * MOST_WORDS]
        count = len(data) // 4
        return struct.unpack_from(f"<{count}I", data)

    def _region(self, address: int) -> MemoryRegion | None:
        number = bisect_right(self._starts, address) - 1
        if number < 0 or address >= self._regions[number].end:
            return None
        return self._regions[number]
