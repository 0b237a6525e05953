"""A crash as a report: fault, place, backtrace and fingerprint."""

import json
import struct
from dataclasses import replace

import pytest

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.firmware.unwind import Certainty
from custom_components.ulogger.insight.crash_attributes import crash_attributes
from custom_components.ulogger.insight.crash_report import (
    MOST_FRAMES,
    BacktraceFrame,
    CrashReport,
    crash_report,
)
from custom_components.ulogger.insight.faults import FaultKind, fault_of

from ..support import made_captures as made
from ..support.arm_programs import crash, dump_of, program, symbol
from ..support.fixtures import RealCapture, real_core_dumps


def kept(data: bytes) -> CompactImage:
    return CompactImage.load(import_image(data))


def report(data: bytes, image: CompactImage | FirmwareImage | None = None) -> CrashReport:
    found = crash_report(CoreDump.parse(data), image)
    assert found is not None
    return found


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_a_real_crash_is_told_as_it_was_decoded_independently(capture: RealCapture) -> None:
    expected = capture.expected
    told = report(capture.data, kept(capture.image)).as_dict()
    assert told["registers"] == expected["registers"]
    for name in ("pc", "lr"):
        assert told[name]["address"] == f"0x{expected['registers'][name]:08X}"
        point = {"function": told[name]["function"], "location": told[name]["location"]}
        assert point == expected[f"{name}_symbol"]
    assert (told["application"], told["version"], told["hash"], told["device"]) == (
        42,
        "4.24.2",
        "bc53443",
        "A87DE76F0011",
    )
    assert told["fault"] == (
        "an access where nothing answers at 0xFFFF0030"
        " (precise data bus error, BFAR holds the address)"
    )
    assert (told["fault_kind"], told["fault_address"]) == ("data_bus_error", "0xFFFF0030")
    assert [(f["function"], f["location"], f["certainty"]) for f in told["backtrace"][:2]] == [
        ("read_register", "session.c:3", "exact"),
        ("sample_sensor", "session.c:8", "exact"),
    ]
    assert told["memory"][-1] == {"start": 0xE000ED28, "end": 0xE000ED3C}
    json.dumps(told)


def test_the_crash_in_one_line() -> None:
    data = program("-O2", "-g")
    found = report(crash(data), kept(data))
    assert found.reason == (
        "an access where nothing answers at 0x60000000"
        " (precise data bus error, BFAR holds the address) in read_register (pump.c:5)"
    )
    assert [frame.inlined for frame in found.backtrace[:3]] == [True, False, False]


def test_without_an_image_there_are_addresses() -> None:
    found = report(real_core_dumps()[0].data)
    assert (found.function, found.location, found.backtrace) == (None, None, ())
    assert found.reason.endswith(" in 0x00000066")


def test_symbols_that_can_not_unwind_name_the_place() -> None:
    capture = real_core_dumps()[0]
    found = report(capture.data, FirmwareImage.load(capture.image))
    assert (found.function, found.location) == ("read_register", "session.c:3")
    assert found.backtrace == ()


def test_a_fingerprint_is_the_same_on_other_devices_and_builds() -> None:
    """Two agents' versions, two devices, two ways to compile: one crash."""
    real = {report(c.data, kept(c.image)).fingerprint for c in real_core_dumps()}
    assert len(real) == 1
    builds = [program(level, "-g") for level in ("-Og", "-O2", "-Os", "-O0")]
    assert len({report(crash(data), kept(data)).fingerprint for data in builds}) == 1


def test_a_fingerprint_tells_faults_places_and_applications_apart() -> None:
    def dump(cfsr: int = 1 << 16, pc: int = 0x100, lr: int = 0x201, application: int = 42) -> bytes:
        data = bytearray(dump_of([0] * 14 + [lr, pc], [], cfsr))
        data[12:16] = struct.pack("<I", application)
        return bytes(data)

    own = report(dump()).fingerprint
    others = [dump(cfsr=1 << 25), dump(pc=0x104), dump(application=43), dump(pc=0, lr=0x301)]
    found = [report(other).fingerprint for other in others]
    assert len({own, *found}) == 5
    assert report(dump(lr=0x999)).fingerprint == own
    assert report(dump(pc=0x101)).fingerprint == own


def test_a_fingerprint_of_code_without_a_name_moves_with_the_image() -> None:
    def image(start: int) -> CompactImage:
        return kept(made.elf([(".text", 1, 6, start, bytes(0x400))]))

    def found(start: int) -> str:
        return report(dump_of([0] * 14 + [0, start + 0x84], [], 1 << 16), image(start)).fingerprint

    assert found(0x0800_0000) == found(0x0802_0000)


