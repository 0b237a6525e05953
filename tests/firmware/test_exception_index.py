"""``.ARM.exidx`` instruction by instruction, as Arm's exception handling ABI has them."""

from typing import cast

import pytest

from custom_components.ulogger.firmware.elf import ElfFile
from custom_components.ulogger.firmware.exception_index import read_exception_index
from custom_components.ulogger.firmware.steps import finished
from custom_components.ulogger.firmware.unwind_rules import (
    LR,
    SP,
    Register,
    Rule,
    Saved,
    rule_at,
)

INDEX, EXTRA, CODE, END = 0x2000, 0x3000, 0x8000, 0x8100
CANT_UNWIND = 1


class Section:
    address = INDEX


class Image:
    """An image with an index, and words of ``.ARM.extab``."""

    code = ((CODE, END),)

    def __init__(self, entries: list[tuple[int, int]], extra: bytes = b"") -> None:
        words = []
        for number, (function, second) in enumerate(entries):
            words += [(function - INDEX - 8 * number) & 0x7FFF_FFFF, second]
        self._index = b"".join(word.to_bytes(4, "little") for word in words)
        self._extra = extra

    def stored(self, name: str) -> tuple[Section, bytes] | None:
        assert name == ".ARM.exidx"
        return (Section(), self._index) if self._index else None

    def read(self, address: int, size: int) -> bytes | None:
        at = address - EXTRA
        found = self._extra[at : at + size] if at >= 0 else b""
        return found if len(found) == size else None


def rules(image: Image) -> list[tuple[int, Rule | None]]:
    table = finished(read_exception_index(cast("ElfFile", image), lambda _address: True))
    words = memoryview(table.words)
    return [
        (address, rule_at(words, number))
        for address, number in zip(table.addresses, table.rules, strict=True)
    ]


def rule(*code: int) -> Rule | None:
    """Return the rule of a function with these instructions, up to three, in its entry."""
    second = 0x8000_0000 | int.from_bytes(bytes([*code, 0xB0, 0xB0, 0xB0][:3]))
    found = rules(Image([(CODE, second)]))
    return found[0][1] if found else None


def out_of_line(*stored: int) -> Rule | None:
    """Return the rule of a function whose instructions stand in ``.ARM.extab``."""
    extra = b"".join(word.to_bytes(4, "little") for word in stored)
    found = rules(Image([(CODE, (EXTRA - INDEX - 4) & 0x7FFF_FFFF)], extra))
    return found[0][1] if found else None


def saved(*registers: int, offset: int = 0) -> tuple[Register, ...]:
    """Return registers that were pushed in this order, the last of them below the frame."""
    size = 4 * len(registers) + offset
    return tuple(Register(each, Saved.AT, 4 * at - size) for at, each in enumerate(registers))


def test_an_image_without_an_index_has_no_rules() -> None:
    assert rules(Image([])) == []


def test_a_function_reaches_up_to_the_next_and_the_last_one_to_the_end_of_the_code() -> None:
    image = Image([(CODE + 0x40, 0x8001_B0B0), (CODE, 0x80B0_B0B0)])
    assert rules(image) == [
        (CODE, Rule(SP, 0)),
        (CODE + 0x40, Rule(SP, 8)),
        (END, None),
    ]


def test_a_function_that_nothing_goes_back_from_is_the_outermost_one() -> None:
    found = rules(Image([(CODE, CANT_UNWIND)]))
    assert found[0] == (CODE, Rule(SP, 0, (Register(LR, Saved.LOST, 0),)))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ((0x01,), Rule(SP, 8)),
        ((0x3F,), Rule(SP, 256)),
        ((0x41,), Rule(SP, -8)),
        ((0x97,), Rule(7, 0)),
        ((0xA0,), Rule(SP, 4, saved(4))),
        ((0xA9,), Rule(SP, 12, saved(4, 5, LR))),
        ((0x84, 0x01), Rule(SP, 8, saved(4, LR))),
        ((0x88, 0x00), Rule(SP, 4, saved(LR))),
        ((0xB1, 0x03), Rule(SP, 8, saved(0, 1))),
        ((0xB2, 0x01), Rule(SP, 0x208)),
        ((0xB2, 0x81, 0x01), Rule(SP, 0x204 + (129 << 2))),
        ((0xB3, 0x01), Rule(SP, 20)),
        ((0xB9,), Rule(SP, 20)),
        ((0xC9, 0x01), Rule(SP, 16)),
        ((0xC8, 0x00), Rule(SP, 8)),
        ((0xD1,), Rule(SP, 16)),
        ((0xB4,), Rule(SP, 4)),
        ((0xB0, 0x01), Rule(SP, 0)),
    ],
)
def test_each_instruction_does_what_the_standard_says(
    code: tuple[int, ...], expected: Rule
) -> None:
    assert rule(*code) == expected


@pytest.mark.parametrize(
    "code",
    [
        (0x80, 0x00),
        (0x82, 0x00),
        (0x9D,),
        (0x9F,),
        (0xA0, 0x97),
        (0xA0, 0x94),
        (0xB1, 0x00),
        (0xB1, 0x10),
        (0xC0,),
        (0xF0,),
    ],
)
def test_instructions_that_are_not_understood_give_no_rule(code: tuple[int, ...]) -> None:
    assert rule(*code) is None


def test_a_personality_of_an_unknown_kind_gives_no_rule() -> None:
    assert rules(Image([(CODE, 0x8101_B0B0)])) == [(CODE, None)]


def test_instructions_that_stand_out_of_line_are_read_in_each_form() -> None:
    assert out_of_line(0x8001_B0B0) == Rule(SP, 8)
    assert out_of_line(0x8101_01B0, 0xB0B0_B0B0) == Rule(SP, 8)
    assert out_of_line(0x8201_0101, 0xA0B0_B0B0) == Rule(SP, 20, (Register(4, Saved.AT, -4),))
    generic = out_of_line(0x0000_1234, 0x0001_01B0)
    assert generic == Rule(SP, 16)
    assert out_of_line(0x0000_1234, 0x0101_0101, 0xA0B0_B0B0) == Rule(
        SP, 28, (Register(4, Saved.AT, -4),)
    )


@pytest.mark.parametrize(
    "words",
    [
        (),
        (0x8301_B0B0,),
        (0x8101_01B0,),
        (0x81FF_01B0, 0xB0B0_B0B0),
        (0x0000_1234,),
        (0x0000_1234, 0x0201_0101, 0xA0B0_B0B0),
    ],
)
def test_what_is_missing_out_of_line_gives_no_rule(words: tuple[int, ...]) -> None:
    assert out_of_line(*words) is None
