"""A database file page by page, as it lies on the disk, with its write-ahead log laid over it.

This reads files that SQLite itself no longer can, after https://sqlite.org/fileformat2.html.
Nothing is taken for granted: whatever is asked, no error but ``OSError`` comes back, and no more
is read than the file has.
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from . import files

PAGE: Final = 4096
HEADER: Final = 100
"""Bytes of the file's header, before the tree on its first page."""

_BEGINNING: Final = b"SQLite format 3\0" + struct.pack(">HBBBBBB", PAGE, 2, 2, 0, 64, 32, 32)
_FREE_LIST_AT: Final = 32
_POINTER: Final = struct.Struct(">BI")
_POINTERS: Final = PAGE // _POINTER.size
_FREE: Final = 2
_TREES: Final = (1, 5)
_FIRST_OVERFLOW: Final = 3
_LATER_OVERFLOW: Final = 4

_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")
_LOG_MAGIC: Final = 0x377F0682
_LITTLE: Final = 0
_WORD: Final = 0xFFFFFFFF


class Pages:
    """All pages of a file; their numbers begin with 1."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._log: dict[int, bytes] = {}
        with contextlib.suppress(FileNotFoundError):
            self._log = dict(_logged(files.companion(path, "-wal")))
        self.count = max([path.stat().st_size // PAGE, *self._log])
        self._mapped = self._has_maps()
        self.free = frozenset(self._mapped_free() if self._mapped else self._listed_free())

    def is_mapped_tree(self, number: int) -> bool:
        """Whether a pointer map says that a page is part of a table or an index."""
        group = 2 + (number - 2) // (_POINTERS + 1) * (_POINTERS + 1)
        if not self._mapped or number in (1, group):
            return False
        kind: int = self[group][(number - group - 1) * _POINTER.size]
        return kind in _TREES

    def __enter__(self) -> Self:
        """Read for as long as the file is needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Let go of the file."""
        self._file.close()

    def __getitem__(self, number: int) -> bytes:
        """Read a page; zeros where there is none."""
        if (logged := self._log.get(number)) is not None:
            return logged
        if not 0 < number <= self.count:
            return bytes(PAGE)
        self._file.seek((number - 1) * PAGE)
        return self._file.read(PAGE).ljust(PAGE, b"\0")

    def followers(self, number: int, *, first: bool) -> Iterator[int]:
        """Find in the pointer maps what goes on after a page: after a row on it, or a part of one.

        Several rows of a page may go on elsewhere; a part of one goes on in one place.
        """
        wanted = _POINTER.pack(_FIRST_OVERFLOW if first else _LATER_OVERFLOW, number)
        for group in range(2, self.count + 1, _POINTERS + 1):
            page = self[group]
            at = page.find(wanted)
            while at >= 0:
                if at % _POINTER.size == 0:
                    yield group + 1 + at // _POINTER.size
                at = page.find(wanted, at + 1)

    def _has_maps(self) -> bool:
        """Whether the file has pointer maps: an outbox does, unless it was made by others."""
        known = min(self.count - 2, _POINTERS)
        page = self[2]
        entries = [_POINTER.unpack_from(page, at * _POINTER.size) for at in range(known)]
        likely = sum(1 <= kind <= 5 and parent <= self.count for kind, parent in entries)
        return bool(2 * likely > known)

    def _mapped_free(self) -> Iterator[int]:
        for group in range(2, self.count + 1, _POINTERS + 1):
            page = self[group]
            for index in range(_POINTERS):
                if _POINTER.unpack_from(page, index * _POINTER.size) == (_FREE, 0):
                    yield group + 1 + index

    def _listed_free(self) -> Iterator[int]:
        seen: set[int] = set()
        (trunk,) = struct.unpack_from(">I", self[1], _FREE_LIST_AT)
        while 1 < trunk <= self.count and trunk not in seen:
            seen.add(trunk)
            page = self[trunk]
            following, leaves = struct.unpack_from(">II", page)
            numbers = struct.unpack_from(f">{min(leaves, PAGE // 4 - 2)}I", page, 8)
            if following > self.count or any(not 1 < each <= self.count for each in numbers):
                return
            yield trunk
            yield from numbers
            trunk = following


def has_sound_header(path: Path) -> bool:
    """Whether the file begins as every outbox does, an empty one included.

    SQLite takes a damaged version number here for a file that may only be read.
    """
    with path.open("rb") as file:
        header = file.read(HEADER)
    if not header:
        return True
    plain: bytearray = bytearray(header[: len(_BEGINNING)])
    if plain[18:20] == b"\1\1":
        plain[18:20] = b"\2\2"
    return plain == _BEGINNING


def _logged(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read the pages of the transactions that are whole in the log, later ones last.

    Each frame's checksum goes on from the one before it, so that frames behind a damaged one can
    still be told to be right; those of a transaction of which a frame is missing count, too: it
    was on the disk before the next one began.
    """
    log = path.read_bytes()
    if len(log) < _LOG_HEADER.size:
        return
    magic, _, size, _, *salts_and_sums = _LOG_HEADER.unpack_from(log)
    if magic & ~1 != _LOG_MAGIC or size != PAGE:
        return
    order = "<" if magic & 1 == _LITTLE else ">"
    salts, sums = salts_and_sums[:2], (salts_and_sums[2], salts_and_sums[3])
    pending: list[tuple[int, bytes]] = []
    step = _FRAME_HEADER.size + PAGE
    for start in range(_LOG_HEADER.size, len(log) - step + 1, step):
        number, commit, *rest = _FRAME_HEADER.unpack_from(log, start)
        if rest[:2] != salts:
            return
        page = log[start + _FRAME_HEADER.size : start + step]
        expected = _checksum(order, _checksum(order, sums, log[start : start + 8]), page)
        sums = (rest[2], rest[3])
        if expected != sums or number == 0:
            continue
        pending.append((number, page))
        if commit:
            yield from pending
            pending.clear()


def _checksum(order: str, sums: tuple[int, int], data: bytes) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
