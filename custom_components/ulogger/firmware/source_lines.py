"""From an address to file and line: the line tables of DWARF 2 to 5 (section ``.debug_line``).

A line table is a program for a small state machine, one unit per source file that was
compiled, each with one or more *sequences* of rising addresses. Only units with a sequence
that can hold the address are run, the likeliest first, and only a limited number of bytes of
them are read: an image may be hostile, and large ones are common.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from .elf import Sections

MOST_BYTES_READ: Final = 48 * 1024
MOST_UNITS: Final = 8_000
MOST_SEQUENCES: Final = 20_000
MOST_FILES: Final = 2_000
LONGEST_PATH: Final = 512

_SET_ADDRESS = re.compile(rb"\x00\x05\x02(.{4})", re.DOTALL)
_UNIT_LENGTH = 4
_LONG_FORMAT = 0xFFFF_FFF0
_PATH = 1
_DIRECTORY = 2
_FIXED_FORMS = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16, 0x0D: 1}
_UNSIGNED_FORM = 0x0F
_STRING_FORM = 0x08
_STRING_SECTIONS = {0x0E: ".debug_str", 0x1F: ".debug_line_str"}
_BLOCK_FORM = 0x09


class SourceLine(NamedTuple):
    """A place in the source; ``file`` is the path as the compiler was given it."""

    file: str
    line: int


class Damaged(Exception):
    """The table is not what it says it is; there is no line to be had from it."""


class Unit(NamedTuple):
    """Where the line table of one source file lies in the section."""

    start: int
    end: int


class _File(NamedTuple):
    """A source file; directory 0 is where the compiler ran, which tells nobody anything."""

    directory: int
    name: str


def source_line(image: Sections, address: int) -> SourceLine | None:
    """Return the source line of an address, None when unknown."""
    table = image.section(".debug_line")
    budget = MOST_BYTES_READ
    for unit in _likeliest_units(table, address):
        if budget <= 0:
            break
        end = min(unit.end, unit.start + budget)
        budget -= end - unit.start
        try:
            program = LineProgram.read(image, table[unit.start : end])
            if (found := program.run(address)) is not None:
                return program.line(found)
        except Damaged:
            continue
    return None


def _likeliest_units(table: memoryview, address: int) -> list[Unit]:
    """Return units that set an address at or below the one looked for, the nearest first.

    What looks like "set address" may be part of something else; then the unit is run in vain.
    """
    candidates = []
    sequences = MOST_SEQUENCES
    for unit in units(table):
        found = _SET_ADDRESS.finditer(table, unit.start, unit.end)
        starts = [int.from_bytes(match[1], "little") for match in islice(found, sequences)]
        sequences -= len(starts)
        nearest = max((start for start in starts if start <= address), default=None)
        if nearest is not None:
            candidates.append((address - nearest, unit))
    return [unit for _, unit in sorted(candidates)]


def units(table: memoryview) -> Iterator[Unit]:
    """Yield where each unit of the section lies, its length field included."""
    offset = 0
    for _ in range(MOST_UNITS):
        if offset + _UNIT_LENGTH > len(table):
            return
        length = int.from_bytes(table[offset : offset + _UNIT_LENGTH], "little")
        if length >= _LONG_FORMAT:
            return
        end = min(offset + _UNIT_LENGTH + length, len(table))
        yield Unit(offset, end)
        offset = end


class Reader:
    """A cursor over bytes; running off the end is damage."""

    def __init__(self, data: memoryview, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    def unsigned(self, size: int) -> int:
        """Read an integer of fixed size."""
        start, self.offset = self.offset, self.offset + size
        if self.offset > len(self.data):
            raise Damaged
        return int.from_bytes(self.data[start : self.offset], "little")

    def leb128(self, *, signed: bool = False) -> int:
        """Read an integer of variable size: 7 bits a byte, the top bit says that more follow."""
        value = shift = 0
        while True:
            byte = self.unsigned(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 63:
                raise Damaged
        return value - (1 << shift) if signed and byte & 0x40 else value

    def text(self) -> str:
        """Read a NUL-terminated string."""
        window = bytes(self.data[self.offset : self.offset + LONGEST_PATH])
        found, terminator, _ = window.partition(b"\0")
        if not terminator:
            raise Damaged
        self.offset += len(found) + 1
        return found.decode(errors="replace")


@dataclass(slots=True)
class _Row:
    """The state machine's registers that matter to us."""

    address: int = 0
    file: int = 1
    line: int = 1
    statement: bool = True
    """Whether this is where a statement begins; then it outweighs others of its address."""


