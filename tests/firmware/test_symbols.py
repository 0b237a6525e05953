"""Firmware images: format strings, modules, functions and source lines."""

import io
import itertools
import struct

import pytest
from elftools.dwarf.lineprogram import LineState
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from custom_components.ulogger.capture.errors import InvalidImage
from custom_components.ulogger.capture.frames import iter_frames
from custom_components.ulogger.firmware.elf import LARGEST_IMAGE
from custom_components.ulogger.firmware.source_lines import SourceLine
from custom_components.ulogger.firmware.symbols import CodePlace, FirmwareImage

from ..support import made_captures as made
from ..support.fixtures import AGENT, SETS, RealCapture, real_core_dumps, real_log, real_logs

MODULES = {0: "MAIN", 1: "SYSTEM", 2: "COMM", 3: "SENSOR", 4: "POWER"}
ALLOC = 2


@pytest.fixture(params=SETS)
def elf_bytes(request: pytest.FixtureRequest) -> bytes:
    return (AGENT / request.param / "firmware.elf").read_bytes()


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_frames_of_a_real_log_are_rendered_as_expected(capture: RealCapture) -> None:
    image = FirmwareImage.load(capture.image)
    found = [
        (image.format_string(frame.address), image.render(frame))
        for frame in iter_frames(capture.data)
    ]
    assert found == [(frame["format"], frame["text"]) for frame in capture.expected["frames"]]


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_a_crash_is_found_in_the_source(capture: RealCapture) -> None:
    image = FirmwareImage.load(capture.image)
    registers = capture.expected["registers"]
    pc, lr = image.place(registers["pc"]), image.place(registers["lr"], returning=True)
    assert {"function": pc.function, "location": pc.location} == capture.expected["pc_symbol"]
    assert {"function": lr.function, "location": lr.location} == capture.expected["lr_symbol"]


def test_modules_are_read_from_their_table(elf_bytes: bytes) -> None:
    assert FirmwareImage.load(elf_bytes).modules == MODULES


def test_a_frame_names_its_module() -> None:
    capture = real_log("v4-crash")
    image = FirmwareImage.load(capture.image)
    names = [image.module(frame) for frame in iter_frames(capture.data)]
    assert names[:5] == ["MAIN", "SYSTEM", "SENSOR", "COMM", None]


def test_functions_are_those_that_an_elf_library_finds(elf_bytes: bytes) -> None:
    image = FirmwareImage.load(elf_bytes)
    table = ELFFile(io.BytesIO(elf_bytes)).get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    functions = [
        symbol
        for symbol in table.iter_symbols()
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]
    ]
    assert functions
    for symbol in functions:
        assert image.place(symbol["st_value"]).function == symbol.name


def test_source_lines_are_those_that_an_elf_library_finds(elf_bytes: bytes) -> None:
    image = FirmwareImage.load(elf_bytes)
    lines = list(library_lines(elf_bytes))
    assert len(lines) > 50
    for address, location in lines:
        assert image.place(address).location == location


def library_lines(elf_bytes: bytes) -> list[tuple[int, str]]:
    """Every even address that the debug information covers, with its line.

    Of rows of one address the last one counts that begins a statement, as in a debugger.
    """
    dwarf = ELFFile(io.BytesIO(elf_bytes)).get_dwarf_info()
    found = []
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        states: list[LineState] = []
        for entry in program.get_entries():
            row = entry.state
            if row is None or (not row.line and not row.end_sequence):
                continue
            last = states[-1] if states else row
            begins = last.is_stmt and not last.end_sequence and last.address == row.address
            if begins and not row.is_stmt and not row.end_sequence:
                continue
            states.append(row)
        first_file = 1 if program["version"] < 5 else 0
        for row, after in itertools.pairwise(states):
            if row.end_sequence or row.address == after.address:
                continue
            name = program["file_entry"][row.file - first_file].name.decode()
            place = f"{name.rpartition('/')[2]}:{row.line}"
            found += [(address, place) for address in range(row.address, after.address, 2)]
    return found


def test_the_thumb_bit_of_an_address_does_not_matter(elf_bytes: bytes) -> None:
    image = FirmwareImage.load(elf_bytes)
    for address, _ in library_lines(elf_bytes)[:40]:
        assert image.place(address | 1) == image.place(address)
        assert image.place(address | 1, returning=True) == image.place(address, returning=True)


