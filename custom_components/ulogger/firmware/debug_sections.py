"""The sections of debug information as they were before a linker compressed them."""

import mmap
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..capture.errors import DamagedImage, ImageTooLarge, PackedImage
from .elf import COMPRESSED, ElfFile
from .steps import Steps

try:
    from compression import zstd
except ImportError:  # Python can be built without it.
    zstd = None  # type: ignore[assignment]

NAMES: Final = (
    ".debug_abbrev",
    ".debug_addr",
    ".debug_frame",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
)
"""The sections that are read; others, types and places of variables among them, are not."""
MOST_DECOMPRESSED: Final = 192 * 1024 * 1024
_SLICE: Final = 1024 * 1024
_LARGEST_WINDOW: Final = 26
_HEADER_SIZE = 12
_OLD_HEADER_SIZE = 12
_ZLIB = 1
_ZSTD = 2


@dataclass(frozen=True, slots=True)
class DebugSections:
    """The contents of the debug sections."""

    contents: Mapping[str, memoryview]

    def section(self, name: str) -> memoryview:
        """Return the contents of a section, nothing when it is missing."""
        return self.contents.get(name, _NOTHING)


_NOTHING = memoryview(b"")


def debug_sections(elf: ElfFile) -> Steps[DebugSections]:
    """Return the debug sections as they were before they were compressed.

    What was compressed goes to a file without a name, so that it takes no memory that the
    system could not take back. Raises DamagedImage when a section does not decompress to the
    size that it promises, ImageTooLarge when all would have more than 192 MiB, and
    PackedImage for a compression that this Python lacks.
    """
    found: dict[str, memoryview] = {}
    left = MOST_DECOMPRESSED
    for name in NAMES:
        method, size, data = _packed(elf, name)
        if not method:
            found[name] = data
            continue
        left -= size
        if left < 0:
            raise ImageTooLarge(f"over {MOST_DECOMPRESSED} bytes of debug information")
        found[name] = (yield from _decompressed(name, method, size, data)) if size else data[:0]
    return DebugSections(found)


def _packed(elf: ElfFile, name: str) -> tuple[int, int, memoryview]:
    """Return compression (0 for none), size without it, and the bytes of a section."""
    if (stored := elf.stored(name)) is not None:
        section, data = stored
        if not section.flags & COMPRESSED:
            return 0, len(data), data
        if len(data) < _HEADER_SIZE:
            raise DamagedImage(f"{name} is cut short")
        method, size = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
        return method or -1, size, data[_HEADER_SIZE:]
    stored = elf.stored(name.replace(".debug", ".zdebug"))
    if stored is None:
        return 0, 0, elf.data[:0]
    data = stored[1]
    if bytes(data[:4]) != b"ZLIB" or len(data) < _OLD_HEADER_SIZE:
        raise DamagedImage(f"{stored[0].name} has no header")
    return _ZLIB, int.from_bytes(data[4:12]), data[_OLD_HEADER_SIZE:]


def _decompressed(name: str, method: int, size: int, data: memoryview) -> Steps[memoryview]:
    """Decompress a section slice by slice into a file that is gone with the last reference."""
    if method == _ZLIB:
        error: type[Exception] = zlib.error
    elif method == _ZSTD and zstd is not None:
        error = zstd.ZstdError
    else:
        kind = "zstd, which this Python can't read" if method == _ZSTD else f"method {method}"
        raise PackedImage(f"{name} is compressed with {kind}")
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        target = mmap.mmap(file.fileno(), size)
    at = 0
    try:
        for piece in _zlib_slices(data) if method == _ZLIB else _zstd_slices(data):
            if at + len(piece) > size:
                break
            target[at : at + len(piece)] = piece
            at += len(piece)
            yield
    except error as damage:
        raise DamagedImage(f"{name} can't be decompressed") from damage
    if at != size:
        raise DamagedImage(f"{name} has not the size that it promises")
    return memoryview(target)


def _zlib_slices(data: memoryview) -> Iterator[bytes]:
    """Yield what zlib makes of the data, at most a slice at a time."""
    unpacker = zlib.decompressobj()
    rest: memoryview | bytes = data[:_SLICE]
    fed = len(rest)
    while not unpacker.eof:
        piece = unpacker.decompress(rest, _SLICE)
        yield piece
        rest = unpacker.unconsumed_tail
        if not rest:
            rest = data[fed : fed + _SLICE]
            fed += len(rest)
        if not rest and not piece:
            return


def _zstd_slices(data: memoryview) -> Iterator[bytes]:
    """Yield what zstd makes of the data, at most a slice at a time."""
    options = {int(zstd.DecompressionParameter.window_log_max): _LARGEST_WINDOW}
    unpacker = zstd.ZstdDecompressor(options=options)
    fed = 0
    while not unpacker.eof:
        rest = data[fed : fed + _SLICE] if unpacker.needs_input else b""
        fed += len(rest)
        piece = unpacker.decompress(rest, _SLICE)
        yield piece
        if not piece and unpacker.needs_input and fed >= len(data):
            return
