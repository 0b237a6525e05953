"""From an ELF file to what of it explains logs and crashes: ``import_image``.

Read without a library, like ``elf.py``: a general one builds objects for every entry of the
debug information, which takes minutes and gigabytes for a large image, and has no limits that
a hostile file could not pass.
"""

import json
from array import array
from bisect import bisect_right
from collections.abc import Buffer, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..capture.errors import EmptyImage, UnsupportedImage
from .call_frames import read_call_frames
from .compact_format import Tables, packed
from .compact_image import MOST_CODE
from .debug_info import CodeRanges, DebugInfo
from .debug_sections import debug_sections
from .elf import ElfFile
from .exception_index import read_exception_index
from .line_rows import LineRows, read_line_rows
from .names import NamePool
from .steps import OPERATIONS, Steps, finished, ordered
from .symbols import FirmwareImage
from .unwind_rules import UnwindTable

ARM: Final = 40
MOST_FUNCTIONS: Final = 200_000
_NONE: Final = 0xFFFF_FFFF
_DEEPEST: Final = 64


def import_image(data: Buffer) -> bytes:
    """Return what is needed of an image, in a form that ``CompactImage`` reads at once.

    Raises InvalidImage, whose ``reason`` says why: no ELF file, too large, damaged, for
    another processor, or without anything to explain captures with.
    """
    return b"".join(finished(import_steps(data)))


def import_steps(data: Buffer) -> Steps[Sequence[Buffer]]:
    """Do the work of ``import_image`` in steps of some milliseconds and a few megabytes.

    What is returned are pieces to be written one after another; some of them lie in ``data``.
    """
    elf = ElfFile.parse(data)
    if elf.machine != ARM:
        raise UnsupportedImage(f"an image for another processor (machine {elf.machine})")
    yield
    importer = _Importer(elf)
    return (yield from importer.run())


@dataclass(slots=True)
class _Functions:
    """Columns of equal length, sorted by start; functions do not overlap."""

    starts: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))
    names: array[int] = field(default_factory=lambda: array("I"))


@dataclass(slots=True)
class _Inlined:
    """From each boundary on, which inlined call is the innermost, and what is around it."""

    boundaries: array[int] = field(default_factory=lambda: array("I"))
    innermost: array[int] = field(default_factory=lambda: array("I"))
    names: array[int] = field(default_factory=lambda: array("I"))
    call_files: array[int] = field(default_factory=lambda: array("I"))
    call_lines: array[int] = field(default_factory=lambda: array("I"))
    parents: array[int] = field(default_factory=lambda: array("I"))


