"""Where in the code a format string is logged: the calls that it is handed to.

A frame names its format string and not its call. Thumb code loads such an address from a literal
pool (``LDR Rt, [PC, #n]``) or in two halves (``MOVW``, ``MOVT``). From there the registers that
hold it are followed through copies to the calls that get it as an argument, in the order of the
addresses and without regard to branches (encodings: ARMv7-M Architecture Reference Manual,
ARM DDI 0403). Data that looks like such code is found as well; that is rare.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

MOST_CALLS: Final = 64
"""Calls of one format string that are told; a compiler merges equal strings."""
MOST_LITERALS: Final = 8
MOST_LOADS: Final = 16
"""Places at which an address stands, and instructions that load it, that are looked into."""
MOST_MOVES: Final = 256
_LDR_REACH: Final = 4096
_MOVT_WITHIN: Final = 32
_FOLLOWED: Final = 1024
"""How many bytes behind its load an address is followed."""
_ARGUMENTS: Final = frozenset({0, 1, 2, 3})
_LOST_IN_A_CALL: Final = _ARGUMENTS | {12, 14}
_WIDE: Final = frozenset({0b11101, 0b11110, 0b11111})
"""What the first half of an instruction of two begins with."""
_WRITES: Final = (
    (0x0000, 0x2000, 0),
    (0x2000, 0x2800, 8),
    (0x3000, 0x4000, 8),
    (0x4000, 0x4400, 0),
    (0x4800, 0x5000, 8),
    (0x5600, 0x6000, 0),
    (0x6800, 0x7000, 0),
    (0x7800, 0x8000, 0),
    (0x8800, 0x9000, 0),
    (0x9800, 0xB000, 8),
)
"""Short instructions that write a low register: from, up to, and where its number begins."""

type Part = tuple[int, memoryview]
"""Where a range of the device's memory begins, and its bytes."""


def log_calls(
    memory: Sequence[Part], end_of: Callable[[int], int | None], address: int
) -> list[int]:
    """Return the addresses of calls that a string is handed to, ``MOST_CALLS`` at most.

    Where no call is found, the instructions that load its address stand for them. ``end_of``
    returns where the function ends that an instruction lies in, None where there is no code.
    """
    calls: list[tuple[int, int]] = []
    loads: list[int] = []
    for start, data in memory:
        code = _Code(start, data)
        ways = chain(code.loads_of_literals(address), code.moves_of_halves(address))
        for at, register in islice(ways, MOST_LOADS):
            if (end := end_of(at)) is not None:
                loads.append(at)
                calls += code.calls_with(at, register, end)
    # The same function is called: what another register holds then was only left there.
    argument = min((register for _, register in calls), default=None)
    found = [at for at, register in calls if register == argument] if calls else loads
    return found[:MOST_CALLS]


