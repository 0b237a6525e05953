"""The file that is kept of a firmware image: named tables of bytes and numbers.

    8 bytes   "uLoggerI"
    u32       version of the format
    u32       CRC-32 of all that follows
    u32       number of tables
    for each: 24 bytes name, u32 offset, u32 size
    the tables, each at a multiple of 8

A file of another version, or written by a machine of another byte order, is refused: it is
made from the image again.
"""

import struct
import zlib
from collections.abc import Buffer, Mapping, Sequence
from typing import Final

from ..capture.errors import DamagedImage
from .steps import Steps

VERSION: Final = 1
MOST_TABLES: Final = 64
_MAGIC = b"uLoggerI"
_HEAD = struct.Struct("=8sIII")
_ENTRY = struct.Struct("=24sII")
_ALIGNMENT = 8
_SLICE = 4 * 1024 * 1024

type Tables = Mapping[str, Sequence[Buffer]]
"""The pieces of each table."""


def packed(tables: Tables) -> Steps[list[Buffer]]:
    """Return the pieces of a file."""
    entries = bytearray()
    body: list[memoryview] = []
    offset = _HEAD.size + _ENTRY.size * len(tables)
    for name, pieces in tables.items():
        views = [memoryview(piece).cast("B") for piece in pieces if memoryview(piece).nbytes]
        size = sum(len(view) for view in views)
        entries += _ENTRY.pack(name.encode(), offset, size)
        body += [*views, memoryview(bytes(-size % _ALIGNMENT))]
        offset += size + -size % _ALIGNMENT
    checksum = zlib.crc32(entries)
    for piece in body:
        for at in range(0, len(piece), _SLICE):
            checksum = zlib.crc32(piece[at : at + _SLICE], checksum)
            yield
    return [_HEAD.pack(_MAGIC, VERSION, checksum, len(tables)), entries, *body]


def is_compact(data: Buffer) -> bool:
    """Whether bytes begin like a file of this format, of any version."""
    return bytes(memoryview(data)[: len(_MAGIC)]) == _MAGIC


def unpacked(data: Buffer) -> dict[str, memoryview]:
    """Return the tables of a file, without a copy; DamagedImage when it is not whole."""
    view = memoryview(data).cast("B")
    if not is_compact(view) or len(view) < _HEAD.size:
        raise DamagedImage("not what was kept of a firmware image")
    _, version, checksum, count = _HEAD.unpack_from(view)
    if version != VERSION:
        raise DamagedImage(f"kept by another version ({version}); the image is needed again")
    if count > MOST_TABLES or zlib.crc32(view[_HEAD.size :]) != checksum:
        raise DamagedImage("what was kept of a firmware image is damaged")
    if len(view) < _HEAD.size + count * _ENTRY.size:
        raise DamagedImage("what was kept of a firmware image is cut short")
    found = {}
    for number in range(count):
        name, offset, size = _ENTRY.unpack_from(view, _HEAD.size + number * _ENTRY.size)
        if offset % 4 or offset + size > len(view):
            raise DamagedImage("what was kept of a firmware image is cut short")
        found[name.rstrip(b"\0").decode(errors="replace")] = view[offset : offset + size]
    return found
