"""What is kept of an image says what the image said: held to libraries, compiler and debugger."""

import io
import itertools
import re
import tracemalloc

import pytest
from elftools.elf.elffile import ELFFile

from custom_components.ulogger.capture.errors import InvalidImage
from custom_components.ulogger.capture.frames import iter_frames
from custom_components.ulogger.firmware import debug_sections
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.elf import LARGEST_IMAGE
from custom_components.ulogger.firmware.image_import import import_image, import_steps
from custom_components.ulogger.firmware.symbols import FirmwareImage

from ..support import made_captures as made
from ..support.arm_programs import debugger, program, symbol, tool
from ..support.fixtures import AGENT, SETS, RealCapture, real_core_dumps, real_logs

BUILDS = [
    ("-Og", "-g"),
    ("-O2", "-g", "-gdwarf-2"),
    ("-O2", "-g", "-gdwarf-3"),
    ("-Os", "-g", "-gdwarf-4"),
    ("-O2", "-g", "-gdwarf-5"),
    ("-O3", "-g3", "-funwind-tables", "-flto"),
]


def kept(data: bytes) -> CompactImage:
    return CompactImage.load(import_image(data))


@pytest.fixture(params=SETS)
def elf_bytes(request: pytest.FixtureRequest) -> bytes:
    return (AGENT / request.param / "firmware.elf").read_bytes()


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_frames_of_a_real_log_are_rendered_as_expected(capture: RealCapture) -> None:
    image = kept(capture.image)
    found = [
        (image.format_string(frame.address), image.render(frame))
        for frame in iter_frames(capture.data)
    ]
    assert found == [(frame["format"], frame["text"]) for frame in capture.expected["frames"]]


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_a_crash_is_found_in_the_source(capture: RealCapture) -> None:
    image = kept(capture.image)
    registers = capture.expected["registers"]
    pc, lr = image.place(registers["pc"]), image.place(registers["lr"], returning=True)
    assert {"function": pc.function, "location": pc.location} == capture.expected["pc_symbol"]
    assert {"function": lr.function, "location": lr.location} == capture.expected["lr_symbol"]


def test_modules_are_kept(elf_bytes: bytes) -> None:
    assert kept(elf_bytes).modules == FirmwareImage.load(elf_bytes).modules != {}


def test_functions_and_lines_are_those_of_the_image(elf_bytes: bytes) -> None:
    image, original = kept(elf_bytes), FirmwareImage.load(elf_bytes)
    for address in range(0x600):
        found = image.places(address)
        assert found[-1].function == original.place(address).function
        assert found[0].source == original.place(address).source


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_every_address_is_where_the_debugger_says(flags: tuple[str, ...]) -> None:
    """Function and line of each instruction, the inlined calls around it among them."""
    data = program(*flags)
    image = kept(data)
    assert image.damaged_units == 0
    addresses = code_of(data)
    commands = [f"info line *{address:#x}" for address in addresses]
    said = re.findall(r'Line (\d+) of "(\S+)"|No line number', debugger(data, None, *commands))
    assert len(said) == len(addresses) > 60
    wrong = [
        (hex(address), image.place(address).location, f"{file}:{line}")
        for address, (line, file) in zip(addresses, said, strict=True)
        if line and image.place(address).location != f"{file}:{line}"
    ]
    assert wrong == []


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_inlined_calls_are_those_of_a_library(flags: tuple[str, ...]) -> None:
    data = program(*flags)
    image = kept(data)
    expected = library_inlines(data)
    assert expected
    for address in code_of(data):
        names = [place.function for place in image.places(address)][:-1]
        assert names == [
            name
            for _, name in sorted(
                ((depth, name) for low, high, depth, name in expected if low <= address < high),
                reverse=True,
            )
        ]


def code_of(data: bytes) -> list[int]:
    """The even addresses of all functions."""
    image = kept(data)
    functions = {image.function_at(a) for start, end in image.code for a in range(start, end, 2)}
    return sorted(a for f in functions if f is not None for a in range(f.start, f.end, 2))


def library_inlines(data: bytes) -> list[tuple[int, int, int, str]]:
    """Start, end, depth and name of every inlined call, as pyelftools reads them."""
    dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info()
    lists = dwarf.range_lists()
    found = []

    def visit(die: object, depth: int, unit: object) -> None:
        if die.tag == "DW_TAG_inlined_subroutine":
            origin = die.get_DIE_from_attribute("DW_AT_abstract_origin")
            while "DW_AT_name" not in origin.attributes:
                origin = origin.get_DIE_from_attribute("DW_AT_abstract_origin")
            name = origin.attributes["DW_AT_name"].value.decode()
            for low, high in ranges(die, unit):
                found.append((low, high, depth, name))
        for child in die.iter_children():
            visit(child, depth + 1, unit)

    def ranges(die: object, unit: object) -> list[tuple[int, int]]:
        if "DW_AT_ranges" not in die.attributes:
            low = die.attributes["DW_AT_low_pc"].value
            high = die.attributes["DW_AT_high_pc"]
            return [(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]
        top = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
        base = top.value if top else 0
        result = []
        for entry in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, unit):
            if type(entry).__name__ == "BaseAddressEntry":
                base = entry.base_address
                continue
            shift = 0 if getattr(entry, "is_absolute", False) else base
            result.append((entry.begin_offset + shift, entry.end_offset + shift))
        return result

    for unit in dwarf.iter_CUs():
        visit(unit.get_top_DIE(), 0, unit)
    return found