class _Code:
    """A range of memory, read as Thumb instructions."""

    def __init__(self, start: int, data: memoryview) -> None:
        self._start = start
        self._data = data

    def loads_of_literals(self, address: int) -> Iterator[tuple[int, int]]:
        """Yield loads of a word that holds an address, and the register."""
        pattern = re.escape(address.to_bytes(4, "little"))
        for found in islice(re.finditer(pattern, self._data, re.DOTALL), MOST_LITERALS):
            literal = self._start + found.start()
            if not literal % 4:
                yield from self._loads_of(literal)

    def moves_of_halves(self, address: int) -> Iterator[tuple[int, int]]:
        """Yield each ``MOVW`` of the lower half that a ``MOVT`` of the upper half follows."""
        first, second = _wide_move(0xF240, address & 0xFFFF)
        upper_first, upper_second = _wide_move(0xF2C0, address >> 16)
        registers = bytes(second >> 8 | register for register in range(15))
        low = first.to_bytes(2, "little") + bytes([second & 0xFF])
        pattern = re.escape(low) + b"[" + re.escape(registers) + b"]"
        for found in islice(re.finditer(pattern, self._data, re.DOTALL), MOST_MOVES):
            at = self._start + found.start()
            register = found[0][3] & 0xF
            wanted = upper_first, upper_second | register << 8
            if not at % 2 and any(
                (self._half(behind), self._half(behind + 2)) == wanted
                for behind in range(at + 4, at + 4 + _MOVT_WITHIN, 2)
            ):
                yield at, register

    def calls_with(self, at: int, register: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the calls that get what an instruction has put into a register, and in which."""
        holders = {register}
        for behind, half, other in self._instructions(at, min(end, at + _FOLLOWED)):
            if _is_call(half, other):
                if arguments := holders & _ARGUMENTS:
                    yield behind, min(arguments)
                holders -= _LOST_IN_A_CALL
            elif (copy := _copy(half)) is not None:
                to, source = copy
                (holders.add if source in holders else holders.discard)(to)
            elif half == 0x4770 or half & 0xFF00 == 0xBD00 or half >> 11 == 0b11100:
                # The way on is another one, on which arguments are not set yet.
                holders -= _ARGUMENTS
            else:
                holders -= _written(half, other)
            if not holders:
                return

    def _loads_of(self, literal: int) -> Iterator[tuple[int, int]]:
        """Yield loads of a word; a wide one may also stand behind it."""
        first = max(self._start + self._start % 2, literal - _LDR_REACH)
        for at in range(first, literal + _LDR_REACH, 2):
            if (half := self._half(at)) is None:
                return
            base = (at + 4) & ~3
            if half >> 11 == 0b01001:
                if base + (half & 0xFF) * 4 == literal:
                    yield at, half >> 8 & 7
            elif half & 0xFF7F == 0xF85F and (other := self._half(at + 2)) is not None:
                distance = other & 0xFFF
                if base + (distance if half & 0x80 else -distance) == literal:
                    yield at, other >> 12

    def _instructions(self, at: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """Yield what is behind an instruction: address and halves, the second if there is one."""
        first, half = True, self._half(at)
        while half is not None and at < end:
            other = self._half(at + 2) if half >> 11 in _WIDE else None
            # A MOVT behind its MOVW is no other value.
            if not first and half & 0xFBF0 != 0xF2C0:
                yield at, half, other
            first = False
            at += 2 if other is None else 4
            half = self._half(at)

    def _half(self, address: int) -> int | None:
        offset = address - self._start
        if not 0 <= offset <= len(self._data) - 2:
            return None
        return self._data[offset] | self._data[offset + 1] << 8


def _is_call(half: int, other: int | None) -> bool:
    """Whether it is a ``BL``, a ``BLX``, or a branch to a function that is called last."""
    if other is None:
        return half & 0xFF80 == 0x4780
    return half >> 11 == 0b11110 and other & 0x9000 == 0x9000


def _copy(half: int) -> tuple[int, int] | None:
    """Return the registers to and from which an instruction copies."""
    if half & 0xFF00 == 0x4600:
        return half >> 4 & 8 | half & 7, half >> 3 & 0xF
    if half & 0xFFC0 in {0x0000, 0x1C00}:
        return half & 7, half >> 3 & 7
    return None


def _written(half: int, other: int | None) -> set[int]:
    """Return the registers that an instruction writes, or may write."""
    if other is not None:
        stores = half & 0xFE10 in {0xE800, 0xF800} and half & 0xFF00 != 0xFA00
        return set() if stores else {other >> 12, other >> 8 & 0xF}
    if half & 0xFF00 == 0x4400:
        return {half >> 4 & 8 | half & 7}
    if half & 0xFE00 == 0xBC00:
        return {register for register in range(8) if half >> register & 1}
    return {half >> place & 7 for begin, end, place in _WRITES if begin <= half < end}


def _wide_move(operation: int, value: int) -> tuple[int, int]:
    """Return both halves of a ``MOVW`` or ``MOVT`` of 16 bits into register 0."""
    return (
        operation | value >> 12 | (value >> 11 & 1) << 10,
        (value >> 8 & 7) << 12 | value & 0xFF,
    )
