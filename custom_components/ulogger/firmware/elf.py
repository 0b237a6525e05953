"""As much of an ELF file as it takes to explain a log: sections, symbols, memory contents.

Read without a library on purpose. The file comes from outside and may be hostile; a general
ELF library reads tables entry by entry on their headers' word, and can be kept busy for
minutes by a file of some hundred bytes. Here every table lies within the file, has a size
limit, and is walked by ``struct`` at C speed without being copied.
"""

import re
import struct
from collections.abc import Buffer, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, Protocol

from ..capture.errors import DamagedImage, ImageTooLarge, InvalidImage

LARGEST_IMAGE: Final = 64 * 1024 * 1024
"""Firmware with debug information has some megabytes; more than this is refused unread."""
MOST_SECTIONS: Final = 1024
MOST_MEMORY_PARTS: Final = 64
MOST_SYMBOLS: Final = 65_536
MOST_SYMBOLS_IMPORTED: Final = 1_000_000
LARGEST_STRING_TABLE: Final = 8 * 1024 * 1024
MOST_SHARED_NAMES: Final = 16
"""How often a name is looked for as the end of another one, which linkers store only once."""
LONGEST_STRING: Final = 4096
LONGEST_NAME: Final = 256

_IDENTIFICATION = b"\x7fELF\x01\x01"
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_SEGMENT = struct.Struct("<8I")
_SYMBOL = struct.Struct("<IIIBBH")
_NO_BITS = 8
_ALLOCATED = 2
_EXECUTABLE = 4
COMPRESSED: Final = 0x800
_SYMBOL_TABLE = 2
_LOADED = 1
_FUNCTION = 2


