"""What is kept of a firmware image, ready to be asked: text, places, and how to unwind.

Made by ``image_import.py``. Its tables are used as they lie in the file, so that it is read in
the time that its checksum takes. Answers are found by halving; none takes long, whatever the
tables say.
"""

import json
from bisect import bisect_right
from collections.abc import Buffer, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from ..capture.errors import DamagedImage
from ..capture.frames import Frame
from . import format_strings as printf
from .compact_format import unpacked
from .elf import LONGEST_STRING
from .log_calls import log_calls
from .names import name_at
from .source_lines import SourceLine
from .symbols import CodePlace
from .unwind_rules import Rule, rule_at

MOST_INLINED: Final = 32
MOST_CODE: Final = 64
MOST_LOG_PLACES: Final = 4096
_NONE: Final = 0xFFFF_FFFF
_UNSIGNED = (
    "function_starts",
    "function_ends",
    "function_names",
    "line_addresses",
    "line_files",
    "line_numbers",
    "inline_boundaries",
    "inline_innermost",
    "inline_names",
    "inline_files",
    "inline_lines",
    "inline_parents",
    "frame_addresses",
    "frame_rules",
    "index_addresses",
    "index_rules",
)
_SIGNED = ("frame_words", "index_words")


class Memory(NamedTuple):
    """A range of the device's memory, and where in the table it lies."""

    start: int
    size: int
    offset: int


