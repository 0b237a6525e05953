"""Functions and inlined calls from ``.debug_info``, DWARF 2 to 5.

Entries are read one after another, so nesting costs nothing but a counter; types and the like
are skipped as a whole where the compiler says how far. An inlined call names its function by
reference to another entry, which is read on its own when all units are known.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from . import abbreviations as abbrev
from .abbreviations import Abbreviation, UnreadableUnit, read_abbreviations
from .elf import Sections
from .names import NamePool
from .steps import OPERATIONS, Steps

MOST_UNITS: Final = 50_000
MOST_RANGES: Final = 400_000
MOST_ABBREVIATION_BYTES: Final = 16 * 1024 * 1024
_MOST_RANGES_OF_ONE: Final = 2_000
_MOST_HOPS: Final = 4
_DEEPEST: Final = 512
_TABLES_KEPT: Final = 64
_LONG_FORMAT = 0xFFFF_FFF0
_LARGEST = 0xFFFF_FFFF
_COMPILED = 1
_PARTIAL = 3

type Attributes = Mapping[int, tuple[int, int]]


@dataclass(slots=True)
class CodeRanges:
    """Columns of equal length, one row for a range of addresses of a function or inlined call."""

    lows: array[int] = field(default_factory=lambda: array("I"))
    highs: array[int] = field(default_factory=lambda: array("I"))
    depths: array[int] = field(default_factory=lambda: array("H"))
    """How deep the entry is nested; 0 for a function that is not inlined."""
    names: array[int] = field(default_factory=lambda: array("I"))
    call_files: array[int] = field(default_factory=lambda: array("I"))
    call_lines: array[int] = field(default_factory=lambda: array("I"))
    damaged: int = 0
    """Units that could not be read to their end."""


@dataclass(slots=True)
class _Unit:
    """One unit of ``.debug_info``, with what its root says of the others."""

    start: int
    end: int
    entries: int
    version: int
    layout_at: int
    base: int = 0
    statements: int = -1
    strings_base: int = 8
    addresses_base: int = 8
    ranges_base: int = 12


class DebugInfo:
    """Reads the units of an image; ``read`` does it all."""

    def __init__(
        self,
        sections: Sections,
        names: NamePool,
        file_names: Mapping[int, Mapping[int, int]],
        is_code: Callable[[int], bool],
    ) -> None:
        self._sections = sections
        self._data = sections.section(".debug_info")
        self._names = names
        self._file_names = file_names
        self._is_code = is_code
        self._layouts: dict[int, Mapping[int, Abbreviation]] = {}
        self._layout_budget = MOST_ABBREVIATION_BYTES
        self._units: list[_Unit] = []
        self._found = CodeRanges()
        self._known: dict[int, int] = {}

    def read(self) -> Steps[CodeRanges]:
        """Return all ranges in the order of their entries; a damaged unit ends with the damage."""
        for start, end in self._bounds():
            yield
            try:
                yield from self._entries(self._unit(start, end))
            except UnreadableUnit, IndexError:
                self._found.damaged += 1
            if len(self._found.lows) >= MOST_RANGES:
                break
        for row, origin in enumerate(self._found.names):
            if row % (OPERATIONS // 10) == 0:
                yield
            self._found.names[row] = self._name(origin)
        return self._found

    def _bounds(self) -> Iterator[tuple[int, int]]:
        at = 0
        for _ in range(MOST_UNITS):
            length = int.from_bytes(self._data[at : at + 4], "little")
            if at + 11 > len(self._data) or length >= _LONG_FORMAT:
                return
            yield at, min(at + 4 + length, len(self._data))
            at += 4 + length

    def _unit(self, start: int, end: int) -> _Unit:
        """Read a unit's header."""
        version = int.from_bytes(self._data[start + 4 : start + 6], "little")
        if not 2 <= version <= 5:
            raise UnreadableUnit
        if version == 5:
            kind, size = self._data[start + 6], self._data[start + 7]
            layout_at, entries = start + 8, start + 12
        else:
            kind, size = _COMPILED, self._data[start + 10]
            layout_at, entries = start + 6, start + 11
        if size != 4 or kind not in {_COMPILED, _PARTIAL}:
            raise UnreadableUnit
        layout = int.from_bytes(self._data[layout_at : layout_at + 4], "little")
        unit = _Unit(start, end, entries, version, layout)
        self._units.append(unit)
        return unit

    def _layout(self, at: int) -> Mapping[int, Abbreviation]:
        if at not in self._layouts:
            if self._layout_budget < 0:
                raise UnreadableUnit
            self._layout_budget -= abbrev.LARGEST_TABLE
            layout, size = read_abbreviations(self._sections.section(".debug_abbrev"), at)
            self._layout_budget += abbrev.LARGEST_TABLE - size
            if len(self._layouts) >= _TABLES_KEPT:
                self._layouts.pop(next(iter(self._layouts)))
            self._layouts[at] = layout
        return self._layouts[at]

    # One loop, since a call for each entry would take most of the time.
    def _entries(self, unit: _Unit) -> Steps[None]:  # noqa: PLR0912
        """Read a unit's entries."""
        data, at, end = self._data, unit.entries, unit.end
        layout = self._layout(unit.layout_at)
        depth = 0
        left = OPERATIONS
        while at < end:
            entry = at
            code = data[at]
            at += 1
            if code >= 0x80:
                code, at = abbrev.number(data, entry)
            left -= 1
            if left <= 0:
                yield
                left = OPERATIONS
            if not code:
                depth -= 1
                if depth <= 0:
                    return
                continue
            abbreviation = layout.get(code)
            if abbreviation is None:
                raise UnreadableUnit
            if abbreviation.read:
                attributes, at = abbrev.read_attributes(data, at, abbreviation.attributes)
                left -= 3 * len(abbreviation.attributes)
                left -= self._take(unit, entry, abbreviation.tag, depth, attributes)
            elif abbreviation.sibling >= 0:
                place = at + abbreviation.sibling
                after = unit.start + int.from_bytes(data[place : place + 4], "little")
                if after <= at:
                    raise UnreadableUnit
                at = after
                continue
            elif len(abbreviation.skips) == 1 and abbreviation.skips[0] > 0:
                at += abbreviation.skips[0]
            else:
                at = abbrev.skipped(data, at, abbreviation.skips)
                left -= len(abbreviation.skips)
            if abbreviation.children:
                depth += 1
            if not depth:
                return

    def _take(self, unit: _Unit, entry: int, tag: int, depth: int, found: Attributes) -> int:
        """Keep what an entry says; return how many operations that took."""
        if tag == abbrev.SUBPROGRAM:
            return self._add(unit, entry, 0, found)
        if tag == abbrev.INLINED:
            if abbrev.ORIGIN not in found:
                return 0
            origin = self._reference(unit, *found[abbrev.ORIGIN])
            return self._add(unit, origin, min(max(depth, 1), _DEEPEST), found)
        unit.strings_base = found.get(abbrev.STRING_OFFSETS_BASE, (0, 8))[1]
        unit.addresses_base = found.get(abbrev.ADDRESS_BASE, (0, 8))[1]
        unit.ranges_base = found.get(abbrev.RANGE_LISTS_BASE, (0, 12))[1]
        unit.statements = found.get(abbrev.STATEMENTS, (0, -1))[1]
        if abbrev.LOW in found:
            unit.base = self._address(unit, *found[abbrev.LOW])
        return 0

    def _add(self, unit: _Unit, origin: int, depth: int, found: Attributes) -> int:
        """Add a row for each range of addresses of an entry; ``origin`` is where its name is."""
        rows = self._found
        taken = 0
        files = self._file_names.get(unit.statements, {})
        call_file = files.get(found.get(abbrev.CALL_FILE, (0, -1))[1], 0)
        call_line = found.get(abbrev.CALL_LINE, (0, 0))[1]
        for low, high in self._ranges(unit, found):
            taken += 10
            if not low < high <= _LARGEST or not self._is_code(low):
                continue
            if len(rows.lows) >= MOST_RANGES:
                break
            rows.lows.append(low)
            rows.highs.append(high)
            rows.depths.append(depth)
            rows.names.append(origin & _LARGEST)
            rows.call_files.append(call_file)
            rows.call_lines.append(call_line & _LARGEST)
        return taken

    def _ranges(self, unit: _Unit, found: Attributes) -> Iterator[tuple[int, int]]:
        """Yield the ranges of addresses of an entry."""
        if abbrev.RANGES in found:
            form, value = found[abbrev.RANGES]
            yield from (
                self._list5(unit, form, value) if unit.version == 5 else self._list(unit, value)
            )
        elif abbrev.LOW in found and abbrev.HIGH in found:
            low = self._address(unit, *found[abbrev.LOW])
            form, value = found[abbrev.HIGH]
            if form == abbrev.ADDRESS_FORM or form in abbrev.ADDRESS_INDEX_FORMS:
                yield low, self._address(unit, form, value)
            else:
                yield low, low + value

    def _list(self, unit: _Unit, at: int) -> Iterator[tuple[int, int]]:
        """Yield a list of ``.debug_ranges``."""
        table = self._sections.section(".debug_ranges")
        base = unit.base
        for _ in range(_MOST_RANGES_OF_ONE):
            low = int.from_bytes(table[at : at + 4], "little")
            high = int.from_bytes(table[at + 4 : at + 8], "little")
            at += 8
            if at > len(table) or not (low or high):
                return
            if low == _LARGEST:
                base = high
            else:
                yield base + low, base + high

    def _list5(self, unit: _Unit, form: int, at: int) -> Iterator[tuple[int, int]]:
        """Yield a list of ``.debug_rnglists``."""
        table = self._sections.section(".debug_rnglists")
        if form == abbrev.RANGE_LIST_INDEX_FORM:
            place = unit.ranges_base + 4 * at
            at = unit.ranges_base + int.from_bytes(table[place : place + 4], "little")
        base = unit.base
        for _ in range(_MOST_RANGES_OF_ONE):
            if at >= len(table):
                return
            kind = table[at]
            at += 1
            operands = []
            for operand in _RANGE_OPERANDS.get(kind, ""):
                if operand == "a":
                    value = int.from_bytes(table[at : at + 4], "little")
                    at += 4
                else:
                    value, at = abbrev.number(table, at)
                    if operand == "x":
                        value = self._address_at(unit, value)
                operands.append(value)
            match kind, operands:
                case ((1 | 5), [value]):
                    base = value
                case ((2 | 6), [low, high]):
                    yield low, high
                case ((3 | 7), [low, length]):
                    yield low, low + length
                case 4, [low, high]:
                    yield base + low, base + high
                case _:
                    return

    def _address(self, unit: _Unit, form: int, value: int) -> int:
        return self._address_at(unit, value) if form in abbrev.ADDRESS_INDEX_FORMS else value

    def _address_at(self, unit: _Unit, index: int) -> int:
        place = unit.addresses_base + 4 * index
        return int.from_bytes(self._sections.section(".debug_addr")[place : place + 4], "little")

    @staticmethod
    def _reference(unit: _Unit, form: int, value: int) -> int:
        return unit.start + value if form in abbrev.UNIT_REFERENCE_FORMS else value

    def _name(self, entry: int) -> int:
        """Return the name of an entry, or of the one that it refers to."""
        if entry not in self._known:
            try:
                self._known[entry] = self._read_name(entry)
            except UnreadableUnit, IndexError:
                self._known[entry] = 0
        return self._known[entry]

    def _read_name(self, entry: int) -> int:
        for _ in range(_MOST_HOPS):
            number = bisect_right(self._units, entry, key=lambda unit: unit.start) - 1
            if number < 0 or not self._units[number].entries <= entry < self._units[number].end:
                return 0
            unit = self._units[number]
            code, at = abbrev.number(self._data, entry)
            abbreviation = self._layout(unit.layout_at).get(code)
            if abbreviation is None:
                return 0
            found, _ = abbrev.read_attributes(self._data, at, abbreviation.attributes)
            if abbrev.NAME in found:
                return self._names.add(self._text(unit, *found[abbrev.NAME]))
            onward = found.get(abbrev.ORIGIN) or found.get(abbrev.SPECIFICATION)
            if onward is None:
                return 0
            entry = self._reference(unit, *onward)
        return 0

    def _text(self, unit: _Unit, form: int, value: int) -> bytes:
        """Return the string that an attribute names."""
        if form == abbrev.STRING_FORM:
            return _cut(self._data, value)
        if form == abbrev.LINE_STRING_FORM:
            return _cut(self._sections.section(".debug_line_str"), value)
        if form in abbrev.STRING_INDEX_FORMS:
            offsets = self._sections.section(".debug_str_offsets")
            place = unit.strings_base + 4 * value
            value = int.from_bytes(offsets[place : place + 4], "little")
        elif form != abbrev.STRING_OFFSET_FORM:
            return b""
        return _cut(self._sections.section(".debug_str"), value)


_RANGE_OPERANDS = {1: "x", 2: "xx", 3: "xn", 4: "nn", 5: "a", 6: "aa", 7: "an"}


def _cut(table: memoryview, at: int) -> bytes:
    return bytes(table[at : at + 512]).partition(b"\0")[0]
