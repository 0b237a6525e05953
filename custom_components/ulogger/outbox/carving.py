"""Rows as they lie on the pages of a damaged file, whatever leads to them.

Trees are not followed: each page with rows is read by itself. Where its list of rows is whole,
that list is believed; where it is not, the page is searched for what looks like a row. Which of
them are what they seem is for others to tell: captures are sealed with a hash.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from .pages import HEADER, PAGE, Pages

type Values = tuple[Any, ...]

TABLE_LEAF: Final = 0x0D
INDEX_LEAF: Final = 0x0A
TABLE_INTERIOR: Final = 0x05
INDEX_INTERIOR: Final = 0x02
_LEAF_HEAD: Final = 8
_MOST_CELLS: Final = (PAGE - _LEAF_HEAD) // 6
_SMALLEST_CELL: Final = 4
_MOST_LOCAL_ROW: Final = PAGE - 35
_MOST_LOCAL_KEY: Final = (PAGE - 12) * 64 // 255 - 23
_LEAST_LOCAL: Final = (PAGE - 12) * 32 // 255 - 23
_LARGEST: Final = 1 << 28
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_ROW_HEAD: Final = re.compile(rb"(?=[\x06-\x40]\x00)")


class Unreadable(Exception):
    """These bytes are no row."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A row that was found: its ID, where its values begin, and the offset behind it."""

    page: int
    row_id: int
    head: int
    stop: int
    believed: bool


@dataclass(frozen=True, slots=True)
class Leaf:
    """A page with rows; ``whole`` tells that its own account of them adds up."""

    cells: list[Cell]
    whole: bool


def leaf(pages: Pages, number: int, kind: int = TABLE_LEAF) -> Leaf | None:
    """Find the rows on a page; None when it is no page with rows of this kind."""
    page = pages[number]
    base = HEADER if number == 1 else 0
    if number in pages.free:
        return None
    if page[base] != kind:
        if kind != TABLE_LEAF or not _hides_rows(pages, number):
            return None
        return Leaf(list(_searched(page, number, [])), whole=False)
    free, count, content = struct.unpack_from(">HHH", page, base + 1)
    count = min(count, _MOST_CELLS)
    taken = _blocks(page, free)
    cells: list[Cell] = []
    used = 0 if taken is None else sum(len(block) for block in taken)
    starts = struct.unpack_from(f">{count}H", page, base + _LEAF_HEAD)
    for start in starts:
        try:
            cell = _cell(page, number, start, kind)
        except Unreadable, IndexError:
            continue
        cells.append(cell)
        used += max(cell.stop - start, _SMALLEST_CELL)
    used += page[base + 7]
    in_order = all(one.row_id < two.row_id for one, two in pairwise(cells))
    whole = (
        len(cells) == count
        and taken is not None
        and used == PAGE - (content or PAGE)
        and base + _LEAF_HEAD + 2 * count <= content
        and (in_order or kind == INDEX_LEAF)
    )
    if not whole and kind == TABLE_LEAF:
        next_batch = {cell.head for cell in cells}
        cells += [
            cell for cell in _searched(page, number, taken or []) if cell.head not in next_batch
        ]
    return Leaf(cells, whole)


def _hides_rows(pages: Pages, number: int) -> bool:
    """Whether a page that should be of a tree is none of the kinds without rows."""
    if not pages.is_mapped_tree(number):
        return False
    kind = pages[number][0]
    if kind in (TABLE_INTERIOR, INDEX_INTERIOR):
        return children(pages, number, kind) is None
    if kind == INDEX_LEAF:
        keys = leaf(pages, number, INDEX_LEAF)
        return keys is not None and not keys.cells
    return True


def children(pages: Pages, number: int, kind: int = TABLE_INTERIOR) -> list[int] | None:
    """Name the pages below a page of a table or an index; None when it is no such page."""
    page = pages[number]
    base = HEADER if number == 1 else 0
    count, _, last = struct.unpack_from(">HHxI", page, base + 3)
    if page[base] != kind or not 0 < count <= _MOST_CELLS:
        return None
    found = [last]
    for start in struct.unpack_from(f">{count}H", page, base + 12):
        if start > PAGE - 5:
            return None
        found += struct.unpack_from(">I", page, start)
    return found if all(1 < each <= pages.count for each in found) else None


def beginning(pages: Pages, cell: Cell, kind: int = TABLE_LEAF) -> Values | None:
    """Decode as much of a row as stands on its own page."""
    return next(_read(pages, cell, kind, lambda *_: iter([b""])), None)


def values(pages: Pages, cell: Cell) -> Iterator[Values]:
    """Decode a row, with what of it stands on other pages.

    First as the row itself says, then as the pointer maps do, where these lead elsewhere.
    """
    return _read(pages, cell, TABLE_LEAF, _rests)


