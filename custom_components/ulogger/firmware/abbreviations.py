"""How entries of ``.debug_info`` are laid out: abbreviations, and the forms of their attributes."""

from dataclasses import dataclass
from typing import Final, NamedTuple

COMPILE_UNIT: Final = 0x11
INLINED: Final = 0x1D
SUBPROGRAM: Final = 0x2E
_READ = {COMPILE_UNIT, 0x3C, 0x4A, INLINED, SUBPROGRAM}
_WITHOUT_CODE = {0x01, 0x02, 0x04, 0x13, 0x15, 0x17, 0x48, 0x4109}
"""Types, and calls with their parameters: what is below them is skipped."""
_SIBLING = 0x01
_REF4 = 0x13

NAME: Final = 0x03
STATEMENTS: Final = 0x10
LOW: Final = 0x11
HIGH: Final = 0x12
ORIGIN: Final = 0x31
SPECIFICATION: Final = 0x47
RANGES: Final = 0x55
CALL_FILE: Final = 0x58
CALL_LINE: Final = 0x59
STRING_OFFSETS_BASE: Final = 0x72
ADDRESS_BASE: Final = 0x73
RANGE_LISTS_BASE: Final = 0x74
_WANTED = {
    NAME,
    STATEMENTS,
    LOW,
    HIGH,
    ORIGIN,
    SPECIFICATION,
    RANGES,
    CALL_FILE,
    CALL_LINE,
    STRING_OFFSETS_BASE,
    ADDRESS_BASE,
    RANGE_LISTS_BASE,
}

ADDRESS_FORM: Final = 0x01
STRING_FORM: Final = 0x08
SIGNED_FORM: Final = 0x0D
STRING_OFFSET_FORM: Final = 0x0E
UNSIGNED_FORM: Final = 0x0F
REFERENCE_ADDRESS_FORM: Final = 0x10
RANGE_LIST_INDEX_FORM: Final = 0x23
LINE_STRING_FORM: Final = 0x1F
IMPLICIT_FORM: Final = 0x21
STRING_INDEX_FORMS: Final = frozenset((0x1A, 0x25, 0x26, 0x27, 0x28))
ADDRESS_INDEX_FORMS: Final = frozenset((0x1B, 0x29, 0x2A, 0x2B, 0x2C))
UNIT_REFERENCE_FORMS: Final = frozenset((0x11, 0x12, 0x13, 0x14, 0x15))
FIXED: Final = {
    ADDRESS_FORM: 4,
    0x05: 2,
    0x06: 4,
    0x07: 8,
    0x0B: 1,
    0x0C: 1,
    STRING_OFFSET_FORM: 4,
    REFERENCE_ADDRESS_FORM: 4,
    0x11: 1,
    0x12: 2,
    _REF4: 4,
    0x14: 8,
    0x17: 4,
    0x19: 0,
    0x1C: 4,
    0x1D: 4,
    0x1E: 16,
    LINE_STRING_FORM: 4,
    0x20: 8,
    IMPLICIT_FORM: 0,
    0x24: 8,
    0x25: 1,
    0x26: 2,
    0x27: 3,
    0x28: 4,
    0x29: 1,
    0x2A: 2,
    0x2B: 3,
    0x2C: 4,
    0x1F20: 4,
    0x1F21: 4,
}
"""Sizes of forms in 32-bit DWARF with addresses of 4 bytes."""
NUMBERS: Final = frozenset((SIGNED_FORM, UNSIGNED_FORM, 0x15, 0x1A, 0x1B, 0x22, 0x23))
"""Forms that are a number of variable size."""
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1, 0x09: 0, 0x18: 0}
_SKIP_NUMBER = -1
_SKIP_TEXT = -2
_SKIP_BLOCK = -3

MOST_ATTRIBUTES: Final = 100
LARGEST_TABLE: Final = 64 * 1024
LONGEST_TEXT: Final = 64 * 1024
_WINDOW = 256


class UnreadableUnit(Exception):
    """A unit that is damaged, or written in a way that is not read here."""


class Attribute(NamedTuple):
    """One attribute of an entry; ``value`` is that of the implicit form."""

    name: int
    form: int
    value: int


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """The layout of one kind of entry."""

    tag: int
    children: bool
    read: bool
    """Whether the entry's attributes are of interest."""
    attributes: tuple[Attribute, ...]
    skips: tuple[int, ...]
    """How to get over an entry: sizes, and negative numbers for what has to be looked at."""
    sibling: int
    """Where the reference to the next sibling stands in an entry that may be skipped, or -1."""