class Section(NamedTuple):
    """A part of the file; ``address`` is 0 for what is not in the device's memory."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class Sections(Protocol):
    """Whatever has sections by name."""

    def section(self, name: str) -> memoryview:
        """Return the contents of a section, nothing when it is missing."""
        ...


class Symbol(NamedTuple):
    """A name for an address; ``size`` in bytes, 0 when the linker does not know."""

    name: str
    address: int
    size: int


class MemoryPart(NamedTuple):
    """Where a range of the device's memory lies in the file."""

    address: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class ElfFile:
    """A 32-bit little-endian ELF file, the only kind whose addresses fit a frame's u32."""

    data: memoryview
    sections: tuple[Section, ...]
    _by_name: Mapping[str, Section]
    memory: tuple[MemoryPart, ...]

    @classmethod
    def parse(cls, data: Buffer) -> ElfFile:
        """Read the section and segment tables; InvalidImage when that can't be done."""
        view = memoryview(data)
        if len(view) > LARGEST_IMAGE:
            raise ImageTooLarge(f"an image of {len(view)} bytes is too large")
        if view[: len(_IDENTIFICATION)] != _IDENTIFICATION or len(view) < _HEADER.size:
            raise InvalidImage("not a 32-bit little-endian ELF file")
        header = _HEADER.unpack_from(view)
        segments_at, sections_at = header[5:7]
        segment_count, section_size, section_count, names_index = header[10:14]
        if section_count > MOST_SECTIONS or segment_count > MOST_SECTIONS:
            raise InvalidImage("an image with too many sections")
        if section_count and section_size != _SECTION.size:
            raise InvalidImage(f"section headers of {section_size} bytes")
        rows = list(_table(view, sections_at, section_count, _SECTION))
        names = rows[names_index] if names_index < len(rows) else None
        sections = tuple(_section(view, row, names) for row in rows)
        segments = _table(view, segments_at, segment_count, _SEGMENT)
        memory = [
            MemoryPart(row[2], row[4], row[1]) for row in segments if row[0] == _LOADED and row[4]
        ]
        memory += [
            MemoryPart(section.address, section.size, section.offset)
            for section in sections
            if section.flags & _ALLOCATED and section.kind != _NO_BITS
        ]
        by_name = {section.name: section for section in reversed(sections)}
        return cls(view, sections, by_name, tuple(memory[:MOST_MEMORY_PARTS]))

    @property
    def machine(self) -> int:
        """The processor that the code is for; 40 is ARM."""
        machine: int = _HEADER.unpack_from(self.data)[2]
        return machine

    @property
    def code(self) -> tuple[tuple[int, int], ...]:
        """Ranges of addresses (start, end) that hold instructions."""
        return tuple(
            (section.address, section.address + section.size)
            for section in self.sections
            if section.flags & _ALLOCATED and section.flags & _EXECUTABLE
        )

    def stored(self, name: str) -> tuple[Section, memoryview] | None:
        """Return a section and its bytes as they are in the file, compressed or not."""
        section = self._by_name.get(name)
        if section is None or section.kind == _NO_BITS:
            return None
        return section, self._contents(section)

    def function_symbols(self) -> Iterator[Symbol]:
        """Yield every function of the symbol table, sized or not, in the table's order."""
        rows, names = self._symbol_table(MOST_SYMBOLS_IMPORTED)
        for name, value, size, info, _, section in rows:
            if info & 0xF == _FUNCTION and section:
                yield Symbol(_name(names, name), value & ~1, size)

    def section(self, name: str) -> memoryview:
        """Return the contents of a section; nothing when it is missing or compressed."""
        section = self._by_name.get(name)
        if section is None or section.kind == _NO_BITS or section.flags & COMPRESSED:
            return self.data[:0]
        return self._contents(section)

    def read(self, address: int, size: int) -> bytes | None:
        """Return bytes of the device's memory as the image fills it, None outside of it."""
        for part in self.memory:
            if part.address <= address and address + size <= part.address + part.size:
                start = part.offset + address - part.address
                found = bytes(self.data[start : start + size])
                return found if len(found) == size else None
        return None

    def string(self, address: int) -> str | None:
        """Return the NUL-terminated UTF-8 string at an address, None outside of the image."""
        for part in self.memory:
            if part.address <= address < part.address + part.size:
                start = part.offset + address - part.address
                end = min(start + LONGEST_STRING, part.offset + part.size)
                found = bytes(self.data[start:end])
                return found.partition(b"\0")[0].decode(errors="replace") if found else None
        return None

    def symbols(self, *wanted: str) -> Mapping[str, Symbol]:
        """Return those symbols of the wanted names that the image has."""
        found: dict[str, Symbol] = {}
        rows, names = self._symbol_table()
        searched = names[:LARGEST_STRING_TABLE]
        offsets = {
            match.start(): name
            for name in wanted
            for match in islice(re.finditer(f"{name}\0".encode(), searched), MOST_SHARED_NAMES)
        }
        for row in rows:
            if row[0] in offsets:
                name = offsets[row[0]]
                found.setdefault(name, Symbol(name, row[1], row[2]))
        return found

    def function_at(self, address: int) -> Symbol | None:
        """Return the function that an address lies in."""
        rows, names = self._symbol_table()
        for row in rows:
            start = row[1] & ~1
            if row[3] & 0xF == _FUNCTION and start <= address < start + row[2]:
                return Symbol(_name(names, row[0]), start, row[2])
        return None

    def _symbol_table(
        self, most: int = MOST_SYMBOLS
    ) -> tuple[Iterator[tuple[int, ...]], memoryview]:
        """Return rows of name offset, value, size, info, other, section; and the names."""
        for section in self.sections:
            if section.kind == _SYMBOL_TABLE and section.link < len(self.sections):
                table = self._contents(section)
                count = min(len(table) // _SYMBOL.size, most)
                rows = _SYMBOL.iter_unpack(table[: count * _SYMBOL.size])
                return rows, self._contents(self.sections[section.link])
        return iter(()), self.data[:0]

    def _contents(self, section: Section) -> memoryview:
        return self.data[section.offset : section.offset + section.size]


def _table(
    view: memoryview, offset: int, count: int, row: struct.Struct
) -> Iterator[tuple[int, ...]]:
    """Return the rows of a table; InvalidImage when it is not all in the file."""
    table = view[offset : offset + count * row.size]
    if len(table) != count * row.size:
        raise DamagedImage("an image that ends within its tables")
    return row.iter_unpack(table)


def _section(view: memoryview, row: tuple[int, ...], names: tuple[int, ...] | None) -> Section:
    """Return a section with its name from the section of names."""
    name, kind, flags, address, offset, size, link, *_ = row
    text = _name(view[names[4] : names[4] + names[5]], name) if names else ""
    return Section(text, kind, flags, address, offset, size, link)


def _name(names: memoryview, offset: int) -> str:
    """Return the name at an offset of a string table."""
    found = bytes(names[offset : offset + LONGEST_NAME])
    return found.partition(b"\0")[0].decode(errors="replace")
