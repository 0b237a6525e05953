"""The firmware image: what turns addresses in logs and core dumps into words."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NamedTuple, Protocol

from ..capture.frames import Frame
from . import format_strings as printf
from .elf import ElfFile
from .source_lines import SourceLine, source_line

MOST_MODULES: Final = 32

_MODULES = "ulogger_debug_modules"
_MODULES_COUNT = "ulogger_debug_modules_count"
_MODULES_SECTION = ".ulogger.debug_modules"
_MODULE = struct.Struct("<II")


class CodePlace(NamedTuple):
    """Where an address is in the program; parts that the image does not tell are None."""

    function: str | None
    source: SourceLine | None

    @property
    def location(self) -> str | None:
        """File name without folders, and line: ``session.c:8``."""
        if self.source is None:
            return None
        return f"{PurePosixPath(self.source.file.replace('\\', '/')).name}:{self.source.line}"


class Symbols(Protocol):
    """What puts logs and core dumps into words: an image, or what was kept of one."""

    @property
    def modules(self) -> Mapping[int, str]:
        """Names of debug modules by their bit."""
        ...

    def format_string(self, address: int) -> str | None:
        """Return the format string at an address, None where the image has nothing."""
        ...

    def module(self, frame: Frame) -> str | None:
        """Return the name of the module that logged a frame."""
        ...

    def render(self, frame: Frame) -> str | None:
        """Return a frame's text, None when its format string is not in the image."""
        ...

    def place(self, address: int, *, returning: bool = False) -> CodePlace:
        """Return function and source line of a program counter or return address."""
        ...


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """A firmware's ELF (or AXF) file: format strings, module names, functions and lines.

    Which image belongs to a log is known only by the device's version and git hash: a wrong
    one gives wrong text, not an error. Loading takes milliseconds; line tables are read when
    a line is asked for. Reading happens in an executor, since files are large.
    """

    elf: ElfFile
    modules: Mapping[int, str]
    """Names of debug modules by their bit."""

    @classmethod
    def load(cls, data: bytes) -> FirmwareImage:
        """Read an image; raises InvalidImage when it is none, is damaged or over 64 MiB."""
        return cls.of(ElfFile.parse(data))

    @classmethod
    def of(cls, elf: ElfFile) -> FirmwareImage:
        """Return the image that an ELF file holds."""
        return cls(elf, dict(_modules(elf)))

    def format_string(self, address: int) -> str | None:
        """Return the format string at an address, None where the image has nothing."""
        return self.elf.string(address)

    def module(self, frame: Frame) -> str | None:
        """Return the name of the module that logged a frame."""
        return self.modules.get(frame.module_bit)

    def render(self, frame: Frame) -> str | None:
        """Return a frame's text, None when its format string is not in the image."""
        text = self.format_string(frame.address)
        return None if text is None else printf.render(text, frame.arguments)

    def place(self, address: int, *, returning: bool = False) -> CodePlace:
        """Return function and source line of a program counter.

        ``returning`` is for a return address (lr), which stands behind the call that it
        belongs to. The lowest bit only says that the code is Thumb code: instructions lie at
        even addresses, so it makes no difference.
        """
        address -= 2 if returning else 0
        function = self.elf.function_at(address)
        return CodePlace(function and function.name, source_line(self.elf, address))


def _modules(elf: ElfFile) -> dict[int, str]:
    """Read the table of debug modules: an array of u32 name pointer, u32 mask."""
    names: dict[int, str] = {}
    for pointer, mask in _MODULE.iter_unpack(_module_table(elf)):
        name = elf.string(pointer)
        if name and mask:
            names[mask.bit_length() - 1] = name
    return names


def _module_table(elf: ElfFile) -> bytes:
    """Find the table by its symbol and the count's, or else by its section."""
    symbols = elf.symbols(_MODULES, _MODULES_COUNT)
    table, count_at = symbols.get(_MODULES), symbols.get(_MODULES_COUNT)
    if table and count_at and (stored := elf.read(count_at.address, 4)):
        count = min(int.from_bytes(stored, "little"), MOST_MODULES)
        found = elf.read(table.address, count * _MODULE.size)
    else:
        section = elf.section(_MODULES_SECTION)[: MOST_MODULES * _MODULE.size]
        found = bytes(section[: len(section) // _MODULE.size * _MODULE.size])
    return found or b""