def read_abbreviations(table: memoryview, at: int) -> tuple[dict[int, Abbreviation], int]:
    """Return a table of abbreviations by their codes, and its size.

    Raises UnreadableUnit when it is damaged or very large.
    """
    found: dict[int, Abbreviation] = {}
    window = bytes(table[at : at + LARGEST_TABLE])
    at = 0
    while True:
        code, at = number(window, at)
        if not code:
            return found, at
        tag, at = number(window, at)
        children = at < len(window) and window[at] == 1
        at += 1
        attributes = []
        for _ in range(MOST_ATTRIBUTES):
            name, at = number(window, at)
            form, at = number(window, at)
            value = 0
            if form == IMPLICIT_FORM:
                value, at = signed(window, at)
            if not name and not form:
                break
            attributes.append(Attribute(name, form, value))
        else:
            raise UnreadableUnit
        found[code] = _abbreviation(tag, attributes, children=children)


def _abbreviation(tag: int, attributes: list[Attribute], *, children: bool) -> Abbreviation:
    skips: list[int] = []
    fixed = 0
    sibling = -1
    for name, form, _ in attributes:
        if name == _SIBLING and form == _REF4 and not skips and tag in _WITHOUT_CODE:
            sibling = fixed
        size = FIXED.get(form)
        if size is not None:
            fixed += size
            continue
        if fixed:
            skips.append(fixed)
            fixed = 0
        skips.append(_skip(form))
    if fixed:
        skips.append(fixed)
    return Abbreviation(
        tag, children, tag in _READ, tuple(attributes), tuple(skips), sibling if children else -1
    )


def _skip(form: int) -> int:
    """Return how to get over a form without a fixed size."""
    if form in NUMBERS:
        return _SKIP_NUMBER
    if form == STRING_FORM:
        return _SKIP_TEXT
    if form in _BLOCKS:
        return _SKIP_BLOCK - _BLOCKS[form]
    raise UnreadableUnit


def skipped(data: memoryview, at: int, skips: tuple[int, ...]) -> int:
    """Return where an entry ends."""
    for skip in skips:
        if skip > 0:
            at += skip
        elif skip == _SKIP_NUMBER:
            _, at = number(data, at)
        elif skip == _SKIP_TEXT:
            at = text_end(data, at) + 1
        else:
            at = _after_block(data, at, _SKIP_BLOCK - skip)
    return at


def text_end(data: memoryview, at: int) -> int:
    """Return where the NUL of a string is that begins here."""
    for _ in range(LONGEST_TEXT // _WINDOW):
        window = bytes(data[at : at + _WINDOW])
        end = window.find(b"\0")
        if end >= 0:
            return at + end
        at += len(window)
    raise UnreadableUnit


def read_attributes(
    data: memoryview, at: int, attributes: tuple[Attribute, ...]
) -> tuple[dict[int, tuple[int, int]], int]:
    """Return form and value of the attributes that are of interest, and where the entry ends.

    The value of a string that stands in the entry is where it begins.
    """
    found: dict[int, tuple[int, int]] = {}
    for name, form, implicit in attributes:
        size = FIXED.get(form)
        if size is not None:
            value = implicit
            if size and name in _WANTED:
                value = int.from_bytes(data[at : at + size], "little")
            at += size
        elif form == SIGNED_FORM:
            value, at = signed(data, at)
        elif form in NUMBERS:
            value, at = number(data, at)
        elif form == STRING_FORM:
            value, at = at, text_end(data, at) + 1
        else:
            value, at = 0, _after_block(data, at, _BLOCKS[form])
        if name in _WANTED:
            found[name] = form, value
    return found, at


def _after_block(data: memoryview, at: int, size: int) -> int:
    if not size:
        length, at = number(data, at)
        return at + length
    return at + size + int.from_bytes(data[at : at + size], "little")


def number(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """Read a number of variable size; return it and where it ends."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            if byte < 0x80:
                return value | byte << shift, at
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise UnreadableUnit
    except IndexError as end:
        raise UnreadableUnit from end


def signed(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """Read a number of variable size with a sign; return it and where it ends."""
    start = at
    value, at = number(data, at)
    return value - (1 << 7 * (at - start)) if data[at - 1] & 0x40 else value, at
