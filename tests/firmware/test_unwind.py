"""Backtraces of programs that crash on an emulated processor, with gdb as the judge."""

import io
import struct

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from custom_components.ulogger.capture.core_dump import CoreDump, MemoryRegion
from custom_components.ulogger.firmware import unwind as unwinding
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.firmware.unwind import MOST_CANDIDATES, Certainty, StackFrame, unwind
from custom_components.ulogger.firmware.unwind_rules import LR, PC, SP, Register, Rule, Saved
from custom_components.ulogger.insight.core_file import core_file

from ..support import made_captures as made
from ..support.arm_programs import (
    STACK_TOP,
    backtrace,
    crash,
    dump_of,
    program,
    symbol,
    tool,
)
from ..support.fixtures import AGENT, SETS

BUILDS = [
    ("-Og", "-g"),
    ("-O0", "-g"),
    ("-O1", "-g", "-gdwarf-3"),
    ("-O2", "-g"),
    ("-Os", "-g", "-gdwarf-4"),
    ("-O2", "-g", "-fno-omit-frame-pointer"),
]
CHAIN = ["read_register", "open_valve", "pump", "dispatch", "loop", "main", "reset"]
EXACT, CANDIDATE = Certainty.EXACT, Certainty.CANDIDATE


def kept(data: bytes) -> CompactImage:
    return CompactImage.load(import_image(data))


def functions(image: CompactImage, frames: list[StackFrame]) -> list[str | None]:
    """All functions of some frames, those that are inlined among them."""
    return [
        place.function
        for frame in frames
        for place in image.places(frame.address, returning=frame.returning)
    ]


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_a_crash_is_followed_to_the_reset(flags: tuple[str, ...]) -> None:
    data = program(*flags)
    image = kept(data)
    frames = unwind(image, CoreDump.parse(crash(data)))
    assert functions(image, frames) == CHAIN
    assert {frame.certainty for frame in frames} == {EXACT}


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_the_debugger_shows_the_same_backtrace(flags: tuple[str, ...]) -> None:
    data = program(*flags)
    image, dump = kept(data), CoreDump.parse(crash(data))
    expected = backtrace(data, core_file(dump))
    found = [
        (place.function, place.location)
        for frame in unwind(image, dump)
        for place in image.places(frame.address, returning=frame.returning)
    ]
    assert len(expected) == len(CHAIN)
    assert found == expected


@pytest.mark.parametrize("flags", BUILDS[:4], ids=" ".join)
def test_at_every_instruction_the_debugger_shows_the_same_backtrace(flags: tuple[str, ...]) -> None:
    """In prologues and epilogues, too, where frames are half built."""
    data = program(*flags)
    image = kept(data)
    for after in range(20, 260, 23):
        dump = CoreDump.parse(crash(data, after=after))
        frames = unwind(image, dump)
        assert functions(image, frames) == [name for name, _ in backtrace(data, core_file(dump))]
        assert functions(image, frames)[-1] == "reset"
        assert {frame.certainty for frame in frames} == {EXACT}


@pytest.mark.parametrize("name", SETS)
def test_rules_are_those_of_a_library(name: str) -> None:
    check_rules((AGENT / name / "firmware.elf").read_bytes())


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_rules_of_every_build_are_those_of_a_library(flags: tuple[str, ...]) -> None:
    check_rules(program(*flags))


def check_rules(data: bytes) -> None:
    image = kept(data)
    checked = 0
    for entry in ELFFile(io.BytesIO(data)).get_dwarf_info().CFI_entries():
        if not isinstance(entry, FDE) or not image.is_code(entry["initial_location"]):
            continue
        rows = entry.get_decoded().table
        ends = [row["pc"] for row in rows[1:]]
        ends.append(entry["initial_location"] + entry["address_range"])
        for row, end in zip(rows, ends, strict=True):
            for address in range(row["pc"], end, 2):
                rule = image.rule(address)
                assert rule is not None
                assert (rule.register, rule.offset) == (row["cfa"].reg, row["cfa"].offset)
                saved = {r.number: r.value for r in rule.registers if r.saved is Saved.AT}
                assert saved == {n: row[n].arg for n in row if isinstance(n, int) and n < 16}
                checked += 1
    assert checked > 50


def test_without_debug_information_the_tables_for_exceptions_lead_on() -> None:
    data = tool("objcopy", program("-O2", "-g", "-funwind-tables"), "--strip-debug")
    image = kept(data)
    frames = unwind(image, CoreDump.parse(crash(data)))
    assert functions(image, frames) == CHAIN[1:]
    assert {frame.certainty for frame in frames} == {EXACT}


def test_without_any_table_there_are_candidates_behind_calls() -> None:
    data = tool("objcopy", program("-O2", "-g"), "--strip-debug", "-R", ".ARM.exidx")
    image = kept(data)
    frames = unwind(image, CoreDump.parse(crash(data)))
    assert frames[0].certainty is EXACT
    assert {frame.certainty for frame in frames[1:]} == {CANDIDATE}
    assert functions(image, frames) == CHAIN[1:]


def test_where_the_stack_was_not_dumped_the_exact_frames_end() -> None:
    data = program("-O2", "-g")
    image = kept(data)
    frames = unwind(image, CoreDump.parse(crash(data, stack=100)))
    assert functions(image, frames)[:4] == CHAIN[:4]
    assert len(functions(image, frames)) < len(CHAIN)


