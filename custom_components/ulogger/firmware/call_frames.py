"""The rules of ``.debug_frame``: how the compiler says that a function's caller is found."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .abbreviations import UnreadableUnit, number, signed
from .elf import Sections
from .steps import OPERATIONS, Steps
from .unwind_rules import (
    LR,
    MOST_ROWS,
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
MOST_COMMON: Final = 20_000
LARGEST_ENTRY: Final = 16 * 1024
_MOST_REMEMBERED: Final = 16
_LONG_FORMAT = 0xFFFF_FFF0
_COMMON = 0xFFFF_FFFF
_AUGMENTATIONS = {b"", b"armcc+"}
_LARGEST_OFFSET = 1 << 30


@dataclass(slots=True)
class _State:
    """The rule that is being built; a frame address that is computed has register -1."""

    register: int = SP
    offset: int = 0
    saved: dict[int, Register] = field(default_factory=dict)

    def rule(self) -> Rule | None:
        """Return the rule, None where the frame's address is computed."""
        if not 0 <= self.register <= PC or not -_LARGEST_OFFSET < self.offset < _LARGEST_OFFSET:
            return None
        return Rule(self.register, self.offset, tuple(sorted(self.saved.values())))

    def copy(self) -> _State:
        """Return a state that changes on its own."""
        return _State(self.register, self.offset, dict(self.saved))


@dataclass(frozen=True, slots=True)
class _CommonEntry:
    """What the entries of many functions share."""

    code_factor: int
    data_factor: int
    returns_in: int
    state: _State


def read_call_frames(sections: Sections, is_code: Callable[[int], bool]) -> Steps[UnwindTable]:
    """Return the rules of all functions; a damaged entry is left out."""
    table = sections.section(".debug_frame")
    common: dict[int, _CommonEntry | None] = {}
    ranges: list[RuleRange] = []
    book = RuleBook()
    rows = at = 0
    left = OPERATIONS
    for _ in range(MOST_ENTRIES):
        length = int.from_bytes(table[at : at + 4], "little")
        if at + 8 > len(table) or length >= _LONG_FORMAT:
            break
        start, at = at, at + 4 + length
        left -= 20 + min(length, LARGEST_ENTRY) * 4
        if left <= 0:
            yield
            left = OPERATIONS
        if length > LARGEST_ENTRY:
            continue
        entry = bytes(table[start + 4 : at])
        pointer = int.from_bytes(entry[:4], "little")
        try:
            if pointer == _COMMON:
                continue
            if pointer not in common and len(common) < MOST_COMMON:
                common[pointer] = _common_entry(table, pointer, book)
            shared = common.get(pointer)
            if shared is None:
                continue
            found = _function(entry, shared, book)
        except UnreadableUnit, IndexError:
            common.setdefault(pointer, None)
            continue
        rows += len(found.rows)
        ranges.append(found)
        if rows > MOST_ROWS:
            break
    yield
    return (yield from table_of(ranges, book, is_code))


def _common_entry(table: memoryview, at: int, book: RuleBook) -> _CommonEntry | None:
    length = int.from_bytes(table[at : at + 4], "little")
    if length > LARGEST_ENTRY or int.from_bytes(table[at + 4 : at + 8], "little") != _COMMON:
        return None
    entry = bytes(table[at + 8 : at + 4 + length])
    version = entry[0]
    end = entry.index(0, 1) if 0 in entry[1:] else 0
    if version not in {1, 3, 4} or not end or entry[1:end] not in _AUGMENTATIONS:
        return None
    at = end + 1
    if version == 4:
        if entry[at] != 4 or entry[at + 1]:
            return None
        at += 2
    code_factor, at = number(entry, at)
    data_factor, at = signed(entry, at)
    if version == 1:
        returns_in, at = entry[at], at + 1
    else:
        returns_in, at = number(entry, at)
    if returns_in != LR:
        return None
    shared = _CommonEntry(code_factor, data_factor, returns_in, _State())
    _run(entry, at, shared, 0, book=book)
    return shared


def _function(entry: bytes, shared: _CommonEntry, book: RuleBook) -> RuleRange:
    """Return the rows of one function."""
    start = int.from_bytes(entry[4:8], "little") & ~1
    size = int.from_bytes(entry[8:12], "little")
    fresh = _CommonEntry(
        shared.code_factor, shared.data_factor, shared.returns_in, shared.state.copy()
    )
    return RuleRange(
        start, start + size, _run(entry, 12, fresh, start, book=book, initial=shared.state)
    )