@pytest.mark.parametrize("kind", ["zlib", "zlib-gnu", "zstd"])
def test_compressed_debug_sections_say_the_same(kind: str) -> None:
    data = program("-O2", "-g")
    packed = tool("objcopy", data, f"--compress-debug-sections={kind}")
    assert len(packed) < len(data)
    image, original = kept(packed), kept(data)
    for address in code_of(data):
        assert image.places(address) == original.places(address)
        assert image.rule(address) == original.rule(address)


def test_zstd_is_refused_with_its_name_where_python_lacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = tool("objcopy", program("-O2", "-g"), "--compress-debug-sections=zstd")
    monkeypatch.setattr(debug_sections, "zstd", None)
    with pytest.raises(InvalidImage, match="zstd") as refused:
        import_image(packed)
    assert refused.value.reason == "image_packed"


@pytest.mark.parametrize("kind", ["zlib", "zlib-gnu", "zstd"])
def test_a_compressed_section_that_is_damaged_is_refused(kind: str) -> None:
    packed = bytearray(tool("objcopy", program("-O2", "-g"), f"--compress-debug-sections={kind}"))
    sections = ELFFile(io.BytesIO(bytes(packed)))
    name = ".zdebug_line" if kind == "zlib-gnu" else ".debug_line"
    section = sections.get_section_by_name(name)
    start = section["sh_offset"]
    packed[start + 20 : start + 40] = bytes(20)
    with pytest.raises(InvalidImage) as refused:
        import_image(bytes(packed))
    assert refused.value.reason == "image_damaged"


def test_a_section_that_promises_too_much_is_refused_unread() -> None:
    packed = bytearray(tool("objcopy", program("-O2", "-g"), "--compress-debug-sections=zlib"))
    start = ELFFile(io.BytesIO(bytes(packed))).get_section_by_name(".debug_info")["sh_offset"]
    packed[start + 4 : start + 8] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(InvalidImage) as refused:
        import_image(bytes(packed))
    assert refused.value.reason == "image_too_large"


def test_a_section_that_has_more_than_it_promises_is_refused() -> None:
    packed = bytearray(tool("objcopy", program("-O2", "-g"), "--compress-debug-sections=zlib"))
    start = ELFFile(io.BytesIO(bytes(packed))).get_section_by_name(".debug_info")["sh_offset"]
    packed[start + 4 : start + 8] = (10).to_bytes(4, "little")
    with pytest.raises(InvalidImage) as refused:
        import_image(bytes(packed))
    assert refused.value.reason == "image_damaged"


def test_code_that_the_linker_left_out_is_not_found_where_other_code_is() -> None:
    """Dropped functions keep their debug information, at addresses from 0 on."""
    data = program("-O2", "-g", "-Wl,-Ttext=0x0")
    image = kept(data)
    unused = {place.function for a in range(0, 0x200, 2) for place in image.places(a)}
    assert "unused" not in unused


def test_a_stripped_image_still_renders_and_knows_its_code() -> None:
    capture = real_logs()[0]
    image = kept(tool("strip", capture.image))
    texts = [image.render(frame) for frame in iter_frames(capture.data)]
    assert texts == [frame["text"] for frame in capture.expected["frames"]]
    assert image.place(0x100).function is None
    assert image.is_code(0x100)


def test_functions_without_debug_information_are_found_by_their_symbols() -> None:
    data = tool("objcopy", program("-O2", "-g"), "--strip-debug")
    image = kept(data)
    place = image.place(symbol(data, "pump") + 4)
    assert (place.function, place.location) == ("pump", None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "invalid_image"),
        (b"MZ\x90", "invalid_image"),
        (bytes(100), "invalid_image"),
        (b"\x7fELF\x02\x01" + bytes(100), "invalid_image"),
        (bytes(LARGEST_IMAGE + 1), "image_too_large"),
        ((AGENT / "v4-crash" / "firmware.elf").read_bytes()[:-1], "image_damaged"),
        (made.elf([]), "image_without_symbols"),
        (made.elf([])[:18] + b"\x3e" + made.elf([])[19:], "image_unsupported"),
    ],
    ids=["empty", "another", "zeros", "64 bit", "too large", "cut", "nothing in it", "x86"],
)
def test_what_can_not_explain_anything_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidImage) as refused:
        import_image(data)
    assert refused.value.reason == reason
    assert str(refused.value)


def test_the_work_is_cut_into_steps() -> None:
    steps = import_steps(program("-O2", "-g"))
    assert len(list(itertools.islice(steps, 10))) == 10


def test_what_is_kept_is_a_fraction_of_the_image_and_read_without_a_copy() -> None:
    data = program("-O2", "-g")
    stored = import_image(data)
    assert len(stored) < len(data) / 2
    tracemalloc.start()
    image = CompactImage.load(stored)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.place(symbol(data, "pump")).function == "pump"
    assert taken < 64 * 1024
