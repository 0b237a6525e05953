"""Line tables made by hand, for what the compiler of the real images did not write."""

import struct

import pytest

from custom_components.ulogger.firmware.symbols import FirmwareImage

from ..support import made_captures as made

OPERANDS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
BASE, RANGE, FIRST_SPECIAL = -3, 9, 13
COPY, ADVANCE, LINE, FILE, COLUMN, CONSTANT, FIXED = 1, 2, 3, 4, 5, 8, 9
END = b"\0\1\1"
FILES = b"src\0lib/core\0\0" + b"main.c\0\1\0\0" + b"core.c\0\2\0\0" + b"/abs.c\0\1\0\0" + b"\0"


def start(address: int) -> bytes:
    return b"\0\5\2" + address.to_bytes(4, "little")


def unit(code: bytes, *, version: int = 4, files: bytes = FILES) -> bytes:
    head = b"\1" + (b"\1" if version >= 4 else b"")
    head += struct.pack("<BbBB", 1, BASE, RANGE, FIRST_SPECIAL) + OPERANDS + files
    return struct.pack("<HI", version, len(head)) + head + code


def place(address: int, *units: bytes) -> str | None:
    table = b"".join(struct.pack("<I", len(body)) + body for body in units)
    image = FirmwareImage.load(made.elf([(".debug_line", 1, 0, 0, table)]))
    source = image.place(address).source
    return source and f"{source.file}:{source.line}"


def special(line: int, advance: int) -> bytes:
    return bytes((line - BASE + RANGE * advance + FIRST_SPECIAL,))


@pytest.mark.parametrize("version", [2, 3, 4])
def test_rows_hold_addresses_up_to_the_next_row(version: int) -> None:
    code = start(0x100) + special(4, 0) + special(1, 4) + special(-2, 6) + b"\2\2" + END
    table = unit(code, version=version)
    found = [place(address, table) for address in (0xFE, 0x100, 0x102, 0x104, 0x10A, 0x10C)]
    assert found == [None, "src/main.c:5", "src/main.c:5", "src/main.c:6", "src/main.c:4", None]


def test_every_standard_opcode_moves_what_it_should() -> None:
    constant = (255 - FIRST_SPECIAL) // RANGE
    code = start(0) + bytes((LINE, 0x7F, LINE, 5, COPY))
    code += bytes((ADVANCE, 0x90, 1, FILE, 2, COLUMN, 9, COPY))
    code += bytes((CONSTANT, COPY, FIXED, 0x00, 0x02, FILE, 3, 12, 1, COPY))
    code += bytes((ADVANCE, 2)) + END
    table = unit(code)
    assert place(0, table) == "src/main.c:5"
    assert place(0x8E, table) == "src/main.c:5"
    assert place(0x90, table) == "lib/core/core.c:5"
    assert constant % 2 == 0
    assert place(0x90 + constant + 0x200, table) == "/abs.c:5"
    assert place(0x90 + constant + 0x200 - 2, table) == "lib/core/core.c:5"


def test_the_sequence_nearest_below_an_address_is_found_among_many() -> None:
    units = [
        unit(start(n * 16) + special(n % 5, 0) + bytes((ADVANCE, 16)) + END) for n in range(700)
    ]
    for number in (0, 1, 350, 699):
        assert place(number * 16 + 8, *units) == f"src/main.c:{1 + number % 5}"
        assert place(number * 16 + 8, *reversed(units)) == f"src/main.c:{1 + number % 5}"


def test_a_damaged_unit_does_not_hide_the_others() -> None:
    good = unit(start(0x100) + special(4, 0) + bytes((ADVANCE, 8)) + END)
    damaged = [
        unit(start(0x100) + b"\0\0"),
        unit(start(0x100), version=9),
        unit(start(0x100), files=b"endless"),
        unit(start(0x100) + b"\2" + b"\xff" * 40),
        unit(b"")[:8] + start(0x100),
    ]
    for bad in damaged:
        assert place(0x104, bad, good) == "src/main.c:5"


def test_a_file_that_the_table_does_not_name_is_shown_as_unknown() -> None:
    code = start(0) + bytes((FILE, 9, COPY, ADVANCE, 8)) + END
    assert place(0, unit(code)) == "?:1"


def test_the_long_format_of_dwarf_is_left_alone() -> None:
    image = made.elf([(".debug_line", 1, 0, 0, b"\xff" * 12 + start(0x100))])
    assert FirmwareImage.load(image).place(0x100).source is None
