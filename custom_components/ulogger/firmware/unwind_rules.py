"""How to get from a function to its caller: rules, and the table of where each holds."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from .steps import OPERATIONS, Steps

SP: Final = 13
LR: Final = 14
PC: Final = 15
MOST_ROWS: Final = 200_000
MOST_RULES: Final = 20_000
_LARGEST = 0xFFFF_FFFF


class Saved(IntEnum):
    """Where the caller's value of a register is."""

    AT = 0
    """In memory, at an offset from the frame's address."""
    IN = 1
    """In another register."""
    LOST = 2
    """Nowhere; a frame whose return address is lost is the outermost one."""
    IS = 3
    """It is the frame's address, with an offset."""


class Register(NamedTuple):
    """One register of the caller."""

    number: int
    saved: Saved
    value: int


class Rule(NamedTuple):
    """The canonical frame address (the caller's stack pointer) and the caller's registers.

    Registers that are not named are unchanged.
    """

    register: int
    offset: int
    registers: tuple[Register, ...] = ()


class RuleBook:
    """Every rule once; a rule is known by its place, 0 for none."""

    def __init__(self) -> None:
        self.words = array("i", [0])
        self._known: dict[Rule, int] = {}

    def add(self, rule: Rule | None) -> int:
        """Return the place of a rule; a book that is full takes no new ones."""
        if rule is None:
            return 0
        place = self._known.get(rule, 0)
        if not place and len(self._known) < MOST_RULES:
            place = self._known[rule] = len(self.words)
            self.words += array("i", [rule.register, rule.offset, len(rule.registers)])
            for register in rule.registers:
                self.words += array("i", register)
        return place


@dataclass(slots=True)
class UnwindTable:
    """Rows sorted by address: each holds up to the next one."""

    words: array[int]
    """The rules one after another: register, offset, count, and number, kind and value of each."""
    addresses: array[int] = field(default_factory=lambda: array("I"))
    rules: array[int] = field(default_factory=lambda: array("I"))

    def add(self, address: int, rule: int) -> None:
        """Append a row; addresses rise."""
        if self.addresses and self.addresses[-1] == address:
            self.rules[-1] = rule
        elif not self.rules or self.rules[-1] != rule:
            self.addresses.append(address)
            self.rules.append(rule)


@dataclass(slots=True)
class RuleRange:
    """The rows of one function: from each address on a rule, up to ``end``."""

    start: int
    end: int
    rows: list[tuple[int, int]]


def table_of(
    ranges: list[RuleRange], book: RuleBook, is_code: Callable[[int], bool]
) -> Steps[UnwindTable]:
    """Put functions in order; of those that overlap the first is kept."""
    table = UnwindTable(book.words)
    reached = 0
    left = OPERATIONS
    ranges.sort(key=lambda part: part.start)
    for part in ranges:
        left -= 2 + len(part.rows)
        if left <= 0:
            yield
            left = OPERATIONS
        if part.start < reached or not part.start < part.end <= _LARGEST:
            continue
        if not is_code(part.start):
            continue
        for address, rule in part.rows:
            if part.start <= address < part.end:
                table.add(address, rule)
        table.add(part.end, 0)
        reached = part.end
    return table


def rule_at(words: memoryview, number: int) -> Rule | None:
    """Return a rule of a stored table, None for 0 and outside of it."""
    if not 0 < number <= len(words) - 3:
        return None
    register, offset, count = words[number : number + 3]
    found = words[number + 3 : number + 3 + 3 * count]
    if not (0 <= register <= PC and 0 <= count <= PC and len(found) == 3 * count):
        return None
    if any(
        not 0 <= found[at] <= PC or found[at + 1] not in _KINDS for at in range(0, 3 * count, 3)
    ):
        return None
    registers = tuple(
        Register(found[at], Saved(found[at + 1]), found[at + 2]) for at in range(0, 3 * count, 3)
    )
    return Rule(register, offset, registers)


_KINDS = frozenset(Saved)