def test_where_a_return_address_was_overwritten_candidates_follow() -> None:
    data = program("-O2", "-g")
    image = kept(data)
    dump = bytearray(crash(data))
    back = symbol(data, "dispatch")
    returns = unwind(image, CoreDump.parse(bytes(dump)))[2].address | 1
    at = dump.index(struct.pack("<I", returns))
    dump[at : at + 4] = struct.pack("<I", back | 1)
    frames = unwind(image, CoreDump.parse(bytes(dump)))
    assert [frame.certainty for frame in frames[:2]] == [EXACT, EXACT]
    assert {frame.certainty for frame in frames[2:]} == {CANDIDATE}
    assert set(CHAIN[4:]) <= set(functions(image, frames[2:]))


def test_a_jump_to_nowhere_names_the_caller_as_a_candidate() -> None:
    data = program("-O2", "-g")
    image, dump = kept(data), CoreDump.parse(crash(data))
    frames = unwind(image, dump)
    registers = list(dump.registers.values())[:16]
    registers[14:16] = [frames[1].address | 1, 0xDEAD_BEEE]
    registers[13] += 24
    region = dump.regions[0]
    jumped = CoreDump.parse(dump_of(registers, [(region.start, region.data)]))
    found = unwind(image, jumped)
    assert functions(image, found)[1:] == CHAIN[2:]
    assert {frame.certainty for frame in found[1:]} == {CANDIDATE}


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_an_exception_is_followed_to_what_it_interrupted(extended: bool, aligned: bool) -> None:
    """A handler that faults: the processor's own frame is on the stack."""
    data = program("-O2", "-g")
    image, dump = kept(data), CoreDump.parse(crash(data))
    region = dump.regions[0]
    saved = dump.registers
    size = (0x68 if extended else 0x20) + (4 if aligned else 0)
    top = saved["sp"] - size
    frame = [saved[name] for name in ("r0", "r1", "r2", "r3", "r12", "lr", "pc")]
    frame.append(1 << 24 | (0x200 if aligned else 0))
    stack = struct.pack("<8I", *frame) + bytes(size - 32) + region.data
    registers = list(saved.values())[:16]
    registers[13:16] = [top, 0xFFFF_FFE9 if extended else 0xFFFF_FFF9, symbol(data, "pump")]
    inside = CoreDump.parse(dump_of(registers, [(top, stack)]))
    found = unwind(image, inside)
    assert functions(image, found) == ["pump", *CHAIN]
    assert {frame.certainty for frame in found} == {EXACT}


def test_a_stack_that_leads_in_circles_ends() -> None:
    data = program("-O2", "-g")
    image = kept(data)
    word = unwind(image, CoreDump.parse(crash(data)))[3].address | 1
    registers = [STACK_TOP - 4096] * 13 + [STACK_TOP - 4096, word, word & ~1]
    dump = CoreDump.parse(dump_of(registers, [(STACK_TOP - 4096, struct.pack("<I", word) * 1024)]))
    assert 1 < len(unwind(image, dump)) <= 64 + MOST_CANDIDATES


def test_a_dump_of_an_unknown_format_has_no_frames() -> None:
    dump = CoreDump.parse(made.core_dump(b"other", version=9))
    assert unwind(kept(program("-O2", "-g")), dump) == []


def test_a_rule_that_was_remembered_comes_back() -> None:
    """Behind a return in the middle of a function."""
    common = struct.pack("<II", 12, 0xFFFF_FFFF) + bytes((1, 0, 2, 0x7C, 14, 12, 13, 0))
    code = bytes((0x41, 0x0E, 8, 0x8E, 1, 0x0A, 0x41, 0x0E, 0, 0xCE, 0x41, 0x0B, 0, 0, 0, 0))
    entry = struct.pack("<IIII", 12 + len(code), 0, 0x100, 0x40) + code
    text = (".text", 1, 6, 0x100, bytes(0x40))
    image = kept(made.elf([text, (".debug_frame", 1, 0, 0, common + entry)]))
    rules = [image.rule(address) for address in (0x100, 0x102, 0x104, 0x106, 0x13E, 0x140)]
    assert [rule and (rule.offset, len(rule.registers)) for rule in rules] == [
        (0, 0),
        (8, 1),
        (0, 0),
        (8, 1),
        (8, 1),
        None,
    ]


RULES = {
    "in memory": (Register(LR, Saved.AT, -4), 0x1111),
    "in a register": (Register(LR, Saved.IN, 5), 0x2222),
    "the frame itself": (Register(LR, Saved.IS, -8), 0x2000_0008),
    "nowhere, but not the return address": (Register(4, Saved.LOST, 0), 0x3333),
}


@pytest.mark.parametrize(("register", "back"), RULES.values(), ids=RULES)
def test_a_rule_says_where_the_return_address_is(register: Register, back: int) -> None:
    memory = unwinding._Stack(
        [MemoryRegion(0x2000_0000, 0x2000_0010, struct.pack("<4I", 0, 0, 0, 0x1111))]
    )
    registers = {**dict.fromkeys(range(16), 0), SP: 0x2000_0000, 5: 0x2222, LR: 0x3333}
    caller = unwinding._caller(Rule(SP, 16, (register,)), registers, memory)
    assert (caller[PC], caller[SP]) == (back, 0x2000_0010)


def test_a_frame_whose_return_address_is_lost_is_the_outermost_one() -> None:
    rule = Rule(SP, 0, (Register(LR, Saved.LOST, 0),))
    with pytest.raises(unwinding._Outermost):
        unwinding._caller(rule, dict.fromkeys(range(16), 0), unwinding._Stack([]))
