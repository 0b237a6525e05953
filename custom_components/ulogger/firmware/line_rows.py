"""Every row of ``.debug_line``, as columns that are sorted by address.

``source_lines.py`` finds one address in an image; this is for an image that is read once and
then asked often. A row holds from its address to the next row's; a row of file ``NO_FILE``
holds where there is no source.
"""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from .elf import Sections
from .names import NamePool
from .source_lines import Damaged, LineProgram, Unit, units
from .steps import OPERATIONS, Steps

NO_FILE: Final = 0xFFFF_FFFF
MOST_ROWS: Final = 2_000_000
LARGEST_UNIT: Final = 8 * 1024 * 1024
_LARGEST = 0xFFFF_FFFF


@dataclass(slots=True)
class LineRows:
    """Columns of equal length: address, name of the file, line."""

    addresses: array[int] = field(default_factory=lambda: array("I"))
    files: array[int] = field(default_factory=lambda: array("I"))
    lines: array[int] = field(default_factory=lambda: array("I"))
    file_names: dict[int, Mapping[int, int]] = field(default_factory=dict)
    """The names of each unit's files by their number, by where the unit lies."""
    damaged: int = 0
    """Units that could not be read to their end."""


@dataclass(slots=True)
class _Sequence:
    """Rows of rising addresses, up to where the code ends."""

    addresses: array[int]
    files: array[int]
    lines: array[int]
    end: int = 0
    reached: int = -1
    """The address of the last row, whether it was added or said nothing new."""
    statement: bool = False
    """Whether that row begins a statement."""


def read_line_rows(
    sections: Sections, names: NamePool, is_code: Callable[[int], bool]
) -> Steps[LineRows]:
    """Read all units in steps; a damaged one gives the sequences before the damage."""
    reader = _LineReader(sections, names, is_code)
    return (yield from reader.read())


class _LineReader:
    """The work on one image."""

    def __init__(self, sections: Sections, names: NamePool, is_code: Callable[[int], bool]) -> None:
        self._sections = sections
        self._table = sections.section(".debug_line")
        self._names = names
        self._unknown = names.add("?")
        self._is_code = is_code
        self._sequences: list[_Sequence] = []
        self._left = MOST_ROWS

    def read(self) -> Steps[LineRows]:
        """Read all units and put their sequences in order."""
        found = LineRows()
        for unit in units(self._table):
            yield
            try:
                program, files = self._program(unit)
                found.file_names[unit.start] = files
                yield
                yield from self._run(program, files)
            except Damaged:
                found.damaged += 1
            if self._left <= 0:
                break
        yield
        self._sequences.sort(key=lambda sequence: sequence.addresses[0])
        for sequence in self._sequences:
            _append(found, sequence)
            yield
        return found

    def _program(self, unit: Unit) -> tuple[LineProgram, Mapping[int, int]]:
        """Return a unit's program, and the names of its files by their number."""
        if unit.end - unit.start > LARGEST_UNIT:
            raise Damaged
        program = LineProgram.read(self._sections, self._table[unit.start : unit.end])
        return program, {number: self._names.add(program.path(number)) for number in program.files}

    def _keep(self, rows: _Sequence, end: int) -> None:
        """Keep a sequence that is over, unless the linker left its code out."""
        rows.end = end
        if rows.addresses and self._is_code(rows.addresses[0]):
            self._sequences.append(rows)
            self._left -= len(rows.addresses)

    # One loop, since a call for each opcode would take most of the time.
    def _run(  # noqa: PLR0912, PLR0915
        self, program: LineProgram, names: Mapping[int, int]
    ) -> Steps[None]:
        """Run a program for all its rows; the opcodes are those of ``LineProgram.run``."""
        code = bytes(program.code)
        size = program.instruction_size
        first_special = len(program.operand_counts) + 1
        specials = [
            (advance * size, program.line_base + line)
            for advance, line in (
                divmod(opcode - first_special, program.line_range)
                for opcode in range(first_special, 256)
            )
        ]
        constant = (255 - first_special) // program.line_range * size
        at, end = 0, len(code)
        address, file, line, statement = 0, 1, 1, program.statements
        rows = _Sequence(array("I"), array("I"), array("I"))
        steps = OPERATIONS
        while at < end:
            steps -= 1
            if not steps:
                yield
                steps = OPERATIONS
            opcode = code[at]
            at += 1
            if opcode >= first_special:
                advance, change = specials[opcode - first_special]
                address += advance
                line += change
            elif opcode == 1:
                pass
            elif opcode == 0:
                length, at = _unsigned(code, at)
                after = at + length
                if not length or after > end:
                    raise Damaged
                kind = code[at]
                if kind == 2:
                    address = int.from_bytes(code[at + 1 : min(after, at + 9)], "little")
                at = after
                if kind != 1:
                    continue
                self._keep(rows, address)
                if self._left <= 0:
                    return
                rows = _Sequence(array("I"), array("I"), array("I"))
                address, file, line, statement = 0, 1, 1, program.statements
                continue
            elif opcode == 6:
                statement = not statement
                continue
            else:
                if opcode == 2:
                    value, at = _unsigned(code, at)
                    address += value * size
                elif opcode == 3:
                    value, at = _signed(code, at)
                    line += value
                elif opcode == 4:
                    file, at = _unsigned(code, at)
                elif opcode == 8:
                    address += constant
                elif opcode == 9:
                    address += int.from_bytes(code[at : at + 2], "little")
                    at += 2
                else:
                    for _ in range(program.operand_counts[opcode - 1]):
                        _, at = _unsigned(code, at)
                continue
            if line:
                _add(rows, address, names.get(file, self._unknown), line, statement)
            if len(rows.addresses) > self._left:
                return


def _add(rows: _Sequence, address: int, name: int, line: int, statement: bool) -> None:  # noqa: FBT001
    """Add a row; one that says nothing new, or less than another of its address, is left out."""
    if not rows.reached <= address <= _LARGEST or not 0 < line <= _LARGEST:
        raise Damaged
    if address == rows.reached:
        if rows.statement and not statement:
            return
        rows.statement = statement
        if rows.addresses[-1] == address:
            rows.files[-1] = name
            rows.lines[-1] = line
            return
    rows.reached = address
    rows.statement = statement
    if not rows.addresses or rows.files[-1] != name or rows.lines[-1] != line:
        rows.addresses.append(address)
        rows.files.append(name)
        rows.lines.append(line)


def _append(found: LineRows, sequence: _Sequence) -> None:
    """Put a sequence behind those of lower addresses; what overlaps them is left out."""
    start, end = sequence.addresses[0], sequence.end
    if end <= start or end > _LARGEST or sequence.addresses[-1] > end:
        return
    if found.addresses:
        if start < found.addresses[-1]:
            return
        if start == found.addresses[-1]:
            for column in (found.addresses, found.files, found.lines):
                column.pop()
    found.addresses += sequence.addresses
    found.files += sequence.files
    found.lines += sequence.lines
    if sequence.addresses[-1] == end:
        for column in (found.addresses, found.files, found.lines):
            column.pop()
    found.addresses.append(end)
    found.files.append(NO_FILE)
    found.lines.append(0)


def _unsigned(code: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable size; return it and where it ends."""
    value = shift = 0
    while at < len(code):
        byte = code[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            break
    raise Damaged


def _signed(code: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable size with a sign; return it and where it ends."""
    start = at
    value, at = _unsigned(code, at)
    return value - (1 << 7 * (at - start)) if code[at - 1] & 0x40 else value, at