class FunctionRange(NamedTuple):
    """A function and the addresses of its instructions."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CompactImage:
    """A firmware's strings, code, functions, lines, inlined calls and rules for unwinding."""

    modules: Mapping[int, str]
    """Names of debug modules by their bit."""
    code: Sequence[tuple[int, int]]
    """Ranges of addresses that hold instructions, sorted."""
    damaged_units: int
    """How many units of debug information could not be read to their end."""
    _memory: Sequence[Memory]
    _tables: Mapping[str, memoryview]
    _log_places: dict[int, tuple[CodePlace, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, data: Buffer) -> Self:
        """Read what ``import_image`` made; DamagedImage when it is not whole."""
        tables = unpacked(data)
        try:
            about: dict[str, Any] = json.loads(bytes(tables["about"][:1_000_000]))
            numbers = {name: tables[name].cast("I") for name in _UNSIGNED}
            numbers |= {name: tables[name].cast("i") for name in _SIGNED}
            contents = {"memory": tables["memory"], "names": tables["names"]}
            modules = {int(bit): str(name) for bit, name in about["modules"].items()}
            code = sorted((int(start), int(end)) for start, end in about["code"][:MOST_CODE])
            memory, offset = [], 0
            for start, size in about["memory"][:MOST_CODE]:
                memory.append(Memory(int(start), int(size), offset))
                offset += int(size)
            damaged = int(about["damaged_units"])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamagedImage("what was kept of a firmware image is damaged") from error
        return cls(modules, code, damaged, memory, contents | numbers)

    @property
    def start(self) -> int:
        """The lowest address with instructions; addresses relative to it survive a relocation."""
        return self.code[0][0] if self.code else 0

    @property
    def function_count(self) -> int:
        """How many functions it knows by name."""
        return len(self._tables["function_starts"])

    @property
    def line_count(self) -> int:
        """From how many addresses on it knows another line of the source."""
        return len(self._tables["line_addresses"])

    def is_code(self, address: int) -> bool:
        """Whether the image has instructions at an address."""
        found = bisect_right(self.code, (address, _NONE)) - 1
        return found >= 0 and address < self.code[found][1]

    def read(self, address: int, size: int) -> bytes | None:
        """Return bytes of the device's memory as the image fills it, None outside of it."""
        for part in self._memory:
            if part.start <= address and address + size <= part.start + part.size:
                at = part.offset + address - part.start
                found = bytes(self._tables["memory"][at : at + size])
                return found if len(found) == size else None
        return None

    def format_string(self, address: int) -> str | None:
        """Return the NUL-terminated UTF-8 string at an address, None outside of the image."""
        for part in self._memory:
            if part.start <= address < part.start + part.size:
                at = part.offset + address - part.start
                end = min(at + LONGEST_STRING, part.offset + part.size)
                found = bytes(self._tables["memory"][at:end])
                return found.partition(b"\0")[0].decode(errors="replace") if found else None
        return None

    def log_places(self, address: int) -> tuple[CodePlace, ...]:
        """Return where in the source the format string at an address is logged, none if unknown.

        More than one place where equal strings were merged, or a line was inlined.
        """
        if (known := self._log_places.get(address)) is not None:
            return known
        parts = [
            (part.start, self._tables["memory"][part.offset : part.offset + part.size])
            for part in self._memory
        ]
        calls = log_calls(parts, self._function_end, address)
        places = tuple(dict.fromkeys(place for at in calls if (place := self.place(at)).function))
        if len(self._log_places) >= MOST_LOG_PLACES:
            self._log_places.clear()
        self._log_places[address] = places
        return places

    def _function_end(self, address: int) -> int | None:
        function = self.function_at(address) if self.is_code(address) else None
        return None if function is None else function.end

    def module(self, frame: Frame) -> str | None:
        """Return the name of the module that logged a frame."""
        return self.modules.get(frame.module_bit)

    def render(self, frame: Frame) -> str | None:
        """Return a frame's text, None when its format string is not in the image."""
        text = self.format_string(frame.address)
        return None if text is None else printf.render(text, frame.arguments)

    def function_at(self, address: int) -> FunctionRange | None:
        """Return the function that an address lies in, inlined calls aside."""
        address &= ~1
        number = self._row("function_starts", address)
        if number is None or not address < self._value("function_ends", number):
            return None
        name = self._name(self._value("function_names", number))
        start = self._value("function_starts", number)
        return FunctionRange(name, start, self._value("function_ends", number))

    def place(self, address: int, *, returning: bool = False) -> CodePlace:
        """Return function and source line of a program counter.

        ``returning`` is for a return address (lr), which stands behind the call that it
        belongs to. The lowest bit only says that the code is Thumb code.
        """
        return self.places(address, returning=returning)[0]

    def places(self, address: int, *, returning: bool = False) -> list[CodePlace]:
        """Return where an address is: the innermost inlined call first, the function last."""
        address = (address & ~1) - (2 if returning else 0)
        function = self.function_at(address)
        source = self._source(address)
        found = []
        for entry in self._inlined(address):
            found.append(CodePlace(self._name(self._value("inline_names", entry)) or None, source))
            file = self._name(self._value("inline_files", entry))
            source = SourceLine(file or "?", self._value("inline_lines", entry))
        return [*found, CodePlace(function and function.name, source)]

    def rule(self, address: int) -> Rule | None:
        """Return how ``.debug_frame`` says that the caller is found from an instruction."""
        return self._rule("frame", address)

    def rule_at_call(self, address: int) -> Rule | None:
        """Return how ``.ARM.exidx`` says it, which holds at calls."""
        return self._rule("index", address)

    def _rule(self, kind: str, address: int) -> Rule | None:
        number = self._row(f"{kind}_addresses", address)
        if number is None:
            return None
        return rule_at(self._tables[f"{kind}_words"], self._value(f"{kind}_rules", number))

    def _source(self, address: int) -> SourceLine | None:
        number = self._row("line_addresses", address)
        if number is None or (file := self._value("line_files", number)) == _NONE:
            return None
        return SourceLine(self._name(file), self._value("line_numbers", number))

    def _inlined(self, address: int) -> list[int]:
        """Return the inlined calls around an address, the innermost first."""
        number = self._row("inline_boundaries", address)
        entry = _NONE if number is None else self._value("inline_innermost", number)
        found: list[int] = []
        while entry < len(self._tables["inline_names"]) and len(found) < MOST_INLINED:
            found.append(entry)
            parent = self._value("inline_parents", entry)
            if parent >= entry:
                break
            entry = parent
        return found

    def _row(self, column: str, address: int) -> int | None:
        """Return the last row that begins at or below an address."""
        number = bisect_right(self._tables[column], address) - 1
        return number if number >= 0 else None

    def _value(self, column: str, row: int) -> int:
        table = self._tables[column]
        value: int = table[row] if row < len(table) else _NONE
        return value

    def _name(self, offset: int) -> str:
        return name_at(self._tables["names"], offset)