# One table of opcodes each, as in the standard.
def _run(  # noqa: PLR0912
    code: bytes,
    at: int,
    common: _CommonEntry,
    address: int,
    *,
    book: RuleBook,
    initial: _State | None = None,
) -> list[tuple[int, int]]:
    """Run instructions on the state of ``common``, which changes; return the rows."""
    state = common.state
    rows: list[tuple[int, int]] = []
    remembered: list[_State] = []
    factor = common.data_factor
    while at < len(code):
        opcode = code[at]
        at += 1
        high, low = opcode & 0xC0, opcode & 0x3F
        if high == 0x40 or opcode in _ADVANCES:
            if high:
                advance = low
            else:
                size = _ADVANCES[opcode]
                advance, at = int.from_bytes(code[at : at + size], "little"), at + size
            rows.append((address, book.add(state.rule())))
            address += advance * common.code_factor
        elif high == 0x80:
            value, at = number(code, at)
            _save(state, low, Saved.AT, value * factor)
        elif high == 0xC0 or opcode in {0x06, 0x08}:
            if not high:
                low, at = number(code, at)
            if opcode == 0x08:
                state.saved.pop(low, None)
            else:
                _restore(state, initial, low)
        elif opcode == 0x01:
            rows.append((address, book.add(state.rule())))
            address, at = int.from_bytes(code[at : at + 4], "little"), at + 4
        elif opcode == 0x0A:
            if len(remembered) >= _MOST_REMEMBERED:
                raise UnreadableUnit
            remembered.append(state.copy())
        elif opcode == 0x0B:
            if not remembered:
                raise UnreadableUnit
            before = remembered.pop()
            state.register, state.offset, state.saved = before.register, before.offset, before.saved
        elif opcode:
            at = _define(opcode, code, at, state, factor)
    rows.append((address, book.add(state.rule())))
    return rows


def _define(  # noqa: PLR0912
    opcode: int, code: bytes, at: int, state: _State, factor: int
) -> int:
    """Do an instruction with operands; return where it ends."""
    if opcode in {0x0F, 0x10, 0x16}:
        register = -1
        if opcode != 0x0F:
            register, at = number(code, at)
        length, at = number(code, at)
        if opcode == 0x0F:
            state.register = -1
        else:
            _save(state, register, Saved.LOST, 0)
        return at + length
    if opcode == 0x0E:
        state.offset, at = number(code, at)
        return at
    if opcode == 0x13:
        value, at = signed(code, at)
        state.offset = value * factor
        return at
    if opcode == 0x2E:
        _, at = number(code, at)
        return at
    register, at = number(code, at)
    if opcode == 0x0D:
        state.register = register
    elif opcode == 0x07:
        _save(state, register, Saved.LOST, 0)
    elif opcode in _WITH_UNSIGNED:
        value, at = number(code, at)
        if opcode == 0x0C:
            state.register, state.offset = register, value
        elif opcode == 0x09:
            _save(state, register, Saved.IN if value <= PC else Saved.LOST, value)
        else:
            _save(state, register, _WITH_UNSIGNED[opcode], value * factor)
    elif opcode in _WITH_SIGNED:
        value, at = signed(code, at)
        if opcode == 0x12:
            state.register, state.offset = register, value * factor
        else:
            _save(state, register, _WITH_SIGNED[opcode], value * factor)
    else:
        raise UnreadableUnit
    return at


_ADVANCES = {0x02: 1, 0x03: 2, 0x04: 4}
_WITH_UNSIGNED = {0x05: Saved.AT, 0x09: Saved.IN, 0x0C: Saved.AT, 0x14: Saved.IS}
_WITH_SIGNED = {0x11: Saved.AT, 0x12: Saved.AT, 0x15: Saved.IS}


def _save(state: _State, register: int, saved: Saved, value: int) -> None:
    """Note where a register is; those of floating point don't matter."""
    if register <= PC:
        if not -_LARGEST_OFFSET < value < _LARGEST_OFFSET:
            raise UnreadableUnit
        state.saved[register] = Register(register, saved, value)


def _restore(state: _State, initial: _State | None, register: int) -> None:
    """Give a register the rule that all functions begin with."""
    if initial is not None and register in initial.saved:
        state.saved[register] = initial.saved[register]
    else:
        state.saved.pop(register, None)
