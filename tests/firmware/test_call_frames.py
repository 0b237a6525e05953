"""``.debug_frame`` instruction by instruction, as the DWARF standard has them."""

from collections.abc import Sequence
from typing import cast

import pytest

from custom_components.ulogger.firmware.call_frames import LARGEST_ENTRY, read_call_frames
from custom_components.ulogger.firmware.elf import Sections
from custom_components.ulogger.firmware.steps import finished
from custom_components.ulogger.firmware.unwind_rules import (
    LR,
    SP,
    Register,
    Rule,
    Saved,
    UnwindTable,
    rule_at,
)

START, SIZE = 0x8000, 0x40
DEF_CFA_SP_8 = bytes([0x0C, SP, 8])
SAVE_LR = bytes([0x80 | LR, 1])
"""LR is at the frame's address, less 4: the data factor is -4."""


class Table:
    """Sections of which only one is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def section(self, name: str) -> memoryview:
        assert name == ".debug_frame"
        return memoryview(self._data)


def entry(pointer: int, body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4, "little") + pointer.to_bytes(4, "little") + body


def common(
    code: bytes = DEF_CFA_SP_8,
    *,
    version: int = 3,
    augmentation: bytes = b"",
    factors: bytes = bytes([2, 0x7C]),
    returns_in: int = LR,
    sizes: bytes = bytes([4, 0]),
) -> bytes:
    """Return the entry that functions share: code factor 2, data factor -4."""
    head = bytes([version]) + augmentation + b"\0" + (sizes if version == 4 else b"")
    return entry(0xFFFF_FFFF, head + factors + bytes([returns_in]) + code)


def function(code: bytes, *, start: int = START, size: int = SIZE, pointer: int = 0) -> bytes:
    return entry(pointer, start.to_bytes(4, "little") + size.to_bytes(4, "little") + code)


def table(*entries: bytes) -> UnwindTable:
    sections = cast("Sections", Table(b"".join(entries)))
    return finished(read_call_frames(sections, lambda _address: True))


def rows(found: UnwindTable) -> list[tuple[int, Rule | None]]:
    """Return the addresses with the rules that hold from there on."""
    words = memoryview(found.words)
    return [
        (address, rule_at(words, number))
        for address, number in zip(found.addresses, found.rules, strict=True)
    ]


def rule(code: Sequence[int] | bytes) -> Rule | None:
    """Return the rule of a function that has these instructions."""
    (_, found), (end, none) = rows(table(common(), function(bytes(code))))
    assert (end, none) == (START + SIZE, None)
    return found


BEGINS = Rule(SP, 8)


@pytest.mark.parametrize("version", [1, 3, 4])
@pytest.mark.parametrize("augmentation", [b"", b"armcc+"])
def test_versions_and_augmentations_that_are_known_are_read(
    version: int, augmentation: bytes
) -> None:
    found = table(common(version=version, augmentation=augmentation), function(b""))
    assert rows(found) == [(START, BEGINS), (START + SIZE, None)]


@pytest.mark.parametrize(
    "shared",
    [
        common(version=2),
        common(augmentation=b"eh"),
        common(version=4, sizes=bytes([8, 0])),
        common(version=4, sizes=bytes([4, 1])),
        common(returns_in=13),
        common()[:9],
        common(bytes([0x0C, SP])),
        common(bytes([0x3F, 1])),
        function(b""),
    ],
    ids=[
        "version",
        "augmentation",
        "address",
        "segment",
        "return",
        "cut",
        "operand",
        "opcode",
        "fde",
    ],
)
def test_functions_of_an_entry_that_is_not_understood_are_left_out(shared: bytes) -> None:
    assert rows(table(shared, function(b""))) == []


def test_an_entry_that_is_too_large_is_passed_over() -> None:
    large = function(bytes(LARGEST_ENTRY))
    found = table(common(), large, function(b"", start=0x9000))
    assert rows(found) == [(0x9000, BEGINS), (0x9000 + SIZE, None)]
    assert rows(table(common(bytes(LARGEST_ENTRY)), function(b""))) == []


def test_an_entry_of_64_bit_dwarf_ends_the_table() -> None:
    assert rows(table(common(), b"\xff\xff\xff\xff" + bytes(20), function(b""))) == []


@pytest.mark.parametrize(
    ("advance", "steps"),
    [
        (bytes([0x43]), 3),
        (bytes([0x02, 3]), 3),
        (bytes([0x03, 3, 0]), 3),
        (bytes([0x04, 3, 0, 0, 0]), 3),
    ],
)
def test_a_rule_holds_from_where_the_table_advances_to(advance: bytes, steps: int) -> None:
    code = advance + bytes([0x0E, 16])
    assert rows(table(common(), function(code))) == [
        (START, BEGINS),
        (START + 2 * steps, Rule(SP, 16)),
        (START + SIZE, None),
    ]


def test_a_location_can_be_set() -> None:
    code = bytes([0x01]) + (START + 0x10).to_bytes(4, "little") + bytes([0x0E, 24])
    assert rows(table(common(), function(code)))[1] == (START + 0x10, Rule(SP, 24))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ([0x0E, 16], Rule(SP, 16)),
        ([0x13, 0x7E], Rule(SP, 8)),
        ([0x0D, 7], Rule(7, 8)),
        ([0x0C, 7, 12], Rule(7, 12)),
        ([0x12, 7, 0x7D], Rule(7, 12)),
        ([0x80 | 4, 2], Rule(SP, 8, (Register(4, Saved.AT, -8),))),
        ([0x05, 4, 2], Rule(SP, 8, (Register(4, Saved.AT, -8),))),
        ([0x11, 4, 0x7E], Rule(SP, 8, (Register(4, Saved.AT, 8),))),
        ([0x14, 4, 2], Rule(SP, 8, (Register(4, Saved.IS, -8),))),
        ([0x15, 4, 0x7E], Rule(SP, 8, (Register(4, Saved.IS, 8),))),
        ([0x09, 4, 5], Rule(SP, 8, (Register(4, Saved.IN, 5),))),
        ([0x09, 4, 40], Rule(SP, 8, (Register(4, Saved.LOST, 40),))),
        ([0x07, LR], Rule(SP, 8, (Register(LR, Saved.LOST, 0),))),
        ([0x10, 4, 2, 0x30, 0x31], Rule(SP, 8, (Register(4, Saved.LOST, 0),))),
        ([0x16, 4, 1, 0x30], Rule(SP, 8, (Register(4, Saved.LOST, 0),))),
        ([0x2E, 4], BEGINS),
        ([0x00, 0x00], BEGINS),
        ([0x05, 0x40, 2], BEGINS),
        ([0x80 | 4, 2, 0x08, 4], BEGINS),
        ([0x80 | 4, 2, 0xC0 | 4], BEGINS),
        ([0x80 | 4, 2, 0x06, 4], BEGINS),
        ([0x0A, 0x0E, 32, 0x80 | 4, 2, 0x0B], BEGINS),
    ],
)
def test_each_instruction_does_what_the_standard_says(code: list[int], expected: Rule) -> None:
    assert rule(code) == expected


def test_a_frame_whose_address_is_computed_has_no_rule() -> None:
    assert rows(table(common(), function(bytes([0x0F, 2, 0x30, 0x31])))) == [(START, None)]


def test_a_register_is_restored_to_what_all_functions_begin_with() -> None:
    code = bytes([0x80 | LR, 3, 0xC0 | LR])
    found = table(common(DEF_CFA_SP_8 + SAVE_LR), function(code))
    assert rows(found)[0] == (START, Rule(SP, 8, (Register(LR, Saved.AT, -4),)))


@pytest.mark.parametrize(
    "code",
    [
        [0x0B],
        [0x0A] * 17,
        [0x3F, 1],
        [0x05, 4, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        [0x0E],
    ],
    ids=["nothing kept", "too much kept", "unknown", "far away", "cut"],
)
def test_a_function_that_is_damaged_is_left_out_and_the_next_is_read(code: list[int]) -> None:
    found = table(common(), function(bytes(code)), function(b"", start=0x9000))
    assert rows(found) == [(0x9000, BEGINS), (0x9000 + SIZE, None)]