def _read(
    pages: Pages, cell: Cell, kind: int, rests: Callable[[Pages, int, int, int], Iterator[bytes]]
) -> Iterator[Values]:
    page = pages[cell.page]
    try:
        types, behind = _types(page, cell.head)
    except Unreadable, IndexError:
        return
    size = behind - cell.head + sum(map(_width, types))
    local = _local(size, kind)
    here = page[cell.head : cell.head + local]
    if size <= local:
        yield tuple(_decoded(types, here, behind - cell.head))
        return
    following = int.from_bytes(page[cell.head + local : cell.head + local + 4])
    for rest in rests(pages, cell.page, following, size - local):
        yield tuple(_decoded(types, here + rest, behind - cell.head))


def _rests(pages: Pages, number: int, following: int, size: int) -> Iterator[bytes]:
    """Find what goes on after a row on a page, the likeliest first."""
    yield _chain(pages, following, size, by_map=False)
    for start in (following, *pages.followers(number, first=True)):
        yield _chain(pages, start, size, by_map=True)
        yield _chain(pages, start, size, by_map=False)


def _blocks(page: bytes, start: int) -> list[range] | None:
    """Follow the list of free blocks on a page; None when it is broken."""
    blocks: list[range] = []
    while start:
        if start > PAGE - 4 or (blocks and start < blocks[-1].stop):
            return None
        following, size = struct.unpack_from(">HH", page, start)
        blocks.append(range(start, start + size))
        if size < _SMALLEST_CELL or start + size > PAGE:
            return None
        start = following
    return blocks


def _cell(page: bytes, number: int, start: int, kind: int) -> Cell:
    """Read where a row's values are; its length is told twice, and both must agree."""
    if start < _LEAF_HEAD:
        raise Unreadable
    told, position = _varint(page, start)
    row_id = 0
    if kind == TABLE_LEAF:
        row_id, position = _varint(page, position)
    types, behind = _types(page, position)
    size = behind - position + sum(map(_width, types))
    local = _local(size, kind)
    stop = position + local + (4 if local < size else 0)
    if told != size or stop > PAGE or row_id >= 1 << 63:
        raise Unreadable
    return Cell(number, row_id, position, stop, believed=True)


def _searched(page: bytes, number: int, free: list[range]) -> Iterator[Cell]:
    """Look for rows by their beginnings: all tables have a first column that is the row's ID."""
    for match in _ROW_HEAD.finditer(page, _LEAF_HEAD):
        head = match.start()
        if any(head in block for block in free):
            continue
        try:
            types, behind = _types(page, head)
        except Unreadable, IndexError:
            continue
        size = behind - head + sum(map(_width, types))
        local = _local(size, TABLE_LEAF)
        stop = head + local + (4 if local < size else 0)
        if len(types) > 4 and stop <= PAGE:
            yield Cell(number, _before(page, head), head, stop, believed=False)


def _before(page: bytes, head: int) -> int:
    """Read backwards the number that ends here: all of its bytes but the last have the top bit."""
    number = page[head - 1] & 0x7F
    for index in range(1, 9):
        byte = page[head - 1 - index]
        if byte < 0x80:
            break
        number |= (byte & 0x7F) << 7 * index
    return number


def _varint(page: bytes, position: int) -> tuple[int, int]:
    number = 0
    for index in range(9):
        byte = page[position + index]
        if index == 8:
            return number << 8 | byte, position + 9
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, position + index + 1
    raise AssertionError


def _types(page: bytes, head: int) -> tuple[list[int], int]:
    """Read the types of a row's values, and where the values begin."""
    size, position = _varint(page, head)
    behind = head + size
    if behind > len(page) or size < 2:
        raise Unreadable
    types: list[int] = []
    while position < behind:
        kind, position = _varint(page, position)
        if kind in (10, 11) or kind > _LARGEST:
            raise Unreadable
        types.append(kind)
    if position != behind:
        raise Unreadable
    return types, behind


def _width(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else _INTEGERS.get(kind, 0)


def _local(size: int, kind: int) -> int:
    """Tell how much of a row stands on its own page."""
    most = _MOST_LOCAL_ROW if kind == TABLE_LEAF else _MOST_LOCAL_KEY
    if size <= most:
        return size
    local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % (PAGE - 4)
    return local if local <= most else _LEAST_LOCAL


def _chain(pages: Pages, number: int, size: int, *, by_map: bool) -> bytes:
    """Read on from page to page, until the chain ends or is broken."""
    parts: list[bytes] = []
    seen: set[int] = set()
    while size > 0 and 1 < number <= pages.count and number not in seen:
        seen.add(number)
        page = pages[number]
        parts.append(page[4 : 4 + size])
        size -= PAGE - 4
        told = int.from_bytes(page[:4])
        number = next(pages.followers(number, first=False), 0) if by_map else told
    return b"".join(parts)


def _decoded(types: list[int], payload: bytes, position: int) -> Iterator[Any]:
    """Give a row's values; text that is none comes as bytes, what is cut short is shorter."""
    for kind in types:
        width = _width(kind)
        raw = payload[position : position + width]
        position += width
        if kind == 0:
            yield None
        elif kind in (8, 9):
            yield kind - 8
        elif kind in _INTEGERS:
            yield int.from_bytes(raw, signed=True)
        elif kind == 7:
            yield struct.unpack(">d", raw)[0] if len(raw) == 8 else None
        elif kind % 2 == 0:
            yield raw
        else:
            yield _text(raw)


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
