"""Ranges and strings of ``.debug_info`` in every form that compilers may choose."""

from typing import cast

import pytest

from custom_components.ulogger.firmware import abbreviations as abbrev
from custom_components.ulogger.firmware.debug_info import DebugInfo, _Unit
from custom_components.ulogger.firmware.elf import Sections
from custom_components.ulogger.firmware.names import NamePool

BASE = 0x8000


class Given:
    """Sections that are as they are given; the others are empty."""

    def __init__(self, given: dict[str, bytes]) -> None:
        self._given = given

    def section(self, name: str) -> memoryview:
        return memoryview(self._given.get(name, b""))


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def info(**sections: bytes) -> DebugInfo:
    given = cast("Sections", Given({f".{name}": data for name, data in sections.items()}))
    return DebugInfo(given, NamePool(), {}, lambda _address: True)


def unit(version: int = 5) -> _Unit:
    made = _Unit(0, 100, 12, version, 0)
    made.base = BASE
    return made


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (words(1, 4, 8, 12, 0, 0, 5, 6), [(BASE + 1, BASE + 4), (BASE + 8, BASE + 12)]),
        (words(0xFFFF_FFFF, 0x100, 1, 2, 0, 0), [(0x101, 0x102)]),
        (words(1, 4), [(BASE + 1, BASE + 4)]),
        (b"", []),
    ],
    ids=["to the end", "another base", "cut", "empty"],
)
def test_a_list_of_the_fourth_version(table: bytes, expected: list[tuple[int, int]]) -> None:
    found = {abbrev.RANGES: (0, 0)}
    assert list(info(debug_ranges=table)._ranges(unit(4), found)) == expected


ADDRESSES = words(0, 0, 0x9000, 0x9100)
"""After its header of 8 bytes: two addresses."""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (b"\4\1\2\0", [(BASE + 1, BASE + 2)]),
        (b"\5" + words(0x100) + b"\4\1\2\0", [(0x101, 0x102)]),
        (b"\1\0\4\1\2\0", [(0x9001, 0x9002)]),
        (b"\2\0\1\0", [(0x9000, 0x9100)]),
        (b"\3\0\x10\0", [(0x9000, 0x9010)]),
        (b"\6" + words(0x10, 0x20) + b"\0", [(0x10, 0x20)]),
        (b"\7" + words(0x10) + b"\5\0", [(0x10, 0x15)]),
        (b"\4\1\2", [(BASE + 1, BASE + 2)]),
        (b"\x63\4\1\2\0", []),
    ],
    ids=[
        "offsets",
        "base",
        "base x",
        "start x end x",
        "start x",
        "ends",
        "length",
        "cut",
        "unknown",
    ],
)
def test_a_list_of_the_fifth_version(table: bytes, expected: list[tuple[int, int]]) -> None:
    sections = info(debug_rnglists=table, debug_addr=ADDRESSES)
    assert list(sections._ranges(unit(), {abbrev.RANGES: (0, 0)})) == expected


def test_a_list_can_be_found_by_its_number() -> None:
    table = bytes(12) + words(0, 8) + b"\4\1\2\0"
    sections = info(debug_rnglists=table)
    found = {abbrev.RANGES: (abbrev.RANGE_LIST_INDEX_FORM, 1)}
    assert list(sections._ranges(unit(), found)) == [(BASE + 1, BASE + 2)]


def test_a_range_can_end_at_an_address_or_after_a_length() -> None:
    sections = info(debug_addr=ADDRESSES)
    low = (abbrev.ADDRESS_FORM, 0x10)
    index = next(iter(abbrev.ADDRESS_INDEX_FORMS))
    for high, expected in (
        ((abbrev.ADDRESS_FORM, 0x20), 0x20),
        ((index, 1), 0x9100),
        ((0, 8), 0x18),
    ):
        found = {abbrev.LOW: low, abbrev.HIGH: high}
        assert list(sections._ranges(unit(), found)) == [(0x10, expected)]
    assert list(sections._ranges(unit(), {abbrev.LOW: low})) == []


def test_a_string_is_found_wherever_it_stands() -> None:
    sections = info(
        debug_info=b"\0\0here\0",
        debug_line_str=b"line\0",
        debug_str=b"\0str\0",
        debug_str_offsets=bytes(8) + words(0, 1),
    )
    index = next(iter(abbrev.STRING_INDEX_FORMS))
    for form, value, expected in (
        (abbrev.STRING_FORM, 2, b"here"),
        (abbrev.LINE_STRING_FORM, 0, b"line"),
        (index, 1, b"str"),
        (abbrev.STRING_OFFSET_FORM, 1, b"str"),
        (0, 1, b""),
    ):
        assert sections._text(unit(), form, value) == expected