def test_what_a_compiler_made_of_a_function_is_that_function() -> None:
    def named(name: bytes) -> CompactImage:
        row = struct.pack("<IIIBBH", 1, 0x101, 0x40, 2, 0, 1)
        return kept(
            made.elf(
                [
                    (".text", 1, 6, 0x100, bytes(0x40)),
                    (".symtab", 2, 0, 0, bytes(16) + row),
                    (".strtab", 3, 0, 0, b"\0" + name + b"\0"),
                ]
            )
        )

    data = dump_of([0] * 14 + [0, 0x110], [], 1 << 16)
    prints = {
        report(data, named(name)).fingerprint
        for name in (b"valve", b"valve.constprop.0", b"valve.part.0.isra.1", b"valve.cold")
    }
    assert len(prints) == 1


def test_a_jump_to_nowhere_is_known_by_its_caller() -> None:
    data = program("-O2", "-g")
    image = kept(data)
    back = report(crash(data), image).backtrace[2].address | 1
    prints = {
        report(dump_of([0] * 14 + [back, pc], [], 1 << 17), image).fingerprint
        for pc in (0, 0xDEAD_BEEE, 0x2000_0100)
    }
    assert len(prints) == 1
    assert symbol(data, "pump") < back


@pytest.mark.parametrize("bit", [0, 1, 3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 24, 25])
def test_every_fault_has_words(bit: int) -> None:
    fault = fault_of(CoreDump.parse(dump_of([0] * 16, [], 1 << bit)))
    assert fault.kind not in {FaultKind.UNKNOWN, FaultKind.NO_FAULT, FaultKind.HARD_FAULT}
    assert fault.address is None
    assert "(" in fault.text


def test_the_address_of_a_fault_is_told_only_when_it_is_valid() -> None:
    mmfar = dump_of([0x1234] + [0] * 15, [], 1 << 1 | 1 << 7)
    assert fault_of(CoreDump.parse(mmfar)).address == 0
    assert fault_of(CoreDump.parse(dump_of([0] * 16, [], 1 << 9))).address is None


def test_a_dump_without_a_fault_says_so() -> None:
    stopped = fault_of(CoreDump.parse(dump_of([0] * 16, [])))
    assert (stopped.kind, stopped.text) == (
        FaultKind.NO_FAULT,
        "no fault: the program stopped itself",
    )
    body = b"\x63\x43\x03\x00" + bytes(84)
    assert fault_of(CoreDump.parse(made.core_dump(body))).kind is FaultKind.UNKNOWN


def test_an_opaque_dump_has_no_report() -> None:
    assert crash_report(CoreDump.parse(made.core_dump(b"other", version=9))) is None


def test_an_image_can_not_write_control_sequences() -> None:
    row = struct.pack("<IIIBBH", 1, 0x101, 0x40, 2, 0, 1)
    image = kept(
        made.elf(
            [
                (".text", 1, 6, 0x100, bytes(0x40)),
                (".symtab", 2, 0, 0, bytes(16) + row),
                (".strtab", 3, 0, 0, b"\0a\x1b[2J\0"),
            ]
        )
    )
    assert report(dump_of([0] * 14 + [0, 0x110], []), image).reason.endswith(" in a [2J")


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_an_event_tells_the_report_in_short(capture: RealCapture) -> None:
    registers = capture.expected["registers"]
    found = report(capture.data, kept(capture.image))
    told = crash_attributes(found, "Bus error in read_register (session.c:3)")
    backtrace = told.pop("backtrace")
    assert told == {
        "summary": "Bus error in read_register (session.c:3)",
        "application": 42,
        "firmware_version": "4.24.2",
        "git_hash": "bc53443",
        "fault": "an access where nothing answers at 0xFFFF0030"
        " (precise data bus error, BFAR holds the address)",
        "fault_kind": "data_bus_error",
        "fault_address": "0xFFFF0030",
        "pc": f"0x{registers['pc']:08X}",
        "lr": f"0x{registers['lr']:08X}",
        "function": "read_register",
        "location": "session.c:3",
        "registers": {name: f"0x{value:08X}" for name, value in registers.items()},
        "fingerprint": found.fingerprint,
    }
    assert backtrace[0] == {
        "address": f"0x{registers['pc']:08X}",
        "function": "read_register",
        "location": "session.c:3",
        "certainty": "exact",
    }


def test_an_event_stays_within_what_home_assistant_keeps() -> None:
    frame = BacktraceFrame(1, "f" * 10_000, "c" * 10_000, 1, Certainty.EXACT)
    capture = real_core_dumps()[0]
    found = replace(report(capture.data), backtrace=(frame,) * MOST_FRAMES)
    assert len(json.dumps(crash_attributes(found, "s" * 10_000))) < 16 * 1024


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_the_fingerprint_of_the_address_is_that_without_an_image(capture: RealCapture) -> None:
    bare, named = report(capture.data), report(capture.data, kept(capture.image))
    assert bare.fingerprint == bare.address_fingerprint == named.address_fingerprint
    assert named.fingerprint != bare.fingerprint