class _Importer:
    """The work on one image."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf = elf
        self._names = NamePool()
        parts = elf.code or ((part.address, part.address + part.size) for part in elf.memory)
        code = _joined(sorted(parts))[:MOST_CODE]
        self._code_starts = [start for start, _ in code]
        self._code_ends = [end for _, end in code]
        self._code_at_zero = False

    def run(self) -> Steps[Sequence[Buffer]]:
        """Read all that is wanted and pack it."""
        symbols = yield from self._symbols()
        sections = yield from debug_sections(self._elf)
        lines = yield from read_line_rows(sections, self._names, self._is_code)
        info = DebugInfo(sections, self._names, lines.file_names, self._is_code)
        ranges = yield from info.read()
        functions = yield from self._functions(symbols, ranges)
        # Of a large image these are many megabytes each, and what follows needs as much.
        self._names.close()
        del symbols, info
        inlined = yield from self._inlined(ranges)
        damaged = ranges.damaged
        del ranges
        frames = yield from read_call_frames(sections, self._is_code)
        index = yield from read_exception_index(self._elf, self._is_code)
        if not self._elf.memory and not functions.starts and not lines.addresses:
            raise EmptyImage("an image without memory, functions and source lines")
        yield
        return (yield from self._packed(functions, lines, inlined, (frames, index), damaged))

    def _is_code(self, address: int) -> bool:
        """Whether instructions can be here; what a linker left out is said to be at 0."""
        if not address and not self._code_at_zero:
            return False
        found = bisect_right(self._code_starts, address) - 1
        return not self._code_starts or (found >= 0 and address < self._code_ends[found])

    def _code_end(self, address: int) -> int:
        """Return where the code ends that an address lies in."""
        found = bisect_right(self._code_starts, address) - 1
        return self._code_ends[found] if self._code_starts else _NONE

    def _symbols(self) -> Steps[list[tuple[int, int, int]]]:
        """Return start, end and name of the symbol table's functions; an end may be the start."""
        found: dict[int, tuple[int, int, int]] = {}
        for number, symbol in enumerate(self._elf.function_symbols()):
            if number % (OPERATIONS // 10) == 0:
                yield
            if len(found) >= MOST_FUNCTIONS:
                break
            self._code_at_zero |= not symbol.address
            end = min(symbol.address + symbol.size, _NONE)
            if symbol.address not in found or (found[symbol.address][1] < end):
                found[symbol.address] = symbol.address, end, self._names.add(symbol.name)
        return list(found.values())

    def _functions(
        self, symbols: list[tuple[int, int, int]], ranges: CodeRanges
    ) -> Steps[_Functions]:
        """Join both sources; debug information knows names as they stand in the source."""
        known = {start: (end, name) for start, end, name in symbols}
        for row, depth in enumerate(ranges.depths):
            if row % OPERATIONS == 0:
                yield
            if not depth and ranges.names[row]:
                known[ranges.lows[row]] = ranges.highs[row], ranges.names[row]
        found = _Functions()
        starts = yield from ordered(array("I", known))
        pending: tuple[int, int, int] | None = None
        for number, start in enumerate(starts):
            if number % OPERATIONS == 0:
                yield
            if not self._is_code(start):
                continue
            if pending is not None:
                _add_function(found, pending, min(start, self._code_end(pending[0])))
            pending = start, *known[start]
        if pending is not None:
            _add_function(found, pending, self._code_end(pending[0]))
        return found

    def _inlined(self, ranges: CodeRanges) -> Steps[_Inlined]:
        """Flatten nested ranges: at each boundary the innermost call changes."""
        found = _Inlined()
        keys = array("Q")
        rows = array("I")
        for row, depth in enumerate(ranges.depths):
            if row % OPERATIONS == 0:
                yield
            if depth:
                keys.append(ranges.lows[row] << 32 | min(depth, 0xFFF) << 20 | len(rows))
                rows.append(row)
        around: list[tuple[int, int]] = []
        order = yield from ordered(keys)
        for number, key in enumerate(order):
            if number % (OPERATIONS // 4) == 0:
                yield
            row = rows[key & 0xFFFFF]
            low, high = ranges.lows[row], ranges.highs[row]
            _leave(found, around, low)
            if len(around) >= _DEEPEST:
                continue
            parent = around[-1][1] if around else _NONE
            high = min(high, around[-1][0]) if around else high
            entry = len(found.names)
            found.names.append(ranges.names[row])
            found.call_files.append(ranges.call_files[row])
            found.call_lines.append(ranges.call_lines[row])
            found.parents.append(parent)
            around.append((high, entry))
            _turn(found, low, entry)
        _leave(found, around, _NONE)
        return found

    def _memory(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the device's memory as the image fills it, rising and without overlaps."""
        reached = 0
        for part in sorted(self._elf.memory):
            start = max(part.address, reached)
            end = part.address + part.size
            if start >= end or end > _NONE:
                continue
            skip = start - part.address
            data = self._elf.data[part.offset + skip : part.offset + part.size]
            if data:
                yield start, data
                reached = start + len(data)

    def _packed(
        self,
        functions: _Functions,
        lines: LineRows,
        inlined: _Inlined,
        unwinding: Sequence[UnwindTable],
        damaged: int,
    ) -> Steps[Sequence[Buffer]]:
        image = FirmwareImage.of(self._elf)
        memory = list(self._memory())
        about = {
            "modules": {str(bit): name for bit, name in image.modules.items()},
            "damaged_units": lines.damaged + damaged,
            "code": [list(part) for part in zip(self._code_starts, self._code_ends, strict=True)],
            "memory": [[start, len(data)] for start, data in memory],
        }
        yield
        frames, index = unwinding
        tables: Tables = {
            "about": [json.dumps(about).encode()],
            "memory": [data for _, data in memory],
            "names": [self._names.data],
            "function_starts": [functions.starts],
            "function_ends": [functions.ends],
            "function_names": [functions.names],
            "line_addresses": [lines.addresses],
            "line_files": [lines.files],
            "line_numbers": [lines.lines],
            "inline_boundaries": [inlined.boundaries],
            "inline_innermost": [inlined.innermost],
            "inline_names": [inlined.names],
            "inline_files": [inlined.call_files],
            "inline_lines": [inlined.call_lines],
            "inline_parents": [inlined.parents],
            "frame_addresses": [frames.addresses],
            "frame_rules": [frames.rules],
            "frame_words": [frames.words],
            "index_addresses": [index.addresses],
            "index_rules": [index.rules],
            "index_words": [index.words],
        }
        return (yield from packed(tables))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch or overlap."""
    found: list[tuple[int, int]] = []
    for start, end in ranges:
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif start < end:
            found.append((start, end))
    return found


def _add_function(found: _Functions, function: tuple[int, int, int], following: int) -> None:
    """Add a function, which ends where the next begins, and one of unknown size just there."""
    start, end, name = function
    found.starts.append(start)
    found.ends.append(min(end, following) if end > start else following)
    found.names.append(name)


def _leave(found: _Inlined, around: list[tuple[int, int]], address: int) -> None:
    """End the calls that are over at an address."""
    while around and around[-1][0] <= address:
        end, _ = around.pop()
        _turn(found, end, around[-1][1] if around else _NONE)


def _turn(found: _Inlined, address: int, entry: int) -> None:
    """Note that from an address on another call is the innermost."""
    if found.boundaries and found.boundaries[-1] == address:
        found.innermost[-1] = entry
    else:
        found.boundaries.append(address)
        found.innermost.append(entry)