@dataclass(frozen=True, slots=True)
class LineProgram:
    """One unit's header: how its opcodes are to be read, and its files."""

    code: memoryview
    instruction_size: int
    statements: bool
    """Whether rows are beginnings of statements until an opcode says otherwise."""
    line_base: int
    line_range: int
    operand_counts: tuple[int, ...]
    directories: list[str]
    files: Mapping[int, _File]

    @classmethod
    def read(cls, image: Sections, unit: memoryview) -> LineProgram:
        """Read a unit's header."""
        reader = Reader(unit, _UNIT_LENGTH)
        version = reader.unsigned(2)
        if not 2 <= version <= 5:
            raise Damaged
        if version == 5:
            reader.unsigned(2)
        length = reader.unsigned(4)
        code_at = reader.offset + length
        instruction_size = reader.unsigned(1)
        if version >= 4:
            reader.unsigned(1)
        statements = reader.unsigned(1) != 0
        line_base: int = struct.unpack("<b", reader.unsigned(1).to_bytes())[0]
        line_range = reader.unsigned(1)
        operand_counts = tuple(reader.unsigned(1) for _ in range(max(reader.unsigned(1), 1) - 1))
        if not line_range or code_at > len(unit):
            raise Damaged
        directories, files = _files_v5(image, reader) if version == 5 else _files(reader)
        code = unit[code_at:]
        return cls(
            *(code, instruction_size, statements, line_base, line_range),
            *(operand_counts, directories, files),
        )

    def line(self, row: _Row) -> SourceLine:
        """Return the source line of a row."""
        return SourceLine(self.path(row.file), row.line)

    def path(self, number: int) -> str:
        """Return the path of a file of the unit, as the compiler was given it."""
        file = self.files.get(number, _File(0, "?"))
        if 0 < file.directory < len(self.directories) and not file.name.startswith("/"):
            return f"{self.directories[file.directory]}/{file.name}"
        return file.name

    def run(self, address: int) -> _Row | None:
        """Return the row that holds the address: the last one before a row passes it."""
        reader = Reader(self.code)
        row, last = _Row(statement=self.statements), None
        while reader.offset < len(self.code):
            opcode = reader.unsigned(1)
            ended = opcode == 0 and self._extended(reader, row)
            added = ended or (opcode != 0 and self._changed(opcode, reader, row))
            if not added:
                continue
            if last is not None and last.address <= address < row.address:
                return last
            if ended:
                row, last = _Row(statement=self.statements), None
            elif row.line and not _is_outweighed(row, last):
                last = _Row(row.address, row.file, row.line, row.statement)
        return None

    def _changed(self, opcode: int, reader: Reader, row: _Row) -> bool:
        """Do a standard or special opcode; True when it adds the row to the table."""
        if opcode > len(self.operand_counts):
            advance, line = divmod(opcode - len(self.operand_counts) - 1, self.line_range)
            row.address += advance * self.instruction_size
            row.line += self.line_base + line
            return True
        match opcode:
            case 1:
                return True
            case 2:
                row.address += reader.leb128() * self.instruction_size
            case 3:
                row.line += reader.leb128(signed=True)
            case 4:
                row.file = reader.leb128()
            case 6:
                row.statement = not row.statement
            case 8:
                advance = (254 - len(self.operand_counts)) // self.line_range
                row.address += advance * self.instruction_size
            case 9:
                row.address += reader.unsigned(2)
            case _:
                for _ in range(self.operand_counts[opcode - 1]):
                    reader.leb128()
        return False

    def _extended(self, reader: Reader, row: _Row) -> bool:
        """Do an extended opcode; True when it ends the sequence."""
        length = reader.leb128()
        end = reader.offset + length
        if not length or end > len(self.code):
            raise Damaged
        opcode = reader.unsigned(1)
        if opcode == 2:
            row.address = reader.unsigned(min(length - 1, 8))
        reader.offset = end
        return opcode == 1


def _is_outweighed(row: _Row, last: _Row | None) -> bool:
    """Whether a row says less than the one before, which begins a statement at its address."""
    return last is not None and last.address == row.address and last.statement and not row.statement


def _files(reader: Reader) -> tuple[list[str], Mapping[int, _File]]:
    """Read the directory and file tables of versions 2 to 4; both count from 1."""
    directories = ["", *_until_empty(reader)]
    files = {}
    for number, name in enumerate(_until_empty(reader), 1):
        directory, _, _ = reader.leb128(), reader.leb128(), reader.leb128()
        files[number] = _File(directory, name)
    return directories, files


def _until_empty(reader: Reader) -> Iterator[str]:
    """Yield names until an empty one."""
    for _ in range(MOST_FILES):
        name = reader.text()
        if not name:
            return
        yield name
    raise Damaged


def _files_v5(image: Sections, reader: Reader) -> tuple[list[str], Mapping[int, _File]]:
    """Read the directory and file tables of version 5; both count from 0."""
    directories = [str(entry.get(_PATH, "")) for entry in _entries(image, reader)]
    files = {}
    for number, entry in enumerate(_entries(image, reader)):
        directory = entry.get(_DIRECTORY, 0)
        name = str(entry.get(_PATH, ""))
        files[number] = _File(directory if isinstance(directory, int) else 0, name)
    return directories, files


def _entries(image: Sections, reader: Reader) -> Iterator[dict[int, int | str]]:
    """Read a table that starts with a description of its columns."""
    columns = [(reader.leb128(), reader.leb128()) for _ in range(reader.unsigned(1))]
    count = reader.leb128()
    if count > MOST_FILES or (count and not columns):
        raise Damaged
    for _ in range(count):
        yield {content: _form(image, reader, form) for content, form in columns}


def _form(image: Sections, reader: Reader, form: int) -> int | str:
    """Read one value of such a table."""
    if form in _FIXED_FORMS:
        return reader.unsigned(_FIXED_FORMS[form])
    if form == _UNSIGNED_FORM:
        return reader.leb128()
    if form == _STRING_FORM:
        return reader.text()
    if form in _STRING_SECTIONS:
        offset = reader.unsigned(4)
        return Reader(image.section(_STRING_SECTIONS[form]), offset).text()
    if form == _BLOCK_FORM:
        reader.unsigned(reader.leb128())
        return 0
    raise Damaged
