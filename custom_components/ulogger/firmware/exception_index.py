"""The rules of ``.ARM.exidx``: the ARM's compact tables for exceptions, where there are no others.

They hold at the calls of a function, not in its first and last instructions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .elf import ElfFile
from .steps import OPERATIONS, Steps
from .unwind_rules import (
    LR,
    PC,
    SP,
    Register,
    Rule,
    RuleBook,
    RuleRange,
    Saved,
    UnwindTable,
    table_of,
)

MOST_ENTRIES: Final = 100_000
_MOST_WORDS: Final = 64
_CANT_UNWIND = 1
_COMPACT = 0x8000_0000
_FINISH = 0xB0


class _Unknown(Exception):
    """Instructions that are not read here."""


@dataclass(slots=True)
class _Machine:
    """The virtual stack pointer as register and offset, and what was popped."""

    register: int = SP
    offset: int = 0
    popped: dict[int, int] = field(default_factory=dict)

    def pop(self, registers: list[int]) -> None:
        """Take registers off the stack, the lowest first."""
        if SP in registers:
            raise _Unknown
        for register in registers:
            self.popped[register] = self.offset
            self.offset += 4

    def rule(self) -> Rule:
        """Return all that as a rule; the frame's address is where the stack ends up."""
        if PC in self.popped:
            self.popped[LR] = self.popped.pop(PC)
        found = (
            Register(register, Saved.AT, offset - self.offset)
            for register, offset in self.popped.items()
        )
        return Rule(self.register, self.offset, tuple(sorted(found)))


def read_exception_index(elf: ElfFile, is_code: Callable[[int], bool]) -> Steps[UnwindTable]:
    """Return the rules of all functions that have some."""
    stored = elf.stored(".ARM.exidx")
    book = RuleBook()
    if stored is None:
        return UnwindTable(book.words)
    section, data = stored
    count = min(len(data) // 8, MOST_ENTRIES)
    ranges: list[RuleRange] = []
    for number in range(count):
        if number % (OPERATIONS // 20) == 0:
            yield
        start, second = (
            int.from_bytes(data[8 * number + at : 8 * number + at + 4], "little") for at in (0, 4)
        )
        place = section.address + 8 * number
        function = _relative(start, place) & ~1
        rule = book.add(_rule(elf, second, place + 4))
        ranges.append(RuleRange(function, 0, [(function, rule)]))
    yield
    ranges.sort(key=lambda part: part.start)
    last = max((end for _, end in elf.code), default=0)
    for part, end in zip(ranges, [*(part.start for part in ranges[1:]), last], strict=False):
        part.end = end
    return (yield from table_of(ranges, book, is_code))


def _rule(elf: ElfFile, second: int, place: int) -> Rule | None:
    if second == _CANT_UNWIND:
        return Rule(SP, 0, (Register(LR, Saved.LOST, 0),))
    try:
        if second & _COMPACT:
            return _decoded(second.to_bytes(4)[1:]) if not second >> 24 & 0x7F else None
        return _decoded(_instructions(elf, _relative(second, place)))
    except _Unknown:
        return None


def _instructions(elf: ElfFile, address: int) -> bytes:
    """Return the instructions of an entry of ``.ARM.extab``."""
    stored = elf.read(address, 4)
    if stored is None:
        raise _Unknown
    first = int.from_bytes(stored, "little")
    if first & _COMPACT:
        kind = first >> 24 & 0xF
        if kind == 0:
            return first.to_bytes(4)[1:]
        if kind > 2:
            raise _Unknown
        return first.to_bytes(4)[2:] + _words(elf, address + 4, first >> 16 & 0xFF)
    words = elf.read(address + 4, 4)
    if words is None:
        raise _Unknown
    return words[2::-1] + _words(elf, address + 8, words[3])


def _words(elf: ElfFile, address: int, count: int) -> bytes:
    """Return words of instructions; the first instruction is in the highest byte."""
    found = elf.read(address, 4 * count) if count <= _MOST_WORDS else None
    if found is None:
        raise _Unknown
    return b"".join(found[at : at + 4][::-1] for at in range(0, len(found), 4))


# One table of opcodes, as in the standard.
def _decoded(code: bytes) -> Rule | None:  # noqa: PLR0912
    """Run instructions until they finish."""
    machine = _Machine()
    at = 0
    while at < len(code) and code[at] != _FINISH:
        opcode = code[at]
        operand = code[at + 1] if at + 1 < len(code) else 0
        at += 1
        if opcode < 0x80:
            change = ((opcode & 0x3F) << 2) + 4
            machine.offset += -change if opcode & 0x40 else change
        elif opcode < 0x90:
            mask = (opcode & 0xF) << 8 | operand
            at += 1
            if not mask:
                return None
            machine.pop([4 + bit for bit in range(12) if mask >> bit & 1])
        elif opcode < 0xA0:
            if opcode & 0xF in {SP, PC} or (opcode & 0xF) in machine.popped:
                raise _Unknown
            if machine.popped:
                raise _Unknown
            machine.register, machine.offset = opcode & 0xF, 0
        elif opcode < 0xB0:
            registers = list(range(4, 5 + (opcode & 7)))
            machine.pop([*registers, LR] if opcode & 8 else registers)
        elif opcode == 0xB1 and 0 < operand < 16:
            at += 1
            machine.pop([bit for bit in range(4) if operand >> bit & 1])
        elif opcode == 0xB2:
            value = shift = 0
            while at < len(code) and shift < 28:
                value |= (code[at] & 0x7F) << shift
                shift += 7
                at += 1
                if code[at - 1] < 0x80:
                    break
            machine.offset += 0x204 + (value << 2)
        elif opcode in {0xB3, 0xC8, 0xC9}:
            at += 1
            machine.offset += 8 * ((operand & 0xF) + 1) + (4 if opcode == 0xB3 else 0)
        elif 0xB8 <= opcode <= 0xBF:
            machine.offset += 8 * ((opcode & 7) + 1) + 4
        elif 0xD0 <= opcode <= 0xD7:
            machine.offset += 8 * ((opcode & 7) + 1)
        elif opcode == 0xB4:
            machine.offset += 4
        else:
            raise _Unknown
    return machine.rule()


def _relative(word: int, place: int) -> int:
    """Return the address that a word of 31 bits names relative to its own place."""
    offset = word & 0x7FFF_FFFF
    return (place + offset - (0x8000_0000 if offset & 0x4000_0000 else 0)) & 0xFFFF_FFFF