def test_a_location_has_no_folders_of_any_kind() -> None:
    for path in ("src/main.c", r"C:\work\src\main.c", "main.c"):
        assert CodePlace(None, SourceLine(path, 7)).location == "main.c:7"


def test_an_image_without_sections_is_read_by_its_segments() -> None:
    capture = real_log("v4-crash")
    stripped = bytearray(capture.image)
    stripped[48:52] = bytes(4)
    image = FirmwareImage.load(bytes(stripped))
    texts = [image.render(frame) for frame in iter_frames(capture.data)]
    assert texts == [frame["text"] for frame in capture.expected["frames"]]
    assert image.place(capture.expected["header"]["version"]).function is None


def test_compressed_debug_information_is_not_taken_for_line_tables() -> None:
    data = bytearray((AGENT / "v4-crash" / "firmware.elf").read_bytes())
    sections = ELFFile(io.BytesIO(data))
    number = sections.get_section_index(".debug_line")
    data[sections["e_shoff"] + 40 * number + 9] |= 0x08
    pc = real_core_dumps()[1].expected["registers"]["pc"]
    place = FirmwareImage.load(bytes(data)).place(pc)
    assert (place.function, place.location) == ("read_register", None)


def test_an_address_outside_of_the_program_has_no_place(elf_bytes: bytes) -> None:
    place = FirmwareImage.load(elf_bytes).place(0xFFFF_FFF9)
    assert (place.function, place.source, place.location) == (None, None, None)


def test_an_image_without_debug_information_still_gives_text_and_functions() -> None:
    strings = b"hello %d\0"
    names = b"\0main\0"
    symbol = struct.pack("<IIIBBH", 1, 0x401, 8, 2, 0, 1)
    image = FirmwareImage.load(
        made.elf(
            [
                (".rodata", 1, ALLOC, 0x400, strings),
                (".symtab", 2, 0, 0, bytes(16) + symbol),
                (".strtab", 3, 0, 0, names),
            ]
        )
    )
    (frame,) = iter_frames(made.log((1, made.payload((0x11, b"\x07"), address=0x400))))
    assert image.render(frame) == "hello 7"
    assert image.place(0x404).function == "main"
    assert image.place(0x404).location is None
    assert image.modules == {}


def test_modules_are_found_by_their_section_when_symbols_are_stripped() -> None:
    table = struct.pack("<IIII", 0x400, 1 << 3, 0x406, 1 << 9)
    image = FirmwareImage.load(
        made.elf(
            [
                (".rodata", 1, ALLOC, 0x400, b"RADIO\0CLOUD\0"),
                (".ulogger.debug_modules", 1, ALLOC, 0x500, table),
            ]
        )
    )
    assert image.modules == {3: "RADIO", 9: "CLOUD"}


def test_a_frame_of_another_firmware_has_no_text() -> None:
    image = FirmwareImage.load(real_log("v3-long").image)
    (frame,) = iter_frames(made.log((1, made.payload(address=0x0800_0000))))
    assert image.render(frame) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"MZ\x90", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01" + bytes(100), bytes(100)],
    ids=["empty", "another kind", "cut", "64 bit", "zeros"],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage) as refused:
        FirmwareImage.load(data)
    assert not refused.value.retryable


def test_an_image_that_lacks_its_tables_is_refused(elf_bytes: bytes) -> None:
    with pytest.raises(InvalidImage):
        FirmwareImage.load(elf_bytes[:-1])


def test_an_image_with_very_many_sections_is_refused(elf_bytes: bytes) -> None:
    data = bytearray(elf_bytes)
    data[48:50] = b"\xff\xff"
    with pytest.raises(InvalidImage, match="too many"):
        FirmwareImage.load(bytes(data))


def test_an_image_with_section_headers_of_another_size_is_refused(elf_bytes: bytes) -> None:
    data = bytearray(elf_bytes)
    data[46:48] = b"\x01\x00"
    with pytest.raises(InvalidImage):
        FirmwareImage.load(bytes(data))


def test_an_image_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidImage, match="too large"):
        FirmwareImage.load(bytes(LARGEST_IMAGE + 1))
